//! POSIX timers.

use crate::abi::structs::SIGEVENT;
use crate::sys::SyscallContext;
use crate::sys::host_call::syscall;
use crate::sys::time::{shape, word};
use crate::timers::{Setting, Timer};
use crate::{Errno, SysResult};

/// `timer_create`. A timer for one thread signals the host process, which finds the thread when the
/// signal comes.
pub fn timer_create(ctx: &mut SyscallContext<'_>) -> SysResult {
    const SIGEV_SIGNAL: u64 = 0;
    const SIGEV_THREAD_ID: u64 = 4;
    /// The C library's own (`SIGTIMER`): its thread waits for it, and its companion can, too.
    const LIBRARY: u64 = 32;
    let [clock, event_at, id_at, ..] = ctx.args;
    let mut event = [0u64; 8];
    let mut owner = None;
    if event_at != 0 {
        let raw = ctx.read_struct(event_at, &SIGEVENT)?;
        for (to, from) in event.iter_mut().zip(raw.chunks(8)) {
            *to = word(from);
        }
        let (signal, notify, tid) = (event[1] & 0xffff_ffff, event[1] >> 32, event[2] as i32);
        if notify == SIGEV_THREAD_ID
            && signal != LIBRARY
            && ctx.process.threads.len() > 1
            && ctx.process.threads.iter().any(|t| t.tid == tid)
        {
            owner = Some(tid);
            event[1] = signal | SIGEV_SIGNAL << 32;
        }
    }
    let of_thread = ctx.process.thread_of_clock(clock as i32);
    // All threads' clocks are the run thread's, by turns.
    let clock = if of_thread.is_some() { libc::CLOCK_THREAD_CPUTIME_ID as u64 } else { clock };
    let mut host = 0i32;
    let mut create = |event: u64| {
        syscall(libc::SYS_timer_create, &[clock, event, &raw mut host as u64, 0, 0, 0], false)
    };
    if event_at == 0 {
        // The kernel would give the value its own id.
        let default = [ctx.process.timers.next_id() as u64, libc::SIGALRM as u64, 0, 0, 0, 0, 0, 0];
        create(default.as_ptr() as u64)?;
    } else {
        create(event.as_ptr() as u64)?;
    }
    let paused = of_thread.filter(|&t| t != ctx.process.current).map(|_| Setting::default());
    let clock = of_thread.map(|t| ctx.process.threads[t].tid);
    let id = ctx.process.timers.add(Timer { id: 0, host, owner, clock, paused });
    if let Err(e) = ctx.write_u32(id_at, id as u32) {
        delete(ctx, id)?;
        return Err(e);
    }
    Ok(0)
}

fn delete(ctx: &mut SyscallContext<'_>, id: i32) -> SysResult {
    ctx.process.timers.remove(id).ok_or(Errno::EINVAL)?.delete_host()
}

/// `timer_delete`.
pub fn timer_delete(ctx: &mut SyscallContext<'_>) -> SysResult {
    delete(ctx, ctx.int(0))
}

/// `timer_settime`, `timer_settime64`.
pub fn timer_settime(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [_, flags, new_at, old_at, ..] = ctx.args;
    if new_at == 0 {
        return Err(Errno::EINVAL);
    }
    let raw = ctx.read_struct(new_at, shape(ctx, 2))?;
    let mut new = Setting::default();
    for (to, from) in new.0.iter_mut().zip(raw.chunks(8)) {
        *to = word(from);
    }
    let timer = *ctx.process.timers.get(ctx.int(0)).ok_or(Errno::EINVAL)?;
    let old = match timer.clock {
        None => timer.set_host(flags, new)?,
        Some(tid) => set_by_thread(ctx, &timer, tid, flags, new)?,
    };
    write(ctx, old_at, 3, old)
}

/// Sets a timer that goes by the CPU clock of thread `tid`.
fn set_by_thread(
    ctx: &mut SyscallContext<'_>,
    timer: &Timer,
    tid: i32,
    flags: u64,
    new: Setting,
) -> Result<Setting, Errno> {
    let [_, nanoseconds, seconds, more] = new.0;
    if nanoseconds.max(more) >= 1_000_000_000 || (seconds as i64) < 0 || (new.0[0] as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    let mut new = new;
    if flags as i32 & libc::TIMER_ABSTIME != 0 && new.left() != 0 {
        let thread = ctx.process.threads.iter().position(|t| t.tid == tid);
        let now = thread.map_or(0, |t| ctx.process.cpu_time_of(t));
        new = new.with_left(new.left().saturating_sub(now).max(1));
    }
    match timer.paused {
        None => timer.set_host(0, new),
        Some(old) => {
            if let Some(t) = ctx.process.timers.get(timer.id) {
                t.paused = Some(new);
            }
            Ok(old)
        }
    }
}

/// `timer_gettime`, `timer_gettime64`.
pub fn timer_gettime(ctx: &mut SyscallContext<'_>) -> SysResult {
    let at = ctx.args[1];
    let timer = *ctx.process.timers.get(ctx.int(0)).ok_or(Errno::EINVAL)?;
    let now = timer.paused.map_or_else(|| timer.get_host(), Ok)?;
    if at == 0 {
        return Err(Errno::EFAULT);
    }
    write(ctx, at, 1, now)
}

/// Writes what argument `n`, the address `at`, asks for; nothing if it is null.
fn write(ctx: &mut SyscallContext<'_>, at: u64, n: usize, setting: Setting) -> SysResult {
    if at != 0 {
        let raw: Vec<u8> = setting.0.iter().flat_map(|w| w.to_le_bytes()).collect();
        ctx.write_struct(at, shape(ctx, n), &raw)?;
    }
    Ok(0)
}
