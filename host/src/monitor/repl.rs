//! `host --repl`: commands from a terminal, with history and completion, or from a script.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Editor, Helper, Highlighter, Hinter, Validator};

use super::command::{self, Command};
use super::session::Session;
use crate::cli::RunArgs;
use crate::log;

const PROMPT: &str = "panda> ";

/// Reads and does commands until there are no more. False when one of them failed.
pub fn run(args: &RunArgs) -> anyhow::Result<bool> {
    let terminal = io::stdin().is_terminal();
    let mut session = Session::new(args, !terminal)?;
    if terminal {
        interactive(&mut session)?;
        return Ok(true);
    }
    let mut good = true;
    for line in io::stdin().lines() {
        let line = line.context("stdin cannot be read")?;
        let (went_well, quit) = one(&mut session, &line);
        good &= went_well;
        if quit {
            break;
        }
    }
    session.stop()?;
    Ok(good)
}

/// Does one line: whether it went well, and whether it was the last.
fn one(session: &mut Session, line: &str) -> (bool, bool) {
    let quit = command::parse(line) == Ok(Command::Quit);
    match session.execute(line) {
        Ok(text) => {
            // A reader that has seen enough is no error.
            let _ = io::stdout().write_all(text.as_bytes());
            (true, quit)
        }
        Err(e) => {
            log::say(&format!("host: error: {e}\n"));
            (false, quit)
        }
    }
}

fn interactive(session: &mut Session) -> anyhow::Result<()> {
    let mut editor: Editor<Words, FileHistory> =
        Editor::new().context("the terminal cannot be used")?;
    let history = history_file();
    if let Some(file) = &history {
        // There is none the first time.
        let _ = editor.load_history(file);
    }
    loop {
        editor.set_helper(Some(Words {
            known: session.known_plugins(),
            listed: session.listed().map(str::to_owned).collect(),
        }));
        match editor.readline(PROMPT) {
            Ok(line) => {
                if !line.trim().is_empty() {
                    let _ = editor.add_history_entry(&line);
                }
                if one(session, &line).1 {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(e) => return Err(e).context("the terminal cannot be read"),
        }
    }
    if let Some(file) = &history {
        if let Some(dir) = file.parent() {
            let _ = std::fs::create_dir_all(dir);
        }
        // The commands were done; the next session has a shorter history.
        let _ = editor.save_history(file);
    }
    session.stop()
}

/// Where the history is kept (XDG Base Directory Specification: state).
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let state = state.or_else(|| {
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"))
    })?;
    Some(state.join("panda/history"))
}

/// What lines are completed with.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Words {
    known: Vec<String>,
    listed: Vec<String>,
}

impl Words {
    /// Where the last word of `line` begins, and what it may become.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind([' ', ',']).map_or(0, |at| at + 1);
        let (before, part) = (line[..start].trim_end_matches(','), &line[start..]);
        let before: Vec<_> = before.split_whitespace().collect();
        let fitting = |words: &[String]| -> Vec<String> {
            let mut fit: Vec<_> = words.iter().filter(|w| w.starts_with(part)).cloned().collect();
            fit.sort();
            fit.dedup();
            fit
        };
        let words = match before[..] {
            ["plugin", "load", ..] | ["load_plugin", ..] => fitting(&self.known),
            ["plugin", "unload" | "reload" | "cmd"] | ["unload_plugin"] => fitting(&self.listed),
            _ => {
                // The next word of every command that begins like this.
                let next = command::names().filter_map(|name| {
                    let mut words = name.split(' ');
                    let same = before.iter().all(|b| words.next() == Some(*b));
                    words.next().filter(|_| same).map(str::to_owned)
                });
                fitting(&next.collect::<Vec<_>>())
            }
        };
        (start, words)
    }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = self.candidates(&line[..pos]);
        let pair = |w: String| Pair { display: w.clone(), replacement: w };
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_plugins_are_completed() {
        let words = Words {
            known: vec!["syscalls".into(), "sample".into()],
            listed: vec!["sample".into()],
        };
        let complete = |line: &str| words.candidates(line);
        assert_eq!(complete("sta"), (0, vec!["stats".to_owned()]));
        assert_eq!(complete("plugin unl"), (7, vec!["unload".to_owned()]));
        assert_eq!(complete("plugin load s"), (12, vec!["sample".to_owned(), "syscalls".into()]));
        assert_eq!(complete("plugin load sample,sy"), (19, vec!["syscalls".to_owned()]));
        assert_eq!(complete("plugin cmd "), (11, vec!["sample".to_owned()]));
        assert_eq!(complete("run "), (4, vec![]));
    }
}
