//! `config.panda.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use emu_abi::GivenValue;

use crate::suggest;

/// Name of the file that is used when none is named.
pub const DEFAULT_FILE: &str = "config.panda.toml";

/// What happens when a plugin fails (in init, by a panic, by saying so).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// Arguments by plugin: `[plugin.NAME]`.
    pub plugin: BTreeMap<String, Vec<(String, GivenValue)>>,
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

const KEYS: [&str; 5] = ["plugins", "plugin_path", "on_plugin_failure", "out_dir", "plugin"];

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
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            invalid(e.span().map_or(0, |s| s.start), one_line(e.message()))
        })?;
        let mut config = Config { file: Some(file.to_owned()), ..Config::default() };
        let base = file.parent().unwrap_or(Path::new(""));
        for (key, value) in &table {
            let wrong = |expected: &str| {
                let got = match value.as_str() {
                    Some(text) => format!("\"{text}\""),
                    None => value.type_str().to_owned(),
                };
                invalid(find_key(text, key), format!("`{key}` must be {expected}, not {got}"))
            };
            match key.as_str() {
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
                        let args = args.as_table().ok_or_else(|| {
                            let message = format!("`plugin.{name}` must be a table of arguments");
                            invalid(find_key(text, name), message)
                        })?;
                        let mut list = Vec::new();
                        for (k, v) in args {
                            let v = given(v).ok_or_else(|| {
                                let message = format!(
                                    "`{k}` of plugin `{name}` must be text, a number, true, false \
                                     or an array of texts"
                                );
                                invalid(find_key(text, k), message)
                            })?;
                            list.push((k.clone(), v));
                        }
                        config.plugin.insert(name.clone(), list);
                    }
                }
                _ => {
                    let hint = suggest::hint(key, KEYS);
                    return Err(invalid(find_key(text, key), format!("unknown key `{key}`{hint}")));
                }
            }
        }
        Ok(config)
    }
}

fn texts(value: &toml::Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect()
}

fn given(value: &toml::Value) -> Option<GivenValue> {
    Some(match value {
        toml::Value::String(s) => GivenValue::Text(s.clone()),
        toml::Value::Integer(n) => GivenValue::Int(*n),
        toml::Value::Float(x) => GivenValue::Float(*x),
        toml::Value::Boolean(b) => GivenValue::Bool(*b),
        toml::Value::Array(_) => GivenValue::List(texts(value)?),
        _ => return None,
    })
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Offset of the line that defines `key` (as `key =` or in a table header).
fn find_key(text: &str, key: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = line.len() - line.trim_start().len();
        let trimmed = line.trim_start();
        let header = trimmed.starts_with('[')
            && trimmed
                .trim_matches(|c: char| "[] \r\n".contains(c))
                .split('.')
                .any(|part| part.trim().trim_matches('"') == key);
        let bare = trimmed.trim_start_matches('"');
        let defines = bare
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches('"').trim_start().starts_with(['=', '.']));
        if header || defines {
            return at + start;
        }
        at += line.len();
    }
    0
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
        let args = &c.plugin["syscalls"];
        assert_eq!(args.len(), 3);
        assert!(args.contains(&("names".into(), GivenValue::Bool(true))));
        assert!(
            args.contains(&("only".into(), GivenValue::List(vec!["read".into(), "write".into()])))
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
