//! Clocks and sleeping.

use crate::abi::layout::Struct;
use crate::abi::structs::{LONG, RUSAGE, TIMESPEC, TIMESPEC64};
use crate::nondet;
use crate::sys::args::Arg;
use crate::sys::host_call::{Buffer, HostCall, syscall};
use crate::sys::{SyscallContext, poll};
use crate::{Errno, SysResult};

/// `clock_gettime`, `clock_gettime64`.
pub fn clock_gettime(ctx: &mut SyscallContext<'_>) -> SysResult {
    let (seconds, nanoseconds) = match ctx.process.thread_of_clock(ctx.int(0)) {
        Some(thread) => {
            let used = ctx.process.cpu_time_of(thread);
            ((used / NANOSECONDS as u64) as i64, (used % NANOSECONDS as u64) as i64)
        }
        None => {
            let now = nondet::clock(ctx.int(0))?;
            (now.tv_sec, now.tv_nsec)
        }
    };
    let mut raw = [0; 16];
    raw[..8].copy_from_slice(&seconds.to_le_bytes());
    raw[8..].copy_from_slice(&nanoseconds.to_le_bytes());
    ctx.write_struct(ctx.args[1], shape(ctx, 1), &raw)?;
    Ok(0)
}

/// The structure argument `n` points to.
pub(super) fn shape(ctx: &SyscallContext<'_>, n: usize) -> &'static Struct {
    match ctx.row.args[n] {
        Arg::Out(s) | Arg::In(s) | Arg::Left(s) | Arg::InOut(s) => s,
        _ => &TIMESPEC,
    }
}

/// `nanosleep`.
pub fn nanosleep(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    sleep(ctx, libc::CLOCK_MONOTONIC, 0, 0)
}

/// `clock_nanosleep`, `clock_nanosleep_time64`.
pub fn clock_nanosleep(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    sleep(ctx, ctx.int(0), ctx.int(1), 2)
}

/// Sleeps for, or until, the time that argument `n` points to; the next argument takes the time
/// left of an interrupted sleep.
fn sleep(
    ctx: &mut SyscallContext<'_>,
    clock: i32,
    flags: i32,
    n: usize,
) -> Result<HostCall, Errno> {
    let (request, left_at) = (ctx.args[n], ctx.args[n + 1]);
    let shape = shape(ctx, n);
    let raw = ctx.read_struct(request, shape)?;
    let request = Buffer::input(raw.chunks(8).map(word).collect());
    let left = Buffer::input(vec![0; TIMESPEC64.host_size / 8].into_boxed_slice());
    let args = [clock as u64, flags as u64, request.address(), left.address(), 0, 0];
    let call = HostCall::new(libc::SYS_clock_nanosleep, args).with(request);
    Ok(call.then(move |ctx, result| {
        if result == Err(Errno::EINTR) && flags & libc::TIMER_ABSTIME == 0 {
            let raw: Vec<u8> = left.host.iter().flat_map(|w| w.to_le_bytes()).collect();
            if left_at != 0 {
                ctx.write_struct(left_at, shape, &raw)?;
            }
            let until = Deadline::in_future(left.host[0] as i64, left.host[1] as i64)?;
            ctx.thread().restart_block = Some(Interrupted::Sleep { until, left_at, shape });
        }
        result
    }))
}

pub(super) fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

const NANOSECONDS: i64 = 1_000_000_000;

/// A point on the monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    seconds: i64,
    nanoseconds: i64,
}

impl Deadline {
    /// A time from now.
    pub fn in_future(seconds: i64, nanoseconds: i64) -> Result<Deadline, Errno> {
        let now = nondet::clock(libc::CLOCK_MONOTONIC)?;
        let sum = now.tv_nsec + nanoseconds;
        Ok(Deadline {
            seconds: now.tv_sec.saturating_add(seconds).saturating_add(sum / NANOSECONDS),
            nanoseconds: sum % NANOSECONDS,
        })
    }

    /// Milliseconds from now.
    pub fn after(milliseconds: i32) -> Result<Deadline, Errno> {
        let ms = i64::from(milliseconds);
        Deadline::in_future(ms / 1000, ms % 1000 * 1_000_000)
    }

