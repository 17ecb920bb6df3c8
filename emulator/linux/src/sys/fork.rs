//! fork, vfork, clone.

use emu_x86::state::gpr;

use crate::sched;
use crate::segments::{self, UserDesc};
use crate::signal::{deliver, host};
use crate::sys::{SyscallContext, vfork};
use crate::thread::Thread;
use crate::timers::Timers;
use crate::{Abi, Errno, Event, SysResult, published};

/// What a clone call asks for, from any of its forms.
#[derive(Clone, Copy, Debug, Default)]
struct CloneArgs {
    flags: u64,
    exit_signal: i32,
    /// Stack pointer of the child; 0 keeps the parent's.
    stack: u64,
    parent_tid: u64,
    child_tid: u64,
    pidfd: u64,
    tls: u64,
}

/// Flags a new process can have that the host's clone takes.
const HOST_FLAGS: i32 = libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_IO
    | libc::CLONE_SYSVSEM
    | libc::CLONE_PARENT
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// `CLONE_CLEAR_SIGHAND` (clone3 only).
const CLEAR_SIGHAND: u64 = 1 << 32;

/// `fork`.
pub fn fork(ctx: &mut SyscallContext<'_>) -> SysResult {
    new_process(ctx, CloneArgs { exit_signal: libc::SIGCHLD, ..CloneArgs::default() })
}

/// `vfork`.
pub fn vfork(ctx: &mut SyscallContext<'_>) -> SysResult {
    let flags = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    new_process(ctx, CloneArgs { flags, exit_signal: libc::SIGCHLD, ..CloneArgs::default() })
}

/// `clone`: flags, stack, parent's tid address, then child's tid address and TLS in the order of
/// the ABI.
pub fn clone(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [flags, stack, parent_tid, a, b, _] = ctx.args;
    let (child_tid, tls) = match ctx.abi {
        Abi::X86_64 => (a, b),
        Abi::I386 => (b, a),
    };
    let pidfd = if flags & libc::CLONE_PIDFD as u64 != 0 { parent_tid } else { 0 };
    const CSIGNAL: u64 = 0xff;
    run(
        ctx,
        CloneArgs {
            flags: flags as u32 as u64 & !CSIGNAL,
            exit_signal: (flags & CSIGNAL) as i32,
            stack,
            parent_tid,
            child_tid,
            pidfd,
            tls,
        },
    )
}

/// `clone3`: a structure of 64-bit fields, the same in both ABIs.
pub fn clone3(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [at, size, ..] = ctx.args;
    const FIRST: u64 = 64;
    if size < FIRST {
        return Err(Errno::EINVAL);
    }
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    let mut raw = ctx.read_vec(at, size as usize)?;
    const KNOWN: usize = 88;
    if raw.iter().skip(KNOWN).any(|&b| b != 0) {
        return Err(Errno::E2BIG);
    }
    raw.resize(KNOWN, 0);
    let word = |i: usize| {
        let mut w = [0; 8];
        w.copy_from_slice(&raw[8 * i..8 * i + 8]);
        u64::from_le_bytes(w)
    };
    let (stack, stack_size, set_tids) = (word(5), word(6), word(9));
    if set_tids != 0 {
        return Err(Errno::EPERM);
    }
    if word(4) & !0xff != 0 || (stack == 0) != (stack_size == 0) {
        return Err(Errno::EINVAL);
    }
    run(
        ctx,
        CloneArgs {
            flags: word(0),
            pidfd: word(1),
            child_tid: word(2),
            parent_tid: word(3),
            exit_signal: word(4) as i32,
            stack: stack.wrapping_add(stack_size),
            tls: word(7),
        },
    )
}

fn run(ctx: &mut SyscallContext<'_>, args: CloneArgs) -> SysResult {
    let has = |flag: i32| args.flags & flag as u64 != 0;
    if has(libc::CLONE_SIGHAND) && !has(libc::CLONE_VM)
        || has(libc::CLONE_THREAD) && !has(libc::CLONE_SIGHAND)
        || has(libc::CLONE_FS) && has(libc::CLONE_NEWNS)
    {
        return Err(Errno::EINVAL);
    }
    if has(libc::CLONE_THREAD) {
        return new_thread(ctx, args);
    }
    if has(libc::CLONE_VM) && !has(libc::CLONE_VFORK) {
        return Err(no_shared_memory());
    }
    new_process(ctx, args)
}

/// Says once that a process was asked for that shares memory with this one.
#[cold]
fn no_shared_memory() -> Errno {
    use std::sync::Once;
    static SAID: Once = Once::new();
    SAID.call_once(|| tracing::warn!("clone of a process with shared memory: refused with ENOSYS"));
    Errno::ENOSYS
}

/// A thread of this process; it takes turns with the others.
fn new_thread(ctx: &mut SyscallContext<'_>, args: CloneArgs) -> SysResult {
    let has = |flag: i32| args.flags & flag as u64 != 0;
    let companion = sched::new_companion(ctx.process)?;
    let tid = companion.tid;
    if has(libc::CLONE_PARENT_SETTID) {
        let _ = ctx.write_u32(args.parent_tid, tid as u32);
    }
    if has(libc::CLONE_CHILD_SETTID) {
        let _ = ctx.write_u32(args.child_tid, tid as u32);
    }
    ctx.process.before_new_thread();
    let parent = ctx.process.current;
    let mut thread = Thread::new(tid);
    thread.companion = Some(companion);
    thread.share = ctx.thread().share.of_new();
    *thread.cpu = ctx.process.cpu().copy();
    thread.cpu.gpr[gpr::RAX] = 0;
    if args.stack != 0 {
        thread.cpu.gpr[gpr::RSP] = args.stack;
    }
    thread.signals.blocked = ctx.thread().signals.blocked;
    thread.confinement = ctx.thread().confinement.clone();
    if has(libc::CLONE_CHILD_CLEARTID) {
        thread.clear_child_tid = args.child_tid;
    }
    ctx.process.threads.push(thread);
    ctx.process.current = ctx.process.threads.len() - 1;
    let tls = if has(libc::CLONE_SETTLS) { set_tls(ctx, args.tls) } else { Ok(()) };
    if let Err(e) = tls {
        ctx.process.threads.pop();
        ctx.process.current = parent;
        return Err(e);
    }
    ctx.process.emit(ctx.machine, &Event::ThreadStart { tid });
    ctx.process.current = parent;
    Ok(tid as u64)
}

