//! Poll calls.

use crate::sys::SyscallContext;
use crate::sys::host_call::HostCall;
use crate::{Errno, SysResult};

/// `select`.
pub fn select(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `pselect6`.
pub fn pselect6(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `ppoll`.
pub fn ppoll(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `epoll_pwait`.
pub fn epoll_pwait(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `signalfd`.
pub fn signalfd(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `signalfd4`.
pub fn signalfd4(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `epoll_pwait2`.
pub fn epoll_pwait2(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `pselect6_time64`.
pub fn pselect6_time64(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `ppoll_time64`.
pub fn ppoll_time64(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}
