//! The host's log: through `tracing`, to stderr or a file.
//!
//! The guest owns descriptor 2: it may close it (coreutils do before they end) or point it at a file
//! of its own. So the host talks to a copy of the stderr it was started with. A process that the
//! guest forks has no such copy: it would keep a pipe open that nobody else writes to. It uses
//! descriptor 2 for as long as that is still the host's stderr.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, OnceLock};

use anyhow::Context;
use emu_linux::sys::fds;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::descriptors;

/// Environment variable with a filter in the syntax of `tracing_subscriber`, instead of `-v`.
const FILTER_VARIABLE: &str = "PANDA_LOG";

/// The stderr the host was started with.
static STDERR: OnceLock<Kept> = OnceLock::new();
/// Descriptor of the log, or -1.
static TARGET: AtomicI32 = AtomicI32::new(-1);
/// This process was forked by the guest.
static FORKED: AtomicBool = AtomicBool::new(false);

struct Kept {
    copy: File,
    identity: (u64, u64),
}

/// Starts the log. `verbose` is the number of `-v`.
pub fn start(verbose: u8, file: Option<&Path>) -> anyhow::Result<()> {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    keep_stderr();
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).event_format(Lines);
    match file {
        Some(path) => {
            let file = File::create(path)
                .with_context(|| format!("cannot write the log file {}", path.display()))?;
            let file = File::from(fds::out_of_the_way(file.into()));
            TARGET.store(file.as_raw_fd(), Ordering::Relaxed);
            log.with_writer(Mutex::new(file)).init();
        }
        None => log.with_writer(|| Stderr).init(),
    }
    Ok(())
}

/// Writes to the log without locking or allocating, for signal handlers.
pub fn write_raw(bytes: &[u8]) {
    let fd = TARGET.load(Ordering::Relaxed);
    if fd < 0 && is_forked() {
        return;
    }
    // SAFETY: writes readable bytes. Nothing more can be done when that fails.
    unsafe { libc::write(if fd < 0 { 2 } else { fd }, bytes.as_ptr().cast(), bytes.len()) };
}

/// Writes to the stderr the host was started with, whatever became of the guest's.
pub fn say(text: &str) {
    // Nothing more can be done when that fails.
    let _ = Stderr.write_all(text.as_bytes());
}

/// To be called in a process that the guest forked.
pub fn forked() {
    if !FORKED.swap(true, Ordering::Relaxed)
        && let Some(kept) = STDERR.get()
    {
        let own = kept.copy.as_raw_fd();
        let _ = TARGET.compare_exchange(own, -1, Ordering::Relaxed, Ordering::Relaxed);
        descriptors::close(kept.copy.as_fd());
    }
}

/// Whether this process was forked by the guest.
pub fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

fn keep_stderr() {
    let stderr = io::stderr();
    let Ok(copy) = stderr.as_fd().try_clone_to_owned() else { return };
    let copy = File::from(fds::out_of_the_way(copy));
    let Some(identity) = identity(copy.as_fd()) else { return };
    TARGET.store(copy.as_raw_fd(), Ordering::Relaxed);
    // A second start finds the first one's copy, which is as good.
    let _ = STDERR.set(Kept { copy, identity });
}

/// Device and inode of an open file.
fn identity(fd: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let copy: OwnedFd = fd.try_clone_to_owned().ok()?;
    let meta = File::from(copy).metadata().ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Writes to the host's stderr.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match STDERR.get() {
            None => io::stderr().write(bytes),
            Some(kept) if !is_forked() => (&kept.copy).write(bytes),
            Some(kept) if identity(io::stderr().as_fd()) == Some(kept.identity) => {
                io::stderr().write(bytes)
            }
            // The guest's, or closed.
            Some(_) => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `host: warning: …`, one line an event.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        write!(writer, "host: {level}: ")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
