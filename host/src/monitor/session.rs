//! Several runs, one after the other, each in a process of its own.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::Context;

use super::client;
use super::command::{self, Command};
use super::os::{self, Forked};
use crate::cli::RunArgs;
use crate::config::Config;
use crate::discover::SearchPath;
use crate::plugin::{Loaded, Wanted, values};
use crate::{log, run, suggest};

/// A guest that runs.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub pid: i32,
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

/// A plugin of the list.
#[derive(Clone, Debug)]
struct Listed {
    name: String,
    wanted: Wanted,
}

/// The plugins and the guest of the next run, and the run there is now.
#[derive(Debug)]
pub struct Session {
    args: RunArgs,
    config: Config,
    search: SearchPath,
    plugins: Vec<Listed>,
    running: Option<Running>,
    stats: Option<String>,
    /// Guests read nothing: stdin has the commands.
    no_stdin: bool,
}

impl Session {
    /// A session with the plugins and the guest of the command line.
    pub fn new(args: &RunArgs, no_stdin: bool) -> anyhow::Result<Session> {
        let config = Config::load(args.settings.config.as_deref())?;
        let search = run::search_path(args, &config);
        let wanted = run::wanted(args, &config)?;
        let mut session = Session {
            args: args.clone(),
            config,
            search,
            plugins: Vec::new(),
            running: None,
            stats: None,
            no_stdin,
        };
        for w in wanted {
            session.add(w).map_err(anyhow::Error::msg)?;
        }
        Ok(session)
    }

    /// Names of the plugins that can be found.
    pub fn known_plugins(&self) -> Vec<String> {
        self.search.all().into_iter().map(|(name, _)| name).collect()
    }

