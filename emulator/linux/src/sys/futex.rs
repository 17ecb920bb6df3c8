//! Futexes.
//!
//! Words in private memory are waited for in the scheduler, by address: only threads of this process
//! can wake them, and all of them run on one host thread. Words in shared memory, which other
//! processes may know, are the host kernel's: see [`futex_host`].
//!
//! Source of facts: kernel/futex/{waitwake,pi,requeue}.c, futex(2).

use emu_mem::access;

use crate::abi::structs::{TIMESPEC, TIMESPEC64};
use crate::sched::{FutexKind, FutexWait, Wait};
use crate::sys::host_call::HostCall;
use crate::sys::time::Deadline;
use crate::sys::{SyscallContext, futex_host, host_call};
use crate::{Errno, Machine, Process, SysResult};

/// Somebody waits for the lock in the kernel.
pub const WAITERS: u32 = 0x8000_0000;
/// The owner ended without releasing it.
pub const OWNER_DIED: u32 = 0x4000_0000;
/// The owner's thread id.
pub const TID_MASK: u32 = 0x3fff_ffff;

/// Commands (include/uapi/linux/futex.h).
pub(super) mod op {
    pub const WAIT: i32 = 0;
    pub const WAKE: i32 = 1;
    pub const REQUEUE: i32 = 3;
    pub const CMP_REQUEUE: i32 = 4;
    pub const WAKE_OP: i32 = 5;
    pub const LOCK_PI: i32 = 6;
    pub const UNLOCK_PI: i32 = 7;
    pub const TRYLOCK_PI: i32 = 8;
    pub const WAIT_BITSET: i32 = 9;
    pub const WAKE_BITSET: i32 = 10;
    pub const WAIT_REQUEUE_PI: i32 = 11;
    pub const CMP_REQUEUE_PI: i32 = 12;
    pub const LOCK_PI2: i32 = 13;
}

/// Whether a host call of `futex` with this operation waits.
pub fn waits(operation: u64) -> bool {
    let command = operation as i32 & libc::FUTEX_CMD_MASK;
    matches!(command, op::WAIT | op::WAIT_BITSET | op::LOCK_PI | op::LOCK_PI2 | op::WAIT_REQUEUE_PI)
}

/// `futex` with `struct timespec`.
pub fn futex(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    run(ctx, false)
}

/// `futex_time64`.
pub fn futex_time64(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    run(ctx, true)
}

fn run(ctx: &mut SyscallContext<'_>, time64: bool) -> Result<HostCall, Errno> {
    let [addr, operation, ..] = ctx.args;
    let command = operation as i32 & libc::FUTEX_CMD_MASK;
    let takes_two = matches!(
        command,
        op::REQUEUE | op::CMP_REQUEUE | op::WAKE_OP | op::WAIT_REQUEUE_PI | op::CMP_REQUEUE_PI
    );
    ctx.check_range(addr, 4)?;
    if takes_two {
        ctx.check_range(ctx.args[4], 4)?;
    }
    let private = operation as i32 & libc::FUTEX_PRIVATE_FLAG != 0;
    let shared = !private && ctx.machine.space().find(addr).is_some_and(|(_, _, g)| g.shared);
    let pi = matches!(
        command,
        op::LOCK_PI | op::LOCK_PI2 | op::TRYLOCK_PI | op::UNLOCK_PI | op::WAIT_REQUEUE_PI
    ) || command == op::CMP_REQUEUE_PI;
    if !shared && (pi || ctx.process.threads.len() > 1) {
        return among_threads(ctx, command, time64).map(HostCall::ready);
    }
    if pi && ctx.process.threads.len() > 1 {
        return futex_host::inheriting(ctx, command, time64, takes_two);
    }
    futex_host::call(ctx, command, time64, takes_two)
}

/// A little-endian word.
pub(super) fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

fn load(at: u64) -> Result<u32, Errno> {
    access::load::<u32>(at).map_err(Errno::from)
}