fn new_process(ctx: &mut SyscallContext<'_>, args: CloneArgs) -> SysResult {
    let has = |flag: i32| args.flags & flag as u64 != 0;
    let waits = has(libc::CLONE_VFORK);
    let pair = if waits { Some(vfork::pair()?) } else { None };
    ctx.process.emit(ctx.machine, &Event::BeforeFork);
    let mask = host::block();
    let child = host_fork(&args);
    if child != Ok(0) {
        host::restore(mask);
    }
    let child = child?;
    if child == 0 {
        let link = pair.map(|(_, c)| c.begin());
        return in_child(ctx, &args, link);
    }
    ctx.process.emit(ctx.machine, &Event::Fork { child, is_child: false });
    if let Some((parent, link)) = pair {
        drop(link);
        let kept = ctx.process.outputs_in_progress();
        parent.wait(ctx.machine, child, &kept);
    }
    // After the child's memory has been taken over, which would undo it.
    if has(libc::CLONE_PARENT_SETTID) {
        // The kernel ignores a bad address, too.
        let _ = ctx.write_u32(args.parent_tid, child as u32);
    }
    if has(libc::CLONE_PIDFD) {
        // SAFETY: only makes a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) };
        let _ = ctx.write_u32(args.pidfd, fd as u32);
    }
    Ok(child as u64)
}

/// Makes the host process's copy. The C library's fork, which keeps its own state right, unless
/// flags need the bare call.
fn host_fork(args: &CloneArgs) -> Result<i32, Errno> {
    let flags = args.flags as i32 & HOST_FLAGS;
    let r = if flags == 0 && args.exit_signal == libc::SIGCHLD {
        // SAFETY: the run thread is the only one that touches shared state; the child goes on with
        // a copy of everything.
        i64::from(unsafe { libc::fork() })
    } else {
        // SAFETY: as above; no stack, so the child continues here.
        unsafe { libc::syscall(libc::SYS_clone, i64::from(flags | args.exit_signal), 0, 0, 0, 0) }
    };
    crate::errno::check(r).map(|n| n as i32)
}

fn in_child(
    ctx: &mut SyscallContext<'_>,
    args: &CloneArgs,
    link: Option<vfork::VforkChild>,
) -> SysResult {
    let has = |flag: i32| args.flags & flag as u64 != 0;
    let p = &mut *ctx.process;
    // SAFETY: cannot fail.
    let pid = unsafe { libc::getpid() };
    let mut thread = p.threads.swap_remove(p.current);
    thread.tid = pid;
    thread.clear_child_tid = if has(libc::CLONE_CHILD_CLEARTID) { args.child_tid } else { 0 };
    thread.robust_list = (0, 0);
    thread.signals.pending.clear();
    if args.stack != 0 {
        thread.cpu.gpr[gpr::RSP] = args.stack;
    }
    if has(libc::CLONE_VM) && !has(libc::CLONE_VFORK) {
        thread.signals.alt = Default::default();
    }
    core::mem::forget(thread.companion.take());
    for mut gone in p.threads.drain(..) {
        core::mem::forget(gone.companion.take());
    }
    p.sched.forget();
    p.timers = Timers::default();
    p.cpu_time = Default::default();
    thread.cpu_time = 0;
    p.threads = vec![thread];
    p.current = 0;
    host::forget_arrivals();
    published::companion(0);
    host::set_mask(deliver::host_mask(p));
    // An outer vfork parent waits for the process we were copied from, not for this one.
    p.vfork = link;
    if args.flags & CLEAR_SIGHAND != 0 {
        clear_handlers(ctx);
    }
    if has(libc::CLONE_SETTLS) {
        set_tls(ctx, args.tls)?;
    }
    if has(libc::CLONE_CHILD_SETTID) {
        let _ = ctx.write_u32(args.child_tid, pid as u32);
    }
    if has(libc::CLONE_VM) && has(libc::CLONE_PARENT_SETTID) {
        let _ = ctx.write_u32(args.parent_tid, pid as u32);
    }
    ctx.process.emit(ctx.machine, &Event::Fork { child: pid, is_child: true });
    Ok(0)
}

/// Resets every handler to the default (`CLONE_CLEAR_SIGHAND`, `execve`).
pub(super) fn clear_handlers(ctx: &mut SyscallContext<'_>) {
    let before = ctx.process.actions.clone();
    ctx.process.actions.exec();
    for n in 1..=crate::signal::COUNT {
        let action = ctx.process.actions.get(n);
        if action != before.get(n) {
            crate::signal::host::set_action(n, &action);
        }
    }
}

/// `CLONE_SETTLS`: the FS base, or on i386 a `struct user_desc`.
fn set_tls(ctx: &mut SyscallContext<'_>, tls: u64) -> Result<(), Errno> {
    if ctx.abi == Abi::X86_64 {
        ctx.process.cpu().fs_base = tls;
        return Ok(());
    }
    let mut raw = [0; 16];
    ctx.read(tls, &mut raw)?;
    segments::set_thread_area(ctx.process.cpu(), UserDesc::from_bytes(raw)).map(|_| ())
}
