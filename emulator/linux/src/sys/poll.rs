//! Waiting for descriptors.

use crate::abi::layout::Struct;
use crate::abi::structs::{EPOLL_EVENT, POLLFD, TIMESPEC, TIMESPEC64, TIMEVAL};
use crate::signal::{self, SYNCHRONOUS, deliver};
use crate::sys::host_call::{Buffer, CopyBack, HostCall};
use crate::sys::time::{Deadline, Interrupted};
use crate::sys::{SyscallContext, fds, pass};
use crate::{Abi, Errno, SysResult};

/// Bytes of the kernel's `sigset_t`.
const SIGSET_SIZE: u64 = 8;
/// The most descriptors a call takes: the largest `RLIMIT_NOFILE` in use.
const MAX_FDS: u64 = 1 << 20;

/// The signal mask a call puts in force while it waits: address and size of the guest's.
pub(super) fn read_mask(
    ctx: &SyscallContext<'_>,
    addr: u64,
    size: u64,
) -> Result<Option<u64>, Errno> {
    if addr == 0 {
        return Ok(None);
    }
    if size != SIGSET_SIZE {
        return Err(Errno::EINVAL);
    }
    Ok(Some(ctx.read_u64(addr)? & !signal::UNMASKABLE))
}

/// Puts `mask` in force until a handler returns: a signal that waits already ends the call.
pub(super) fn check_waiting(ctx: &mut SyscallContext<'_>, mask: Option<u64>) -> Result<(), Errno> {
    let Some(mask) = mask else { return Ok(()) };
    deliver::absorb(ctx.process);
    let signals = &ctx.thread().signals;
    if signals.pending.iter().any(|s| signal::bit(s.signal()) & !mask != 0) {
        swap_mask(ctx, mask);
        return Err(Errno::EINTR);
    }
    ctx.thread().signals.awaited = !mask;
    Ok(())
}

/// The interrupted call's mask decides which handler runs; the old one comes back after it.
fn swap_mask(ctx: &mut SyscallContext<'_>, mask: u64) {
    let signals = &mut ctx.thread().signals;
    signals.saved = Some(signals.blocked);
    signals.blocked = mask;
}

/// The mask as the host call takes it. Fault signals are never blocked on the host.
pub(super) fn host_mask(mask: Option<u64>) -> Option<Buffer> {
    mask.map(|m| Buffer::input(Box::new([m & !SYNCHRONOUS])))
}

/// Its address, or null.
pub(super) fn address(buffer: &Option<Buffer>) -> u64 {
    buffer.as_ref().map_or(0, Buffer::address)
}

/// Adds memory that lives as long as the call.
pub(super) fn keep(mut call: HostCall, buffer: Option<Buffer>) -> HostCall {
    call.buffers.extend(buffer);
    call
}

