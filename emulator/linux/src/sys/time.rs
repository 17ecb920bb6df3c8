//! Time calls.

use crate::sys::SyscallContext;
use crate::sys::host_call::HostCall;
use crate::{Errno, SysResult};

/// `nanosleep`.
pub fn nanosleep(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `gettimeofday`.
pub fn gettimeofday(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `times`.
pub fn times(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `time`.
pub fn time(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `timer_create`.
pub fn timer_create(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `clock_gettime`.
pub fn clock_gettime(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `clock_nanosleep`.
pub fn clock_nanosleep(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `stime`.
pub fn stime(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}
