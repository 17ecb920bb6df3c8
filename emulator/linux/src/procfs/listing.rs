//! Directories of `/proc` in which there are entries of the host: descriptors and threads.

use super::{absolute, below_proc, is_own_id, last, number, other_guest};
use crate::Process;
use crate::published::{Guest, Shown, Word};
use crate::sys::fds;

/// Whether `path`, relative to `dirfd`, names one of a host's descriptors in a directory of a guest
/// process's descriptors.
pub fn is_hidden(dirfd: i32, path: &[u8]) -> bool {
    let Some(fd) = number(last(path)) else { return false };
    let Some(full) = absolute(dirfd, path) else { return false };
    match full.rsplitn(2, |&b| b == b'/').nth(1).and_then(directory) {
        Some((None, Kind::Descriptors)) => fds::is_reserved(fd),
        Some((Some(guest), Kind::Descriptors)) => {
            guest.shown().is_some_and(|shown| shown.is_reserved(fd))
        }
        _ => false,
    }
}

/// A directory of `/proc` in which there are entries of the host.
#[derive(Clone, Debug)]
pub enum Listing {
    /// Of this process's descriptors.
    Descriptors,
    /// Of its threads.
    Threads,
    /// Of another guest process's descriptors.
    OthersDescriptors(Box<Shown>),
    /// Of its threads.
    OthersThreads(Box<Shown>),
}

/// What a directory lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Descriptors,
    Threads,
}

impl Listing {
    /// What `fd` lists, if it is such a directory.
    pub fn of(fd: i32) -> Option<Listing> {
        // SAFETY: the structure is plain data that the call fills.
        let on_proc = unsafe {
            let mut fs: libc::statfs = core::mem::zeroed();
            libc::fstatfs(fd, &mut fs) == 0 && fs.f_type == libc::PROC_SUPER_MAGIC
        };
        if !on_proc {
            return None;
        }
        Some(match directory(&absolute(fd, b"")?)? {
            (None, Kind::Descriptors) => Listing::Descriptors,
            (None, Kind::Threads) => Listing::Threads,
            (Some(guest), Kind::Descriptors) => Listing::OthersDescriptors(guest.shown()?.into()),
            (Some(guest), Kind::Threads) => Listing::OthersThreads(guest.shown()?.into()),
        })
    }

    /// Whether the entry `name` is the host's.
    pub fn hides(&self, name: &[u8], process: &Process) -> bool {
        let Some(number) = number(name) else { return false };
        match self {
            Listing::Descriptors => fds::is_reserved(number),
            Listing::Threads => process.threads.iter().all(|t| t.tid != number),
            Listing::OthersDescriptors(shown) => shown.is_reserved(number),
            Listing::OthersThreads(shown) => shown.get(Word::Companion) == number as u64,
        }
    }
}

/// What the directory at an absolute path lists, and of which other guest process if not of this one.
fn directory(path: &[u8]) -> Option<(Option<Guest>, Kind)> {
    let parts = below_proc(path)?;
    let (id, rest) = parts.split_first()?;
    let kind = match rest {
        [b"fd" | b"fdinfo"] | [b"task", _, b"fd" | b"fdinfo"] => Kind::Descriptors,
        [b"task"] => Kind::Threads,
        _ => return None,
    };
    let own = matches!(*id, b"self" | b"thread-self") || is_own_id(id);
    Some((if own { None } else { Some(other_guest(id)?) }, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_descriptors_are_hidden() {
        use std::os::fd::AsRawFd;
        let host = std::fs::File::open("/dev/null").expect("/dev/null opens");
        let (fd, pid) = (host.as_raw_fd(), std::process::id());
        let paths = [format!("/proc/self/fd/{fd}"), format!("/proc/{pid}/task/{pid}/fdinfo/{fd}")];
        let hidden = |p: &String| is_hidden(libc::AT_FDCWD, p.as_bytes());
        assert!(!paths.iter().any(hidden));
        fds::reserve(fd);
        assert!(paths.iter().all(hidden));
        assert!(!hidden(&format!("/proc/1/fd/{fd}")) && !hidden(&format!("/tmp/{fd}")));
        let dir = std::fs::File::open("/proc/self/fd").expect("/proc/self/fd opens");
        assert!(matches!(Listing::of(dir.as_raw_fd()), Some(Listing::Descriptors)));
        assert!(Listing::of(fd).is_none());
        assert!(is_hidden(dir.as_raw_fd(), fd.to_string().as_bytes()));
        fds::release(fd);
    }
}