    /// Names of the plugins in the list.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().map(|l| l.name.as_str())
    }

    /// Files of the plugins in the list.
    pub fn files(&self) -> Vec<std::path::PathBuf> {
        let file = |l: &Listed| {
            if crate::discover::is_path(&l.wanted.name) {
                return Some(l.wanted.name.clone().into());
            }
            self.search.find(&l.wanted.name).map(|(path, _)| path)
        };
        self.plugins.iter().filter_map(file).collect()
    }

    /// Whether every plugin of the list can be loaded as its file is now.
    pub fn check_all(&self) -> Result<(), String> {
        self.plugins.iter().try_for_each(|l| self.check(&l.wanted).map(|_| ()))
    }

    /// Opens a plugin in a process of its own, which its initialisers may crash, and checks its arguments; the
    /// plugin's name.
    fn check(&self, wanted: &Wanted) -> Result<String, String> {
        let (mut from, to) = std::io::pipe().map_err(|e| e.to_string())?;
        match os::fork().map_err(|e| format!("no process can be made: {e}"))? {
            Forked::Child => {
                let checked = Loaded::open(&wanted.name, &self.search)
                    .and_then(|loaded| values(&loaded, wanted).map(|_| loaded.entry.name));
                let (status, text) = match checked {
                    Ok(name) => (0, name),
                    Err(e) => (1, e.to_string()),
                };
                // Without a text the parent says what it knows.
                let _ = (&to).write_all(text.as_bytes());
                os::exit_now(status)
            }
            Forked::Parent(pid) => {
                drop(to);
                let mut text = String::new();
                let read = from.read_to_string(&mut text);
                let status = os::wait(pid, true);
                match status.and_then(|s| s.code()) {
                    // One without a name ended by itself.
                    Some(0) if read.is_ok() && !text.is_empty() => Ok(text),
                    Some(1) if !text.is_empty() => Err(text),
                    _ => Err(format!(
                        "plugin `{}` cannot be loaded: its library ends the process{}",
                        wanted.name,
                        status.map_or_else(String::new, |s| format!(" ({s})"))
                    )),
                }
            }
        }
    }

    fn add(&mut self, wanted: Wanted) -> Result<String, String> {
        let name = self.check(&wanted)?;
        if self.listed().any(|n| n == name) {
            return Err(format!("plugin `{name}` is loaded already; `plugin reload` replaces it"));
        }
        self.plugins.push(Listed { name: name.clone(), wanted });
        Ok(name)
    }

    fn position(&self, name: &str) -> Result<usize, String> {
        if let Some(n) = name.parse().ok().filter(|&n: &usize| n < self.plugins.len()) {
            return Ok(n);
        }
        self.plugins.iter().position(|l| l.name == name).ok_or_else(|| {
            let hint = suggest::nearest(name, self.listed())
                .map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
            format!("no plugin `{name}` is loaded{hint}")
        })
    }

    /// Does a command; its answer, or why not.
    pub fn execute(&mut self, line: &str) -> Result<String, String> {
        let command = command::parse(line)?;
        self.reap();
        match command {
            Command::Nothing => Ok(String::new()),
            Command::Help => Ok(command::help()),
            Command::Run { guest, background } => {
                self.start(&guest, background)?;
                if background { Ok(String::new()) } else { self.finish() }
            }
            Command::Wait => self.finish(),
            // They change the list of the next run, too.
            Command::Load(list) => {
                let here = self.relay(line)?;
                let wanted = run::wanted_from(&list, &self.config).map_err(|e| e.to_string())?;
                let names: Vec<_> =
                    wanted.into_iter().map(|w| self.add(w)).collect::<Result<_, _>>()?;
                Ok(here.unwrap_or_else(|| format!("{} loaded\n", names.join(", "))))
            }
            Command::Unload { name, .. } => {
                let at = self.position(&name)?;
                let name = self.plugins[at].name.clone();
                let here = self.relay(&line.replace(&format!(" {at}"), &format!(" {name}")))?;
                self.plugins.remove(at);
                Ok(here.unwrap_or_else(|| format!("{name} unloaded\n")))
            }
            Command::Reload { name, .. } => {
                let at = self.position(&name)?;
                if let Some(here) = self.relay(line)? {
                    return Ok(here);
                }
                self.check(&self.plugins[at].wanted)?;
                Ok(format!("{name} is read again when a guest is run\n"))
            }
            Command::List => {
                if let Some(here) = self.relay(line)? {
                    return Ok(here);
                }
                let mut out = String::new();
                for l in &self.plugins {
                    let _ = writeln!(out, "{}", l.name);
                }
                Ok(if out.is_empty() { "no plugin is loaded\n".to_owned() } else { out })
            }
            Command::Tell { .. } | Command::TellAll(_) | Command::Stop => {
                self.relay(line)?.ok_or_else(|| "no guest is running; `run` starts one".to_owned())
            }
            Command::Stats => match self.relay(line)? {
                Some(here) => Ok(here),
                None => self.stats.clone().ok_or_else(|| "no guest has run yet".to_owned()),
            },
            Command::Quit => Ok(String::new()),
        }
    }

    /// Has the running guest's console do a command; `None` when no guest runs.
    fn relay(&mut self, line: &str) -> Result<Option<String>, String> {
        let Some(r) = &mut self.running else { return Ok(None) };
        match client::send(&r.stream, &mut r.answers, line) {
            Ok(answer) => answer.map(Some),
            Err(_) => {
                self.reap();
                Ok(None)
            }
        }
    }

    /// Starts a run of that guest, or of the last one.
    pub fn start(&mut self, guest: &[String], background: bool) -> Result<(), String> {
        if let Some(r) = &self.running {
            return Err(format!("a guest is running (process {}); `stop` it or `wait`", r.pid));
        }
        if !guest.is_empty() {
            self.args.guest = guest.iter().map(OsString::from).collect();
        }
        if self.args.guest.is_empty() {
            return Err("write: run GUEST ARGS…".to_owned());
        }
        let (ours, theirs) = UnixStream::pair().map_err(|e| e.to_string())?;
        match os::fork().map_err(|e| format!("no process can be made: {e}"))? {
            Forked::Child => {
                drop(ours);
                os::ignore_interruptions(false);
                if self.no_stdin || background {
                    os::no_stdin();
                }
                self.run_here(theirs)
            }
            Forked::Parent(pid) => {
                drop(theirs);
                let copy = ours.try_clone().map_err(|e| e.to_string())?;
                self.running = Some(Running { pid, answers: BufReader::new(copy), stream: ours });
                Ok(())
            }
        }
    }

    /// In the process of the run.
    fn run_here(&self, console: UnixStream) -> ! {
        let wanted: Vec<_> = self.plugins.iter().map(|l| l.wanted.clone()).collect();
        match run::run_with(&self.args, &self.config, &wanted, Some(console)) {
            Ok(outcome) => emu_linux::end_host_process(outcome.status, outcome.stopped_code),
            Err(f) => {
                log::say(&format!("host: error: {}\n", run::with_causes(&f.error)));
                std::process::exit(f.code)
            }
        }
    }

    /// Waits for the end of the run.
    pub fn finish(&mut self) -> Result<String, String> {
        let Some(r) = &self.running else { return Err("no guest is running".to_owned()) };
        os::ignore_interruptions(true);
        let status = os::wait(r.pid, true);
        os::ignore_interruptions(false);
        os::take_terminal();
        self.ended(status);
        Ok(status.map(words).unwrap_or_default())
    }

    /// Notices the end of a run that nobody waits for; how it ended.
    pub fn reap(&mut self) -> Option<ExitStatus> {
        let status = os::wait(self.running.as_ref()?.pid, false)?;
        self.ended(Some(status));
        log::say(&format!("host: {}", words(status)));
        Some(status)
    }

    fn ended(&mut self, _: Option<ExitStatus>) {
        let Some(mut r) = self.running.take() else { return };
        let mut line = String::new();
        let mut stats = String::new();
        while r.answers.read_line(&mut line).is_ok_and(|n| n > 0) {
            if let Some(text) = line.strip_prefix("= ") {
                stats.push_str(text);
            }
            line.clear();
        }
        if !stats.is_empty() {
            self.stats = Some(stats);
        }
    }

    /// What becomes readable when the run ends or answers.
    pub fn running_fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|r| r.stream.as_fd())
    }

    /// Ends the run that there is: asks, then forces.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(r) = &self.running else { return Ok(()) };
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
        r.stream.set_read_timeout(Some(PATIENCE)).context("the run cannot be asked to end")?;
        let pid = r.pid;
        let _ = self.relay("stop");
        if let Some(r) = &self.running {
            // Behind the answer comes the end.
            if os::poll(&[r.stream.as_fd()], PATIENCE.as_millis() as i32) == [false] {
                os::kill(pid);
            }
            let status = os::wait(pid, true);
            self.ended(status);
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nothing runs on behind the user's back.
        let _ = self.stop();
    }
}

/// How a guest ended.
fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the guest ended: status {code}\n"),
        (None, signal) => format!("the guest ended: signal {}\n", signal.unwrap_or(0)),
    }
}
