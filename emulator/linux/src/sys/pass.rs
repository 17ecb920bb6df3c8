//! Calls that need no code of their own: arguments are checked and converted by kind, then the
//! host kernel does the rest.

use crate::abi::layout::Struct;
use crate::sys::args::Arg;
use crate::sys::host_call::{Buffer, CopyBack, HostCall};
use crate::sys::{SyscallContext, fds};
use crate::{Abi, Errno};

/// The most array elements a call takes: above `UIO_MAXIOV` and the largest `nfds` that makes
/// sense; a bound on what the host allocates for the guest. For more the kernel has an error.
pub const MAX_ELEMENTS: u64 = 1 << 16;

/// What the host kernel gets for an address the guest cannot have: one no program can have. Whether
/// and when it says EFAULT is for the kernel to decide, which looks at other arguments first.
pub const NOWHERE: u64 = 0xffff_8000_0000_0000;

/// Prepares host call `number` with the guest's arguments.
pub fn prepare(ctx: &mut SyscallContext<'_>, number: i64) -> Result<HostCall, Errno> {
    let mut call = HostCall::new(number, ctx.args);
    for (i, &kind) in ctx.row.args.iter().enumerate() {
        let value = ctx.args[i];
        let count = |n: u8| ctx.args[usize::from(n)];
        let checked = match kind {
            Arg::Fd | Arg::DirFd => fds::check(value),
            Arg::Path | Arg::Str | Arg::Addr => check_start(ctx, value),
            Arg::BufIn(len) => {
                clamp(ctx.process.abi, value, count(len)).map(|n| call.args[usize::from(len)] = n)
            }
            Arg::BufOut(len) => clamp(ctx.process.abi, value, count(len)).and_then(|n| {
                call.args[usize::from(len)] = n;
                ctx.prepare_write(value, n)
            }),
            Arg::In(s) => structure(ctx, &mut call, i, s, 1, CopyBack::Never, true),
            Arg::Out(s) => structure(ctx, &mut call, i, s, 1, CopyBack::Success, false),
            Arg::InOut(s) => structure(ctx, &mut call, i, s, 1, CopyBack::Success, true),
            Arg::Left(s) => structure(ctx, &mut call, i, s, 1, CopyBack::Interrupted, false),
            Arg::InArray(s, len) => {
                structure(ctx, &mut call, i, s, count(len), CopyBack::Never, true)
            }
            Arg::OutArray(s, len) => {
                structure(ctx, &mut call, i, s, count(len), CopyBack::Count, false)
            }
            Arg::InOutArray(s, len) => {
                structure(ctx, &mut call, i, s, count(len), CopyBack::Success, true)
            }
            Arg::Tid => {
                call.args[i] = thread_id(ctx, value);
                Ok(())
            }
            Arg::Timer => {
                call.args[i] = timer_id(ctx, value);
                Ok(())
            }
            Arg::Int
            | Arg::UInt
            | Arg::Long
            | Arg::ULong
            | Arg::Wide
            | Arg::Pos
            | Arg::Mode
            | Arg::Pid
            | Arg::Id
            | Arg::OldId
            | Arg::Signal => Ok(()),
        };
        match checked {
            Err(Errno::EFAULT) => call.args[i] = NOWHERE,
            other => other?,
        }
    }
    Ok(call)
}

/// What making arguments ready needs of the guest.
pub trait Guest {
    /// The guest's ABI.
    fn abi(&self) -> Abi;

    /// Checks a range and makes it ready to be written by the host kernel: watched code pages in
    /// it lose their protection and their translations.
    fn prepare_write(&mut self, addr: u64, len: u64) -> Result<(), Errno>;

    /// The current thread's id, if it is known.
    fn tid(&mut self) -> Option<u64>;

    /// Checks that `addr..addr+len` lies in the guest's address space (the kernel's `access_ok`).
    /// It may still not be mapped. Null passes: nothing of the host is there.
    fn check_range(&self, addr: u64, len: u64) -> Result<(), Errno> {
        if self.abi().holds(addr, len) { Ok(()) } else { Err(Errno::EFAULT) }
    }
}

/// The thread an id names: 0 is the caller, which is not the host thread that makes the call.
fn thread_id(ctx: &mut SyscallContext<'_>, id: u64) -> u64 {
    if id == 0 { ctx.thread().tid as u64 } else { id }
}

/// The host's id of a timer; one that no timer has if there is none.
fn timer_id(ctx: &mut SyscallContext<'_>, id: u64) -> u64 {
    ctx.process.timers.get(id as i32).map_or(u64::MAX, |t| t.host as u64)
}

/// A string or another address of unknown length: its start lies in the guest, and nothing of the
/// host lies near the end of one of the guest's areas.
pub fn check_start(ctx: &SyscallContext<'_>, addr: u64) -> Result<(), Errno> {
    ctx.check_range(addr, 1)
}

/// The length of a buffer at `addr`, cut at the end of the guest's area it lies in: the guest has
/// nothing mapped there, so a transfer that gets that far ends as it would natively.
pub fn clamp(abi: Abi, addr: u64, len: u64) -> Result<u64, Errno> {
    // What the kernel checks buffers of either ABI against.
    const KERNEL_LIMIT: u64 = Abi::X86_64.kernel_task_size();
    match (addr.checked_add(len), abi.room_at(addr)) {
        (Some(end), Some(room)) if end <= KERNEL_LIMIT => Ok(len.min(room)),
        // The kernel has its own idea of negative lengths: let it see them, with no address.
        _ if addr == 0 => Ok(len),
        _ => Err(Errno::EFAULT),
    }
}

fn structure(
    ctx: &mut SyscallContext<'_>,
    call: &mut HostCall,
    index: usize,
    shape: &'static Struct,
    count: u64,
    back: CopyBack,
    read: bool,
) -> Result<(), Errno> {
    let guest = ctx.args[index];
    if guest == 0 {
        return Ok(());
    }
    if count > MAX_ELEMENTS {
        return Err(Errno::EFAULT);
    }
    let len = count * ctx.size_of(shape) as u64;
    if back == CopyBack::Never {
        ctx.check_range(guest, len)?;
    } else {
        ctx.prepare_write(guest, len)?;
    }
    if ctx.abi == Abi::X86_64 || shape.is_same() {
        return Ok(());
    }
    let count = count as usize;
    let mut host = vec![0u64; (count * shape.host_size).div_ceil(8)].into_boxed_slice();
    if read {
        for i in 0..count {
            let one = ctx.read_struct(guest + (i * shape.guest_size) as u64, shape)?;
            put(&mut host, i * shape.host_size, &one);
        }
    }
    call.args[index] = host.as_ptr() as u64;
    call.buffers.push(Buffer { guest, shape, count, host, back });
    Ok(())
}

/// Puts bytes at byte offset `at` of an array of words.
fn put(words: &mut [u64], at: usize, bytes: &[u8]) {
    for (i, &b) in bytes.iter().enumerate() {
        let (word, shift) = ((at + i) / 8, (at + i) % 8 * 8);
        words[word] = words[word] & !(0xff << shift) | u64::from(b) << shift;
    }
}
