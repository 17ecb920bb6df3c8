//! `config.panda.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use emu_abi::GivenValue;
use toml::de::{DeTable, DeValue};

use crate::suggest;

/// Name of the file that is used when none is named.
pub const DEFAULT_FILE: &str = "config.panda.toml";

/// What happens when a plugin fails (in init, by a panic, by saying so).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FailurePolicy {
    /// The plugin is unloaded, everything else goes on.
    #[default]
    Disable,
    /// The run ends with status 125.
    Stop,
}

/// The contents of the file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Config {
    /// Where it came from; relative paths in it are relative to its directory.
    pub file: Option<PathBuf>,
    /// Plugins to load, in order.
    pub plugins: Vec<String>,
    /// Directories to look for plugins in.
    pub plugin_path: Vec<PathBuf>,
    /// What happens when a plugin fails.
    pub on_plugin_failure: FailurePolicy,
    /// Directory for the files plugins write.
    pub out_dir: Option<PathBuf>,
    /// Plugins whose library is really unmapped when they are unloaded.
    pub close_plugins: Vec<String>,
    /// Seconds of processor time a callback may take before a warning; 0 for none.
    pub watchdog: Option<f64>,
    /// Arguments by plugin: `[plugin.NAME]`.
    pub plugin: BTreeMap<String, PluginTable>,
}

/// The contents of `[plugin.NAME]`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PluginTable {
    /// Where it begins: `FILE:LINE:COLUMN`.
    pub place: String,
    /// The arguments, by name.
    pub args: Vec<PluginArg>,
}

/// An argument of a plugin.
#[derive(Clone, PartialEq, Debug)]
pub struct PluginArg {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: GivenValue,
    /// Where it stands: `FILE:LINE:COLUMN`.
    pub place: String,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration file {}: {source}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or something in it is of the wrong type or unknown.
    #[error("{}:{line}:{column}: {message}", .file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong, and what to write instead.
        message: String,
    },
}

const KEYS: [&str; 7] = [
    "plugins",
    "plugin_path",
    "on_plugin_failure",
    "out_dir",
    "close_plugins",
    "watchdog",
    "plugin",
];

impl Config {
    /// Reads the named file, or the default one if it exists, or nothing.
    pub fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
        let file = match named {
            Some(file) => file.to_owned(),
            None if Path::new(DEFAULT_FILE).exists() => PathBuf::from(DEFAULT_FILE),
            None => return Ok(Config::default()),
        };
        match std::fs::read_to_string(&file) {
            Ok(text) => Config::parse(&text, &file),
            Err(source) => Err(ConfigError::Unreadable { file, source }),
        }
    }

    /// Parses the text of `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
        let invalid = |at: usize, message: String| {
            let (line, column) = position(text, at);
            ConfigError::Invalid { file: file.to_owned(), line, column, message }
        };
        let table = DeTable::parse(text)
            .map_err(|e| invalid(e.span().map_or(0, |s| s.start), one_line(e.message())))?;
        let mut config = Config { file: Some(file.to_owned()), ..Config::default() };
        let base = file.parent().unwrap_or(Path::new(""));
        for (key, value) in table.get_ref() {
            let at = key.span().start;
            let value = value.get_ref();
            let wrong = |expected: &str| {
                let got = match value {
                    DeValue::String(text) => format!("\"{text}\""),
                    DeValue::Integer(n) => n.to_string(),
                    DeValue::Boolean(b) => b.to_string(),
                    DeValue::Array(_) => "an array with something else in it".to_owned(),
                    other => format!("a {}", other.type_str()),
                };
                invalid(at, format!("`{}` must be {expected}, not {got}", key.get_ref()))
            };
            match key.get_ref().as_ref() {
                "plugins" => {
                    config.plugins =
                        texts(value).ok_or_else(|| wrong("an array of plugin names"))?;
                }
                "plugin_path" => {
                    let dirs = texts(value).ok_or_else(|| wrong("an array of directories"))?;
                    config.plugin_path = dirs.iter().map(|d| base.join(d)).collect();
                }
                "out_dir" => {
                    let dir = value.as_str().ok_or_else(|| wrong("a directory"))?;
                    config.out_dir = Some(base.join(dir));
                }
                "close_plugins" => {
                    config.close_plugins =
                        texts(value).ok_or_else(|| wrong("an array of plugin names"))?;
                }
                "watchdog" => {
                    let seconds = match given(value) {
                        Some(GivenValue::Int(n)) => n as f64,
                        Some(GivenValue::Float(x)) => x,
                        _ => return Err(wrong("a number of seconds")),
                    };
                    if !(0.0..=1e6).contains(&seconds) {
                        return Err(wrong("a number of seconds from 0 to 1000000"));
                    }
                    config.watchdog = Some(seconds);
                }
                "on_plugin_failure" => {
                    config.on_plugin_failure = match value.as_str() {
                        Some("disable") => FailurePolicy::Disable,
                        Some("stop") => FailurePolicy::Stop,
                        _ => return Err(wrong("\"disable\" or \"stop\"")),
                    };
                }
                "plugin" => {
                    let tables = value.as_table().ok_or_else(|| wrong("a table"))?;
                    for (name, args) in tables {
                        let at = name.span().start;
                        let place = |at| place(text, file, at);
                        let args = plugin_args(name.get_ref(), at, args.get_ref(), &place)
                            .map_err(|(at, message)| invalid(at, message))?;
                        let place = place(at);
                        config
                            .plugin
                            .insert(name.get_ref().to_string(), PluginTable { place, args });
                    }
                }
                other => {
                    let hint = suggest::hint(other, KEYS);
                    return Err(invalid(at, format!("unknown key `{other}`{hint}")));
                }
            }
        }
        Ok(config)
    }
}

