//! Fd calls.

use crate::sys::SyscallContext;
use crate::sys::host_call::HostCall;
use crate::{Errno, SysResult};

/// `dup`.
pub fn dup(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `dup2`.
pub fn dup2(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `fcntl`.
pub fn fcntl(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `dup3`.
pub fn dup3(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `close_range`.
pub fn close_range(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `fcntl64`.
pub fn fcntl64(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}
