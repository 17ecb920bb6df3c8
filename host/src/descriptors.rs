//! Keeping the host's own file descriptors out of the guest's way.
//!
//! A guest expects its first `open` to return the descriptor it would return natively, and closes
//! whatever it finds open. So what the host and its plugins open lies above [`FLOOR`], and is
//! reserved.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use emu_linux::sys::fds;

/// Descriptors below this one are the guest's.
const FLOOR: i32 = 512;

/// While it exists, new descriptors are at least [`FLOOR`].
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
        let mut placeholders = Vec::new();
        loop {
            let fd = rustix::io::fcntl_dupfd_cloexec(&null, 3)?;
            if fd.as_raw_fd() >= FLOOR {
                break;
            }
            placeholders.push(fd);
        }
        placeholders.push(null);
        Ok(HighDescriptors { placeholders, inherited })
    }

    /// Reserves what was opened and frees the descriptors below.
    pub fn end(self) {
        drop(self.placeholders);
        fds::reserve_open(&self.inherited);
    }
}