/// The arguments in `[plugin.NAME]`; or what is wrong, and at which offset.
fn plugin_args(
    name: &str,
    at: usize,
    value: &DeValue<'_>,
    place: &dyn Fn(usize) -> String,
) -> Result<Vec<PluginArg>, (usize, String)> {
    let Some(args) = value.as_table() else {
        return Err((at, format!("`plugin.{name}` must be a table of arguments")));
    };
    args.iter()
        .map(|(key, value)| {
            let at = key.span().start;
            let key = key.get_ref();
            match given(value.get_ref()) {
                Some(value) => Ok(PluginArg { key: key.to_string(), value, place: place(at) }),
                None => Err((
                    at,
                    format!(
                        "`{key}` of plugin `{name}` must be text, a number, true, false or an \
                         array of texts"
                    ),
                )),
            }
        })
        .collect()
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|v| v.get_ref().as_str().map(str::to_owned)).collect()
}

fn given(value: &DeValue<'_>) -> Option<GivenValue> {
    Some(match value {
        DeValue::String(s) => GivenValue::Text(s.to_string()),
        DeValue::Integer(n) => GivenValue::Int(i64::from_str_radix(n.as_str(), n.radix()).ok()?),
        DeValue::Float(x) => GivenValue::Float(x.as_str().parse().ok()?),
        DeValue::Boolean(b) => GivenValue::Bool(*b),
        DeValue::Array(_) => GivenValue::List(texts(value)?),
        _ => return None,
    })
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `FILE:LINE:COLUMN` of an offset.
fn place(text: &str, file: &Path, at: usize) -> String {
    let (line, column) = position(text, at);
    format!("{}:{line}:{column}", file.display())
}

/// Line and column, from 1, of a byte offset.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("dir/config.panda.toml")).unwrap_err().to_string()
    }

    #[test]
    fn a_full_file() {
        let text = r#"
plugins = ["syscalls", "textprinter"]
plugin_path = ["lib"]
on_plugin_failure = "stop"
out_dir = "/tmp"

[plugin.syscalls]
output = "calls.txt"
names = true
only = ["read", "write"]
"#;
        let c = Config::parse(text, Path::new("dir/config.panda.toml")).unwrap();
        assert_eq!(c.plugins, ["syscalls", "textprinter"]);
        assert_eq!(c.plugin_path, [PathBuf::from("dir/lib")]);
        assert_eq!(c.on_plugin_failure, FailurePolicy::Stop);
        assert_eq!(c.out_dir, Some(PathBuf::from("/tmp")));
        let table = &c.plugin["syscalls"];
        assert_eq!(table.place, "dir/config.panda.toml:7:9");
        let args: Vec<_> =
            table.args.iter().map(|a| (&*a.key, a.value.clone(), a.place.as_str())).collect();
        let list = GivenValue::List(vec!["read".into(), "write".into()]);
        assert_eq!(
            args,
            [
                ("names", GivenValue::Bool(true), "dir/config.panda.toml:9:1"),
                ("only", list, "dir/config.panda.toml:10:1"),
                ("output", GivenValue::Text("calls.txt".into()), "dir/config.panda.toml:8:1"),
            ]
        );
    }

    #[test]
    fn errors_say_where_and_what_to_write() {
        insta::assert_snapshot!(error("plugin = [\n"));
        insta::assert_snapshot!(error("\nplugns = []\n"));
        insta::assert_snapshot!(error("plugins = 3\n"));
        insta::assert_snapshot!(error("on_plugin_failure = \"explode\"\n"));
        insta::assert_snapshot!(error("[plugin]\nsyscalls = 3\n"));
        insta::assert_snapshot!(error("[plugin.syscalls]\n\nonly = { a = 1 }\n"));
        insta::assert_snapshot!(error("x y z"));
    }
}
