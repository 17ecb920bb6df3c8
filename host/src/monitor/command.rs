//! The commands.

use std::fmt::Write;

use crate::suggest;

/// A command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// An empty line or a comment.
    Nothing,
    /// Run a guest; without words, the one named last.
    Run {
        /// The guest and its arguments.
        guest: Vec<String>,
        /// Do not wait for its end.
        background: bool,
    },
    /// Load plugins: a list as on the command line.
    Load(String),
    /// Unload one.
    Unload {
        /// Its name, or its number in the list.
        name: String,
        /// Really unmap its library.
        close: bool,
    },
    /// Replace one by what its file holds now.
    Reload {
        /// Its name.
        name: String,
        /// Really unmap the old library.
        close: bool,
    },
    /// List the loaded ones.
    List,
    /// A line for one plugin.
    Tell {
        /// The plugin.
        name: String,
        /// The line.
        text: String,
    },
    /// A line for every plugin.
    TellAll(String),
    /// What has been executed.
    Stats,
    /// End the run.
    Stop,
    /// Wait for the end of the run.
    Wait,
    /// List the commands.
    Help,
    /// End the session.
    Quit,
}

/// A command's first words, its arguments, and what it does.
struct Row(&'static str, &'static str, &'static str);

const TABLE: &[Row] = &[
    Row("run", "[GUEST ARGS…] [&]", "run a guest, or the last one again; with & go on meanwhile"),
    Row("stop", "", "end the run at the next block"),
    Row("wait", "", "wait for the end of the run"),
    Row("stats", "", "what has been executed"),
    Row("plugin load", "NAME[:KEY=VALUE],…", "load plugins"),
    Row("plugin unload", "NAME [--close]", "unload one; --close: really unmap its library"),
    Row("plugin reload", "NAME [--close]", "replace one by what its file holds now"),
    Row("plugin list", "", "the loaded plugins"),
    Row("plugin cmd", "NAME TEXT", "send a line to a plugin's monitor callback"),
    Row("load_plugin", "NAME[:KEY=VALUE],…", "as plugin load"),
    Row("unload_plugin", "NAME", "as plugin unload; also a number of list_plugins"),
    Row("list_plugins", "", "as plugin list"),
    Row("plugin_cmd", "TEXT", "send a line to every plugin's monitor callback"),
    Row("help", "", "this list"),
    Row("quit", "", "end the session"),
];

/// The first words of all commands.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|r| r.0)
}

/// What `help` says.
pub fn help() -> String {
    TABLE.iter().fold(String::new(), |mut out, Row(name, args, about)| {
        let _ = writeln!(out, "{:<34} {about}", format!("{name} {args}").trim_end());
        out
    })
}

