//! Signals: what the guest has set up, and how they reach it.
//!
//! The host kernel does the queueing. The host's signal mask mirrors the guest's, and every signal
//! the guest handles (or that would end it) has one host handler, [`host`]. That handler keeps the
//! one signal it got, blocks all others and asks the engine for attention; the run loop then takes
//! it over ([`deliver`]), builds the frame ([`frame`]) and unblocks. So order, coalescing and
//! limits are the kernel's own.

mod arrivals;
pub mod deliver;
pub mod frame;
mod frame32;
mod frame64;
pub mod host;
pub mod info;

pub use info::SigInfo;

use crate::Abi;

/// Number of signals.
pub const COUNT: i32 = 64;

/// `SIG_DFL`.
pub const DEFAULT: u64 = 0;
/// `SIG_IGN`.
pub const IGNORE: u64 = 1;

/// Flags of `sigaction` (include/uapi/asm-generic/signal-defs.h, arch/x86).
#[allow(missing_docs, reason = "the names are the kernel's without SA_")]
pub mod sa {
    pub const NOCLDSTOP: u64 = 1;
    pub const NOCLDWAIT: u64 = 2;
    pub const SIGINFO: u64 = 4;
    pub const RESTORER: u64 = 0x0400_0000;
    pub const ONSTACK: u64 = 0x0800_0000;
    pub const RESTART: u64 = 0x1000_0000;
    pub const NODEFER: u64 = 0x4000_0000;
    pub const RESETHAND: u64 = 0x8000_0000;
}

/// Signals a processor fault raises. They never enter the host's mask: the host's own fault handler
/// needs them.
pub const SYNCHRONOUS: u64 = bit(libc::SIGSEGV)
    | bit(libc::SIGBUS)
    | bit(libc::SIGFPE)
    | bit(libc::SIGILL)
    | bit(libc::SIGTRAP);

/// Signals that cannot be blocked or handled.
pub const UNMASKABLE: u64 = bit(libc::SIGKILL) | bit(libc::SIGSTOP);

/// The mask bit of a signal (0 for numbers out of range).
pub const fn bit(signal: i32) -> u64 {
    if signal >= 1 && signal <= COUNT { 1 << (signal - 1) } else { 0 }
}

/// What the guest wants done with a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Action {
    /// Address of the handler, [`DEFAULT`] or [`IGNORE`].
    pub handler: u64,
    /// Flags of [`sa`].
    pub flags: u64,
    /// Address the handler returns to.
    pub restorer: u64,
    /// Signals blocked while the handler runs.
    pub mask: u64,
}

/// What happens by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// The process ends with a core dump.
    Core,
    /// The process stops.
    Stop,
    /// Nothing (a stopped process has continued already).
    Ignore,
}

/// The default action of a signal (signal(7)).
pub fn default_action(signal: i32) -> DefaultAction {
    match signal {
        libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => DefaultAction::Ignore,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => DefaultAction::Stop,
        libc::SIGQUIT
        | libc::SIGILL
        | libc::SIGTRAP
        | libc::SIGABRT
        | libc::SIGBUS
        | libc::SIGFPE
        | libc::SIGSEGV
        | libc::SIGXCPU
        | libc::SIGXFSZ
        | libc::SIGSYS => DefaultAction::Core,
        _ => DefaultAction::Terminate,
    }
}

/// The actions of a process.
#[derive(Clone, Debug)]
pub struct Actions([Action; COUNT as usize]);

impl Default for Actions {
    fn default() -> Actions {
        Actions([Action::default(); COUNT as usize])
    }
}

impl Actions {
    /// The action of a signal in 1 to 64.
    pub fn get(&self, signal: i32) -> Action {
        self.0.get((signal - 1) as usize).copied().unwrap_or_default()
    }

    /// Changes an action; ignored for numbers out of range.
    pub fn set(&mut self, signal: i32, action: Action) {
        if let Some(slot) = self.0.get_mut((signal - 1) as usize) {
            *slot = action;
        }
    }

    /// What execve leaves: handlers become default, ignored signals stay ignored.
    pub fn exec(&mut self) {
        for a in &mut self.0 {
            let handler = if a.handler == IGNORE { IGNORE } else { DEFAULT };
            *a = Action { handler, ..Action::default() };
        }
    }
}

/// The alternate stack of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AltStack {
    /// Lowest address.
    pub sp: u64,
    /// `SS_DISABLE`, `SS_AUTODISARM`.
    pub flags: u32,
    /// Bytes.
    pub size: u64,
}

