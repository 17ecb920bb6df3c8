//! The state of the guest process.

use std::path::PathBuf;

use crate::cpu_time::CpuTime;
use crate::executable::Executable;
use crate::limits::Limits;
use crate::load::{self, LoadError, LoadRequest};
use crate::sched::Scheduler;
use crate::signal::{self, Action, Actions, IGNORE};
use crate::sys::vfork::VforkChild;
use crate::timers::Timers;
use crate::{Abi, Event, Machine, Thread};

/// How a guest process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// It exited with this status.
    Code(i32),
    /// A signal ended it; the host process should die of the same signal.
    Signal {
        /// Signal number.
        signal: i32,
        /// The action includes a core dump.
        core: bool,
    },
    /// The run was stopped from outside (plugin, instruction limit).
    Stopped,
}

/// The program a process runs, as `/proc/self` shows it.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Absolute path of the executable, links resolved (`/proc/self/exe`).
    pub exe: PathBuf,
    /// Its file; `None` before a program is loaded.
    pub executable: Option<Executable>,
    /// The string `AT_EXECFN` points to.
    pub execfn: Vec<u8>,
    /// The auxiliary vector as it lies on the stack (`/proc/self/auxv`).
    pub auxv: Vec<u8>,
    /// Guest range of the argument strings (`/proc/self/cmdline`).
    pub args: (u64, u64),
    /// Guest range of the environment strings (`/proc/self/environ`).
    pub env: (u64, u64),
    /// Entry point of the program itself (not of its interpreter).
    pub entry: u64,
}

/// Where things lie in the guest's address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// First address of the heap that `brk` grows.
    pub brk_start: u64,
    /// Current end of the heap.
    pub brk: u64,
    /// One past the first byte of the initial stack.
    pub stack_top: u64,
    /// Lowest address the initial stack may grow to.
    pub stack_limit: u64,
    /// Base of the vDSO image.
    pub vdso: u64,
    /// Address of `__kernel_vsyscall` (i386).
    pub vsyscall: u64,
    /// Where a `sysenter` resumes (i386).
    pub sysenter_return: u64,
    /// Address of the vDSO's `__kernel_sigreturn` (i386).
    pub sigreturn: u64,
    /// Address of the vDSO's `__kernel_rt_sigreturn` (i386).
    pub rt_sigreturn: u64,
    /// Readable mappings are executable too (`READ_IMPLIES_EXEC`).
    pub read_implies_exec: bool,
}

/// A guest process.
#[derive(Debug)]
pub struct Process {
    /// ABI of the running program.
    pub abi: Abi,
    /// The running program.
    pub program: Program,
    /// Address-space layout.
    pub layout: Layout,
    /// Threads; never empty.
    pub threads: Vec<Thread>,
    /// Index of the thread that runs.
    pub current: usize,
    /// What the guest wants done with signals.
    pub actions: Actions,
    /// Limits on the guest's memory.
    pub limits: Limits,
    /// POSIX timers.
    pub timers: Timers,
    /// What tells the threads' CPU time.
    pub(crate) cpu_time: CpuTime,
    /// It has made a signalfd.
    pub signalfds: bool,
    /// Turn-taking.
    pub sched: Scheduler,
    /// In a vfork child: the parent that waits.
    pub vfork: Option<VforkChild>,
    /// Set when the process has ended.
    pub exit: Option<ExitStatus>,
}

impl Process {
    /// A process with one thread that has nothing mapped.
    pub(crate) fn bare(abi: Abi, limits: Limits) -> Process {
        // SAFETY: cannot fail.
        let pid = unsafe { libc::getpid() };
        Process {
            abi,
            program: Program::default(),
            layout: Layout::default(),
            threads: vec![Thread::new(pid)],
            current: 0,
            actions: Actions::default(),
            limits,
            timers: Timers::default(),
            cpu_time: CpuTime::default(),
            signalfds: false,
            sched: Scheduler::default(),
            vfork: None,
            exit: None,
        }
    }

    /// Loads a program into an empty guest of `m`.
    pub fn load(request: &LoadRequest, m: &mut dyn Machine) -> Result<Process, LoadError> {
        let limits = Limits::inherited();
        let prepared = load::prepare(request, limits.stack())?;
        let mut p = Process::bare(prepared.abi(), limits);
        // Only threads are made with "disabled" (kernel/fork.c, `sas_ss_reset`).
        p.thread().signals.alt.flags = 0;
        prepared.commit(&mut p, m)?;
        p.take_over_signals();
        Ok(p)
    }

    /// Routes the host's signals to the guest; ignored and blocked ones stay so.
    fn take_over_signals(&mut self) {
        signal::host::take_over_faults();
        for n in 1..=signal::COUNT {
            if signal::host::inherited_ignore(n) {
                self.actions.set(n, Action { handler: IGNORE, ..Action::default() });
            }
            signal::host::set_action(n, &self.actions.get(n));
        }
        self.thread().signals.blocked = signal::host::mask();
    }

    /// The thread that runs.
    pub fn thread(&mut self) -> &mut Thread {
        &mut self.threads[self.current]
    }

    /// Tells the watchers what happened.
    pub fn emit(&mut self, m: &mut dyn Machine, event: &Event<'_>) {
        m.event(&mut self.threads[self.current].cpu, event);
    }

    /// Its processor.
    pub fn cpu(&mut self) -> &mut emu_x86::X86Cpu {
        &mut self.threads[self.current].cpu
    }
}
