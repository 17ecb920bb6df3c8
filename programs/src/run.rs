//! One run of an entry, and what it left behind.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::table::{Program, Table};

/// How an entry is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// By the processor.
    Native,
    /// Under the host.
    Hosted,
    /// Under the host with plugins.
    Watched,
}

/// What all runs share.
#[derive(Debug)]
pub struct Runner {
    /// The host's executable.
    pub host: PathBuf,
    /// The host's tier, if not its own choice.
    pub tier: Option<String>,
    /// Sources of the programs, `$SOURCES`.
    pub sources: PathBuf,
    /// Where foreign packages are unpacked, `$GUESTS`.
    pub guests: PathBuf,
    /// Where the programs run.
    pub scratch: PathBuf,
    /// Whether what they leave is kept.
    pub keep: bool,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    stdout: String,
    stderr: String,
    status: ExitStatus,
    timed_out: bool,
    /// Wall time.
    pub seconds: f64,
}

/// The first thing the entry needs that is absent.
pub fn absent(program: &Program, guests: &Path) -> Option<String> {
    let found = |need: &str| {
        let need = need.replace("$GUESTS", &guests.to_string_lossy());
        if need.contains('/') {
            return Path::new(&need).exists();
        }
        path().split(':').any(|dir| Path::new(dir).join(&need).exists())
    };
    program.needs.iter().find(|need| !found(need)).cloned()
}

/// `PATH` of the programs: Debian's, then Rust's.
fn path() -> String {
    let cargo = Path::new(env!("CARGO")).parent().unwrap_or(Path::new("/"));
    format!("/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:{}", cargo.display())
}

impl Runner {
    /// Prepares the entry's directory, which has the same name in every mode, and runs the script.
    pub fn run(&self, table: &Table, program: &Program, mode: Mode) -> anyhow::Result<Run> {
        // Without blanks, which some programs cannot have in a path.
        let base = self.scratch.join(program.name.replace(' ', "-"));
        let dir = base.join("work");
        let logs = base.join("plugins");
        for d in [&dir, &logs] {
            let _ = std::fs::remove_dir_all(d);
            std::fs::create_dir_all(d)?;
        }
        let mut setup = self.bash(None, &format!("set -e\n{}", program.setup), &dir);
        let out = setup.stdin(Stdio::null()).output().context("bash")?;
        ensure!(
            out.status.success(),
            "its setup fails: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
        let wrapper = match mode {
            Mode::Native => None,
            Mode::Hosted => Some(vec!["--plugins".into(), String::new()]),
            Mode::Watched => Some(vec![
                "--plugins".into(),
                "syscalls,textprinter".into(),
                "--out-dir".into(),
                logs.display().to_string(),
            ]),
        };
        let mut command = self.bash(wrapper, &program.script, &dir);
        let name = |stream| base.join(format!("{stream}-{mode:?}"));
        command
            .stdin(Stdio::null())
            .stdout(File::create(name("stdout"))?)
            .stderr(File::create(name("stderr"))?)
            .process_group(0);
        let started = Instant::now();
        let mut child = command.spawn().context("bash")?;
        let group = child.id() as i32;
        let (done, watch) = mpsc::channel::<()>();
        let limit = Duration::from_secs(program.limit * if mode == Mode::Native { 1 } else { 3 });
        let watcher = std::thread::spawn(move || {
            let late = watch.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                end_group(group);
            }
            late
        });
        let status = child.wait()?;
        let seconds = started.elapsed().as_secs_f64();
        drop(done);
        let timed_out = watcher.join().unwrap_or(false);
        // Servers that the script did not end would disturb the next run.
        end_group(group);
        let text = |stream| self.normalized(table, program, &name(stream));
        let run =
            Run { stdout: text("stdout")?, stderr: text("stderr")?, status, timed_out, seconds };
        if !self.keep {
            std::fs::remove_dir_all(&base)?;
        }
        Ok(run)
    }

