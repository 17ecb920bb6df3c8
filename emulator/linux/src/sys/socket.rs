//! Socket calls.

use crate::Errno;
use crate::sys::SyscallContext;
use crate::sys::host_call::HostCall;

/// `accept`.
pub fn accept(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `recvfrom`.
pub fn recvfrom(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `sendmsg`.
pub fn sendmsg(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `recvmsg`.
pub fn recvmsg(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `getsockname`.
pub fn getsockname(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `getpeername`.
pub fn getpeername(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `setsockopt`.
pub fn setsockopt(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `getsockopt`.
pub fn getsockopt(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `accept4`.
pub fn accept4(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `recvmmsg`.
pub fn recvmmsg(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `sendmmsg`.
pub fn sendmmsg(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `socketcall`.
pub fn socketcall(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}