/// A futex call among threads of this process.
fn among_threads(ctx: &mut SyscallContext<'_>, command: i32, time64: bool) -> SysResult {
    let [addr, _, value, fourth, addr2, value3] = ctx.args;
    let (value, value3) = (value as u32, value3 as u32);
    if !addr.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let count = u64::from(value).min(i32::MAX as u64);
    let second = fourth & 0x7fff_ffff;
    match command {
        op::WAIT | op::WAIT_BITSET => {
            let bitset = if command == op::WAIT_BITSET { value3 } else { u32::MAX };
            if bitset == 0 {
                return Err(Errno::EINVAL);
            }
            let deadline = deadline(ctx, command, fourth, time64)?;
            if load(addr)? != value {
                return Err(Errno::EAGAIN);
            }
            let interrupted =
                if deadline.is_some() { Errno::ERESTARTNOHAND } else { Errno::ERESTARTSYS };
            park(ctx, FutexWait::new(addr, FutexKind::Plain, bitset, deadline, interrupted))
        }
        op::WAKE | op::WAKE_BITSET => {
            let bitset = if command == op::WAKE_BITSET { value3 } else { u32::MAX };
            if bitset == 0 {
                return Err(Errno::EINVAL);
            }
            Ok(ctx.process.futex_wake(addr, count, bitset))
        }
        op::REQUEUE | op::CMP_REQUEUE => {
            if command == op::CMP_REQUEUE && load(addr)? != value3 {
                return Err(Errno::EAGAIN);
            }
            let woken = ctx.process.futex_wake(addr, count, u32::MAX);
            let moved = ctx.process.futex_requeue(addr, addr2, second);
            Ok(woken + if command == op::CMP_REQUEUE { moved } else { 0 })
        }
        op::WAKE_OP => {
            let old = load(addr2)?;
            let (new, also) = wake_op(old, value3)?;
            ctx.write_u32(addr2, new)?;
            let mut woken = ctx.process.futex_wake(addr, count, u32::MAX);
            if also {
                woken += ctx.process.futex_wake(addr2, second, u32::MAX);
            }
            Ok(woken)
        }
        op::LOCK_PI | op::LOCK_PI2 => {
            let deadline = deadline(ctx, command, fourth, time64)?;
            if lock(ctx, addr)? {
                return Ok(0);
            }
            let kind = FutexKind::Lock;
            park(ctx, FutexWait::new(addr, kind, u32::MAX, deadline, Errno::ERESTARTNOINTR))
        }
        op::TRYLOCK_PI => {
            if lock(ctx, addr)? {
                Ok(0)
            } else {
                Err(Errno::EAGAIN)
            }
        }
        op::UNLOCK_PI => {
            if load(addr)? & TID_MASK != ctx.thread().tid as u32 {
                return Err(Errno::EPERM);
            }
            hand_over(ctx.process, ctx.machine, addr, 0)?;
            Ok(0)
        }
        op::WAIT_REQUEUE_PI => {
            if addr == addr2 {
                return Err(Errno::EINVAL);
            }
            let deadline = deadline(ctx, command, fourth, time64)?;
            if load(addr)? != value {
                return Err(Errno::EAGAIN);
            }
            let kind = FutexKind::Requeued { to: addr2 };
            park(ctx, FutexWait::new(addr, kind, u32::MAX, deadline, Errno::ERESTARTNOINTR))
        }
        op::CMP_REQUEUE_PI => requeue_pi(ctx, addr, addr2, value, second, value3),
        _ => Err(Errno::ENOSYS),
    }
}

/// The current thread waits.
fn park(ctx: &mut SyscallContext<'_>, wait: FutexWait) -> SysResult {
    let order = ctx.process.sched.serial();
    ctx.thread().wait = Some(Wait::Futex(FutexWait { order, ..wait }));
    Err(Errno::PARKED)
}

/// Takes a priority-inheritance lock for the current thread; false when it has to wait, which the
/// word then says.
fn lock(ctx: &mut SyscallContext<'_>, addr: u64) -> Result<bool, Errno> {
    let tid = ctx.thread().tid;
    let value = load(addr)?;
    match (value & TID_MASK) as i32 {
        0 => {
            let waiters = if ctx.process.waits_for_lock(addr) { WAITERS } else { 0 };
            ctx.write_u32(addr, value & OWNER_DIED | waiters | tid as u32)?;
            Ok(true)
        }
        owner if owner == tid => Err(Errno(libc::EDEADLK)),
        owner => {
            if !ctx.process.threads.iter().any(|t| t.tid == owner) {
                return Err(Errno::ESRCH);
            }
            ctx.write_u32(addr, value | WAITERS)?;
            Ok(false)
        }
    }
}

