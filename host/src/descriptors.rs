//! Keeping the host's own file descriptors out of the guest's way.
//!
//! A guest expects its first `open` to return the descriptor it would return natively, and closes
//! whatever it finds open. So what the host and its plugins open lies above [`fds::floor`], and is
//! reserved.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use emu_linux::sys::fds;

/// Closes the descriptor of a file that lives in a static, which must not be used any more.
pub fn close(fd: BorrowedFd<'_>) {
    fds::release(fd.as_raw_fd());
    // SAFETY: the caller gives the file up; statics are never dropped, so nobody closes it again.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// While it exists, new descriptors are above the guest's.
#[derive(Debug)]
pub struct HighDescriptors {
    placeholders: Vec<OwnedFd>,
    inherited: Vec<i32>,
}

impl HighDescriptors {
    /// Call before the host opens anything that outlives the guest's start.
    pub fn begin() -> std::io::Result<HighDescriptors> {
        let inherited = fds::open_fds();
        let null: OwnedFd = File::open("/dev/null")?.into();
        let floor = fds::floor();
        let mut placeholders = Vec::new();
        loop {
            let fd = rustix::io::fcntl_dupfd_cloexec(&null, 3)?;
            if fd.as_raw_fd() >= floor {
                break;
            }
            placeholders.push(fd);
        }
        placeholders.push(null);
        Ok(HighDescriptors { placeholders, inherited })
    }

    /// Reserves what was opened and frees the descriptors below.
    pub fn end(self) {
        close_all(self.placeholders);
        fds::reserve_open(&self.inherited);
    }
}

/// Closes descriptors, neighbours with one system call.
fn close_all(fds: Vec<OwnedFd>) {
    let mut numbers: Vec<u32> = fds.into_iter().map(|fd| fd.into_raw_fd() as u32).collect();
    numbers.sort_unstable();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        let (first, last) = (run[0], run[run.len() - 1]);
        // SAFETY: the descriptors were owned, and nobody has them any more.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if closed != 0 {
            // An old kernel, or a filter that does not know the call.
            // SAFETY: as above.
            run.iter().for_each(|&fd| unsafe {
                libc::close(fd as i32);
            });
        }
    }
}
