//! Arguments: what a plugin declares, what a user gave, and the values that `init` receives.

use plugin_api::abi::{ArgDesc, ArgValue, InitInfo, Str, arg_flags, arg_kind};

use crate::entry::text;

/// An argument a plugin declares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArgSpec {
    /// Name.
    pub name: String,
    /// [`arg_kind`].
    pub kind: u32,
    /// Must be given.
    pub required: bool,
    /// Stands for every name without a description of its own.
    pub any: bool,
    /// Value when not given.
    pub default: Option<String>,
    /// One line about it.
    pub help: String,
    /// For [`arg_kind::ENUM`]: the values it may have.
    pub choices: Vec<String>,
}

impl ArgSpec {
    /// # Safety
    /// Texts and choices of the description are valid.
    pub(crate) unsafe fn read(d: &ArgDesc) -> Option<ArgSpec> {
        if d.choices_count > 4096 || (d.choices_count > 0 && d.choices.is_null()) {
            return None;
        }
        // SAFETY: promised by the caller.
        unsafe {
            Some(ArgSpec {
                name: text(d.name),
                kind: d.kind,
                required: d.flags & arg_flags::REQUIRED != 0,
                any: d.flags & arg_flags::ANY != 0,
                default: (!d.default.ptr.is_null()).then(|| text(d.default)),
                help: text(d.help),
                choices: (0..d.choices_count as usize).map(|i| text(*d.choices.add(i))).collect(),
            })
        }
    }

    /// What values it takes, for help texts: `number`, `panda|jsonl`.
    pub fn type_name(&self) -> String {
        match self.kind {
            arg_kind::BOOL => "true|false".to_owned(),
            arg_kind::U64 => "number".to_owned(),
            arg_kind::I64 => "signed number".to_owned(),
            arg_kind::F64 => "decimal number".to_owned(),
            arg_kind::STRING => "text".to_owned(),
            arg_kind::PATH => "path".to_owned(),
            arg_kind::ENUM => self.choices.join("|"),
            arg_kind::LIST => "list".to_owned(),
            other => format!("type {other}, unknown to this host"),
        }
    }
}

/// A value as a user gave it: on a command line always text, in a configuration file typed.
#[derive(Clone, PartialEq, Debug)]
pub enum GivenValue {
    /// Text; converted to the argument's type. For a list: items separated by `+`.
    Text(String),
    /// A truth value.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A decimal number.
    Float(f64),
    /// A list.
    List(Vec<String>),
}

impl GivenValue {
    /// As text: what a command line would say.
    fn text(&self) -> String {
        match self {
            GivenValue::Text(s) => s.clone(),
            other => other.show(),
        }
    }

    fn show(&self) -> String {
        match self {
            GivenValue::Text(s) => format!("\"{s}\""),
            GivenValue::Bool(b) => b.to_string(),
            GivenValue::Int(n) => n.to_string(),
            GivenValue::Float(x) => x.to_string(),
            GivenValue::List(items) => format!("{items:?}"),
        }
    }
}

/// What is wrong with an argument.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArgError {
    /// The plugin takes none of that name.
    #[error("it takes no argument \"{name}\"{}", suggestion(.nearest, .known))]
    Unknown {
        /// The name given.
        name: String,
        /// The nearest name it takes.
        nearest: Option<String>,
        /// All names it takes.
        known: Vec<String>,
    },
    /// A required one is missing.
    #[error("argument \"{name}\" is required: {help}")]
    Missing {
        /// Its name.
        name: String,
        /// What it is for.
        help: String,
    },
    /// The value has the wrong type.
    #[error("argument \"{name}\" cannot be {value}: it takes {expected}")]
    WrongType {
        /// Its name.
        name: String,
        /// The value given.
        value: String,
        /// What it takes.
        expected: String,
    },
}

impl ArgError {
    /// The name of the argument it is about.
    pub fn argument(&self) -> &str {
        match self {
            ArgError::Unknown { name, .. }
            | ArgError::Missing { name, .. }
            | ArgError::WrongType { name, .. } => name,
        }
    }
}