    /// Seconds and nanoseconds until then; 0 when it has passed.
    pub fn left(self) -> Result<(i64, i64), Errno> {
        let now = nondet::clock(libc::CLOCK_MONOTONIC)?;
        let left = i128::from(self.seconds.saturating_sub(now.tv_sec)) * i128::from(NANOSECONDS)
            + i128::from(self.nanoseconds - now.tv_nsec);
        let left = left.max(0);
        Ok(((left / i128::from(NANOSECONDS)) as i64, (left % i128::from(NANOSECONDS)) as i64))
    }
}

/// An interrupted call that `restart_syscall` continues with the time that is left.
#[derive(Clone, Copy, Debug)]
pub enum Interrupted {
    /// A sleep.
    Sleep {
        /// Its end.
        until: Deadline,
        /// Where the guest wants to know the time left, or 0.
        left_at: u64,
        /// In what structure.
        shape: &'static Struct,
    },
    /// A `poll`.
    Poll {
        /// The descriptors' guest address.
        fds: u64,
        /// How many.
        count: u64,
        /// Its end, if it has one.
        deadline: Option<Deadline>,
    },
}

/// `restart_syscall`.
pub fn restart_syscall(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    match ctx.thread().restart_block.take() {
        None => Err(Errno::EINTR),
        Some(Interrupted::Poll { fds, count, deadline }) => {
            poll::poll_until(ctx, fds, count, deadline)
        }
        Some(Interrupted::Sleep { until, left_at, shape }) => {
            let request = Buffer::input(Box::new([until.seconds as u64, until.nanoseconds as u64]));
            let (clock, flags) = (libc::CLOCK_MONOTONIC as u64, libc::TIMER_ABSTIME as u64);
            let args = [clock, flags, request.address(), 0, 0, 0];
            let call = HostCall::new(libc::SYS_clock_nanosleep, args).with(request);
            Ok(call.then(move |ctx, result| {
                if result == Err(Errno::EINTR) {
                    if left_at != 0 {
                        let (s, n) = until.left()?;
                        let raw = [s.to_le_bytes(), n.to_le_bytes()].concat();
                        ctx.write_struct(left_at, shape, &raw)?;
                    }
                    ctx.thread().restart_block = Some(Interrupted::Sleep { until, left_at, shape });
                }
                result
            }))
        }
    }
}

/// `stime`: sets the clock in seconds.
pub fn stime(ctx: &mut SyscallContext<'_>) -> SysResult {
    let seconds = ctx.read_struct(ctx.args[0], &LONG)?;
    let time = [word(&seconds), 0];
    syscall(libc::SYS_settimeofday, &[time.as_ptr() as u64, 0, 0, 0, 0, 0], false)
}

/// `getrusage`. The CPU time of a thread is not what the host knows of it: the host's parts of it, in the
/// kernel and outside, are those of the run thread's.
pub fn getrusage(ctx: &mut SyscallContext<'_>) -> SysResult {
    let (who, at) = (ctx.int(0), ctx.args[1]);
    let mut raw = [0u64; RUSAGE.host_size / 8];
    syscall(libc::SYS_getrusage, &[who as u64, raw.as_mut_ptr() as u64, 0, 0, 0, 0], false)?;
    if who == libc::RUSAGE_THREAD {
        let current = ctx.process.current;
        let used = u128::from(ctx.process.cpu_time_of(current) / 1000);
        let [user, kernel] = [0, 2].map(|i| u128::from(raw[i] * 1_000_000 + raw[i + 1]));
        let user = used * user.max(1) / (user + kernel).max(1);
        for (i, part) in [(0, user), (2, used - user)] {
            (raw[i], raw[i + 1]) = ((part / 1_000_000) as u64, (part % 1_000_000) as u64);
        }
    }
    let raw: Vec<u8> = raw.iter().flat_map(|w| w.to_le_bytes()).collect();
    ctx.write_struct(at, &RUSAGE, &raw)?;
    Ok(0)
}
