//! Which program a guest process runs, for other guests.
//!
//! `/proc/PID/exe` of a guest is the host to other processes, and to tell the kernel another file takes
//! privileges. So each guest keeps a file in memory open that holds its program's path, which a guest
//! that looks at another finds there. A forked child shows its parent's until it runs another program.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::sys::fds;

/// The file's name, and how `/proc/PID/fd` shows it.
const NAME: &core::ffi::CStr = c"panda-program";
const LINK: &str = "/memfd:panda-program (deleted)";

/// The file in memory of this process.
static FILE: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Lets others know the program that has just been loaded. Without memory for it they do not.
pub fn publish(program: &Path) {
    // SAFETY: a NUL-terminated name; the descriptor is new.
    let made = unsafe {
        match libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC) {
            -1 => return,
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    let mut file = File::from(fds::out_of_the_way(made));
    let written = file.write_all(program.as_os_str().as_bytes());
    let mut current = FILE.lock().unwrap_or_else(|e| e.into_inner());
    let old = current.replace(file.into());
    let bad = if written.is_err() { current.take() } else { None };
    for gone in [old, bad].into_iter().flatten() {
        fds::release(gone.as_raw_fd());
    }
}

/// The program of guest process `pid`; `None` for one that is no guest, or another user's.
pub fn program_of(pid: i32) -> Option<PathBuf> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let mut paths = fds.flatten().map(|e| e.path());
    let path = paths.find(|p| std::fs::read_link(p).is_ok_and(|l| l.as_os_str() == LINK))?;
    let mut raw = Vec::new();
    File::open(path).ok()?.read_to_end(&mut raw).ok()?;
    Some(PathBuf::from(OsString::from_vec(raw)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_last_is_found() {
        publish(Path::new("/bin/first"));
        publish(Path::new("/bin/second"));
        let pid = std::process::id() as i32;
        assert_eq!(program_of(pid), Some(PathBuf::from("/bin/second")));
    }
}
