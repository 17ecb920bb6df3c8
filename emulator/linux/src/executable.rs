//! The file a process runs, kept open.
//!
//! `/proc/self/exe` leads to the very file, also when its name is gone: a program may have been
//! unlinked, live in memory only (`memfd_create`), or have been reached through a mount that is no
//! more, as container run times do it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use crate::sys::fds;

/// The open file of a program; a clone is the same descriptor.
#[derive(Clone, Debug)]
pub struct Executable(Arc<Kept>);

#[derive(Debug)]
struct Kept(OwnedFd);

impl Drop for Kept {
    fn drop(&mut self) {
        fds::release(self.0.as_raw_fd());
    }
}

impl Executable {
    /// Keeps `file`, out of the guest's sight.
    pub fn keep(file: OwnedFd) -> Executable {
        Executable(Arc::new(Kept(fds::out_of_the_way(file))))
    }

    /// A path that leads to the file, for calls of this process.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.0.as_raw_fd()).into()
    }

    /// The name the file has now, as the kernel tells it in a link.
    pub fn name(&self) -> Option<PathBuf> {
        std::fs::read_link(self.path()).ok()
    }
}
