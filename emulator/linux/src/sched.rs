//! Turn-taking: which guest thread runs, and what the others wait for.
//!
//! All guest code runs on one host thread. A guest thread runs until its slice ends or it waits;
//! then the next one that can run takes its turn, in the order of the list.

use emu_mem::access;

use crate::companion::{Companion, Completions};
use crate::signal::{bit, deliver, host};
use crate::sys::time::Deadline;
use crate::sys::{HostCall, Row, SyscallContext, finish};
use crate::{Abi, Errno, Machine, Process, SysResult};

/// A system call whose result is not known yet.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The ABI it uses.
    pub abi: Abi,
    /// Pc behind the system-call instruction.
    pub pc: u64,
    /// Number.
    pub number: u64,
    /// Argument registers.
    pub registers: [u64; 6],
}

/// What a thread waits for.
pub enum Wait {
    /// A wake-up of a futex word.
    Futex(FutexWait),
    /// The result of a host call that its companion makes.
    Host(Box<HostWait>),
    /// A signal (`sigsuspend`, `pause`).
    Signal,
    /// Nothing any more: this is the result.
    Done(SysResult),
}

impl core::fmt::Debug for Wait {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Wait::Futex(_) => "Futex",
            Wait::Host(_) => "Host",
            Wait::Signal => "Signal",
            Wait::Done(_) => "Done",
        })
    }
}

/// A thread in a futex queue.
#[derive(Clone, Copy, Debug)]
pub struct FutexWait {
    /// Address of the word.
    pub addr: u64,
    /// Which wake-ups it takes.
    pub bitset: u32,
    /// When it gives up.
    pub deadline: Option<Deadline>,
    /// Place in the queue.
    pub order: u64,
    /// What a signal makes of the call.
    pub interrupted: Errno,
}

/// A host call in progress.
pub struct HostWait {
    ticket: u64,
    call: HostCall,
    row: &'static Row,
    args: [u64; 6],
    result: Option<SysResult>,
    /// A signal wants it out of the kernel.
    nudged: bool,
}

/// The scheduler's own state.
#[derive(Debug, Default)]
pub struct Scheduler {
    completions: Option<Completions>,
    next: u64,
    /// The thread gives up the rest of its slice.
    pub yielded: bool,
}

impl Scheduler {
    /// A number greater than all before.
    pub fn serial(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Where companions report to.
    pub fn completions(&mut self) -> Result<&Completions, Errno> {
        if self.completions.is_none() {
            self.completions = Some(Completions::new()?);
        }
        self.completions.as_ref().ok_or(Errno::EAGAIN)
    }

    /// In a forked child: companions do not exist here, and their locks may be held for ever.
    pub fn forget(&mut self) {
        core::mem::forget(core::mem::take(self));
    }
}

/// Has a host call made by the current thread's companion; the thread waits.
pub fn submit(ctx: &mut SyscallContext<'_>, call: HostCall) -> SysResult {
    let (row, args) = (ctx.row, ctx.args);
    let p = &mut *ctx.process;
    let ticket = p.sched.serial();
    if p.thread().companion.is_none() {
        let companion = p.sched.completions()?.companion()?;
        p.thread().companion = Some(companion);
    }
    let thread = p.thread();
    if let Some(c) = &thread.companion {
        c.submit(ticket, call.number, call.args)?;
    }
    thread.wait = Some(Wait::Host(Box::new(HostWait {
        ticket,
        call,
        row,
        args,
        result: None,
        nudged: false,
    })));
    Err(Errno::PARKED)
}

/// Whether a host call can be made at once because it would not wait: its descriptor is ready.
pub fn is_ready(row: &Row, call: &HostCall) -> bool {
    let events = match row.name {
        "read" | "readv" | "pread64" | "recvfrom" | "recvmsg" | "accept" | "accept4" => {
            libc::POLLIN
        }
        "write" if call.args[2] <= 4096 => libc::POLLOUT,
        _ => return false,
    };
    let mut fd = libc::pollfd { fd: call.args[0] as i32, events, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut fd, 1, 0) == 1 }
}

impl Process {
    /// Picks the thread that runs next and waits if none can. True when it is ready to run guest
    /// code; false when there is something else to look at first.
    pub fn schedule(&mut self, m: &mut dyn Machine, slice_over: bool) -> bool {
        if self.threads.len() == 1 && self.threads[0].wait.is_none() {
            return true;
        }
        deliver::absorb(self);
        self.collect();
        let n = self.threads.len();
        let first = usize::from(slice_over || core::mem::take(&mut self.sched.yielded));
        for i in first..n + first {
            let at = (self.current + i) % n;
            if self.threads[at].can_run() {
                self.switch_to(m, at);
                return self.finish_wait(m);
            }
        }
        self.idle();
        false
    }

