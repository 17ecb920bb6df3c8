//! Asynchronous input and output of the kernel (`io_setup` and the like).
//!
//! The kernel maps a ring of results, whose address is the context's id and which libraries read
//! themselves. It maps it where it likes; moving the mapping changes the id with it, so the ring is
//! moved to where the guest can reach it. A control block stays in guest memory: its address is what
//! an event names. Only the address of a list of buffers in it is replaced while it is submitted.
//!
//! Source of facts: fs/aio.c, io_submit(2).

use emu_mem::{Mapping, Prot};

use crate::abi::layout::Struct;
use crate::abi::structs::{TIMESPEC, TIMESPEC64};
use crate::mm::{self, MapRequest, Place};
use crate::sys::host_call::{Buffer, HostCall, syscall};
use crate::sys::{SyscallContext, fds, poll, vec};
use crate::{Errno, Machine, Process, SysResult};

/// The name of a ring in `/proc/self/maps`.
const RING: &str = "/[aio] (deleted)";
/// The most control blocks or events a call takes here.
const MOST: u64 = 1 << 16;
/// Bytes of `struct io_event`, and of the ring's header.
const EVENT: u64 = 32;

/// `struct iocb`.
mod iocb {
    pub const SIZE: u64 = 64;
    pub const OPCODE: usize = 16;
    pub const FD: usize = 20;
    pub const BUFFER: usize = 24;
    pub const BYTES: usize = 32;
    pub const FLAGS: usize = 56;
    pub const RESULT_FD: usize = 60;
    /// `IOCB_FLAG_RESFD`.
    pub const HAS_RESULT_FD: u64 = 1;
    pub const PREAD: u64 = 0;
    pub const PWRITE: u64 = 1;
    pub const PREADV: u64 = 7;
    pub const PWRITEV: u64 = 8;
}

/// `io_setup`.
pub fn io_setup(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [events, id_at, ..] = ctx.args;
    let word = ctx.read_word(id_at)?;
    let mut id = word;
    syscall(libc::SYS_io_setup, &[events, &raw mut id as u64, 0, 0, 0, 0], false)?;
    let placed = move_ring(ctx, id);
    let at = *placed.as_ref().unwrap_or(&id);
    if let Err(e) = placed.and_then(|id| ctx.write_word(id_at, id)) {
        let _ = destroy(ctx.process, ctx.machine, at);
        return Err(e);
    }
    Ok(0)
}

/// Moves a ring from where the kernel put it into the guest's address space.
fn move_ring(ctx: &mut SyscallContext<'_>, ring: u64) -> Result<u64, Errno> {
    // SAFETY: the kernel has just mapped it there; its second word says how many events it holds.
    let capacity = unsafe { core::ptr::read_volatile((ring as *const u32).add(1)) };
    let len = (u64::from(capacity) + 1) * EVENT;
    let len = mm::page_up(len).ok_or(Errno::ENOMEM)?;
    let reserved = MapRequest::anonymous(Place::Anywhere, len, Prot::NONE);
    let at = mm::map(ctx.process, ctx.machine, &reserved)?;
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    if let Err(e) = syscall(libc::SYS_mremap, &[ring, len, len, flags as u64, at, 0], false) {
        mm::unmap(ctx.process, ctx.machine, at, at + len)?;
        return Err(e);
    }
    let mapping = Mapping { shared: true, ..Mapping::anonymous(Prot::RW, RING) };
    ctx.machine.space().insert(at, at + len, mapping);
    Ok(at)
}

/// Destroys a context, and the guest's view of its ring with it.
fn destroy(p: &mut Process, m: &mut dyn Machine, id: u64) -> SysResult {
    syscall(libc::SYS_io_destroy, &[id, 0, 0, 0, 0, 0], false)?;
    let ring = m.space().find(id).filter(|(_, _, g)| &*g.name == RING).map(|(s, e, _)| (s, e));
    if let Some((start, end)) = ring {
        mm::forget(p, m, start, end);
    }
    Ok(0)
}

/// `io_destroy`.
pub fn io_destroy(ctx: &mut SyscallContext<'_>) -> SysResult {
    destroy(ctx.process, ctx.machine, ctx.args[0])
}

/// Destroys all contexts: the process is about to run another program.
pub fn destroy_all(p: &mut Process, m: &mut dyn Machine) {
    let rings: Vec<u64> =
        m.space().iter().filter(|(_, _, g)| &*g.name == RING).map(|(s, _, _)| s).collect();
    for start in rings {
        // A ring that was mapped before a fork has no context here.
        let _ = destroy(p, m, start);
    }
}

/// A control block made ready: its list of buffers, if it has one, with the address that was there.
struct Ready {
    list: Option<(Buffer, u64)>,
}

