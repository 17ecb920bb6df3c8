//! Signal calls.

use crate::abi::structs::{TIMESPEC, TIMESPEC64};
use crate::sched::Wait;
use crate::signal::info::SI_TKILL;
use crate::signal::{
    Action, AltStack, COUNT, DEFAULT, DefaultAction, IGNORE, SYNCHRONOUS, SigInfo, UNMASKABLE, bit,
    default_action, deliver, frame, host, sa,
};
use crate::sys::{HostCall, SyscallContext, process};
use crate::{Abi, Errno, SysResult, attention};

/// Little-endian words of guest structures.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn u32(&self, at: usize) -> u64 {
        self.0.iter().skip(at).take(4).rev().fold(0, |n, &b| n << 8 | u64::from(b))
    }
    fn u64(&self, at: usize) -> u64 {
        self.u32(at) | self.u32(at + 4) << 32
    }
}

/// Installs an action; the old one.
fn change_action(
    ctx: &mut SyscallContext<'_>,
    signal: i32,
    new: Option<Action>,
) -> Result<Action, Errno> {
    if !(1..=COUNT).contains(&signal) || new.is_some() && bit(signal) & UNMASKABLE != 0 {
        return Err(Errno::EINVAL);
    }
    let old = ctx.process.actions.get(signal);
    if let Some(mut new) = new {
        new.mask &= !UNMASKABLE;
        ctx.process.actions.set(signal, new);
        host::set_action(signal, &new);
        let dropped = new.handler == IGNORE
            || new.handler == DEFAULT && default_action(signal) == DefaultAction::Ignore;
        if dropped {
            deliver::absorb(ctx.process);
            ctx.thread().signals.pending.retain(|s| s.signal() != signal);
        }
    }
    Ok(old)
}

/// `rt_sigaction`.
pub fn rt_sigaction(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [signal, new_at, old_at, size, ..] = ctx.args;
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let wide = ctx.abi == Abi::X86_64;
    let new = match new_at {
        0 => None,
        at => {
            let raw = ctx.read_vec(at, if wide { 32 } else { 20 })?;
            let w = Words(&raw);
            Some(if wide {
                Action { handler: w.u64(0), flags: w.u64(8), restorer: w.u64(16), mask: w.u64(24) }
            } else {
                Action { handler: w.u32(0), flags: w.u32(4), restorer: w.u32(8), mask: w.u64(12) }
            })
        }
    };
    let old = change_action(ctx, signal as i32, new)?;
    if old_at != 0 {
        let mut raw = Vec::new();
        for v in [old.handler, old.flags, old.restorer] {
            raw.extend(&v.to_le_bytes()[..ctx.abi.word() as usize]);
        }
        raw.extend(old.mask.to_le_bytes());
        ctx.write(old_at, &raw)?;
    }
    Ok(0)
}

/// `sigaction` of i386.
pub fn sigaction(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [signal, new_at, old_at, ..] = ctx.args;
    let new = match new_at {
        0 => None,
        at => {
            let raw = ctx.read_vec(at, 16)?;
            let w = Words(&raw);
            Some(Action { handler: w.u32(0), mask: w.u32(4), flags: w.u32(8), restorer: w.u32(12) })
        }
    };
    let old = change_action(ctx, signal as i32, new)?;
    if old_at != 0 {
        let mut raw = Vec::new();
        for v in [old.handler, old.mask, old.flags, old.restorer] {
            raw.extend((v as u32).to_le_bytes());
        }
        ctx.write(old_at, &raw)?;
    }
    Ok(0)
}

/// `signal` of i386: one shot, nothing masked.
pub fn signal(ctx: &mut SyscallContext<'_>) -> SysResult {
    let new =
        Action { handler: ctx.args[1], flags: sa::RESETHAND | sa::NODEFER, ..Action::default() };
    change_action(ctx, ctx.int(0), Some(new)).map(|old| old.handler)
}

/// The new mask of a sigprocmask call.
fn changed(how: i32, old: u64, set: u64) -> Result<u64, Errno> {
    match how {
        libc::SIG_BLOCK => Ok(old | set),
        libc::SIG_UNBLOCK => Ok(old & !set),
        libc::SIG_SETMASK => Ok(set),
        _ => Err(Errno::EINVAL),
    }
}

/// `rt_sigprocmask`.
pub fn rt_sigprocmask(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [how, set_at, old_at, size, ..] = ctx.args;
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let old = ctx.thread().signals.blocked;
    if set_at != 0 {
        let set = ctx.read_u64(set_at)?;
        let new = changed(how as i32, old, set)?;
        deliver::set_blocked(ctx.process, new);
    }
    if old_at != 0 {
        ctx.write_u64(old_at, old)?;
    }
    Ok(0)
}

