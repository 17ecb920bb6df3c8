//! How the host gets hold of its run thread while a guest runs: one signal that no guest needs.
//!
//! The signal has three uses. A tick of a timer ([`set_tick`]) only looks at where the thread is. A companion
//! that has a report ends the slice. Anything else asks the run thread to call [`Machine::attend`](crate::Machine::attend) at the next block
//! boundary; a system call it waits in is left for that and continued afterwards, unseen by the guest.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::time::Instant;

use crate::signal::host;
use crate::sys::{HostCall, SyscallContext, host_call};
use crate::{Errno, ExitStatus, Machine, Process, SysResult};

/// The C library's cancellation signal: it shows it to no program and does not use it here.
pub const SIGNAL: i32 = 32;

/// Called in signal context for each timer tick, on the thread the timer belongs to.
pub type Tick = fn(Timer, &mut libc::ucontext_t);

/// What a timer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// Processor time of the run thread.
    Processor,
    /// Time that passes.
    Wall,
}

/// Somebody asked for attention.
static DUE: AtomicBool = AtomicBool::new(false);
/// Signals that arrived, ticks included.
static ARRIVALS: AtomicU32 = AtomicU32::new(0);
/// The registered [`Tick`].
static TICK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

extern "C" fn on_attention(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let raw = (info, context);
    // SAFETY: the kernel passes valid pointers to an SA_SIGINFO handler.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<libc::ucontext_t>()) };
    // SAFETY: the kind of signal says which of the fields are there.
    let (timer, sender) = unsafe { (info.si_value().sival_ptr, info.si_pid()) };
    let ours = |t: &Timer| info.si_code == libc::SI_TIMER && timer as u64 == timer_value(*t);
    let own_timer = [Timer::Processor, Timer::Wall].into_iter().find(ours);
    // SAFETY: cannot fail.
    let own_thread = info.si_code == libc::SI_TKILL && sender == unsafe { libc::getpid() };
    // What the kernel says of a descriptor has a positive code.
    if own_timer.is_none() && !own_thread && info.si_code <= 0 {
        // The guest's own, for instance of its C library's timers.
        host::on_signal(signal, raw.0, raw.1);
        return;
    }
    ARRIVALS.fetch_add(1, Ordering::Relaxed);
    if let Some(timer) = own_timer {
        let tick = TICK.load(Ordering::Acquire);
        if !tick.is_null() {
            // SAFETY: only `set_tick` stores here.
            let tick: Tick = unsafe { core::mem::transmute(tick) };
            tick(timer, context);
        }
        return;
    }
    if own_thread && !DUE.load(Ordering::Acquire) {
        // A companion has a report: it ends the slice, but no call.
        emu_engine::request_interrupt_in(context);
        return;
    }
    DUE.store(true, Ordering::Release);
    host_call::PENDING.store(1, Ordering::Release);
    host_call::leave_before_blocking(context);
    emu_engine::request_interrupt_in(context);
}

/// Makes this process ready for [`SIGNAL`]. Harmless when done again.
pub fn install() {
    host::install_internal(SIGNAL, on_attention as *const () as usize, libc::SA_RESTART as u64);
}

/// What a timer for [`set_tick`] sends along, to be told from a guest's.
pub fn timer_value(timer: Timer) -> u64 {
    &raw const TICK as u64 + timer as u64
}

/// Asks for attention from another thread; the host's id of the run thread is `run_thread`.
/// Async-signal-safe.
pub fn request_from(run_thread: i32) {
    DUE.store(true, Ordering::Release);
    // SAFETY: signals a thread of this process.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), run_thread, SIGNAL) };
}

/// Asks for attention from the run thread itself.
pub fn request() {
    DUE.store(true, Ordering::Release);
    host_call::PENDING.store(1, Ordering::Release);
    emu_engine::request_interrupt();
}

/// Registers what a timer tick does. Timers send [`SIGNAL`] to the run thread.
pub fn set_tick(tick: Tick) {
    TICK.store(tick as *mut (), Ordering::Release);
}

/// Whether there is a request.
pub fn is_due() -> bool {
    DUE.load(Ordering::Acquire)
}

/// Takes a request; whether there was one. For the run thread.
pub fn take() -> bool {
    if !DUE.swap(false, Ordering::AcqRel) {
        return false;
    }
    host::settle();
    true
}

impl Process {
    /// Serves a request for attention while no guest code runs. True when the run is to end.
    pub(crate) fn attend(&mut self, m: &mut dyn Machine) -> bool {
        if take() && m.attend(self.cpu()) {
            self.exit = Some(ExitStatus::Stopped);
        }
        self.exit.is_some()
    }
}

/// Makes a host call on the run thread. When attention is asked for while it waits, that is served
/// and the call goes on with the time that is left.
pub fn perform(ctx: &mut SyscallContext<'_>, call: &mut HostCall) -> SysResult {
    let may_block = ctx.row.may_block();
    loop {
        let (arrivals, start) = (ARRIVALS.load(Ordering::Relaxed), Instant::now);
        let start = (may_block && call.counts_down()).then(start);
        let result = call.perform(may_block);
        let left_early = matches!(result, Err(Errno::EINTR | Errno::ERESTARTNOINTR));
        if !left_early
            || host::pending()
            || (!DUE.load(Ordering::Acquire) && ARRIVALS.load(Ordering::Relaxed) == arrivals)
        {
            return result;
        }
        if ctx.process.attend(ctx.machine) {
            return result;
        }
        if result == Err(Errno::EINTR) {
            call.shorten(start.map(|s| s.elapsed()).unwrap_or_default());
        }
    }
}
