//! Scattered reads and writes.

use crate::Errno;
use crate::abi::structs::IOVEC;
use crate::sys::host_call::{Buffer, HostCall};
use crate::sys::{SyscallContext, fds, pass};

/// `UIO_MAXIOV`: the most elements the kernel takes.
const MAX: u64 = 1024;

/// A guest's iovec array as the host's, each buffer checked, and made ready for writing if the
/// kernel fills it.
pub fn read_iovec(
    ctx: &mut SyscallContext<'_>,
    addr: u64,
    count: u64,
    fills: bool,
    too_many: Errno,
) -> Result<Buffer, Errno> {
    if count > MAX {
        return Err(too_many);
    }
    let mut words = Vec::with_capacity(2 * count as usize);
    let size = ctx.size_of(&IOVEC);
    let raw = ctx.read_vec(addr, size * count as usize)?;
    for one in raw.chunks(size) {
        let (base, len) = split(one);
        // A negative ssize_t, of the guest's width.
        if len >> (8 * ctx.abi.word() - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        let len = pass::clamp(ctx.process.abi, base, len)?;
        if fills {
            ctx.prepare_write(base, len)?;
        }
        words.extend([base, len]);
    }
    Ok(Buffer::input(words.into_boxed_slice()))
}

/// Base and length of one element of either width.
fn split(raw: &[u8]) -> (u64, u64) {
    let half = raw.len() / 2;
    let word = |b: &[u8]| b.iter().rev().fold(0, |n, &x| n << 8 | u64::from(x));
    (word(&raw[..half]), word(&raw[half..]))
}

fn prepare(
    ctx: &mut SyscallContext<'_>,
    number: i64,
    fills: bool,
    tail: [u64; 3],
) -> Result<HostCall, Errno> {
    fds::check(ctx.args[0])?;
    let iov = read_iovec(ctx, ctx.args[1], ctx.args[2], fills, Errno::EINVAL)?;
    let args = [ctx.args[0], iov.address(), ctx.args[2], tail[0], tail[1], tail[2]];
    Ok(HostCall::new(number, args).with(iov))
}

/// `readv`.
pub fn readv(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    prepare(ctx, libc::SYS_readv, true, [0; 3])
}

/// `writev`.
pub fn writev(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    prepare(ctx, libc::SYS_writev, false, [0; 3])
}

/// `preadv`.
pub fn preadv(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    prepare(ctx, libc::SYS_preadv, true, [ctx.args[3], 0, 0])
}

/// `pwritev`.
pub fn pwritev(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    prepare(ctx, libc::SYS_pwritev, false, [ctx.args[3], 0, 0])
}

/// `preadv2`.
pub fn preadv2(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    prepare(ctx, libc::SYS_preadv2, true, [ctx.args[3], 0, ctx.args[4]])
}

/// `pwritev2`.
pub fn pwritev2(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    prepare(ctx, libc::SYS_pwritev2, false, [ctx.args[3], 0, ctx.args[4]])
}

/// `vmsplice`: reads the memory or, on the read end of a pipe, fills it.
pub fn vmsplice(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    prepare(ctx, libc::SYS_vmsplice, true, [ctx.args[3], 0, 0])
}
