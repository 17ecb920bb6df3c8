//! Taking signals over from the host and acting on them.

use emu_x86::state::gpr;

use super::{
    AltStack, DEFAULT, DefaultAction, IGNORE, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, SigInfo,
    UNMASKABLE, bit, default_action, frame, host, sa,
};
use crate::thread::Interrupted;
use crate::{Abi, Errno, Event, ExitStatus, Machine, Process};

/// Whether [`deliver`] has something to do before guest code runs again.
pub fn is_due(p: &mut Process) -> bool {
    let t = p.thread();
    host::pending()
        || host::is_closed()
        || t.interrupted.is_some()
        || t.signals.saved.is_some()
        || t.signals.has_due()
}

/// Delivers every signal that is not blocked, and restarts or ends an interrupted call.
pub fn deliver(p: &mut Process, m: &mut dyn Machine) {
    loop {
        absorb(p);
        if let Some(info) = next(p) {
            act(p, m, info);
            if p.exit.is_some() {
                return;
            }
            continue;
        }
        // No handler took these over.
        if let Some(i) = p.thread().interrupted.take() {
            host::settle();
            restart(p, i);
        }
        if let Some(mask) = p.thread().signals.saved.take() {
            set_blocked(p, mask);
        }
        if host::is_closed() {
            host::set_mask(host_mask(p));
        }
        if !host::pending() {
            return;
        }
    }
}

/// Moves the signal the host handler took into the list of the thread that gets it.
pub fn absorb(p: &mut Process) {
    while let Some(mut info) = host::take() {
        let target = match addressee(p, &mut info) {
            Some(tid) => p.threads.iter().position(|t| t.tid == tid),
            None => Some(p.signal_target(info.signal())),
        };
        // The thread may have ended.
        if let Some(target) = target {
            p.threads[target].signals.pending.push(info);
        }
    }
}

/// The thread that a signal for the process is meant for, if it is for one: taken from what the host
/// delivered, which then is what the guest is to see.
pub fn addressee(p: &Process, info: &mut SigInfo) -> Option<i32> {
    if let Some(tid) = info.take_address() {
        return Some(tid);
    }
    let timer = info.timer().and_then(|host| p.timers.of_host(host))?;
    info.set_timer(timer.id);
    timer.owner
}

/// What the host blocks: what every guest thread blocks.
pub fn host_mask(p: &Process) -> u64 {
    p.threads.iter().fold(!0, |mask, t| mask & t.signals.blocked)
}

/// Takes the next signal to deliver: faults first, then the lowest number.
fn next(p: &mut Process) -> Option<SigInfo> {
    let s = &mut p.thread().signals;
    let blocked = s.blocked;
    let (at, _) = s
        .pending
        .iter()
        .enumerate()
        .filter(|(_, i)| bit(i.signal()) & blocked == 0)
        .min_by_key(|(_, i)| (!i.is_fault(), i.signal()))?;
    Some(s.pending.remove(at))
}

/// Raises a signal that cannot be ignored or held back (`force_sig_info`): a blocked or ignored one
/// ends the process.
pub fn force(p: &mut Process, info: SigInfo) {
    let signal = info.signal();
    let action = p.actions.get(signal);
    let blocked = p.thread().signals.blocked & bit(signal) != 0;
    if blocked || action.handler == IGNORE {
        p.actions.set(signal, super::Action { handler: DEFAULT, ..action });
        let mask = p.thread().signals.blocked & !bit(signal);
        set_blocked(p, mask);
    }
    p.thread().signals.pending.insert(0, info);
}

