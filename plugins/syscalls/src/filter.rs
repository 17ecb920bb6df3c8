//! Which calls are logged.

use plugin_api::prelude::*;

/// The arguments `only` and `except`.
#[derive(Default)]
pub struct Filter {
    only: Vec<Call>,
    except: Vec<Call>,
}

enum Call {
    Number(u64),
    Name(String),
}

impl Call {
    fn parse(text: &String) -> Result<Call, Error> {
        let number = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        match number {
            Some(n) => Ok(Call::Number(n)),
            None if text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') =>
            {
                Ok(Call::Name(text.clone()))
            }
            None => {
                Err(format!("\"{text}\" is neither the name of a system call nor a number").into())
            }
        }
    }

    fn is(&self, number: u64, name: &str) -> bool {
        match self {
            Call::Number(n) => *n == number,
            Call::Name(n) => n == name,
        }
    }
}

impl Filter {
    pub fn new(args: &Args) -> Result<Filter, Error> {
        let parse = |name| args.list(name).iter().map(Call::parse).collect::<Result<_, _>>();
        Ok(Filter { only: parse("only")?, except: parse("except")? })
    }

    /// Wants everything.
    pub fn is_empty(&self) -> bool {
        self.only.is_empty() && self.except.is_empty()
    }

    pub fn wants(&self, number: u64, name: &str) -> bool {
        (self.only.is_empty() || self.only.iter().any(|c| c.is(number, name)))
            && !self.except.iter().any(|c| c.is(number, name))
    }
}
