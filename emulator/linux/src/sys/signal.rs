//! Signal calls.

use crate::sys::SyscallContext;
use crate::{Errno, SysResult};

/// `rt_sigaction`.
pub fn rt_sigaction(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `rt_sigprocmask`.
pub fn rt_sigprocmask(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `rt_sigreturn`.
pub fn rt_sigreturn(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `rt_sigpending`.
pub fn rt_sigpending(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `rt_sigtimedwait`.
pub fn rt_sigtimedwait(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `rt_sigqueueinfo`.
pub fn rt_sigqueueinfo(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `rt_sigsuspend`.
pub fn rt_sigsuspend(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `sigaltstack`.
pub fn sigaltstack(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `rt_tgsigqueueinfo`.
pub fn rt_tgsigqueueinfo(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `signal`.
pub fn signal(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `sigaction`.
pub fn sigaction(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `sgetmask`.
pub fn sgetmask(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `ssetmask`.
pub fn ssetmask(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `sigsuspend`.
pub fn sigsuspend(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `sigpending`.
pub fn sigpending(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `sigreturn`.
pub fn sigreturn(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `sigprocmask`.
pub fn sigprocmask(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}
