//! Ioctl calls.

use crate::Errno;
use crate::sys::SyscallContext;
use crate::sys::host_call::HostCall;

/// `ioctl`.
pub fn ioctl(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}
