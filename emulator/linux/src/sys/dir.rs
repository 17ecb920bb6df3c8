//! Dir calls.

use crate::sys::SyscallContext;
use crate::{Errno, SysResult};

/// `getdents`.
pub fn getdents(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `getcwd`.
pub fn getcwd(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `getdents64`.
pub fn getdents64(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `readdir`.
pub fn readdir(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}