/// A time to wait, converted; the kernel updates it with what is left.
pub(super) fn read_timeout(
    ctx: &mut SyscallContext<'_>,
    guest: u64,
    shape: &'static Struct,
) -> Result<Option<Buffer>, Errno> {
    if guest == 0 {
        return Ok(None);
    }
    let raw = ctx.read_struct(guest, shape)?;
    let words: Box<[u64]> = raw.chunks(8).map(word).collect();
    Ok(Some(Buffer { guest, shape, count: 1, host: words, back: CopyBack::Never }))
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

/// Writes the time left back, as Linux does whether the call succeeded or was interrupted. It does
/// not matter if that fails (the timeout may lie in read-only memory).
fn write_left(ctx: &mut SyscallContext<'_>, timeout: &Option<Buffer>) {
    if let Some(t) = timeout {
        let raw: Vec<u8> = t.host.iter().flat_map(|w| w.to_le_bytes()).collect();
        let _ = ctx.write_struct(t.guest, t.shape, &raw);
    }
}

/// `poll`: an interrupted one continues with the time that is left.
pub fn poll(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [fds, count, timeout, ..] = ctx.args;
    let milliseconds = timeout as i32;
    let deadline = if milliseconds < 0 { None } else { Some(Deadline::after(milliseconds)?) };
    poll_until(ctx, fds, count, deadline)
}

/// `poll` with an end instead of a duration.
pub fn poll_until(
    ctx: &mut SyscallContext<'_>,
    fds: u64,
    count: u64,
    deadline: Option<Deadline>,
) -> Result<HostCall, Errno> {
    if count > MAX_FDS {
        return Err(Errno::EINVAL);
    }
    ctx.prepare_write(fds, count * POLLFD.host_size as u64)?;
    let left = match deadline {
        Some(d) => {
            let (s, n) = d.left()?;
            Some(Buffer::input(Box::new([s as u64, n as u64])))
        }
        None => None,
    };
    let call = HostCall::new(libc::SYS_ppoll, [fds, count, address(&left), 0, SIGSET_SIZE, 0]);
    Ok(keep(call, left).then(move |ctx, result| {
        if result == Err(Errno::EINTR) {
            ctx.thread().restart_block = Some(Interrupted::Poll { fds, count, deadline });
        }
        result
    }))
}

fn ppoll_with(ctx: &mut SyscallContext<'_>, shape: &'static Struct) -> Result<HostCall, Errno> {
    let [fds, count, timeout, mask, size, _] = ctx.args;
    if count > MAX_FDS {
        return Err(Errno::EINVAL);
    }
    ctx.prepare_write(fds, count * POLLFD.host_size as u64)?;
    let timeout = read_timeout(ctx, timeout, shape)?;
    let mask = read_mask(ctx, mask, size)?;
    check_waiting(ctx, mask)?;
    let host_mask = host_mask(mask);
    let args = [fds, count, address(&timeout), address(&host_mask), SIGSET_SIZE, 0];
    Ok(keep(HostCall::new(libc::SYS_ppoll, args), host_mask).then(move |ctx, result| {
        write_left(ctx, &timeout);
        finish_masked(ctx, mask, result)
    }))
}

/// After a call with a mask of its own.
pub(super) fn finish_masked(
    ctx: &mut SyscallContext<'_>,
    mask: Option<u64>,
    result: SysResult,
) -> SysResult {
    ctx.thread().signals.awaited = 0;
    if let (Some(mask), Err(Errno::EINTR)) = (mask, result) {
        swap_mask(ctx, mask);
    }
    result
}

/// `ppoll`.
pub fn ppoll(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    ppoll_with(ctx, &TIMESPEC)
}

/// `ppoll_time64`.
pub fn ppoll_time64(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    ppoll_with(ctx, &TIMESPEC64)
}

/// The three descriptor sets of `select`, in host memory: sets of both ABIs are little-endian bit
/// strings, of whole guest words.
struct Sets {
    guest: [u64; 3],
    host: [Option<Box<[u64]>>; 3],
    bytes: usize,
}

impl Sets {
    fn read(ctx: &mut SyscallContext<'_>, n: i32, guest: [u64; 3]) -> Result<Sets, Errno> {
        let n = u64::try_from(n).map_err(|_| Errno::EINVAL)?.min(MAX_FDS);
        let bytes = (n.div_ceil(8 * ctx.abi.word()) * ctx.abi.word()) as usize;
        let mut host = [None, None, None];
        for (host, &addr) in host.iter_mut().zip(&guest) {
            if addr != 0 {
                let raw = ctx.read_vec(addr, bytes)?;
                let set: Box<[u64]> = raw.chunks(8).map(word).collect();
                let bits = set.iter().enumerate().flat_map(|(i, w)| {
                    (0..64).filter(move |b| w >> b & 1 != 0).map(move |b| 64 * i as u64 + b)
                });
                for fd in bits.take_while(|&fd| fd < n) {
                    fds::check(fd)?;
                }
                *host = Some(set);
            }
        }
        Ok(Sets { guest, host, bytes })
    }

    fn address(&self, i: usize) -> u64 {
        self.host[i].as_ref().map_or(0, |s| s.as_ptr() as u64)
    }

    fn write(&self, ctx: &mut SyscallContext<'_>) -> Result<(), Errno> {
        for (host, &addr) in self.host.iter().zip(&self.guest) {
            if let Some(set) = host {
                let raw: Vec<u8> =
                    set.iter().flat_map(|w| w.to_le_bytes()).take(self.bytes).collect();
                ctx.write(addr, &raw)?;
            }
        }
        Ok(())
    }
}

/// `select`; the old i386 call has its five arguments in memory.
pub fn select(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    if ctx.abi == Abi::I386 && ctx.row.name == "select" {
        let raw = ctx.read_vec(ctx.registers[0], 20)?;
        for (arg, raw) in ctx.args.iter_mut().zip(raw.chunks(4)) {
            *arg = word(raw);
        }
    }
    let [n, a, b, c, timeout, _] = ctx.args;
    let sets = Sets::read(ctx, n as i32, [a, b, c])?;
    let timeout = read_timeout(ctx, timeout, &TIMEVAL)?;
    let args = [n, sets.address(0), sets.address(1), sets.address(2), address(&timeout), 0];
    Ok(HostCall::new(libc::SYS_select, args).then(move |ctx, result| {
        write_left(ctx, &timeout);
        if result.is_ok() {
            sets.write(ctx)?;
        }
        result
    }))
}

fn pselect6_with(ctx: &mut SyscallContext<'_>, shape: &'static Struct) -> Result<HostCall, Errno> {
    let [n, a, b, c, timeout, packed] = ctx.args;
    let mask = match packed {
        0 => None,
        at => {
            let addr = ctx.read_word(at)?;
            let size = ctx.read_word(at + ctx.abi.word())?;
            read_mask(ctx, addr, size)?
        }
    };
    let sets = Sets::read(ctx, n as i32, [a, b, c])?;
    let timeout = read_timeout(ctx, timeout, shape)?;
    check_waiting(ctx, mask)?;
    let host_mask = host_mask(mask);
    let packed = Buffer::input(Box::new([address(&host_mask), SIGSET_SIZE]));
    let args =
        [n, sets.address(0), sets.address(1), sets.address(2), address(&timeout), packed.address()];
    let call = keep(HostCall::new(libc::SYS_pselect6, args).with(packed), host_mask);
    Ok(call.then(move |ctx, result| {
        write_left(ctx, &timeout);
        if result.is_ok() {
            sets.write(ctx)?;
        }
        finish_masked(ctx, mask, result)
    }))
}

/// `pselect6`.
pub fn pselect6(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    pselect6_with(ctx, &TIMESPEC)
}

/// `pselect6_time64`.
pub fn pselect6_time64(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    pselect6_with(ctx, &TIMESPEC64)
}

/// Checks what `epoll_pwait` and `epoll_pwait2` have in common; the mask and its host copy.
fn epoll_common(ctx: &mut SyscallContext<'_>) -> Result<(Option<u64>, Option<Buffer>), Errno> {
    let [fd, events, max, _, mask, size] = ctx.args;
    fds::check(fd)?;
    let max = max as i32;
    if max <= 0 || max as u64 > MAX_FDS {
        return Err(Errno::EINVAL);
    }
    ctx.prepare_write(events, max as u64 * EPOLL_EVENT.host_size as u64)?;
    let mask = read_mask(ctx, mask, size)?;
    check_waiting(ctx, mask)?;
    Ok((mask, host_mask(mask)))
}

/// `epoll_pwait`.
pub fn epoll_pwait(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let (mask, host) = epoll_common(ctx)?;
    let [fd, events, max, timeout, ..] = ctx.args;
    let args = [fd, events, max, timeout, address(&host), SIGSET_SIZE];
    let call = keep(HostCall::new(libc::SYS_epoll_pwait, args), host);
    Ok(call.then(move |ctx, result| finish_masked(ctx, mask, result)))
}

/// `epoll_pwait2`.
pub fn epoll_pwait2(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let (mask, host) = epoll_common(ctx)?;
    let [fd, events, max, timeout, ..] = ctx.args;
    let timeout = read_timeout(ctx, timeout, &TIMESPEC64)?;
    let args = [fd, events, max, address(&timeout), address(&host), SIGSET_SIZE];
    let call = keep(keep(HostCall::new(libc::SYS_epoll_pwait2, args), host), timeout);
    Ok(call.then(move |ctx, result| finish_masked(ctx, mask, result)))
}

fn signalfd_with(ctx: &mut SyscallContext<'_>, flags: u64) -> SysResult {
    let [fd, mask, size, ..] = ctx.args;
    if size != SIGSET_SIZE {
        return Err(Errno::EINVAL);
    }
    fds::check(fd)?;
    pass::check_start(ctx, mask)?;
    ctx.check_range(mask, SIGSET_SIZE)?;
    ctx.process.signalfds = true;
    ctx.host(libc::SYS_signalfd4, [fd, mask, size, flags, 0, 0])
}

/// `signalfd`.
pub fn signalfd(ctx: &mut SyscallContext<'_>) -> SysResult {
    signalfd_with(ctx, 0)
}

/// `signalfd4`.
pub fn signalfd4(ctx: &mut SyscallContext<'_>) -> SysResult {
    signalfd_with(ctx, ctx.args[3])
}
