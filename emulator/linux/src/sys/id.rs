//! User and group ids.

use crate::sys::SyscallContext;
use crate::sys::args::narrow_id;
use crate::{Abi, SysResult};

/// The id that host call `number` gives, cut to 16 bits for i386 (which has `getuid32` and its
/// like for the rest).
fn get(ctx: &SyscallContext<'_>, number: i64) -> SysResult {
    let id = ctx.host(number, [0; 6])?;
    Ok(if ctx.abi == Abi::I386 { u64::from(narrow_id(id as u32)) } else { id })
}

/// `getuid`.
pub fn getuid(ctx: &mut SyscallContext<'_>) -> SysResult {
    get(ctx, libc::SYS_getuid)
}

/// `getgid`.
pub fn getgid(ctx: &mut SyscallContext<'_>) -> SysResult {
    get(ctx, libc::SYS_getgid)
}

/// `geteuid`.
pub fn geteuid(ctx: &mut SyscallContext<'_>) -> SysResult {
    get(ctx, libc::SYS_geteuid)
}

/// `getegid`.
pub fn getegid(ctx: &mut SyscallContext<'_>) -> SysResult {
    get(ctx, libc::SYS_getegid)
}
