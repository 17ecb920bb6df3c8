//! System V IPC and message queues.

use crate::abi::layout::Struct;
use crate::abi::structs::{
    MSGINFO, MSQID64_DS, SEMID64_DS, SEMINFO, SHM_INFO, SHMID64_DS, SHMINFO64, SIGEVENT,
};
use crate::sys::host_call::{HostCall, syscall};
use crate::sys::{SyscallContext, X86_64_NUMBER, multiplex};
use crate::{Abi, Errno, SysResult};

/// Flag of i386 commands: the structures are the 64-bit-id ones, the only ones known here.
const IPC_64: i32 = 0x100;

const IPC_RMID: i32 = 0;
const IPC_SET: i32 = 1;
const IPC_STAT: i32 = 2;
const IPC_INFO: i32 = 3;
const GETALL: i32 = 13;
const SETALL: i32 = 17;

/// A control command with a structure argument. `shape` is what the host transfers.
fn control(
    ctx: &mut SyscallContext<'_>,
    number: i64,
    args: [u64; 6],
    pointer: usize,
    shape: &'static Struct,
    writes: bool,
) -> SysResult {
    let guest = args[pointer];
    let mut host = vec![0u64; shape.host_size.div_ceil(8)];
    if !writes {
        let raw = ctx.read_struct(guest, shape)?;
        for (word, bytes) in host.iter_mut().zip(raw.chunks(8)) {
            *word = bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
        }
    }
    let mut args = args;
    args[pointer] = host.as_mut_ptr() as u64;
    let value = syscall(number, &args, false)?;
    if writes {
        let raw: Vec<u8> = host.iter().flat_map(|w| w.to_le_bytes()).collect();
        ctx.write_struct(guest, shape, &raw)?;
    }
    Ok(value)
}

/// `shmctl`.
pub fn shmctl(ctx: &mut SyscallContext<'_>) -> SysResult {
    let command = ctx.int(1) & !IPC_64;
    let args = [ctx.args[0], command as u64, ctx.args[2], 0, 0, 0];
    let number = libc::SYS_shmctl;
    match command {
        IPC_SET => control(ctx, number, args, 2, &SHMID64_DS, false),
        // SHM_STAT, SHM_STAT_ANY.
        IPC_STAT | 13 | 15 => control(ctx, number, args, 2, &SHMID64_DS, true),
        IPC_INFO => control(ctx, number, args, 2, &SHMINFO64, true),
        // SHM_INFO.
        14 => control(ctx, number, args, 2, &SHM_INFO, true),
        // SHM_LOCK, SHM_UNLOCK.
        IPC_RMID | 11 | 12 => syscall(number, &[args[0], args[1], 0, 0, 0, 0], false),
        _ => Err(Errno::EINVAL),
    }
}

/// `msgctl`.
pub fn msgctl(ctx: &mut SyscallContext<'_>) -> SysResult {
    let command = ctx.int(1) & !IPC_64;
    let args = [ctx.args[0], command as u64, ctx.args[2], 0, 0, 0];
    let number = libc::SYS_msgctl;
    match command {
        IPC_SET => control(ctx, number, args, 2, &MSQID64_DS, false),
        // MSG_STAT, MSG_STAT_ANY.
        IPC_STAT | 11 | 13 => control(ctx, number, args, 2, &MSQID64_DS, true),
        // MSG_INFO.
        IPC_INFO | 12 => control(ctx, number, args, 2, &MSGINFO, true),
        IPC_RMID => syscall(number, &[args[0], args[1], 0, 0, 0, 0], false),
        _ => Err(Errno::EINVAL),
    }
}

/// `semctl`.
pub fn semctl(ctx: &mut SyscallContext<'_>) -> SysResult {
    let command = ctx.int(2) & !IPC_64;
    let args = [ctx.args[0], ctx.args[1], command as u64, ctx.args[3], 0, 0];
    let number = libc::SYS_semctl;
    match command {
        IPC_SET => control(ctx, number, args, 3, &SEMID64_DS, false),
        // SEM_STAT, SEM_STAT_ANY.
        IPC_STAT | 18 | 20 => control(ctx, number, args, 3, &SEMID64_DS, true),
        // SEM_INFO.
        IPC_INFO | 19 => control(ctx, number, args, 3, &SEMINFO, true),
        GETALL | SETALL => {
            let mut st = [0u64; 13];
            let stat = [args[0], 0, IPC_STAT as u64, st.as_mut_ptr() as u64, 0, 0];
            syscall(number, &stat, false)?;
            // sem_nsems, of two bytes each.
            ctx.prepare_write(args[3], 2 * st[10])?;
            syscall(number, &args, false)
        }
        // IPC_RMID, GETPID, GETVAL, GETNCNT, GETZCNT, SETVAL: no pointer.
        IPC_RMID | 11 | 12 | 14 | 15 | 16 => syscall(number, &args, false),
        _ => Err(Errno::EINVAL),
    }
}

/// Largest message: `msgmax` may be raised, but not beyond reason.
const MAX_MESSAGE: u64 = 16 << 20;

