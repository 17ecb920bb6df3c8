//! Thread calls: ids, thread-local storage, futexes.

use crate::abi::structs::{TIMESPEC, TIMESPEC64};
use crate::sched::{FutexWait, Wait};
use crate::segments::{self, UserDesc};
use crate::sys::SyscallContext;
use crate::sys::time::Deadline;
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
    let shared = ctx.machine.space().find(addr).is_some_and(|(_, _, g)| g.shared);
    if ctx.process.threads.len() > 1 && !shared {
        return futex_among_threads(ctx, op as i32, time64);
    }
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

/// A futex call among threads of this process.
fn futex_among_threads(ctx: &mut SyscallContext<'_>, op: i32, time64: bool) -> SysResult {
    let [addr, _, value, fourth, addr2, value3] = ctx.args;
    let (value, value3) = (value as u32, value3 as u32);
    let bitset = if matches!(op & libc::FUTEX_CMD_MASK, 9 | 10) { value3 } else { u32::MAX };
    if bitset == 0 || !addr.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let load = |at: u64| emu_mem::access::load::<u32>(at).map_err(Errno::from);
    let count = u64::from(value).min(i32::MAX as u64);
    match op & libc::FUTEX_CMD_MASK {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            if load(addr)? != value {
                return Err(Errno::EAGAIN);
            }
            let deadline = futex_deadline(ctx, op, fourth, time64)?;
            let relative = op & libc::FUTEX_CMD_MASK == libc::FUTEX_WAIT && deadline.is_some();
            let interrupted = if relative { Errno::ERESTARTNOHAND } else { Errno::ERESTARTSYS };
            let order = ctx.process.sched.serial();
            ctx.thread().wait =
                Some(Wait::Futex(FutexWait { addr, bitset, deadline, order, interrupted }));
            Err(Errno::PARKED)
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
            load(addr)?;
            Ok(ctx.process.futex_wake(addr, count, bitset))
        }
        command @ (libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE) => {
            if command == libc::FUTEX_CMP_REQUEUE && load(addr)? != value3 {
                return Err(Errno::EAGAIN);
            }
            let woken = ctx.process.futex_wake(addr, count, u32::MAX);
            let moved = ctx.process.futex_requeue(addr, addr2, fourth & 0x7fff_ffff);
            Ok(woken + if command == libc::FUTEX_CMP_REQUEUE { moved } else { 0 })
        }
        libc::FUTEX_WAKE_OP => {
            let old = load(addr2)?;
            let (new, also) = wake_op(old, value3)?;
            ctx.write_u32(addr2, new)?;
            let mut woken = ctx.process.futex_wake(addr, count, u32::MAX);
            if also {
                woken += ctx.process.futex_wake(addr2, fourth & 0x7fff_ffff, u32::MAX);
            }
            Ok(woken)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// What FUTEX_WAKE_OP stores, and whether its condition on the old value holds.
fn wake_op(old: u32, code: u32) -> Result<(u32, bool), Errno> {
    let sign12 = |v: u32| ((v << 20) as i32 >> 20) as u32;
    let (op, cmp) = (code >> 28, code >> 24 & 15);
    let mut arg = sign12(code >> 12 & 0xfff);
    let compared = sign12(code & 0xfff);
    if op & 8 != 0 {
        arg = 1u32.wrapping_shl(arg);
    }
    let new = match op & 7 {
        0 => arg,
        1 => old.wrapping_add(arg),
        2 => old | arg,
        3 => old & !arg,
        4 => old ^ arg,
        _ => return Err(Errno::ENOSYS),
    };
    let (a, b) = (old as i32, compared as i32);
    let holds = match cmp {
        0 => a == b,
        1 => a != b,
        2 => a < b,
        3 => a <= b,
        4 => a > b,
        5 => a >= b,
        _ => return Err(Errno::ENOSYS),
    };
    Ok((new, holds))
}

fn futex_deadline(
    ctx: &SyscallContext<'_>,
    op: i32,
    at: u64,
    time64: bool,
) -> Result<Option<Deadline>, Errno> {
    if at == 0 {
        return Ok(None);
    }
    let raw = ctx.read_struct(at, if time64 { &TIMESPEC64 } else { &TIMESPEC })?;
    let word = |i: usize| raw[i..i + 8].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
    let (mut seconds, mut nanoseconds) = (word(0) as i64, word(8) as i64);
    if seconds < 0 || !(0..1_000_000_000).contains(&nanoseconds) {
        return Err(Errno::EINVAL);
    }
    if op & libc::FUTEX_CMD_MASK == libc::FUTEX_WAIT_BITSET {
        let realtime = op & libc::FUTEX_CLOCK_REALTIME != 0;
        let clock = if realtime { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
        let now = crate::nondet::clock(clock)?;
        seconds -= now.tv_sec;
        nanoseconds -= now.tv_nsec;
        if nanoseconds < 0 {
            seconds -= 1;
            nanoseconds += 1_000_000_000;
        }
        if seconds < 0 {
            (seconds, nanoseconds) = (0, 0);
        }
    }
    Deadline::in_future(seconds, nanoseconds).map(Some)
}

/// `sched_yield`: the turn of the next thread.
pub fn sched_yield(ctx: &mut SyscallContext<'_>) -> SysResult {
    ctx.process.sched.yielded = true;
    ctx.host(libc::SYS_sched_yield, ctx.args)
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
