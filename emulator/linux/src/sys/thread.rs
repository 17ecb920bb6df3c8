//! Thread calls: ids, thread-local storage, futexes.

use crate::abi::structs::{TIMESPEC, TIMESPEC64};
use crate::segments::{self, UserDesc};
use crate::sys::SyscallContext;
use crate::{Abi, Errno, SysResult};

/// `modify_ldt`: as a kernel without local descriptor tables (CONFIG_MODIFY_LDT_SYSCALL).
pub fn modify_ldt(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `arch_prctl`.
pub fn arch_prctl(ctx: &mut SyscallContext<'_>) -> SysResult {
    const SET_GS: i32 = 0x1001;
    const SET_FS: i32 = 0x1002;
    const GET_FS: i32 = 0x1003;
    const GET_GS: i32 = 0x1004;
    const GET_CPUID: i32 = 0x1011;
    const SET_CPUID: i32 = 0x1012;
    let (code, addr) = (ctx.int(0), ctx.args[1]);
    /// `TASK_SIZE_MAX`.
    const LIMIT: u64 = (1 << 47) - 4096;
    match (ctx.abi, code) {
        (Abi::X86_64, SET_FS | SET_GS) => {
            if addr >= LIMIT {
                return Err(Errno::EPERM);
            }
            let cpu = ctx.process.cpu();
            let (base, selector) = match code {
                SET_FS => (&mut cpu.fs_base, emu_x86::state::seg::FS),
                _ => (&mut cpu.gs_base, emu_x86::state::seg::GS),
            };
            *base = addr;
            cpu.selectors[selector] = 0;
            Ok(0)
        }
        (Abi::X86_64, GET_FS | GET_GS) => {
            let cpu = ctx.process.cpu();
            let base = if code == GET_FS { cpu.fs_base } else { cpu.gs_base };
            ctx.write_u64(addr, base)?;
            Ok(0)
        }
        (_, GET_CPUID) => Ok(1),
        (_, SET_CPUID) if addr != 0 => Ok(0),
        (_, SET_CPUID) => Err(Errno::ENODEV),
        _ => Err(Errno::EINVAL),
    }
}

/// `gettid`.
pub fn gettid(ctx: &mut SyscallContext<'_>) -> SysResult {
    Ok(ctx.thread().tid as u64)
}

/// `set_thread_area`.
pub fn set_thread_area(ctx: &mut SyscallContext<'_>) -> SysResult {
    let at = ctx.args[0];
    let mut raw = [0; 16];
    ctx.read(at, &mut raw)?;
    let desc = UserDesc::from_bytes(raw);
    let entry = segments::set_thread_area(ctx.process.cpu(), desc)?;
    if desc.entry == u32::MAX {
        ctx.write_u32(at, entry)?;
    }
    Ok(0)
}

/// `get_thread_area`.
pub fn get_thread_area(ctx: &mut SyscallContext<'_>) -> SysResult {
    let at = ctx.args[0];
    let entry = ctx.read_u32(at)?;
    let desc = segments::get_thread_area(ctx.process.cpu(), entry)?;
    ctx.write(at, &desc.to_bytes())?;
    Ok(0)
}

/// `set_tid_address`.
pub fn set_tid_address(ctx: &mut SyscallContext<'_>) -> SysResult {
    let at = ctx.args[0];
    let thread = ctx.thread();
    thread.clear_child_tid = at;
    Ok(thread.tid as u64)
}

/// `set_robust_list`.
pub fn set_robust_list(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [head, len, ..] = ctx.args;
    if len != 3 * ctx.abi.word() {
        return Err(Errno::EINVAL);
    }
    ctx.thread().robust_list = (head, len);
    Ok(0)
}

/// `get_robust_list`.
pub fn get_robust_list(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [pid, head_at, len_at, ..] = ctx.args;
    let wanted = pid as i32;
    let thread = ctx.process.threads.iter().find(|t| wanted == 0 || t.tid == wanted);
    let (head, len) = thread.ok_or(Errno::ESRCH)?.robust_list;
    ctx.write_word(len_at, if len == 0 { 3 * ctx.abi.word() } else { len })?;
    ctx.write_word(head_at, head)?;
    Ok(0)
}

/// `membarrier`: one thread runs guest code, so the host's answer is the guest's.
pub fn membarrier(ctx: &mut SyscallContext<'_>) -> SysResult {
    ctx.host(libc::SYS_membarrier, ctx.args)
}

/// `rseq`: as a kernel without restartable sequences.
pub fn rseq(_ctx: &mut SyscallContext<'_>) -> SysResult {
    Err(Errno::ENOSYS)
}

/// `futex` with `struct timespec`.
pub fn futex(ctx: &mut SyscallContext<'_>) -> SysResult {
    futex_with(ctx, false)
}

/// `futex_time64`.
pub fn futex_time64(ctx: &mut SyscallContext<'_>) -> SysResult {
    futex_with(ctx, true)
}

fn futex_with(ctx: &mut SyscallContext<'_>, time64: bool) -> SysResult {
    let [addr, op, value, timeout_at, addr2, value3] = ctx.args;
    const WAIT: i32 = 0;
    const REQUEUE: i32 = 3;
    const CMP_REQUEUE: i32 = 4;
    const WAKE_OP: i32 = 5;
    const LOCK_PI: i32 = 6;
    const TRYLOCK_PI: i32 = 8;
    const UNLOCK_PI: i32 = 7;
    const WAIT_BITSET: i32 = 9;
    const WAIT_REQUEUE_PI: i32 = 11;
    const CMP_REQUEUE_PI: i32 = 12;
    const LOCK_PI2: i32 = 13;
    let command = op as i32 & libc::FUTEX_CMD_MASK;
    ctx.check_range(addr, 4)?;
    if matches!(command, LOCK_PI | LOCK_PI2 | TRYLOCK_PI | UNLOCK_PI) {
        ctx.prepare_write(addr, 4)?;
    }
    if matches!(command, REQUEUE | CMP_REQUEUE | WAKE_OP | WAIT_REQUEUE_PI | CMP_REQUEUE_PI) {
        ctx.prepare_write(addr2, 4)?;
    }
    let waits = matches!(command, WAIT | LOCK_PI | LOCK_PI2 | WAIT_BITSET | WAIT_REQUEUE_PI);
    let mut fourth = timeout_at;
    let timeout;
    if waits && timeout_at != 0 {
        let shape = if time64 { &TIMESPEC64 } else { &TIMESPEC };
        timeout = ctx.read_struct(timeout_at, shape)?;
        fourth = timeout.as_ptr() as u64;
    }
    ctx.host(libc::SYS_futex, [addr, op, value, fourth, addr2, value3])
}

/// `futex_waitv`.
pub fn futex_waitv(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [waiters, count, flags, timeout_at, clock, _] = ctx.args;
    const MOST: u64 = 128;
    const WAITER: u64 = 24;
    if count == 0 || count > MOST {
        return Err(Errno::EINVAL);
    }
    let raw = ctx.read_vec(waiters, (count * WAITER) as usize)?;
    for w in raw.chunks_exact(WAITER as usize) {
        let addr = w[8..16].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        ctx.check_range(addr, 4)?;
    }
    let timeout = match timeout_at {
        0 => None,
        at => Some(ctx.read_struct(at, &TIMESPEC64)?),
    };
    let at = timeout.as_ref().map_or(0, |t| t.as_ptr() as u64);
    ctx.host(libc::SYS_futex_waitv, [raw.as_ptr() as u64, count, flags, at, clock, 0])
}