/// Understands a line; or says what to write instead.
pub fn parse(line: &str) -> Result<Command, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Command::Nothing);
    }
    let (first, rest) = split(line);
    match first {
        "run" => {
            let mut guest = words(rest)?;
            let background = guest.last().is_some_and(|w| w == "&");
            if background {
                guest.pop();
            }
            Ok(Command::Run { guest, background })
        }
        "stop" => alone(first, rest, Command::Stop),
        "wait" => alone(first, rest, Command::Wait),
        "stats" => alone(first, rest, Command::Stats),
        "help" | "?" => Ok(Command::Help),
        "quit" | "exit" | "q" => alone(first, rest, Command::Quit),
        "load_plugin" => argument(first, "NAME[:KEY=VALUE],…", rest).map(Command::Load),
        "unload_plugin" => one(first, rest).map(|(name, close)| Command::Unload { name, close }),
        "list_plugins" => alone(first, rest, Command::List),
        "plugin_cmd" => argument(first, "TEXT", rest).map(Command::TellAll),
        "plugin" => {
            let (verb, rest) = split(rest);
            let full = format!("plugin {verb}");
            match verb {
                "load" => argument(&full, "NAME[:KEY=VALUE],…", rest).map(Command::Load),
                "unload" => one(&full, rest).map(|(name, close)| Command::Unload { name, close }),
                "reload" => one(&full, rest).map(|(name, close)| Command::Reload { name, close }),
                "list" => alone(&full, rest, Command::List),
                "cmd" => {
                    let (name, text) = split(rest);
                    if name.is_empty() || text.is_empty() {
                        return Err("write: plugin cmd NAME TEXT".to_owned());
                    }
                    Ok(Command::Tell { name: name.to_owned(), text: text.to_owned() })
                }
                "" => Err("write: plugin load, unload, reload, list or cmd".to_owned()),
                other => {
                    let verbs = ["load", "unload", "reload", "list", "cmd"];
                    Err(format!(
                        "there is no command `plugin {other}`{}",
                        suggest::hint(other, verbs)
                    ))
                }
            }
        }
        other => {
            let known = TABLE.iter().map(|r| r.0.split(' ').next().unwrap_or(r.0));
            let hint = suggest::nearest(other, known)
                .map_or_else(|| "; try `help`".to_owned(), |n| format!("; did you mean `{n}`?"));
            Err(format!("there is no command `{other}`{hint}"))
        }
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

fn alone(name: &str, rest: &str, command: Command) -> Result<Command, String> {
    if rest.is_empty() { Ok(command) } else { Err(format!("`{name}` takes no argument")) }
}

fn argument(name: &str, what: &str, rest: &str) -> Result<String, String> {
    if rest.is_empty() { Err(format!("write: {name} {what}")) } else { Ok(rest.to_owned()) }
}

/// The name of a plugin, and whether its library is to be unmapped.
fn one(command: &str, rest: &str) -> Result<(String, bool), String> {
    let mut words = rest.split_whitespace();
    let (name, more) = (words.next(), words.next());
    let close = more == Some("--close");
    match name {
        Some(name) if (more.is_none() || close) && words.next().is_none() => {
            Ok((name.to_owned(), close))
        }
        _ => Err(format!("write: {command} NAME [--close]")),
    }
}

/// Splits a line into words as a shell does, without expansions: quotes and backslashes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None | Some('"'), '\\') => {
                let c = chars.next().ok_or("nothing stands behind the last backslash")?;
                word.get_or_insert_default().push(c);
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(q) = quote {
        return Err(format!("the quote {q} is not closed"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(guest: &[&str], background: bool) -> Result<Command, String> {
        let guest = guest.iter().map(|w| (*w).to_owned()).collect();
        Ok(Command::Run { guest, background })
    }

    #[test]
    fn lines_are_understood() {
        assert_eq!(parse("  # nothing"), Ok(Command::Nothing));
        assert_eq!(parse("run"), run(&[], false));
        assert_eq!(
            parse(r#"run sh -c 'a  b' "c\"d" '' &"#),
            run(&["sh", "-c", "a  b", "c\"d", ""], true)
        );
        assert_eq!(parse("plugin  load a:b=c,d"), Ok(Command::Load("a:b=c,d".into())));
        assert_eq!(parse("load_plugin a"), Ok(Command::Load("a".into())));
        let unload = |name: &str, close| Ok(Command::Unload { name: name.into(), close });
        assert_eq!(parse("plugin unload a --close"), unload("a", true));
        assert_eq!(parse("unload_plugin 0"), unload("0", false));
        let tell = Command::Tell { name: "a".into(), text: "b  c".into() };
        assert_eq!(parse("plugin cmd a b  c"), Ok(tell));
        assert_eq!(parse("plugin_cmd b c"), Ok(Command::TellAll("b c".into())));
    }

    #[test]
    fn errors_say_what_to_write() {
        let errors = [
            "rn",
            "frobnicate",
            "plugin",
            "plugin relaod x",
            "plugin load",
            "plugin unload",
            "plugin unload a b",
            "plugin cmd a",
            "stop it",
            "run 'a",
            "run a\\",
        ];
        let said: Vec<_> =
            errors.iter().map(|l| format!("{l}: {}", parse(l).unwrap_err())).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn every_command_of_the_list_is_one() {
        for name in names() {
            let unknown = parse(name).err().is_some_and(|e| e.contains("there is no command"));
            assert!(!unknown, "{name}");
        }
    }
}