    /// `bash` with the surroundings every script has, under the host if `wrapper` has its arguments.
    fn bash(&self, wrapper: Option<Vec<String>>, script: &str, dir: &Path) -> Command {
        let mut command = match wrapper {
            None => Command::new("/bin/bash"),
            Some(args) => {
                let mut command = Command::new(&self.host);
                command.args(args);
                if let Some(tier) = &self.tier {
                    command.args(["--tier", tier]);
                }
                command.args(["--", "/bin/bash"]);
                command
            }
        };
        command.args(["-c", script, "script"]).current_dir(dir).env_clear();
        for (key, value) in [
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("TERM", "dumb"),
            ("USER", "user"),
            ("LOGNAME", "user"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
        ] {
            command.env(key, value);
        }
        command.env("PATH", path()).env("HOME", dir).env("TMPDIR", dir).env("GUESTS", &self.guests);
        command.env("SOURCES", &self.sources);
        command
    }

    fn normalized(&self, table: &Table, program: &Program, file: &Path) -> anyhow::Result<String> {
        let mut sed = Command::new("sed");
        sed.arg("-E").env("LC_ALL", "C");
        for name in &program.normalize {
            sed.arg("-e").arg(table.normalizers[name].sed.trim());
        }
        let out = sed.args(["-e", ""]).arg(file).output().context("sed")?;
        ensure!(
            out.status.success(),
            "a normalizer fails: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

/// Kills what is left of a process group that this program started.
fn end_group(group: i32) {
    // SAFETY: takes numbers only; the group is one that `run` made.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

impl Run {
    /// Why a native run cannot be compared with, if it cannot.
    pub fn unusable(&self, program: &Program) -> Option<String> {
        if self.timed_out {
            return Some("it exceeded its limit of time".into());
        }
        if self.status.code() != Some(program.status) {
            let (status, wanted) = (describe(self.status), program.status);
            return Some(format!("it ended with {status}, not {wanted}\n{}", tail(&self.stderr)));
        }
        self.stdout.is_empty().then(|| "it printed nothing".into())
    }

    /// What differs from the native run.
    pub fn differences(&self, native: &Run, how: &str) -> Vec<String> {
        let mut found = Vec::new();
        if self.timed_out {
            found.push(format!("{how}: exceeded its limit of time"));
        }
        if self.status != native.status {
            let (is, was) = (describe(self.status), describe(native.status));
            found.push(format!("{how}: {is} instead of {was}"));
        }
        for (what, is, was) in
            [("stdout", &self.stdout, &native.stdout), ("stderr", &self.stderr, &native.stderr)]
        {
            if is != was {
                found.push(format!("{how}: {what} differs, {}", first_difference(is, was)));
            }
        }
        found
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or(0)),
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// The first line in which two texts differ.
fn first_difference(is: &str, was: &str) -> String {
    let (mut a, mut b) = (is.lines(), was.lines());
    let mut n = 0;
    loop {
        n += 1;
        match (a.next(), b.next()) {
            (Some(x), Some(y)) if x == y => {}
            (None, None) => return "in how its last line ends".into(),
            (x, y) => {
                let show = |l: Option<&str>| l.map_or("nothing".into(), |l| format!("{l:?}"));
                return format!("line {n}: {} instead of {}", show(x), show(y));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found() {
        let run = |out: &str, status| Run {
            stdout: out.into(),
            stderr: String::new(),
            status: ExitStatus::from_raw(status),
            timed_out: false,
            seconds: 0.0,
        };
        assert!(run("a\n", 0).differences(&run("a\n", 0), "host").is_empty());
        assert_eq!(
            run("a\nc\n", 11).differences(&run("a\nb\n", 256), "host"),
            [
                "host: signal 11 instead of status 1",
                "host: stdout differs, line 2: \"c\" instead of \"b\"",
            ]
        );
        assert_eq!(first_difference("a", "a\n"), "in how its last line ends");
        assert_eq!(first_difference("", "a"), "line 1: nothing instead of \"a\"");
    }
}