fn suggestion(nearest: &Option<String>, known: &[String]) -> String {
    match nearest {
        Some(n) => format!("; did you mean \"{n}\"?"),
        None if known.is_empty() => "; it takes none".to_owned(),
        None => format!("; it takes {}", known.join(", ")),
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Checked {
    name: String,
    kind: u32,
    given: bool,
    bits: u64,
    text: String,
    items: Vec<String>,
}

/// Checked values, ready for `init`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Values(Vec<Checked>);

/// Checks what a user gave against what a plugin declares. A name given twice has its last value;
/// lists given twice are joined.
pub fn check_args(specs: &[ArgSpec], given: &[(String, GivenValue)]) -> Result<Values, ArgError> {
    let named = || specs.iter().filter(|s| !s.any);
    let takes_any = specs.iter().any(|s| s.any);
    let mut others = Vec::new();
    for (name, value) in given {
        if named().any(|s| s.name == *name) {
            continue;
        }
        if !takes_any {
            let known: Vec<String> = named().map(|s| s.name.clone()).collect();
            let nearest = nearest(name, &known);
            return Err(ArgError::Unknown { name: name.clone(), nearest, known });
        }
        others.push(Checked {
            name: name.clone(),
            kind: arg_kind::STRING,
            given: true,
            bits: 0,
            text: value.text(),
            items: Vec::new(),
        });
    }
    let mut values = Vec::new();
    for spec in named() {
        let mut own = given.iter().filter(|(n, _)| *n == spec.name).map(|(_, v)| v);
        let value = if spec.kind == arg_kind::LIST {
            own.try_fold(None, |sum: Option<Checked>, v| {
                let mut next = check(spec, v, true)?;
                if let Some(sum) = sum {
                    next.items.splice(0..0, sum.items);
                }
                Ok(Some(next))
            })?
        } else {
            own.next_back().map(|v| check(spec, v, true)).transpose()?
        };
        let value = match (value, &spec.default) {
            (Some(value), _) => value,
            (None, Some(default)) => check(spec, &GivenValue::Text(default.clone()), false)?,
            (None, None) if spec.required => {
                let (name, help) = (spec.name.clone(), spec.help.clone());
                return Err(ArgError::Missing { name, help });
            }
            (None, None) => continue,
        };
        values.push(value);
    }
    values.append(&mut others);
    Ok(Values(values))
}

fn check(spec: &ArgSpec, value: &GivenValue, given: bool) -> Result<Checked, ArgError> {
    let wrong = || ArgError::WrongType {
        name: spec.name.clone(),
        value: value.show(),
        expected: spec.type_name(),
    };
    let mut checked = Checked {
        name: spec.name.clone(),
        kind: spec.kind,
        given,
        bits: 0,
        text: value.text(),
        items: Vec::new(),
    };
    checked.bits = match (spec.kind, value) {
        (arg_kind::BOOL, GivenValue::Bool(b)) => u64::from(*b),
        (arg_kind::BOOL, GivenValue::Text(s)) => match s.as_str() {
            "true" | "yes" | "on" | "1" => 1,
            "false" | "no" | "off" | "0" => 0,
            _ => return Err(wrong()),
        },
        (arg_kind::U64, GivenValue::Int(n)) => u64::try_from(*n).map_err(|_| wrong())?,
        (arg_kind::U64, GivenValue::Text(s)) => parse_u64(s).ok_or_else(wrong)?,
        (arg_kind::I64, GivenValue::Int(n)) => *n as u64,
        (arg_kind::I64, GivenValue::Text(s)) => parse_i64(s).ok_or_else(wrong)? as u64,
        (arg_kind::F64, GivenValue::Float(x)) => x.to_bits(),
        (arg_kind::F64, GivenValue::Int(n)) => (*n as f64).to_bits(),
        (arg_kind::F64, GivenValue::Text(s)) => {
            s.trim().parse::<f64>().map_err(|_| wrong())?.to_bits()
        }
        (arg_kind::STRING | arg_kind::PATH, GivenValue::Text(_)) => 0,
        (arg_kind::ENUM, GivenValue::Text(s)) => {
            spec.choices.iter().position(|c| c == s).ok_or_else(wrong)? as u64
        }
        (arg_kind::LIST, GivenValue::Text(s)) => {
            checked.items = s.split('+').filter(|i| !i.is_empty()).map(str::to_owned).collect();
            0
        }
        (arg_kind::LIST, GivenValue::List(items)) => {
            checked.items.clone_from(items);
            0
        }
        _ => return Err(wrong()),
    };
    Ok(checked)
}

fn parse_u64(s: &str) -> Option<u64> {
    let s = s.trim();
    match s.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => s.parse().ok(),
    }
}

fn parse_i64(s: &str) -> Option<i64> {
    match s.trim().strip_prefix('-') {
        Some(rest) => 0i64.checked_sub_unsigned(parse_u64(rest)?),
        None => i64::try_from(parse_u64(s)?).ok(),
    }
}

/// The name nearest to one that is not there, if one is near enough to be meant.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|k| (distance(name, k), k))
        .min()
        .filter(|(d, k)| *d <= 1 + k.chars().count() / 3)
        .map(|(_, k)| k.clone())
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

impl Values {
    /// Calls `go` with the structure that `init` receives.
    pub(crate) fn with_info<R>(&self, go: impl FnOnce(*const InitInfo) -> R) -> R {
        let items: Vec<Vec<Str>> =
            self.0.iter().map(|v| v.items.iter().map(|i| Str::new(i)).collect()).collect();
        let args: Vec<ArgValue> = self
            .0
            .iter()
            .zip(&items)
            .map(|(v, items)| ArgValue {
                name: Str::new(&v.name),
                kind: v.kind,
                given: u32::from(v.given),
                bits: v.bits,
                text: Str::new(&v.text),
                items: items.as_ptr(),
                items_count: items.len() as u64,
            })
            .collect();
        go(&InitInfo {
            struct_size: InitInfo::SIZE,
            args_count: args.len() as u32,
            arg_size: size_of::<ArgValue>() as u32,
            reserved: 0,
            args: args.as_ptr(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, kind: u32, default: Option<&str>) -> ArgSpec {
        ArgSpec {
            name: name.to_owned(),
            kind,
            required: false,
            any: false,
            default: default.map(str::to_owned),
            help: "help".to_owned(),
            choices: vec!["panda".to_owned(), "jsonl".to_owned()],
        }
    }

    fn given(list: &[(&str, &str)]) -> Vec<(String, GivenValue)> {
        list.iter().map(|(n, v)| ((*n).to_owned(), GivenValue::Text((*v).to_owned()))).collect()
    }

    fn message(specs: &[ArgSpec], list: &[(&str, &str)]) -> String {
        check_args(specs, &given(list)).unwrap_err().to_string()
    }

    #[test]
    fn errors_say_what_to_do() {
        let specs = [
            spec("output", arg_kind::PATH, Some("x")),
            spec("names", arg_kind::BOOL, None),
            spec("format", arg_kind::ENUM, Some("panda")),
        ];
        assert_eq!(
            message(&specs, &[("outptu", "a")]),
            "it takes no argument \"outptu\"; did you mean \"output\"?"
        );
        assert_eq!(
            message(&specs, &[("colour", "a")]),
            "it takes no argument \"colour\"; it takes output, names, format"
        );
        assert_eq!(message(&[], &[("a", "a")]), "it takes no argument \"a\"; it takes none");
        assert_eq!(
            message(&specs, &[("names", "maybe")]),
            "argument \"names\" cannot be \"maybe\": it takes true|false"
        );
        assert_eq!(
            message(&specs, &[("format", "xml")]),
            "argument \"format\" cannot be \"xml\": it takes panda|jsonl"
        );
        // Names match exactly, not by prefix.
        assert!(message(&specs, &[("out", "a")]).starts_with("it takes no argument"));
        let mut required = spec("file", arg_kind::PATH, None);
        required.required = true;
        assert_eq!(message(&[required], &[]), "argument \"file\" is required: help");
    }

    #[test]
    fn any_name_is_passed_on_where_it_is_taken() {
        let mut any = spec("KEY", arg_kind::STRING, None);
        any.any = true;
        let specs = [spec("n", arg_kind::U64, Some("7")), any];
        let values = check_args(
            &specs,
            &given(&[("b", "2"), ("n", "1"), ("a", ""), ("b", "3"), ("KEY", "4")]),
        )
        .unwrap();
        let shown: Vec<_> = values.0.iter().map(|v| format!("{}={}", v.name, v.text)).collect();
        assert_eq!(shown, ["n=1", "b=2", "a=", "b=3", "KEY=4"]);
        let typed =
            [("x".to_owned(), GivenValue::Int(-1)), ("y".to_owned(), GivenValue::Bool(true))];
        let values = check_args(&specs, &typed).unwrap();
        let shown: Vec<_> = values.0.iter().map(|v| format!("{}={}", v.name, v.text)).collect();
        assert_eq!(shown, ["n=7", "x=-1", "y=true"]);
    }

    #[test]
    fn values_are_converted() {
        let specs = [
            spec("n", arg_kind::U64, None),
            spec("i", arg_kind::I64, None),
            spec("x", arg_kind::F64, Some("0.5")),
            spec("l", arg_kind::LIST, None),
        ];
        let values =
            check_args(&specs, &given(&[("n", "0x10"), ("i", "-3"), ("l", "a+b"), ("l", "c")]))
                .unwrap();
        assert_eq!(values.0[0].bits, 16);
        assert_eq!(values.0[1].bits as i64, -3);
        assert_eq!(f64::from_bits(values.0[2].bits), 0.5);
        assert!(!values.0[2].given);
        assert_eq!(values.0[3].items, ["a", "b", "c"]);
        let int = [("n".to_owned(), GivenValue::Int(-1))];
        assert!(check_args(&specs, &int).is_err());
        assert!(check_args(&specs, &given(&[("i", "9223372036854775808")])).is_err());
        assert_eq!(parse_i64("-9223372036854775808"), Some(i64::MIN));
    }
}