fn act(p: &mut Process, m: &mut dyn Machine, info: SigInfo) {
    let signal = info.signal();
    let action = p.actions.get(signal);
    if signal == libc::SIGKILL || action.handler == DEFAULT {
        return default(p, m, &info);
    }
    if action.handler == IGNORE {
        return;
    }
    let event = Event::Signal { signal, code: info.code(), handler: Some(action.handler) };
    p.emit(m, &event);
    if let Some(i) = p.thread().interrupted.take() {
        let again = match i.errno {
            Errno::ERESTARTNOINTR => true,
            Errno::ERESTARTSYS => action.flags & sa::RESTART != 0,
            _ => false,
        };
        if again {
            restart(p, i);
        } else {
            p.cpu().gpr[gpr::RAX] = result_word(p.abi, Errno::EINTR.value());
        }
    }
    if action.flags & sa::RESETHAND != 0 {
        p.actions.set(signal, super::Action { handler: DEFAULT, ..action });
        host::set_action(signal, &p.actions.get(signal));
    }
    // The frame must not hit a page with watched code: those are read-only on the host.
    let top = p.cpu().gpr[gpr::RSP];
    for top in [top, p.thread().signals.alt.sp.saturating_add(p.thread().signals.alt.size)] {
        m.release_code(top.saturating_sub(4096), top);
    }
    if frame::set_up(p, &info, &action).is_err() {
        if signal == libc::SIGSEGV {
            p.actions.set(signal, super::Action { handler: DEFAULT, ..action });
        }
        force(p, SigInfo::new(libc::SIGSEGV, super::info::SI_KERNEL));
        return;
    }
    let s = &mut p.thread().signals;
    s.saved = None;
    let own = if action.flags & sa::NODEFER != 0 { 0 } else { bit(signal) };
    let mask = s.blocked | action.mask | own;
    set_blocked(p, mask);
}

fn default(p: &mut Process, m: &mut dyn Machine, info: &SigInfo) {
    let signal = info.signal();
    match default_action(signal) {
        DefaultAction::Ignore => {}
        DefaultAction::Stop => {
            // SAFETY: stops this process until somebody continues it.
            unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
        }
        action @ (DefaultAction::Terminate | DefaultAction::Core) => {
            let event = Event::Signal { signal, code: info.code(), handler: None };
            p.emit(m, &event);
            let core = action == DefaultAction::Core;
            p.exit = Some(ExitStatus::Signal { signal, core });
        }
    }
}

/// Points the thread back at its system-call instruction.
fn restart(p: &mut Process, i: Interrupted) {
    let continues = i.errno == Errno::ERESTART_RESTARTBLOCK;
    let restart_syscall = match p.abi {
        Abi::X86_64 => libc::SYS_restart_syscall as u64,
        Abi::I386 => 0,
    };
    let cpu = p.cpu();
    cpu.gpr[gpr::RAX] = if continues { restart_syscall } else { i.number };
    // `syscall` and `int 0x80` are two bytes; a `sysenter` resumes behind an `int 0x80`.
    cpu.hdr.pc = cpu.hdr.pc.wrapping_sub(2);
}

/// A system call's result as the register of the ABI holds it.
pub fn result_word(abi: Abi, value: i64) -> u64 {
    match abi {
        Abi::X86_64 => value as u64,
        Abi::I386 => u64::from(value as u32),
    }
}

/// Changes the thread's mask, on the host too.
pub fn set_blocked(p: &mut Process, mask: u64) {
    absorb(p);
    let s = &mut p.thread().signals;
    s.blocked = mask & !UNMASKABLE;
    host::set_mask(host_mask(p));
}

/// Changes the alternate stack (`do_sigaltstack`).
pub fn set_alt_stack(p: &mut Process, new: AltStack) -> Result<(), Errno> {
    let abi = p.abi;
    let sp = p.cpu().gpr[gpr::RSP];
    let alt = &mut p.thread().signals.alt;
    if alt.size != 0 && alt.contains(sp) {
        return Err(Errno::EPERM);
    }
    if *alt == new {
        return Ok(());
    }
    let mode = new.flags & !SS_AUTODISARM;
    if !matches!(mode, 0 | SS_DISABLE | SS_ONSTACK) {
        return Err(Errno::EINVAL);
    }
    if mode == SS_DISABLE {
        *alt = AltStack { flags: new.flags, ..AltStack::default() };
        return Ok(());
    }
    const MINSIGSTKSZ: u64 = 2048;
    if new.size < MINSIGSTKSZ.min(super::min_stack(abi)) {
        return Err(Errno::ENOMEM);
    }
    *alt = new;
    Ok(())
}
