//! Vec calls.

use crate::Errno;
use crate::sys::SyscallContext;
use crate::sys::host_call::HostCall;

/// `readv`.
pub fn readv(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `writev`.
pub fn writev(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `vmsplice`.
pub fn vmsplice(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `preadv`.
pub fn preadv(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `pwritev`.
pub fn pwritev(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `preadv2`.
pub fn preadv2(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `pwritev2`.
pub fn pwritev2(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}
