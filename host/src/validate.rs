//! `host plugin validate`: checks that a plugin keeps to the contract.
//!
//! Each check runs in a process of its own, this executable with a hidden subcommand, so that a plugin
//! that crashes or hangs is a result and not the end of the validator. [`checks`] has the checks.

pub mod checks;
mod elf;
mod start;
mod tiny;

use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;

use checks::{ALL, Check};

/// First words of a check's line with its verdict: a plugin that ends the process has not passed.
const PASS: &str = "panda-check pass: ";
const FAIL: &str = "panda-check fail: ";

/// What to check and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only these checks; empty for all.
    pub include: Vec<String>,
    /// Not these.
    pub exclude: Vec<String>,
    /// Seconds a check may take.
    pub timeout: u64,
    /// Write JSON.
    pub json: bool,
}

/// How a check went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The plugin keeps to it; a note for the reader.
    Pass(String),
    /// It does not: why.
    Fail(String),
    /// Not done, because an earlier one failed.
    Skipped,
}

/// The list of checks.
pub fn list() -> String {
    ALL.iter().fold(String::new(), |mut out, c| {
        let _ = writeln!(out, "{:<14} {}", c.name, c.about);
        out
    })
}

/// Checks plugins. Returns the report and the number of failed checks.
pub fn validate(files: &[PathBuf], options: &Options) -> anyhow::Result<(String, usize)> {
    for name in options.include.iter().chain(&options.exclude) {
        if !ALL.iter().any(|c| c.name == name) {
            let hint = crate::suggest::hint(name, ALL.iter().map(|c| c.name));
            anyhow::bail!("there is no check `{name}`{hint}");
        }
    }
    let wanted = |c: &&Check| {
        (options.include.is_empty() || options.include.iter().any(|n| n == c.name))
            && !options.exclude.iter().any(|n| n == c.name)
    };
    let mut results = Vec::new();
    for file in files {
        let mut loads = true;
        for check in ALL.iter().filter(wanted) {
            let verdict = if loads { run_check(check, file, options)? } else { Verdict::Skipped };
            loads &= !(check.essential && matches!(verdict, Verdict::Fail(_)));
            results.push((file.as_path(), check, verdict));
        }
    }
    let failed = results.iter().filter(|r| matches!(r.2, Verdict::Fail(_))).count();
    let report = if options.json { json(&results) } else { text(&results) };
    Ok((report, failed))
}

/// The hidden subcommand: does one check in this process and prints the verdict.
pub fn check_here(name: &str, file: &Path, dir: &Path) -> String {
    let verdict = match ALL.iter().find(|c| c.name == name) {
        Some(check) => (check.run)(file, dir),
        None => Err(format!("there is no check `{name}`")),
    };
    match verdict {
        Ok(note) => format!("\n{PASS}{note}\n"),
        Err(reason) => format!("\n{FAIL}{reason}\n"),
    }
}

fn run_check(check: &Check, file: &Path, options: &Options) -> anyhow::Result<Verdict> {
    let dir = TempDir::new()?;
    let exe = std::env::current_exe().context("the host's own executable is not known")?;
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let child = Command::new(exe)
        .args(["plugin", "check-here", check.name])
        .arg(&file)
        .arg(&dir.0)
        .current_dir(&dir.0)
        // Its guest ends with it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("a check cannot be started")?;
    let seconds = options.timeout.max(1);
    Ok(match wait(child, Duration::from_secs(seconds))? {
        None => Verdict::Fail(format!("it did not end within {seconds} s")),
        Some(out) => judge(&out),
    })
}

/// The output of a child, or `None` when it had to be killed.
fn wait(child: std::process::Child, limit: Duration) -> anyhow::Result<Option<Output>> {
    let pid = rustix::process::Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more when the child was killed.
        let _ = sender.send(child.wait_with_output());
    });
    match receiver.recv_timeout(limit) {
        Ok(out) => Ok(Some(out.context("a check's output cannot be read")?)),
        Err(RecvTimeoutError::Timeout) => {
            // It may have ended just now.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            Ok(None)
        }
        Err(RecvTimeoutError::Disconnected) => anyhow::bail!("a check cannot be waited for"),
    }
}

fn judge(out: &Output) -> Verdict {
    use std::os::unix::process::ExitStatusExt;
    let stdout = String::from_utf8_lossy(&out.stdout);
    if let Some(signal) = out.status.signal() {
        return Verdict::Fail(format!("it crashed: signal {signal}{}", last_line(&out.stderr)));
    }
    let line = stdout.lines().rev().find(|l| l.starts_with(PASS) || l.starts_with(FAIL));
    match line {
        Some(l) => match l.strip_prefix(PASS) {
            Some(note) => Verdict::Pass(note.to_owned()),
            None => Verdict::Fail(l.trim_start_matches(FAIL).to_owned()),
        },
        None => {
            Verdict::Fail(format!("it ended the process: {}{}", out.status, last_line(&out.stderr)))
        }
    }
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rev().find(|l| !l.trim().is_empty()).map_or_else(String::new, |l| format!("; {l}"))
}

type Results<'a> = [(&'a Path, &'a Check, Verdict)];

fn words(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Verdict::Pass(note) => ("pass", note),
        Verdict::Fail(reason) => ("FAIL", reason),
        Verdict::Skipped => ("skip", "it cannot be loaded"),
    }
}

fn text(results: &Results<'_>) -> String {
    let mut out = String::new();
    let mut file = Path::new("");
    for (path, check, verdict) in results {
        if *path != file {
            let _ = writeln!(out, "{}", path.display());
            file = path;
        }
        let (word, note) = words(verdict);
        let _ = writeln!(out, "{}", format!("  {word}  {:<14} {note}", check.name).trim_end());
    }
    out
}

fn json(results: &Results<'_>) -> String {
    let rows: Vec<String> = results
        .iter()
        .map(|(path, check, verdict)| {
            let (word, note) = words(verdict);
            format!(
                "{{\"file\":{},\"check\":{},\"result\":{},\"note\":{}}}",
                quoted(&path.to_string_lossy()),
                quoted(check.name),
                quoted(&word.to_lowercase()),
                quoted(note)
            )
        })
        .collect();
    format!("[{}]\n", rows.join(",\n "))
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A directory for what a plugin writes; removed when dropped.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> anyhow::Result<TempDir> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let n = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("panda-validate-{}-{n}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        Ok(TempDir(dir))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