/// `sigprocmask` of i386: the first 32 signals.
pub fn sigprocmask(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [how, set_at, old_at, ..] = ctx.args;
    let old = ctx.thread().signals.blocked;
    if set_at != 0 {
        let set = u64::from(ctx.read_u32(set_at)?);
        let new = changed(how as i32, old & 0xffff_ffff, set)? | old & !0xffff_ffff;
        deliver::set_blocked(ctx.process, new);
    }
    if old_at != 0 {
        ctx.write_u32(old_at, old as u32)?;
    }
    Ok(0)
}

/// `sgetmask` of i386.
pub fn sgetmask(ctx: &mut SyscallContext<'_>) -> SysResult {
    Ok(ctx.thread().signals.blocked & 0xffff_ffff)
}

/// `ssetmask` of i386.
pub fn ssetmask(ctx: &mut SyscallContext<'_>) -> SysResult {
    let old = ctx.thread().signals.blocked & 0xffff_ffff;
    let new = ctx.args[0] & 0xffff_ffff;
    deliver::set_blocked(ctx.process, new);
    Ok(old)
}

/// Pending signals, on the host and taken over.
fn pending(ctx: &mut SyscallContext<'_>) -> u64 {
    deliver::absorb(ctx.process);
    let mut on_host = 0u64;
    // SAFETY: the kernel writes 8 bytes.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &mut on_host, 8) };
    let s = &ctx.thread().signals;
    let taken = s.pending.iter().fold(0, |n, i| n | bit(i.signal()));
    (on_host | taken) & s.blocked
}

/// `rt_sigpending`.
pub fn rt_sigpending(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [at, size, ..] = ctx.args;
    if size > 8 {
        return Err(Errno::EINVAL);
    }
    let set = pending(ctx).to_le_bytes();
    ctx.write(at, &set[..size as usize])?;
    Ok(0)
}

/// `sigpending` of i386.
pub fn sigpending(ctx: &mut SyscallContext<'_>) -> SysResult {
    let set = pending(ctx) as u32;
    ctx.write_u32(ctx.args[0], set)?;
    Ok(0)
}

/// Waits with another mask; the old one comes back after the handler has run.
fn suspend(ctx: &mut SyscallContext<'_>, mask: u64) -> SysResult {
    let old = ctx.thread().signals.blocked;
    ctx.thread().signals.saved = Some(old);
    deliver::set_blocked(ctx.process, mask);
    if ctx.process.threads.len() > 1 {
        ctx.thread().wait = Some(Wait::Signal);
        return Err(Errno::PARKED);
    }
    if !ctx.thread().signals.has_due() {
        let mask = mask & !(SYNCHRONOUS | UNMASKABLE);
        // Its only result is that a signal came; it may have come just before.
        let args = [&raw const mask as u64, 8, 0, 0, 0, 0];
        let _ = attention::perform(ctx, &mut HostCall::new(libc::SYS_rt_sigsuspend, args));
    }
    Err(Errno::ERESTARTNOHAND)
}

/// `rt_sigsuspend`.
pub fn rt_sigsuspend(ctx: &mut SyscallContext<'_>) -> SysResult {
    if ctx.args[1] != 8 {
        return Err(Errno::EINVAL);
    }
    let mask = ctx.read_u64(ctx.args[0])?;
    suspend(ctx, mask)
}

/// `sigsuspend` of i386: the mask is the third argument.
pub fn sigsuspend(ctx: &mut SyscallContext<'_>) -> SysResult {
    suspend(ctx, ctx.args[2])
}

/// `rt_sigtimedwait` and `rt_sigtimedwait_time64`.
pub fn rt_sigtimedwait(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [set_at, info_at, timeout_at, size, ..] = ctx.args;
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let set = ctx.read_u64(set_at)? & !UNMASKABLE;
    let shape = if ctx.row.x86_64.is_some() { &TIMESPEC } else { &TIMESPEC64 };
    // The set, the timeout, the information.
    let mut words = vec![0u64; 1 + 2 + 16];
    words[0] = set;
    if timeout_at != 0 {
        let raw = ctx.read_struct(timeout_at, shape)?;
        let w = Words(&raw);
        (words[1], words[2]) = (w.u64(0), w.u64(8));
    }
    deliver::absorb(ctx.process);
    if let Some(info) = take_pending(ctx, set) {
        write_info(ctx, info_at, &info)?;
        return Ok(HostCall::ready(info.signal() as u64));
    }
    let at = words.as_mut_ptr() as u64;
    let timeout = if timeout_at == 0 { 0 } else { at + 8 };
    let args = [at, at + 24, timeout, 8, 0, 0];
    ctx.thread().signals.awaited = set;
    Ok(HostCall::new(libc::SYS_rt_sigtimedwait, args).then(move |ctx, result| {
        ctx.thread().signals.awaited = 0;
        if result.is_err()
            && let Some(info) = take_pending(ctx, set)
        {
            // One that another thread of this process sent to this thread.
            write_info(ctx, info_at, &info)?;
            return Ok(info.signal() as u64);
        }
        let signal = result?;
        let mut raw = [0; 128];
        for (to, from) in raw.chunks_exact_mut(8).zip(&words[3..]) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        let mut info = SigInfo(raw);
        if let Some(tid) = deliver::addressee(ctx.process, &mut info)
            && tid != ctx.thread().tid
        {
            // Another thread's: it has to get it, and this one waits again.
            if let Some(other) = ctx.process.threads.iter_mut().find(|t| t.tid == tid) {
                other.signals.pending.push(info);
            }
            return Err(Errno::ERESTARTNOINTR);
        }
        write_info(ctx, info_at, &info)?;
        Ok(signal)
    }))
}

