//! Files plugins write.

use core::cell::RefCell;
use core::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Error;
use super::instance::Shared;
use crate::abi::level;

const BUFFER: usize = 64 * 1024;

/// A buffered output file in the host's output directory.
///
/// What is buffered is written when the buffer is full, when the host asks for it (before a fork,
/// before the host dies of a signal) and when the value is dropped. Writes append whole lines, so that the
/// processes of a guest that forks share the file without tearing each other's lines.
///
/// A write that fails, for instance on a full disk, is reported in the host's log with what was
/// lost; the plugin has nothing to check. Therefore `writeln!(output, …)` yields `()`:
///
/// ```
/// # use plugin_api::Output;
/// fn log(output: &mut Output, pc: u64) {
///     writeln!(output, "PC={pc:016x}");
/// }
/// ```
#[derive(Debug)]
pub struct Output {
    inner: Rc<RefCell<Inner>>,
}

/// The file behind an [`Output`].
pub(crate) struct Inner {
    shared: Rc<Shared>,
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    lost: u64,
    failing: bool,
}

impl Output {
    pub(crate) fn open(shared: &Rc<Shared>, dir: &Path, path: &Path) -> Result<Output, Error> {
        shared.check_alive()?;
        let path = dir.join(path);
        let io = |source| Error::Io { what: format!("cannot open {}", path.display()), source };
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        let file = out_of_the_way(file);
        let continued = match shared.host.os.continued {
            // SAFETY: host function with the handle it gave us.
            Some(f) => unsafe { f(shared.host.plugin) != 0 },
            None => false,
        };
        // Only regular files can be emptied; a terminal or pipe need not be.
        if !continued && file.metadata().map_err(io)?.is_file() {
            file.set_len(0).map_err(io)?;
        }
        shared.hide_fd(file.as_raw_fd(), true);
        let inner = Rc::new(RefCell::new(Inner {
            shared: shared.clone(),
            file,
            path,
            buffer: Vec::with_capacity(BUFFER),
            lost: 0,
            failing: false,
        }));
        shared.outputs.borrow_mut().push(Rc::downgrade(&inner));
        Ok(Output { inner })
    }

    /// Appends formatted text; what `write!` and `writeln!` call.
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) {
        let mut inner = self.inner.borrow_mut();
        // Writing to a Vec cannot fail; a `Display` that fails leaves a shortened line.
        let _ = inner.buffer.write_fmt(text);
        inner.flush_if_full();
    }

    /// Appends bytes.
    pub fn write_all(&mut self, bytes: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        inner.buffer.extend_from_slice(bytes);
        inner.flush_if_full();
    }

    /// Writes what is buffered; false when that failed, which is in the host's log then.
    pub fn flush(&mut self) -> bool {
        self.inner.borrow_mut().flush_all()
    }

    /// Where the file is.
    pub fn path(&self) -> PathBuf {
        self.inner.borrow().path.clone()
    }

    /// Bytes that could not be written so far.
    pub fn lost(&self) -> u64 {
        self.inner.borrow().lost
    }
}

/// Moves a file to a high descriptor: the guest shares the process's descriptors, and the numbers it
/// gets must be those it would get without the plugin.
fn out_of_the_way(file: File) -> File {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let lowest = limit.unwrap_or(4096).min(4096).saturating_sub(128) as i32;
    match rustix::io::fcntl_dupfd_cloexec(&file, lowest) {
        Ok(high) => high.into(),
        // No room there: it works where it is, too.
        Err(_) => file,
    }
}

/// For code that takes any writer. Never fails, as explained at [`Output`].
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Output::flush(self);
        Ok(())
    }
}

impl Inner {
    fn flush_if_full(&mut self) {
        if self.buffer.len() >= BUFFER {
            // Up to the end of the last line, so that lines stay whole.
            let end = self.buffer.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            // A line longer than the buffer is written in pieces.
            self.flush_bytes(if end == 0 { self.buffer.len() } else { end });
        }
    }

    pub(crate) fn flush_all(&mut self) -> bool {
        self.flush_bytes(self.buffer.len())
    }

    fn flush_bytes(&mut self, count: usize) -> bool {
        if count == 0 {
            return true;
        }
        let mut rest = &self.buffer[..count];
        let result = loop {
            match self.file.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) if n == rest.len() => break Ok(()),
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        let lost = if result.is_ok() { 0 } else { rest.len() as u64 };
        self.buffer.drain(..count);
        self.lost += lost;
        match result {
            Ok(()) => {
                self.failing = false;
                true
            }
            Err(e) => {
                // One message when it starts, not one per buffer.
                if !core::mem::replace(&mut self.failing, true) {
                    let text =
                        format!("cannot write {}: {e}; output is being lost", self.path.display());
                    self.shared.log(level::ERROR, &text);
                }
                false
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.flush_all();
        if self.lost > 0 {
            let text = format!("{} bytes of {} were lost", self.lost, self.path.display());
            self.shared.log(level::ERROR, &text);
        }
        self.shared.hide_fd(self.file.as_raw_fd(), false);
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("path", &self.path).finish_non_exhaustive()
    }
}
