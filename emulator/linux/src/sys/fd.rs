//! Calls on file descriptors themselves.

use crate::abi::layout::Struct;
use crate::abi::structs::{FLOCK, FLOCK64, I64, OWNER_EX};
use crate::sys::host_call::{Buffer, CopyBack, HostCall};
use crate::sys::{SyscallContext, fds};
use crate::{Abi, Errno, SysResult};

/// `close`.
pub fn close(ctx: &mut SyscallContext<'_>) -> SysResult {
    fds::check(ctx.args[0])?;
    ctx.host(libc::SYS_close, ctx.args)
}

/// `dup`.
pub fn dup(ctx: &mut SyscallContext<'_>) -> SysResult {
    fds::check(ctx.args[0])?;
    ctx.host(libc::SYS_dup, ctx.args)
}

/// `dup2`.
pub fn dup2(ctx: &mut SyscallContext<'_>) -> SysResult {
    fds::check(ctx.args[0])?;
    fds::check(ctx.args[1])?;
    ctx.host(libc::SYS_dup2, ctx.args)
}

/// `dup3`.
pub fn dup3(ctx: &mut SyscallContext<'_>) -> SysResult {
    fds::check(ctx.args[0])?;
    fds::check(ctx.args[1])?;
    ctx.host(libc::SYS_dup3, ctx.args)
}

/// `close_range`: everything in the range but the host's own descriptors.
pub fn close_range(ctx: &mut SyscallContext<'_>) -> SysResult {
    let (first, last, flags) = (ctx.args[0] as u32, ctx.args[1] as u32, ctx.args[2]);
    if first > last {
        return Err(Errno::EINVAL);
    }
    let mut from = Some(first);
    let close = |from: u32, to: u32| {
        ctx.host(libc::SYS_close_range, [u64::from(from), u64::from(to), flags, 0, 0, 0])
    };
    for hole in fds::reserved_between(first, last) {
        if let Some(start) = from
            && start < hole
        {
            close(start, hole - 1)?;
        }
        from = hole.checked_add(1).filter(|&n| n <= last);
    }
    match from {
        Some(start) => close(start, last),
        None => Ok(0),
    }
}

/// What the third argument of an `fcntl` command is.
enum Argument {
    Value,
    Read(&'static Struct),
    Write(&'static Struct),
    Both(&'static Struct),
}

const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
const F_GETOWNER_UIDS: i32 = 17;
const F_SET_FILE_RW_HINT: i32 = 1038;
const F_GET_FILE_RW_HINT: i32 = 1037;
const F_SET_RW_HINT: i32 = 1036;
const F_GET_RW_HINT: i32 = 1035;
/// The i386 numbers of the commands with 64-bit positions.
const F_GETLK64: i32 = 12;
const F_SETLK64: i32 = 13;
const F_SETLKW64: i32 = 14;

/// `fcntl`: on i386 locks have 32-bit positions.
pub fn fcntl(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let command = ctx.int(1);
    let wide = matches!(
        command,
        F_GETLK64
            | F_SETLK64
            | F_SETLKW64
            | libc::F_OFD_GETLK
            | libc::F_OFD_SETLK
            | libc::F_OFD_SETLKW
    );
    if ctx.abi == Abi::I386 && wide {
        return Err(Errno::EINVAL);
    }
    fcntl64(ctx)
}

/// `fcntl64`.
pub fn fcntl64(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    fds::check(ctx.args[0])?;
    let mut command = ctx.int(1);
    let mut lock = &FLOCK;
    if ctx.abi == Abi::I386 {
        lock = match command {
            F_GETLK64 | F_SETLK64 | F_SETLKW64 => &FLOCK64,
            libc::F_OFD_GETLK | libc::F_OFD_SETLK | libc::F_OFD_SETLKW => &FLOCK64,
            _ => &FLOCK,
        };
        command = match command {
            F_GETLK64 => libc::F_GETLK,
            F_SETLK64 => libc::F_SETLK,
            F_SETLKW64 => libc::F_SETLKW,
            other => other,
        };
    }
    let argument = match command {
        libc::F_GETLK | libc::F_OFD_GETLK => Argument::Both(lock),
        libc::F_SETLK | libc::F_SETLKW | libc::F_OFD_SETLK | libc::F_OFD_SETLKW => {
            Argument::Read(lock)
        }
        F_SETOWN_EX => Argument::Read(&OWNER_EX),
        F_GETOWN_EX => Argument::Write(&OWNER_EX),
        F_GETOWNER_UIDS => Argument::Write(&OWNER_EX),
        F_SET_RW_HINT | F_SET_FILE_RW_HINT => Argument::Read(&I64),
        F_GET_RW_HINT | F_GET_FILE_RW_HINT => Argument::Write(&I64),
        _ => Argument::Value,
    };
    let mut call = HostCall::new(libc::SYS_fcntl, ctx.args);
    call.args[1] = command as u64;
    let guest = ctx.args[2];
    let (shape, reads, back) = match argument {
        Argument::Value => return Ok(call),
        Argument::Read(s) => (s, true, CopyBack::Never),
        Argument::Write(s) => (s, false, CopyBack::Success),
        Argument::Both(s) => (s, true, CopyBack::Success),
    };
    let mut host = vec![0u64; shape.host_size.div_ceil(8)].into_boxed_slice();
    if reads {
        for (word, bytes) in host.iter_mut().zip(ctx.read_struct(guest, shape)?.chunks(8)) {
            let mut w = [0; 8];
            w[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(w);
        }
    } else {
        ctx.prepare_write(guest, ctx.size_of(shape) as u64)?;
    }
    call.args[2] = host.as_ptr() as u64;
    Ok(call.with(Buffer { guest, shape, count: 1, host, back }))
}
