//! Getting the run thread out of guest code from a signal handler or a callback.

use core::cell::Cell;

use emu_cpu::{CpuHeader, WITHDRAWAL};

// Constant-initialised and without drop code, so a signal handler may use them.
thread_local! {
    /// A request is pending.
    static PENDING: Cell<bool> = const { Cell::new(false) };
    /// The CPU whose guest code this thread executes, if any.
    static RUNNING: Cell<*mut CpuHeader> = const { Cell::new(core::ptr::null_mut()) };
}

/// Makes [`crate::Engine::run`] return [`crate::Stop::Interrupted`] at the next block boundary.
///
/// To be called on the run thread only, from callbacks and helpers or between runs; a signal
/// handler calls [`request_interrupt_in`]. Async-signal-safe: the budget is not an atomic.
pub fn request_interrupt() {
    request(None);
}

/// [`request_interrupt`] from a signal handler, which gets `context` from the kernel.
pub fn request_interrupt_in(context: &mut libc::ucontext_t) {
    request(Some(context));
}

fn request(context: Option<&mut libc::ucontext_t>) {
    if PENDING.replace(true) {
        return;
    }
    if let Some(context) = context {
        // Generated code holds the budget in a register, except during calls.
        emu_jit::withdraw(context, WITHDRAWAL);
    }
    let cpu = RUNNING.get();
    if !cpu.is_null() {
        // SAFETY: `enter` published a CPU that stays alive until `leave`, and this runs on the
        // thread that uses it, between two of its instructions.
        unsafe {
            let budget = &raw mut (*cpu).budget;
            budget.write_volatile(budget.read_volatile().wrapping_sub(WITHDRAWAL));
        }
    }
}

/// Publishes the CPU that is about to run; a request made before is applied to it.
pub(crate) fn enter(cpu: *mut CpuHeader) {
    RUNNING.set(cpu);
    if PENDING.get() {
        // SAFETY: as in request_interrupt. A request that arrived between the two lines has
        // already withdrawn; a second withdrawal is told apart below.
        unsafe {
            let budget = &raw mut (*cpu).budget;
            let now = budget.read_volatile();
            if now > -(WITHDRAWAL / 2) {
                budget.write_volatile(now.wrapping_sub(WITHDRAWAL));
            }
        }
    }
}

/// No guest code runs any more; undoes a withdrawal.
pub(crate) fn leave(cpu: *mut CpuHeader) {
    RUNNING.set(core::ptr::null_mut());
    // SAFETY: the CPU is alive and nothing withdraws from it any more.
    unsafe {
        if (*cpu).budget < -(WITHDRAWAL / 2) {
            (*cpu).budget = (*cpu).budget.wrapping_add(WITHDRAWAL);
        }
    }
}

/// Takes a pending request.
pub(crate) fn take() -> bool {
    PENDING.replace(false)
}

/// Whether a request is pending.
pub(crate) fn pending() -> bool {
    PENDING.get()
}
