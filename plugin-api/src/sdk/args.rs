//! Arguments: their declaration and their values.

use std::path::{Path, PathBuf};

use crate::abi::{ArgDesc, ArgValue, InitInfo, Str, arg_flags, arg_kind};

use super::host::copy_sized;

/// The declaration of an argument, for [`crate::export_plugin!`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Arg(ArgDesc);

impl Arg {
    const fn new(kind: u32, name: &'static str, help: &'static str) -> Arg {
        Arg(ArgDesc {
            name: Str::new(name),
            kind,
            flags: 0,
            default: Str::EMPTY,
            help: Str::new(help),
            choices: core::ptr::null(),
            choices_count: 0,
            reserved: 0,
        })
    }

    /// `true` or `false`.
    pub const fn bool(name: &'static str, help: &'static str) -> Arg {
        Arg::new(arg_kind::BOOL, name, help)
    }

    /// An unsigned number.
    pub const fn u64(name: &'static str, help: &'static str) -> Arg {
        Arg::new(arg_kind::U64, name, help)
    }

    /// A signed number.
    pub const fn i64(name: &'static str, help: &'static str) -> Arg {
        Arg::new(arg_kind::I64, name, help)
    }

    /// A floating-point number.
    pub const fn f64(name: &'static str, help: &'static str) -> Arg {
        Arg::new(arg_kind::F64, name, help)
    }

    /// Text.
    pub const fn string(name: &'static str, help: &'static str) -> Arg {
        Arg::new(arg_kind::STRING, name, help)
    }

    /// A path.
    pub const fn path(name: &'static str, help: &'static str) -> Arg {
        Arg::new(arg_kind::PATH, name, help)
    }

    /// A list of texts.
    pub const fn list(name: &'static str, help: &'static str) -> Arg {
        Arg::new(arg_kind::LIST, name, help)
    }

    /// One of several texts.
    pub const fn choice(name: &'static str, help: &'static str, of: &'static [Str]) -> Arg {
        let mut arg = Arg::new(arg_kind::ENUM, name, help);
        arg.0.choices = of.as_ptr();
        arg.0.choices_count = of.len() as u32;
        arg
    }

    /// With the value it has when not given.
    pub const fn default(mut self, text: &'static str) -> Arg {
        self.0.default = Str::new(text);
        self
    }

    /// Must be given.
    pub const fn required(mut self) -> Arg {
        self.0.flags |= arg_flags::REQUIRED;
        self
    }
}

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Of [`Arg::bool`].
    Bool(bool),
    /// Of [`Arg::u64`].
    U64(u64),
    /// Of [`Arg::i64`].
    I64(i64),
    /// Of [`Arg::f64`].
    F64(f64),
    /// Of [`Arg::string`], [`Arg::path`] and [`Arg::choice`].
    Text(String),
    /// Of [`Arg::list`].
    List(Vec<String>),
}

/// The arguments a plugin was started with, checked by the host against their declarations.
///
/// Asking for an argument that has neither a value nor a default, or by another type than its own,
/// gives the empty value of the type asked for; [`Args::get`] tells.
#[derive(Clone, Debug, Default)]
pub struct Args {
    values: Vec<(String, Value, bool)>,
}

impl Args {
    /// # Safety
    /// `info` is null or what `init` received.
    pub(crate) unsafe fn read(info: *const InitInfo) -> Args {
        // SAFETY: promised by the caller.
        let info = unsafe { copy_sized(info) };
        let mut values = Vec::new();
        if !info.args.is_null() && info.arg_size as usize >= core::mem::size_of::<ArgValue>() {
            for i in 0..info.args_count as usize {
                // SAFETY: the host's array has that many elements of that size.
                unsafe {
                    let at = info.args.cast::<u8>().add(i * info.arg_size as usize);
                    let arg = &*at.cast::<ArgValue>();
                    if let Some(value) = read_value(arg) {
                        values.push((arg.name.text().into_owned(), value, arg.given != 0));
                    }
                }
            }
        }
        Args { values }
    }

    /// The value, if there is one.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(n, ..)| n == name).map(|(_, v, _)| v)
    }

    /// True when the user gave it, false when it has its default or no value.
    pub fn given(&self, name: &str) -> bool {
        self.values.iter().any(|(n, _, given)| n == name && *given)
    }

    /// The value of an [`Arg::bool`].
    pub fn bool(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    /// The value of an [`Arg::u64`].
    pub fn u64(&self, name: &str) -> u64 {
        if let Some(Value::U64(n)) = self.get(name) { *n } else { 0 }
    }

    /// The value of an [`Arg::i64`].
    pub fn i64(&self, name: &str) -> i64 {
        if let Some(Value::I64(n)) = self.get(name) { *n } else { 0 }
    }

    /// The value of an [`Arg::f64`].
    pub fn f64(&self, name: &str) -> f64 {
        if let Some(Value::F64(n)) = self.get(name) { *n } else { 0.0 }
    }

    /// The value of an [`Arg::string`] or [`Arg::choice`].
    pub fn str(&self, name: &str) -> &str {
        if let Some(Value::Text(s)) = self.get(name) { s } else { "" }
    }

    /// The value of an [`Arg::path`].
    pub fn path(&self, name: &str) -> PathBuf {
        Path::new(self.str(name)).to_owned()
    }

    /// The value of an [`Arg::list`].
    pub fn list(&self, name: &str) -> &[String] {
        if let Some(Value::List(items)) = self.get(name) { items } else { &[] }
    }
}

/// # Safety
/// The texts are valid.
unsafe fn read_value(arg: &ArgValue) -> Option<Value> {
    // SAFETY: promised by the caller.
    let text = || unsafe { arg.text.text() }.into_owned();
    Some(match arg.kind {
        arg_kind::BOOL => Value::Bool(arg.bits != 0),
        arg_kind::U64 => Value::U64(arg.bits),
        arg_kind::I64 => Value::I64(arg.bits as i64),
        arg_kind::F64 => Value::F64(f64::from_bits(arg.bits)),
        arg_kind::STRING | arg_kind::PATH | arg_kind::ENUM => Value::Text(text()),
        arg_kind::LIST => {
            let mut items = Vec::new();
            for i in 0..arg.items_count as usize {
                // SAFETY: promised by the caller.
                items.push(unsafe { (*arg.items.add(i)).text() }.into_owned());
            }
            Value::List(items)
        }
        _ => return None,
    })
}
