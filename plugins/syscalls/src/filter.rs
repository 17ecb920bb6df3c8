//! Which calls are logged.

use plugin_api::abi::syscall_abi;
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
    fn parse<P: Plugin>(text: &str, reg: &Registrar<P>) -> Result<Call, Error> {
        let number = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        match number {
            Some(n) => Ok(Call::Number(n)),
            None if is_known(text, reg) => Ok(Call::Name(text.to_owned())),
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

/// Whether some Linux has a call of that name. Numbers end far below 1024.
fn is_known<P: Plugin>(name: &str, reg: &Registrar<P>) -> bool {
    [syscall_abi::LINUX_X86_64, syscall_abi::LINUX_I386]
        .into_iter()
        .any(|abi| (0..1024).any(|n| reg.syscall_name(abi, n).is_some_and(|known| known == name)))
}

impl Filter {
    pub fn new<P: Plugin>(args: &Args, reg: &Registrar<P>) -> Result<Filter, Error> {
        let parse = |name| {
            args.list(name).iter().map(|text| Call::parse(text, reg)).collect::<Result<_, _>>()
        };
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