/// `msgsnd`.
pub fn msgsnd(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [id, message, size, flags, ..] = ctx.args;
    if size > MAX_MESSAGE {
        return Err(Errno::EINVAL);
    }
    let word = ctx.abi.word();
    ctx.check_range(message, word + size)?;
    let call = HostCall::new(libc::SYS_msgsnd, [id, message, size, flags, 0, 0]);
    if ctx.abi == Abi::X86_64 {
        return Ok(call);
    }
    let kind = i64::from(ctx.read_u32(message)? as i32);
    let mut host = kind.to_le_bytes().to_vec();
    host.extend(ctx.read_vec(message + word, size as usize)?);
    Ok(with_message(call, host, |_, _, result| result))
}

/// A call whose second argument is a message in host memory.
fn with_message(
    mut call: HostCall,
    mut host: Vec<u8>,
    finish: impl FnOnce(&mut SyscallContext<'_>, Vec<u8>, SysResult) -> SysResult + 'static,
) -> HostCall {
    call.args[1] = host.as_mut_ptr() as u64;
    call.then(move |ctx, result| finish(ctx, host, result))
}

/// `msgrcv`.
pub fn msgrcv(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [id, message, size, kind, flags, _] = ctx.args;
    if size > MAX_MESSAGE {
        return Err(Errno::EINVAL);
    }
    let word = ctx.abi.word();
    ctx.prepare_write(message, word + size)?;
    let call = HostCall::new(libc::SYS_msgrcv, [id, message, size, kind, flags, 0]);
    if ctx.abi == Abi::X86_64 {
        return Ok(call);
    }
    let host = vec![0; 8 + size as usize];
    Ok(with_message(call, host, move |ctx, host, result| {
        let len = result?;
        ctx.write(message, &host[..4])?;
        ctx.write(message + word, &host[8..8 + len as usize])?;
        Ok(len)
    }))
}

/// `mq_notify`: with `SIGEV_THREAD` the value points to a cookie of 32 bytes.
pub fn mq_notify(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [fd, event, ..] = ctx.args;
    crate::sys::fds::check(fd)?;
    if event == 0 {
        return syscall(libc::SYS_mq_notify, &[fd, 0, 0, 0, 0, 0], false);
    }
    let host = ctx.read_struct(event, &SIGEVENT)?;
    let word = |at: usize| host[at..at + 8].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
    if (word(8) >> 32) as i32 == libc::SIGEV_THREAD {
        ctx.check_range(word(0), 32)?;
    }
    syscall(libc::SYS_mq_notify, &[fd, host.as_ptr() as u64, 0, 0, 0, 0], false)
}

/// `ipc`: all System V calls of i386 through one number (ipc/syscall.c).
pub fn ipc(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [call, first, second, third, pointer, fifth] = *ctx.registers;
    let version = call >> 16;
    match call & 0xffff {
        // SEMOP, SEMTIMEDOP.
        1 => multiplex(ctx, SEMTIMEDOP, [first, pointer, second, 0, 0, 0]),
        4 => multiplex(ctx, SEMTIMEDOP, [first, pointer, second, fifth, 0, 0]),
        2 => multiplex(ctx, 393, [first, second, third, 0, 0, 0]),
        3 => {
            if pointer == 0 {
                return Err(Errno::EINVAL);
            }
            let value = u64::from(ctx.read_u32(pointer)?);
            multiplex(ctx, 394, [first, second, third, value, 0, 0])
        }
        11 => multiplex(ctx, 400, [first, pointer, second, third, 0, 0]),
        12 if version == 0 => {
            if pointer == 0 {
                return Err(Errno::EINVAL);
            }
            let message = u64::from(ctx.read_u32(pointer)?);
            let kind = u64::from(ctx.read_u32(pointer + 4)?);
            multiplex(ctx, 401, [first, message, second, kind, third, 0])
        }
        12 => multiplex(ctx, 401, [first, pointer, second, fifth, third, 0]),
        13 => multiplex(ctx, 399, [first, second, 0, 0, 0, 0]),
        14 => multiplex(ctx, 402, [first, second, pointer, 0, 0, 0]),
        21 if version == 0 => {
            let attached = multiplex(ctx, 397, [first, pointer, second, 0, 0, 0])?;
            let addr = attached.perform(false)?;
            ctx.write_u32(third, addr as u32)?;
            Ok(HostCall::ready(0))
        }
        21 => Err(Errno::EINVAL),
        22 => multiplex(ctx, 398, [pointer, 0, 0, 0, 0, 0]),
        23 => multiplex(ctx, 395, [first, second, third, 0, 0, 0]),
        24 => multiplex(ctx, 396, [first, second, pointer, 0, 0, 0]),
        _ => Err(Errno::ENOSYS),
    }
}

/// Stands for `semtimedop` with a 32-bit timeout, which i386 has only through `ipc`: the call of
/// the x86-64 table, whose structures are converted all the same.
const SEMTIMEDOP: u64 = 220 | X86_64_NUMBER;