    fn switch_to(&mut self, m: &mut dyn Machine, at: usize) {
        if at != self.current {
            self.current = at;
            let tid = self.threads[at].tid;
            self.emit(m, &crate::Event::ThreadSwitch { tid });
        }
    }

    /// Takes over what companions reported and what timed out.
    fn collect(&mut self) {
        let done = self.sched.completions.as_ref().map(Completions::take).unwrap_or_default();
        for (ticket, result) in done {
            for t in &mut self.threads {
                if let Some(Wait::Host(w)) = &mut t.wait
                    && w.ticket == ticket
                {
                    w.result = Some(result);
                }
            }
        }
        for t in &mut self.threads {
            let due = t.signals.has_due();
            match &mut t.wait {
                Some(Wait::Futex(w)) => {
                    if w.deadline.is_some_and(|d| d.left().unwrap_or((0, 0)) == (0, 0)) {
                        t.wait = Some(Wait::Done(Err(Errno::ETIMEDOUT)));
                    } else if due {
                        t.wait = Some(Wait::Done(Err(w.interrupted)));
                    }
                }
                Some(Wait::Signal) if due => {
                    t.wait = Some(Wait::Done(Err(Errno::ERESTARTNOHAND)));
                }
                Some(Wait::Host(w)) if due && w.result.is_none() => {
                    w.nudged = true;
                    if let Some(c) = &t.companion {
                        c.nudge();
                    }
                }
                _ => {}
            }
        }
    }

    /// Finishes the current thread's call, if it was waiting for its result. True when it can go
    /// on with guest code.
    fn finish_wait(&mut self, m: &mut dyn Machine) -> bool {
        let Some(wait) = self.thread().wait.take() else { return true };
        let Some(call) = self.thread().call.take() else { return true };
        let result = match wait {
            Wait::Done(result) => result,
            Wait::Host(w) => {
                let HostWait { call: host, row, args, result, .. } = *w;
                let mut ctx = SyscallContext {
                    process: self,
                    machine: m,
                    abi: call.abi,
                    row,
                    registers: call.registers,
                    args,
                };
                finish(&mut ctx, host, result.unwrap_or(Err(Errno::EINTR)))
            }
            // Not reached: such a thread cannot run.
            Wait::Futex(_) | Wait::Signal => Err(Errno::EINTR),
        };
        self.complete(m, call, result);
        false
    }

    /// Nothing can run: waits for a companion, a deadline or a signal.
    fn idle(&mut self) {
        if host::is_closed() && !self.threads.iter().any(|t| t.signals.has_due()) {
            host::set_mask(deliver::host_mask(self));
        }
        let nudging =
            self.threads.iter().any(|t| matches!(&t.wait, Some(Wait::Host(w)) if w.nudged));
        let mut timeout = nudging.then_some((0, 1_000_000));
        for t in &self.threads {
            if let Some(Wait::Futex(FutexWait { deadline: Some(d), .. })) = &t.wait {
                let left = d.left().unwrap_or((0, 0));
                timeout = Some(timeout.map_or(left, |o| o.min(left)));
            }
        }
        if let Ok(c) = self.sched.completions() {
            c.wait(timeout);
        }
    }

    /// Ends every other thread (`execve`). Host calls they are in are interrupted first.
    pub fn end_other_threads(&mut self) {
        let mut me = self.threads.swap_remove(self.current);
        for round in 0..1000 {
            self.collect();
            let mut left = false;
            for t in &self.threads {
                if let (Some(Wait::Host(w)), Some(c)) = (&t.wait, &t.companion)
                    && w.result.is_none()
                {
                    c.nudge();
                    left = true;
                }
            }
            if !left || round == 999 {
                break;
            }
            if let Ok(c) = self.sched.completions() {
                c.wait(Some((0, 1_000_000)));
            }
        }
        for t in self.threads.drain(..) {
            // A call that would not end still uses its memory.
            core::mem::forget(t.wait);
        }
        // SAFETY: cannot fail.
        me.tid = unsafe { libc::getpid() };
        self.threads = vec![me];
        self.current = 0;
        host::set_mask(deliver::host_mask(self));
    }