/// No alternate stack.
pub const SS_DISABLE: u32 = 2;
/// The thread runs on it.
pub const SS_ONSTACK: u32 = 1;
/// Disabled while a handler runs on it.
pub const SS_AUTODISARM: u32 = 1 << 31;

impl Default for AltStack {
    fn default() -> AltStack {
        AltStack { sp: 0, flags: SS_DISABLE, size: 0 }
    }
}

impl AltStack {
    /// Whether `sp` lies on it. (An autodisarm stack is never "in use".)
    pub fn contains(&self, sp: u64) -> bool {
        self.flags & SS_AUTODISARM == 0 && self.holds(sp)
    }

    /// Whether `sp` lies within its range.
    pub fn holds(&self, sp: u64) -> bool {
        self.size != 0 && sp > self.sp && sp - self.sp <= self.size
    }

    /// Takes the stack away and leaves its flags, as `execve` does.
    pub fn forget(&mut self) {
        (self.sp, self.size) = (0, 0);
    }

    /// The flags `sigaltstack` reports.
    pub fn status(&self, sp: u64) -> u32 {
        let state = if self.size == 0 {
            SS_DISABLE
        } else if self.contains(sp) {
            SS_ONSTACK
        } else {
            0
        };
        state | self.flags & SS_AUTODISARM
    }
}

/// What the last processor fault left in a thread, for `sigcontext`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultState {
    /// Vector number.
    pub trapno: u64,
    /// Error code.
    pub err: u64,
    /// Address of the last page fault.
    pub cr2: u64,
}

/// Signal state of a thread.
#[derive(Clone, Debug, Default)]
pub struct ThreadSignals {
    /// Blocked signals.
    pub blocked: u64,
    /// The mask to return to after a call that changed it while waiting.
    pub saved: Option<u64>,
    /// Signals taken from the host and not delivered yet, and forced ones.
    pub pending: Vec<SigInfo>,
    /// Signals that a call in progress waits for (`sigtimedwait`), blocked or not.
    pub awaited: u64,
    /// The alternate stack.
    pub alt: AltStack,
    /// The last fault.
    pub fault: FaultState,
}

impl ThreadSignals {
    /// Whether a signal waits that is not blocked.
    pub fn has_due(&self) -> bool {
        self.pending.iter().any(|s| bit(s.signal()) & self.blocked == 0)
    }

    /// Whether the thread takes a signal as it comes: not blocked, or its call waits for it.
    pub fn takes(&self, signal: i32) -> bool {
        bit(signal) & (!self.blocked | self.awaited) != 0
    }

    /// Whether a signal waits that ends a call in progress.
    pub fn ends_call(&self) -> bool {
        self.pending.iter().any(|s| self.takes(s.signal()))
    }
}

/// The least stack a signal handler needs (`AT_MINSIGSTKSZ`): frame, floating-point state,
/// alignment and red zone.
pub fn min_stack(abi: Abi) -> u64 {
    let frame = match abi {
        Abi::X86_64 => frame64::SIZE + frame::fpstate::size() + 64 + 16 + 128,
        Abi::I386 => frame32::SIZE + frame::fpstate::size() + 112 + 64 + 16,
    };
    frame.next_multiple_of(16) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_actions_ignore_bad_numbers() {
        assert_eq!(bit(1), 1);
        assert_eq!(bit(64), 1 << 63);
        assert_eq!((bit(0), bit(65), bit(-1)), (0, 0, 0));
        let mut a = Actions::default();
        a.set(0, Action { handler: 5, ..Action::default() });
        a.set(65, Action { handler: 5, ..Action::default() });
        assert_eq!((a.get(0), a.get(65), a.get(1)), Default::default());
    }

    #[test]
    fn exec_keeps_only_ignored() {
        let mut a = Actions::default();
        a.set(libc::SIGINT, Action { handler: IGNORE, mask: 3, ..Action::default() });
        a.set(libc::SIGTERM, Action { handler: 0x1000, ..Action::default() });
        a.exec();
        assert_eq!(a.get(libc::SIGINT), Action { handler: IGNORE, ..Action::default() });
        assert_eq!(a.get(libc::SIGTERM), Action::default());
    }

    #[test]
    fn alternate_stack_state() {
        let s = AltStack { sp: 0x1000, flags: 0, size: 0x1000 };
        assert!(s.contains(0x2000) && s.contains(0x1001) && !s.contains(0x1000));
        assert_eq!(s.status(0x1800), SS_ONSTACK);
        assert_eq!(s.status(0x3000), 0);
        let d = AltStack { flags: SS_AUTODISARM, ..s };
        assert_eq!(d.status(0x1800), SS_AUTODISARM);
        assert_eq!(AltStack::default().status(0), SS_DISABLE);
    }
}
