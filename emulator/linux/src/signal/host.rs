//! The host side of signals: one handler, and what it took for the run loop.
//!
//! Only the run thread receives signals, and companions in calls that let them in (`ppoll` and others);
//! every other thread of the host blocks them all.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sys::host_call;
use crate::{attention, companion, published};

use super::arrivals::Arrivals;
use super::{
    Action, DEFAULT, DefaultAction, IGNORE, SYNCHRONOUS, SigInfo, bit, default_action, sa,
};

static ARRIVALS: Arrivals = Arrivals::new();
/// The handler has closed the mask and nobody has opened it since.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether a signal waits to be taken.
pub fn pending() -> bool {
    ARRIVALS.waiting()
}

/// Takes a signal that waits. The run thread blocks all others on the host until [`set_mask`].
pub fn take() -> Option<SigInfo> {
    let info = ARRIVALS.take()?;
    settle();
    Some(info)
}

/// Has calls that may block start again once nothing waits to be seen to. For the run thread: a companion
/// that took a signal may say so only after that has been dealt with.
pub fn settle() {
    // Nothing is looked at before this is seen: what comes later says so itself.
    host_call::PENDING.swap(0, Ordering::SeqCst);
    if pending() || attention::is_due() {
        host_call::PENDING.store(1, Ordering::Release);
    }
}

/// SIGILL and SIGTRAP: sent by somebody, or a bug of the host, which dies of it.
extern "C" fn on_trap(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo; plain signal calls.
    unsafe {
        if (*info).si_code > 0 {
            let context = &mut *context.cast::<libc::ucontext_t>();
            if !emu_mem::host_fault::rescue(signal, (*info).si_addr() as u64, context) {
                libc::signal(signal, libc::SIG_DFL);
            }
            return;
        }
    }
    on_signal(signal, info, context);
}

/// Takes over the fault signals: those that are sent go to the guest, those that happen stay the
/// host's.
pub fn take_over_faults() {
    emu_mem::host_fault::set_sent_handler(on_signal);
    install(libc::SIGILL, on_trap as *const () as usize, 0);
    install(libc::SIGTRAP, on_trap as *const () as usize, 0);
}

/// The handler of every signal the guest may get: keeps it for the run loop.
pub(crate) extern "C" fn on_signal(
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes valid pointers to an SA_SIGINFO handler.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<libc::ucontext_t>()) };
    // `abort` in code of the host's process; a guest's own arrives while no such code runs.
    if signal == libc::SIGABRT
        && info.si_code == libc::SI_TKILL
        && emu_mem::host_fault::rescue(signal, 0, context)
    {
        return;
    }
    // SAFETY: what the kernel passed to the handler.
    let taken = unsafe { SigInfo::from_host(info) };
    if !ARRIVALS.put(&taken) {
        // As many companions as there are places got one each at this moment: it comes again.
        let own = libc::SYS_rt_sigqueueinfo;
        // SAFETY: a process may send itself any siginfo; the structure lives.
        unsafe { libc::syscall(own, libc::getpid(), signal, &raw const *info) };
    }
    CLOSED.store(true, Ordering::Release);
    host_call::PENDING.store(1, Ordering::Release);
    // Everything but the fault signals stays blocked until the run loop has taken this one. A
    // companion, whose call lets signals in, blocks what it has to as soon as the call is over.
    // SAFETY: the kernel's mask is the first 8 bytes of the libc type.
    let mask = unsafe { &mut *(&raw mut context.uc_sigmask).cast::<u64>() };
    if *mask != companion::MASK {
        *mask = !(SYNCHRONOUS | bit(attention::SIGNAL));
    }
    host_call::leave_before_blocking(context);
    emu_engine::request_interrupt_in(context);
}

/// Lets no signal in until [`restore`]; what was blocked before.
pub fn block() -> u64 {
    exchange_mask(!SYNCHRONOUS)
}

/// Blocks what [`block`] found blocked.
pub fn restore(mask: u64) {
    exchange_mask(mask);
}

fn exchange_mask(mask: u64) -> u64 {
    let mut old = 0u64;
    // SAFETY: the kernel reads and writes 8 bytes.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &mask, &mut old, 8);
    }
    old
}

/// In a forked child, behind [`block`]: what threads of the parent had taken is the parent's alone.
pub fn forget_arrivals() {
    ARRIVALS.forget();
    settle();
}

/// Whether the mask is still closed after a signal was taken.
pub fn is_closed() -> bool {
    CLOSED.load(Ordering::Acquire)
}

/// Sets the host's mask to the guest's (fault signals are never blocked on the host). The run thread's own
/// signal must have been taken: see [`take`].
pub fn set_mask(guest: u64) {
    CLOSED.store(false, Ordering::Release);
    let mask = guest & !(SYNCHRONOUS | bit(attention::SIGNAL));
    // SAFETY: the kernel reads 8 bytes.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &mask,
            core::ptr::null_mut::<u64>(),
            8,
        );
    }
}

/// [`set_mask`], unless a signal was taken and waits to be delivered: then that opens the mask.
pub fn set_mask_if_open(guest: u64) {
    if !is_closed() {
        set_mask(guest);
    }
}