    /// Wakes up to `count` threads that wait for `addr`; how many.
    pub fn futex_wake(&mut self, addr: u64, count: u64, bitset: u32) -> u64 {
        let mut woken = 0;
        while woken < count {
            let Some(i) = self.first_waiter(addr, bitset) else { break };
            self.threads[i].wait = Some(Wait::Done(Ok(0)));
            woken += 1;
        }
        woken
    }

    /// Moves up to `count` waiters of `from` to `to`; how many.
    pub fn futex_requeue(&mut self, from: u64, to: u64, count: u64) -> u64 {
        let mut moved = 0;
        while moved < count && from != to {
            let Some(i) = self.first_waiter(from, u32::MAX) else { break };
            let order = self.sched.serial();
            if let Some(Wait::Futex(w)) = &mut self.threads[i].wait {
                w.addr = to;
                w.order = order;
            }
            moved += 1;
        }
        moved
    }

    fn first_waiter(&self, addr: u64, bitset: u32) -> Option<usize> {
        let order = |i: usize| match &self.threads[i].wait {
            Some(Wait::Futex(w)) if w.addr == addr && w.bitset & bitset != 0 => Some(w.order),
            _ => None,
        };
        (0..self.threads.len()).filter_map(|i| Some((order(i)?, i))).min().map(|(_, i)| i)
    }

    /// The current thread ends while others go on: its futex words are released.
    pub fn end_thread(&mut self, m: &mut dyn Machine) {
        let tid = self.thread().tid;
        self.emit(m, &crate::Event::ThreadExit { tid });
        self.release_robust(m);
        let at = self.thread().clear_child_tid;
        if at != 0 {
            m.release_code(at, at + 4);
            if access::store(at, 0u32).is_ok() {
                self.futex_wake(at, 1, u32::MAX);
            }
        }
        let gone = self.threads.swap_remove(self.current);
        self.current %= self.threads.len().max(1);
        // Signals for the process may be among those it had taken.
        self.thread().signals.pending.extend(gone.signals.pending);
        host::set_mask_if_open(deliver::host_mask(self));
    }

    /// Marks the robust futexes the thread still owns (kernel/futex, `exit_robust_list`).
    fn release_robust(&mut self, m: &mut dyn Machine) {
        const OWNER_DIED: u32 = 0x4000_0000;
        const TID_MASK: u32 = 0x3fff_ffff;
        const WAITERS: u32 = 0x8000_0000;
        const LIMIT: usize = 2048;
        let (head, len) = self.thread().robust_list;
        let tid = self.thread().tid as u32;
        if len == 0 {
            return;
        }
        let wide = self.abi == Abi::X86_64;
        let word = |at: u64| {
            if wide {
                access::load::<u64>(at).ok()
            } else {
                access::load::<u32>(at).ok().map(u64::from)
            }
        };
        let size = self.abi.word();
        let Some(offset) = word(head + size) else { return };
        let offset = if wide { offset } else { offset as u32 as i32 as u64 };
        let mut at = word(head).unwrap_or(head) & !1;
        for _ in 0..LIMIT {
            if at == head || at == 0 {
                break;
            }
            let lock = at.wrapping_add(offset) & if wide { u64::MAX } else { 0xffff_ffff };
            if let Ok(value) = access::load::<u32>(lock)
                && value & TID_MASK == tid
            {
                m.release_code(lock, lock + 4);
                let _ = access::store(lock, value & WAITERS | OWNER_DIED);
                self.futex_wake(lock, 1, u32::MAX);
            }
            at = word(at).unwrap_or(head) & !1;
        }
    }

    /// The thread a process-directed signal goes to: the current one if it takes it.
    pub fn signal_target(&self, signal: i32) -> usize {
        let takes = |i: &usize| self.threads[*i].signals.blocked & bit(signal) == 0;
        if takes(&self.current) {
            return self.current;
        }
        (0..self.threads.len()).find(takes).unwrap_or(self.current)
    }
}

impl crate::Thread {
    /// Whether it can use its turn.
    fn can_run(&self) -> bool {
        match &self.wait {
            None | Some(Wait::Done(_)) => true,
            Some(Wait::Host(w)) => w.result.is_some(),
            Some(Wait::Futex(_) | Wait::Signal) => false,
        }
    }
}

/// A companion for a thread about to be made: its id is the thread's.
pub fn new_companion(p: &mut Process) -> Result<Companion, Errno> {
    p.sched.completions()?.companion()
}