fn prepare(ctx: &mut SyscallContext<'_>, at: u64) -> Result<Ready, Errno> {
    let raw = ctx.read_vec(at, iocb::SIZE as usize)?;
    // The kernel notes a key in it.
    ctx.prepare_write(at, iocb::SIZE)?;
    let word = |at: usize, len: usize| {
        raw[at..at + len].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b))
    };
    fds::check(word(iocb::FD, 4))?;
    if word(iocb::FLAGS, 4) & iocb::HAS_RESULT_FD != 0 {
        fds::check(word(iocb::RESULT_FD, 4))?;
    }
    let (buffer, bytes) = (word(iocb::BUFFER, 8), word(iocb::BYTES, 8));
    let list = match word(iocb::OPCODE, 2) {
        iocb::PREAD => {
            ctx.prepare_write(buffer, bytes)?;
            None
        }
        iocb::PWRITE => {
            ctx.check_range(buffer, bytes)?;
            None
        }
        opcode @ (iocb::PREADV | iocb::PWRITEV) => {
            let fills = opcode == iocb::PREADV;
            Some((vec::read_iovec(ctx, buffer, bytes, fills, Errno::EINVAL)?, buffer))
        }
        _ => None,
    };
    Ok(Ready { list })
}

/// `io_submit`.
pub fn io_submit(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [id, count, list, ..] = ctx.args;
    let mut blocks = Vec::new();
    let mut replaced = Vec::new();
    let mut buffers = Vec::new();
    let mut failed = None;
    for i in 0..if (count as i64) < 0 { 0 } else { count.min(MOST) } {
        let at = ctx.read_word(list.wrapping_add(i * ctx.abi.word()));
        let ready = at.and_then(|at| Ok((at, prepare(ctx, at)?)));
        let (at, ready) = match ready {
            Ok(ready) => ready,
            Err(e) => {
                failed = Some(e);
                break;
            }
        };
        blocks.push(at);
        if let Some((buffer, was)) = ready.list {
            ctx.write_u64(at + iocb::BUFFER as u64, buffer.address())?;
            replaced.push((at + iocb::BUFFER as u64, was));
            buffers.push(buffer);
        }
    }
    if let (Some(e), true) = (failed, blocks.is_empty()) {
        // A context that does not exist is the error to report.
        return syscall(libc::SYS_io_submit, &[id, 0, 0, 0, 0, 0], false).and(Err(e));
    }
    let count = if (count as i64) < 0 { count } else { blocks.len() as u64 };
    let blocks = Buffer::input(blocks.into_boxed_slice());
    let args = [id, count, blocks.address(), 0, 0, 0];
    let mut call = HostCall::new(libc::SYS_io_submit, args).with(blocks);
    call.buffers.extend(buffers);
    Ok(call.then(move |ctx, result| {
        for (at, was) in replaced {
            ctx.write_u64(at, was)?;
        }
        result
    }))
}

/// `io_cancel`.
pub fn io_cancel(ctx: &mut SyscallContext<'_>) -> SysResult {
    ctx.check_range(ctx.args[1], iocb::SIZE)?;
    ctx.prepare_write(ctx.args[2], EVENT)?;
    ctx.host(libc::SYS_io_cancel, ctx.args)
}

/// What the calls that wait for events have in common; the call and its timeout's host copy.
fn get_events(
    ctx: &mut SyscallContext<'_>,
    number: i64,
    shape: &'static Struct,
) -> Result<HostCall, Errno> {
    let [id, least, most, events, timeout, _] = ctx.args;
    let most = if (most as i64) < 0 { most } else { most.min(MOST) };
    if (most as i64) > 0 {
        ctx.prepare_write(events, most * EVENT)?;
    }
    let timeout = poll::read_timeout(ctx, timeout, shape)?;
    let args = [id, least, most, events, poll::address(&timeout), 0];
    Ok(poll::keep(HostCall::new(number, args), timeout))
}

/// `io_getevents`.
pub fn io_getevents(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    get_events(ctx, libc::SYS_io_getevents, &TIMESPEC)
}

fn pgetevents(ctx: &mut SyscallContext<'_>, shape: &'static Struct) -> Result<HostCall, Errno> {
    let mask = match ctx.args[5] {
        0 => None,
        at => {
            let (addr, size) = (ctx.read_word(at)?, ctx.read_word(at + ctx.abi.word())?);
            poll::read_mask(ctx, addr, size)?
        }
    };
    let mut call = get_events(ctx, SYS_IO_PGETEVENTS, shape)?;
    poll::check_waiting(ctx, mask)?;
    let host_mask = poll::host_mask(mask);
    let packed = Buffer::input(Box::new([poll::address(&host_mask), 8]));
    call.args[5] = packed.address();
    let call = poll::keep(call.with(packed), host_mask);
    Ok(call.then(move |ctx, result| poll::finish_masked(ctx, mask, result)))
}

/// Not named by the C library's crate.
const SYS_IO_PGETEVENTS: i64 = 333;

/// `io_pgetevents`.
pub fn io_pgetevents(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    pgetevents(ctx, &TIMESPEC)
}

/// `io_pgetevents_time64`.
pub fn io_pgetevents_time64(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    pgetevents(ctx, &TIMESPEC64)
}