/// The host's mask.
pub fn mask() -> u64 {
    let mut mask = 0u64;
    // SAFETY: the kernel writes 8 bytes.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            core::ptr::null::<u64>(),
            &mut mask,
            8,
        );
    }
    mask
}

/// Makes the host's disposition of a signal fit the guest's action.
pub fn set_action(signal: i32, action: &Action) {
    let handled = action.handler != IGNORE && action.handler != DEFAULT;
    published::action(bit(signal), action.handler == IGNORE, handled);
    // 32 and 33 are the C library's: guests send them to their own threads only.
    const LIBRARY: u64 = bit(32) | bit(33);
    if bit(signal) & (SYNCHRONOUS | super::UNMASKABLE | LIBRARY) != 0 {
        return;
    }
    let ignored_by_default =
        matches!(default_action(signal), DefaultAction::Ignore | DefaultAction::Stop);
    let handler = match action.handler {
        IGNORE => libc::SIG_IGN,
        DEFAULT if ignored_by_default => libc::SIG_DFL,
        _ => on_signal as *const () as usize,
    };
    let mut flags = 0;
    for (guest, flag) in [(sa::NOCLDSTOP, libc::SA_NOCLDSTOP), (sa::NOCLDWAIT, libc::SA_NOCLDWAIT)]
    {
        if action.flags & guest != 0 {
            flags |= flag;
        }
    }
    install(signal, handler, flags);
}

/// Installs a host handler that runs with everything but the fault signals blocked.
fn install(signal: i32, handler: usize, flags: i32) {
    // SAFETY: plain data; a valid action whose handler is async-signal-safe.
    unsafe {
        let mut host: libc::sigaction = core::mem::zeroed();
        host.sa_sigaction = handler;
        host.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | flags;
        libc::sigfillset(&mut host.sa_mask);
        for s in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
            libc::sigdelset(&mut host.sa_mask, s);
        }
        libc::sigaction(signal, &host, core::ptr::null_mut());
    }
}

core::arch::global_asm!(
    ".pushsection .text.emu_linux_restore,\"ax\",@progbits",
    // Unwinders look up the byte before a return address: it must not belong to a function.
    ".balign 16",
    "nop",
    // Exactly the bytes by which they know a signal frame.
    "emu_linux_restore:",
    ".byte 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05",
    ".popsection",
);

/// Installs a handler for a signal that the C library keeps for itself.
pub(crate) fn install_internal(signal: i32, handler: usize, flags: u64) {
    unsafe extern "C" {
        static emu_linux_restore: u8;
    }
    // The kernel's own structure: the C library refuses this signal.
    #[repr(C)]
    struct Kernel {
        handler: usize,
        flags: u64,
        restorer: usize,
        mask: u64,
    }
    const SA_RESTORER: u64 = 0x0400_0000;
    let action = Kernel {
        handler,
        flags: flags | SA_RESTORER | (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64,
        restorer: &raw const emu_linux_restore as usize,
        mask: !SYNCHRONOUS,
    };
    let mut old = Kernel { handler: 0, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: a valid action whose handler is async-signal-safe and returns through `restore`.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, &action, &mut old, 8);
    }
    if old.handler == libc::SIG_IGN {
        WERE_IGNORED.fetch_or(bit(signal), Ordering::Relaxed);
    }
}

/// Signals that were ignored before [`install_internal`].
static WERE_IGNORED: AtomicU64 = AtomicU64::new(0);

/// Whether the host process started with the signal ignored.
pub fn inherited_ignore(signal: i32) -> bool {
    // The Rust runtime ignores SIGPIPE itself; what it was before is not known.
    if signal == libc::SIGPIPE {
        return false;
    }
    if WERE_IGNORED.load(Ordering::Relaxed) & bit(signal) != 0 {
        return true;
    }
    // The kernel's own structure, as in `install_internal`: handler, flags, restorer, mask.
    let mut old = [0u64; 4];
    let none = core::ptr::null::<u64>();
    // SAFETY: the kernel fills four words.
    let r = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, none, old.as_mut_ptr(), 8) };
    r == 0 && old[0] == libc::SIG_IGN as u64
}

/// Ends the host process by a signal, as the guest ended. Returns only if that fails.
pub fn die(signal: i32) {
    // SAFETY: plain signal calls on the calling thread.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = core::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::raise(signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, core::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_word_of_a_signal_dealt_with_keeps_no_call_from_starting() {
        let info = SigInfo::new(libc::SIGTERM, 0);
        // What a companion's handler does, with the run thread in between.
        assert!(ARRIVALS.put(&info));
        assert!(take().is_some());
        host_call::PENDING.store(1, Ordering::Release);
        settle();
        assert_eq!(host_call::PENDING.load(Ordering::Acquire), 0);

        assert!(ARRIVALS.put(&info));
        settle();
        assert_eq!(host_call::PENDING.load(Ordering::Acquire), 1);
        assert!(take().is_some());
        assert_eq!(host_call::PENDING.load(Ordering::Acquire), 0);
    }
}
