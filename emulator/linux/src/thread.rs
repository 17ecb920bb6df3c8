//! The state of one guest thread.

use emu_x86::X86Cpu;

use crate::Errno;
use crate::companion::Companion;
use crate::sched::{Call, Wait};
use crate::seccomp::Confinement;
use crate::signal::ThreadSignals;
use crate::turns::Share;

/// A guest thread: processor state and what the kernel keeps per thread.
#[derive(Debug)]
pub struct Thread {
    /// Thread id as the guest sees it; the first thread's is the process id.
    pub tid: i32,
    /// Processor state.
    pub cpu: Box<X86Cpu>,
    /// Address to clear and wake when the thread ends (`set_tid_address`), or 0.
    pub clear_child_tid: u64,
    /// Robust-futex list head and its length (`set_robust_list`).
    pub robust_list: (u64, u64),
    /// A system call that a signal interrupted, until it is decided how it goes on.
    pub interrupted: Option<Interrupted>,
    /// What `restart_syscall` continues.
    pub restart_block: Option<crate::sys::time::Interrupted>,
    /// Its share of the run thread.
    pub share: Share,
    /// CPU time it has used of the run thread's, in nanoseconds; up to date after `share_out`.
    pub(crate) cpu_time: u64,
    /// What it waits for.
    pub wait: Option<Wait>,
    /// The system call that waits.
    pub call: Option<Call>,
    /// The host thread that makes its blocking calls.
    pub companion: Option<Companion>,
    /// What restricts its calls.
    pub confinement: Confinement,
    /// Signal state.
    pub signals: ThreadSignals,
}

/// A system call that a signal interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted {
    /// How it restarts: one of the `ERESTART` errors.
    pub errno: Errno,
    /// Call number, to put back into the number register.
    pub number: u64,
}

impl Thread {
    /// A thread with fresh processor state.
    pub fn new(tid: i32) -> Thread {
        Thread {
            tid,
            cpu: Box::default(),
            clear_child_tid: 0,
            robust_list: (0, 0),
            interrupted: None,
            share: Share::default(),
            cpu_time: 0,
            wait: None,
            call: None,
            companion: None,
            restart_block: None,
            confinement: Confinement::Free,
            signals: ThreadSignals::default(),
        }
    }
}
