//! The monitor's end in the process that runs the guest.
//!
//! A line is a command. The answer's lines are indented by two spaces; behind them stands a line `ok`, or
//! one that begins with `error: `.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use emu_linux::attention;
use emu_linux::sys::fds;

use super::command::{self, Command};
use super::os;
use crate::cli::RunArgs;
use crate::config::Config;
use crate::machine::WatchedMachine;
use crate::{run, stats};

/// Longest line.
const LONGEST: usize = 64 << 10;

/// Who may ask.
#[derive(Debug)]
pub struct Console {
    listener: Option<(UnixListener, PathBuf)>,
    peers: Vec<Peer>,
    config: Config,
    started: Instant,
    /// Calls of callbacks are counted.
    counts_callbacks: bool,
    /// The first peer is the session this run belongs to.
    session: bool,
}

#[derive(Debug)]
struct Peer {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Console {
    /// A console for a run with these settings: on the socket they name, with an asker that is connected
    /// already, or both.
    pub fn new(
        args: &RunArgs,
        peer: Option<UnixStream>,
        config: &Config,
    ) -> anyhow::Result<Console> {
        let mut console = Console {
            config: config.clone(),
            started: Instant::now(),
            counts_callbacks: args.stats,
            session: peer.is_some(),
            listener: None,
            peers: Vec::new(),
        };
        if let Some(path) = args.monitor.as_deref() {
            let listener = listen(path)
                .with_context(|| format!("the monitor cannot use the socket {}", path.display()))?;
            let listener = UnixListener::from(fds::out_of_the_way(listener.into()));
            os::signal_when_readable(listener.as_fd());
            console.listener = Some((listener, path.to_owned()));
        }
        peer.into_iter().for_each(|p| console.add(p));
        // Somebody may have asked before there was a signal for it.
        attention::request();
        Ok(console)
    }

    fn add(&mut self, stream: UnixStream) {
        let stream = UnixStream::from(fds::out_of_the_way(stream.into()));
        os::signal_when_readable(stream.as_fd());
        self.peers.push(Peer { stream, input: Vec::new() });
    }

    /// Answers everything that has been asked.
    pub fn serve(&mut self, machine: &mut WatchedMachine) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(|(l, _)| l.accept()) {
            self.add(stream);
        }
        let mut n = 0;
        while n < self.peers.len() {
            let open = self.peers[n].read();
            while let Some(line) = self.peers[n].line() {
                let answer = match command::parse(&line) {
                    Ok(command) => self.execute(command, machine),
                    Err(e) => Err(e),
                };
                if self.peers[n].answer(&answer).is_err() {
                    break;
                }
            }
            if open {
                n += 1;
            } else {
                if self.session && n == 0 {
                    self.session = false;
                    machine.engine.shared().request_stop(0, "its session has ended");
                }
                close(self.peers.remove(n).stream);
            }
        }
    }

    fn execute(&self, command: Command, machine: &mut WatchedMachine) -> Result<String, String> {
        let plugins = &mut machine.plugins;
        match command {
            Command::Nothing => Ok(String::new()),
            Command::Help => Ok(command::help()),
            Command::Load(list) => {
                let wanted = run::wanted_from(&list, &self.config).map_err(|e| e.to_string())?;
                plugins.load(&wanted)
            }
            Command::Unload { name, close } => {
                let by_number =
                    name.parse().ok().and_then(|n| plugins.names().get::<usize>(n).cloned());
                let name = by_number.unwrap_or(name);
                plugins.unload(&name, close)
            }
            Command::Reload { name, close } => plugins.reload(&name, close),
            Command::List => Ok(plugins.list()),
            Command::Tell { name, text } => plugins.command_to(&name, &text),
            Command::TellAll(text) => plugins.command_all(&text),
            Command::Stats => Ok(self.stats(machine)),
            Command::Stop => {
                machine.engine.shared().request_stop(0, "the monitor asked for it");
                Ok("the run ends\n".to_owned())
            }
            Command::Run { .. } => {
                Err("a guest is running; `stop` it first, and use `host --repl` for several runs"
                    .into())
            }
            Command::Wait => Err("only the prompt of `host --repl` can wait".into()),
            Command::Quit => Err("close the connection to leave; `stop` ends the run".into()),
        }
    }

    fn stats(&self, machine: &WatchedMachine) -> String {
        let mut counts = machine.engine.stats();
        if !self.counts_callbacks {
            counts.callbacks.clear();
        }
        let report = stats::report(&counts, self.started.elapsed(), &machine.plugins);
        report + &machine.plugins.retired_memory()
    }

    /// Tells a session at the end of its run what was executed.
    pub fn farewell(mut self, stats: &str) {
        if !self.session {
            return;
        }
        let text = stats.lines().fold(String::new(), |out, l| out + "= " + l + "\n");
        if let Some(peer) = self.peers.first_mut() {
            // A session that is gone needs no statistics.
            let _ = peer.write(text.as_bytes());
        }
    }

    /// In a process that the guest forked: the monitor stays with its parent.
    pub fn forget(&mut self) {
        if let Some((listener, _)) = self.listener.take() {
            fds::release(listener.as_raw_fd());
        }
        self.peers.drain(..).for_each(|p| close(p.stream));
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some((listener, path)) = self.listener.take() {
            fds::release(listener.as_raw_fd());
            let _ = std::fs::remove_file(path);
        }
        self.peers.drain(..).for_each(|p| close(p.stream));
    }
}

fn close(stream: UnixStream) {
    fds::release(stream.as_raw_fd());
}

/// A socket there that nobody listens to any more is replaced.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                return Err(io::Error::other("another host listens there"));
            }
            let is_socket = std::os::unix::fs::FileTypeExt::is_socket(
                &std::fs::symlink_metadata(path)?.file_type(),
            );
            if !is_socket {
                return Err(io::Error::other("there is a file of that name"));
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    // Commands run code: they are for the user alone.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Peer {
    /// Reads what is there; false when the other side is gone.
    fn read(&mut self) -> bool {
        let mut part = [0; 4096];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => return false,
                Ok(n) => self.input.extend_from_slice(&part[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if self.input.len() > LONGEST {
                return false;
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let end = self.input.iter().position(|&b| b == b'\n')?;
        let line: Vec<u8> = self.input.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim().to_owned())
    }

    fn answer(&mut self, answer: &Result<String, String>) -> io::Result<()> {
        let (lines, last) = match answer {
            Ok(text) => (text.as_str(), "ok".to_owned()),
            Err(text) => match text.split_once('\n') {
                Some((first, rest)) => (rest, format!("error: {first}")),
                None => ("", format!("error: {text}")),
            },
        };
        let mut out = lines.lines().fold(String::new(), |out, l| out + "  " + l + "\n");
        out += &last;
        out.push('\n');
        self.write(out.as_bytes())
    }

    /// Writes; one that does not read must not hold up the guest.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        let result = self.stream.write_all(bytes);
        self.stream.set_nonblocking(true)?;
        result
    }
}
