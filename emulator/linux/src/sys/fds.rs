//! File descriptors.
//!
//! The guest's descriptors are the host process's. Those the host has open for itself (logs,
//! plugins' files) are reserved: the guest gets EBADF for them and cannot close or replace them.

use core::sync::atomic::{AtomicI32, Ordering};
use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::RwLock;

use crate::{Errno, published};

/// Lowest reserved descriptor, so that the common check is one comparison.
static LOWEST: AtomicI32 = AtomicI32::new(i32::MAX);
/// All of them.
static RESERVED: RwLock<BTreeSet<i32>> = RwLock::new(BTreeSet::new());

/// Descriptors below this one are the guest's, if the limit on open files allows it.
const FLOOR: i32 = 512;

/// Where the host's descriptors begin: 512, or half of what the process may have open if that is
/// less.
pub fn floor() -> i32 {
    // SAFETY: fills a structure of plain data.
    let limit = unsafe {
        let mut limit: libc::rlimit = core::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur
    };
    (limit / 2).min(FLOOR as u64) as i32
}

/// Moves a descriptor of the host's out of the guest's way and hides it from the guest.
pub fn out_of_the_way(fd: OwnedFd) -> OwnedFd {
    // SAFETY: makes a descriptor, which nobody else has.
    let fd = match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, floor()) } {
        // No room there: it works where it is, too.
        -1 => fd,
        // SAFETY: as above.
        high => unsafe { OwnedFd::from_raw_fd(high) },
    };
    reserve(fd.as_raw_fd());
    fd
}

/// Hides `fd` from the guest.
pub fn reserve(fd: i32) {
    let mut set = RESERVED.write().unwrap_or_else(|e| e.into_inner());
    if set.insert(fd) {
        published::descriptor(fd, true);
    }
    LOWEST.fetch_min(fd, Ordering::Relaxed);
}

/// `fd` is no longer the host's.
pub fn release(fd: i32) {
    let mut set = RESERVED.write().unwrap_or_else(|e| e.into_inner());
    if set.remove(&fd) {
        published::descriptor(fd, false);
    }
    LOWEST.store(set.first().copied().unwrap_or(i32::MAX), Ordering::Relaxed);
}

/// Whether `fd` is the host's.
pub fn is_reserved(fd: i32) -> bool {
    fd >= LOWEST.load(Ordering::Relaxed)
        && RESERVED.read().unwrap_or_else(|e| e.into_inner()).contains(&fd)
}

/// EBADF for a descriptor argument that is the host's.
pub fn check(fd: u64) -> Result<(), Errno> {
    if is_reserved(fd as i32) { Err(Errno::EBADF) } else { Ok(()) }
}

/// EBADF for a descriptor argument that is the host's or is not open.
pub fn check_open(fd: u64) -> Result<(), Errno> {
    check(fd)?;
    // SAFETY: F_GETFD only asks.
    match unsafe { libc::fcntl(fd as i32, libc::F_GETFD) } {
        -1 => Err(Errno::EBADF),
        _ => Ok(()),
    }
}

/// The reserved descriptors from `first` to `last`, in order.
pub fn reserved_between(first: u32, last: u32) -> Vec<u32> {
    let set = RESERVED.read().unwrap_or_else(|e| e.into_inner());
    set.iter()
        .filter_map(|&fd| u32::try_from(fd).ok())
        .filter(|fd| (first..=last).contains(fd))
        .collect()
}

/// Reserves every descriptor that is open now and was opened by the host: all but the standard
/// three and those in `inherited`.
pub fn reserve_open(inherited: &[i32]) {
    for fd in open_fds() {
        if fd > 2 && !inherited.contains(&fd) {
            reserve(fd);
        }
    }
}

/// The descriptors open in this process.
pub fn open_fds() -> Vec<i32> {
    let Ok(dir) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let mut fds: Vec<i32> =
        dir.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    // The directory's own descriptor is among them and already closed.
    // SAFETY: F_GETFD only asks.
    fds.retain(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1);
    fds.sort_unstable();
    fds
}

/// Closes the guest's close-on-exec descriptors, as `execve` does.
pub fn close_on_exec() {
    for fd in open_fds() {
        // SAFETY: F_GETFD only asks; the descriptor is the guest's to close.
        unsafe {
            if !is_reserved(fd) && libc::fcntl(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0 {
                libc::close(fd);
            }
        }
    }
}