/// Gives a priority-inheritance lock to the thread that has waited longest, or to nobody. `bits`
/// are added to the word.
pub fn hand_over(
    process: &mut Process,
    machine: &mut dyn Machine,
    addr: u64,
    bits: u32,
) -> Result<(), Errno> {
    let value = match process.first_for_lock(addr) {
        Some(next) => {
            process.threads[next].wait = Some(Wait::Done(Ok(0)));
            WAITERS | process.threads[next].tid as u32
        }
        None => 0,
    };
    machine.release_code(addr, addr + 4);
    access::store(addr, value | bits)?;
    Ok(())
}

/// FUTEX_CMP_REQUEUE_PI: the first waiter gets the lock `to` if it is free, the others, and it if
/// not, wait for it.
fn requeue_pi(
    ctx: &mut SyscallContext<'_>,
    from: u64,
    to: u64,
    wake: u32,
    most: u64,
    expected: u32,
) -> SysResult {
    if from == to || wake != 1 {
        return Err(Errno::EINVAL);
    }
    if load(from)? != expected {
        return Err(Errno::EAGAIN);
    }
    let mut done = 0;
    while done <= most {
        let Some(i) = ctx.process.first_for_requeue(from) else { break };
        let tid = ctx.process.threads[i].tid;
        let order = ctx.process.sched.serial();
        let Some(Wait::Futex(w)) = &mut ctx.process.threads[i].wait else { break };
        if w.kind != (FutexKind::Requeued { to }) {
            return Err(Errno::EINVAL);
        }
        let value = load(to)?;
        if done == 0 && value & TID_MASK == 0 {
            ctx.process.threads[i].wait = Some(Wait::Done(Ok(0)));
            ctx.write_u32(to, value & OWNER_DIED | WAITERS | tid as u32)?;
        } else {
            // It cannot start again: the word it waited for has changed.
            let interrupted = Errno::EAGAIN;
            *w = FutexWait { addr: to, kind: FutexKind::Lock, order, interrupted, ..*w };
            ctx.write_u32(to, value | WAITERS)?;
        }
        done += 1;
    }
    Ok(done)
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

/// The end of a wait: FUTEX_WAIT's timeout is a duration, the others are points in time.
fn deadline(
    ctx: &SyscallContext<'_>,
    command: i32,
    at: u64,
    time64: bool,
) -> Result<Option<Deadline>, Errno> {
    if at == 0 {
        return Ok(None);
    }
    let raw = ctx.read_struct(at, if time64 { &TIMESPEC64 } else { &TIMESPEC })?;
    let (mut seconds, mut nanoseconds) = (word(&raw[..8]) as i64, word(&raw[8..16]) as i64);
    if seconds < 0 || !(0..1_000_000_000).contains(&nanoseconds) {
        return Err(Errno::EINVAL);
    }
    if command != op::WAIT {
        let realtime =
            command == op::LOCK_PI || ctx.args[1] as i32 & libc::FUTEX_CLOCK_REALTIME != 0;
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

/// Wakes one thread that waits for `addr`, of this process or another.
pub fn wake_anyone(process: &mut Process, addr: u64) {
    process.futex_wake(addr, 1, u32::MAX);
    let args = [addr, op::WAKE as u64, 1, 0, 0, 0];
    // Nobody need be there, nor the memory.
    let _ = host_call::syscall(libc::SYS_futex, &args, false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_op_computes_and_compares() {
        // FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_GT, 2)
        assert_eq!(wake_op(3, 1 << 28 | 4 << 24 | 5 << 12 | 2), Ok((8, true)));
        // FUTEX_OP(FUTEX_OP_ANDN | FUTEX_OP_OPARG_SHIFT, 3, FUTEX_OP_CMP_EQ, -1)
        assert_eq!(wake_op(u32::MAX, 11 << 28 | 3 << 12 | 0xfff), Ok((u32::MAX - 8, true)));
        assert_eq!(wake_op(0, 5 << 28), Err(Errno::ENOSYS));
        assert_eq!(wake_op(0, 6 << 24), Err(Errno::ENOSYS));
    }
}