/// Takes the first signal of `set` that the thread has got and not acted on.
fn take_pending(ctx: &mut SyscallContext<'_>, set: u64) -> Option<SigInfo> {
    let mine = &mut ctx.thread().signals.pending;
    mine.iter().position(|s| bit(s.signal()) & set != 0).map(|i| mine.remove(i))
}

fn write_info(ctx: &mut SyscallContext<'_>, at: u64, info: &SigInfo) -> Result<(), Errno> {
    if at == 0 {
        return Ok(());
    }
    let raw = info.to_guest(ctx.abi);
    ctx.write(at, &raw)
}

/// Reads the information of a queue call.
fn queued(ctx: &SyscallContext<'_>, at: u64, signal: i32) -> Result<SigInfo, Errno> {
    let mut raw = [0; 128];
    ctx.read(at, &mut raw)?;
    let mut info = SigInfo::from_guest(ctx.abi, &raw);
    info.set_signal(signal);
    Ok(info)
}

/// `rt_sigqueueinfo`.
pub fn rt_sigqueueinfo(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [pid, signal, at, ..] = ctx.args;
    let info = queued(ctx, at, signal as i32)?;
    if pid as u32 == std::process::id() && bit(signal as i32) & SYNCHRONOUS != 0 {
        ctx.thread().signals.pending.push(info);
        return Ok(0);
    }
    ctx.host(libc::SYS_rt_sigqueueinfo, [pid, signal, info.0.as_ptr() as u64, 0, 0, 0])
}

/// `rt_tgsigqueueinfo`.
pub fn rt_tgsigqueueinfo(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [pid, tid, signal, at, ..] = ctx.args;
    let info = queued(ctx, at, signal as i32)?;
    if pid as u32 == std::process::id()
        && let Some(done) = process::to_thread(ctx, tid as i32, info)
    {
        return done;
    }
    if pid as u32 != std::process::id() && (info.code() >= 0 || info.code() == SI_TKILL) {
        return Err(Errno::EPERM);
    }
    if process::to_foreign_thread(ctx, pid as i32, tid as i32, info)? {
        return Ok(0);
    }
    ctx.host(libc::SYS_rt_tgsigqueueinfo, [pid, tid, signal, info.0.as_ptr() as u64, 0, 0])
}

/// `sigaltstack`.
pub fn sigaltstack(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [new_at, old_at, ..] = ctx.args;
    let wide = ctx.abi == Abi::X86_64;
    let old = ctx.thread().signals.alt;
    let sp = ctx.process.cpu().gpr[emu_x86::state::gpr::RSP];
    if new_at != 0 {
        let raw = ctx.read_vec(new_at, if wide { 24 } else { 12 })?;
        let w = Words(&raw);
        let new = AltStack {
            sp: if wide { w.u64(0) } else { w.u32(0) },
            flags: w.u32(ctx.abi.word() as usize) as u32,
            size: if wide { w.u64(16) } else { w.u32(8) },
        };
        deliver::set_alt_stack(ctx.process, new)?;
    }
    if old_at != 0 {
        let mut raw = Vec::new();
        for v in [old.sp, u64::from(old.status(sp)), old.size] {
            raw.extend(&v.to_le_bytes()[..ctx.abi.word() as usize]);
        }
        ctx.write(old_at, &raw)?;
    }
    Ok(0)
}

/// After a sigreturn: a bad frame is a fault of the guest.
fn returned(ctx: &mut SyscallContext<'_>, r: Result<(), Errno>) -> SysResult {
    if r.is_err() {
        deliver::force(ctx.process, SigInfo::new(libc::SIGSEGV, crate::signal::info::SI_KERNEL));
    }
    Err(Errno::REGISTERS_SET)
}

/// `rt_sigreturn`.
pub fn rt_sigreturn(ctx: &mut SyscallContext<'_>) -> SysResult {
    let r = match ctx.process.abi {
        Abi::X86_64 => frame::return_rt64(ctx.process),
        Abi::I386 => frame::return_rt32(ctx.process),
    };
    returned(ctx, r)
}

/// `sigreturn` of i386.
pub fn sigreturn(ctx: &mut SyscallContext<'_>) -> SysResult {
    let r = match ctx.process.abi {
        Abi::X86_64 => Err(Errno::EFAULT),
        Abi::I386 => frame::return_old32(ctx.process),
    };
    returned(ctx, r)
}
