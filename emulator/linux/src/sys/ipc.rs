//! Ipc calls.

use crate::sys::SyscallContext;
use crate::sys::host_call::HostCall;
use crate::{Errno, SysResult};

/// `shmctl`.
pub fn shmctl(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `semctl`.
pub fn semctl(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `msgsnd`.
pub fn msgsnd(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `msgrcv`.
pub fn msgrcv(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}

/// `msgctl`.
pub fn msgctl(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `mq_notify`.
pub fn mq_notify(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `ipc`.
pub fn ipc(_ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    Err(Errno::ENOSYS)
}
