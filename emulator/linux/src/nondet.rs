//! Everything a guest learns that differs from run to run, other than through its system calls.
//!
//! One narrow place, so that a recorder can sit here.

use crate::Errno;

/// The sixteen bytes `AT_RANDOM` points to.
pub fn at_random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // SAFETY: the buffer is 16 bytes long. getrandom of at most 256 bytes is never short once the
    // pool is initialised; before that zeros are good enough for a stack-protector seed.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    bytes
}

/// A clock of the host.
pub fn clock(id: i32) -> Result<libc::timespec, Errno> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours; an unknown clock is an error.
    if unsafe { libc::clock_gettime(id, &mut now) } == 0 { Ok(now) } else { Err(Errno::last()) }
}
