//! Futexes that are the host kernel's: words in shared memory, which other processes may know, and
//! waits for several words at once.
//!
//! A lock with priority inheritance belongs to the host thread that took it. That of a guest thread
//! is its companion, which has the guest thread's id; the first guest thread has the id of the run
//! thread, which must not wait. There a companion takes the lock in its place, to know when that is
//! possible, and gives it back at once.
//!
//! Source of facts: kernel/futex/{syscalls,pi,waitwake}.c, futex_waitv(2).

use crate::abi::structs::{TIMESPEC, TIMESPEC64};
use crate::sched;
use crate::sys::futex::{op, waits};
use crate::sys::host_call::{Buffer, HostCall, syscall};
use crate::sys::{SyscallContext, futex};
use crate::{Errno, SysResult};

/// The host's own futex call.
pub fn call(
    ctx: &mut SyscallContext<'_>,
    command: i32,
    time64: bool,
    takes_two: bool,
) -> Result<HostCall, Errno> {
    let [addr, operation, value, fourth, addr2, value3] = ctx.args;
    if matches!(command, op::LOCK_PI | op::LOCK_PI2 | op::TRYLOCK_PI | op::UNLOCK_PI) {
        ctx.prepare_write(addr, 4)?;
    }
    if takes_two {
        ctx.prepare_write(addr2, 4)?;
    }
    let mut args = [addr, operation, value, fourth, addr2, value3];
    if !waits(operation) || fourth == 0 {
        return Ok(HostCall::new(libc::SYS_futex, args));
    }
    let raw = ctx.read_struct(fourth, if time64 { &TIMESPEC64 } else { &TIMESPEC })?;
    let timeout = Buffer::input(raw.chunks(8).map(futex::word).collect());
    args[3] = timeout.address();
    Ok(HostCall::new(libc::SYS_futex, args).with(timeout).then(|_, result| match result {
        // One with a timeout does not start again after a handler.
        Err(Errno::EINTR) => Err(Errno::ERESTARTNOHAND),
        other => other,
    }))
}

/// An operation on a lock with priority inheritance in shared memory, of one of several threads.
pub fn inheriting(
    ctx: &mut SyscallContext<'_>,
    command: i32,
    time64: bool,
    takes_two: bool,
) -> Result<HostCall, Errno> {
    let mut host = call(ctx, command, time64, takes_two)?;
    if ctx.thread().tid != std::process::id() as i32 {
        host.own_thread = true;
        return Ok(host);
    }
    let [addr, operation, .., addr2, _] = ctx.args;
    let lock = match command {
        op::LOCK_PI | op::LOCK_PI2 => addr,
        op::WAIT_REQUEUE_PI => addr2,
        _ => return Ok(host),
    };
    if command != op::WAIT_REQUEUE_PI {
        match try_lock(lock) {
            Err(Errno::EAGAIN) => {}
            done => return done.map(HostCall::ready),
        }
    }
    let realtime = command == op::LOCK_PI || operation as i32 & libc::FUTEX_CLOCK_REALTIME != 0;
    // SAFETY: the timeout of a prepared call is null or a buffer of the call's own.
    let until = (host.args[3] != 0).then(|| unsafe { *(host.args[3] as *const [u64; 2]) });
    Ok(in_its_place(host, Lock { addr: lock, realtime, until, lost: 0 }))
}

/// A lock that the first thread waits for.
#[derive(Clone, Copy)]
struct Lock {
    addr: u64,
    /// Which clock `until` is a time of.
    realtime: bool,
    until: Option<[u64; 2]>,
    /// How often somebody else was faster.
    lost: u32,
}

/// The call that takes the lock, made by the companion of the first thread.
fn in_its_place(mut host: HostCall, lock: Lock) -> HostCall {
    host.own_thread = true;
    host.after = Some((libc::SYS_futex, [lock.addr, op::UNLOCK_PI as u64, 0, 0, 0, 0]));
    host.then_also(move |ctx, result| {
        result?;
        // Two companions that wait in the place of first threads would pass the lock to and fro for
        // ever: one that has lost stays away from the queue for a while, each time longer.
        let mut done = try_lock(lock.addr);
        for _ in 0..1 << lock.lost.min(10) {
            if done != Err(Errno::EAGAIN) {
                break;
            }
            std::thread::yield_now();
            done = try_lock(lock.addr);
        }
        match done {
            Err(Errno::EAGAIN) => {
                sched::submit(ctx, wait_for(Lock { lost: lock.lost + 1, ..lock }))
            }
            done => done,
        }
    })
}

/// A companion's wait for the lock.
fn wait_for(lock: Lock) -> HostCall {
    let clock = if lock.realtime { libc::FUTEX_CLOCK_REALTIME } else { 0 };
    let mut args = [lock.addr, (op::LOCK_PI2 | clock) as u64, 0, 0, 0, 0];
    let timeout = lock.until.map(|until| Buffer::input(Box::new(until)));
    args[3] = timeout.as_ref().map_or(0, Buffer::address);
    let mut host = HostCall::new(libc::SYS_futex, args);
    host.buffers.extend(timeout);
    in_its_place(host, lock)
}

/// Takes a lock for the run thread, which has the first thread's id.
fn try_lock(addr: u64) -> SysResult {
    syscall(libc::SYS_futex, &[addr, op::TRYLOCK_PI as u64, 0, 0, 0, 0], false)
}

/// `futex_waitv`. All words are waited for on the host; wake-ups of private ones go there, too
/// ([`HostCall::words`]).
pub fn futex_waitv(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    /// `FUTEX_WAITV_MAX`.
    const MOST: u64 = 128;
    /// Words of `struct futex_waitv`: value, address, flags.
    const WORDS: usize = 3;
    let [waiters, count, flags, timeout, clock, _] = ctx.args;
    if flags != 0 || count == 0 || count > MOST || waiters == 0 {
        return Err(Errno::EINVAL);
    }
    let until = match timeout {
        0 => None,
        at => Some(ctx.read_struct(at, &TIMESPEC64)?.chunks(8).map(futex::word).collect()),
    };
    let until = until.map(Buffer::input);
    let raw = ctx.read_vec(waiters, count as usize * 8 * WORDS)?;
    let mut list: Box<[u64]> = raw.chunks(8).map(futex::word).collect();
    let mut words = Vec::new();
    for waiter in list.chunks_mut(WORDS) {
        if ctx.check_range(waiter[1], 4).is_err() {
            // Where no program has anything; the kernel judges the flags first.
            waiter[1] = 1 << 63;
        }
        // On the host nothing tells a private word from one that only this process has mapped.
        waiter[2] &= !(libc::FUTEX_PRIVATE_FLAG as u64);
        words.push(waiter[1]);
    }
    let list = Buffer::input(list);
    let until_at = until.as_ref().map_or(0, Buffer::address);
    let args = [list.address(), count, flags, until_at, clock, 0];
    let mut call = HostCall::new(libc::SYS_futex_waitv, args).with(list);
    call.buffers.extend(until);
    call.words = words;
    Ok(call)
}
