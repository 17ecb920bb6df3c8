//! Turn-taking: which guest thread runs, and what the others wait for.
//!
//! All guest code runs on one host thread. A guest thread runs until its slice ends, it waits, or one
//! that has used much less becomes ready: see [`turns`](crate::turns). A companion whose host call
//! has completed interrupts the slice in progress.

use emu_engine::Slice;

use crate::companion::{Companion, Completions};
use crate::signal::{deliver, host};
use crate::sys::time::Deadline;
use crate::sys::{HostCall, Row, SyscallContext, finish, host_call};
use crate::turns::Turns;
use crate::{Abi, Errno, Machine, Process, SysResult, published, robust};

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

/// How a thread waits for a futex word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FutexKind {
    /// For a wake-up.
    Plain,
    /// For a priority-inheritance lock.
    Lock,
    /// To be moved to the lock at this address.
    Requeued {
        /// Address of the lock's word.
        to: u64,
    },
}

/// A thread in a futex queue.
#[derive(Clone, Copy, Debug)]
pub struct FutexWait {
    /// Address of the word.
    pub addr: u64,
    /// How it waits.
    pub kind: FutexKind,
    /// Which wake-ups it takes.
    pub bitset: u32,
    /// When it gives up.
    pub deadline: Option<Deadline>,
    /// Place in the queue.
    pub order: u64,
    /// What a signal makes of the call.
    pub interrupted: Errno,
}

impl FutexWait {
    /// A wait that has no place in the queue yet.
    pub fn new(
        addr: u64,
        kind: FutexKind,
        bitset: u32,
        deadline: Option<Deadline>,
        interrupted: Errno,
    ) -> FutexWait {
        FutexWait { addr, kind, bitset, deadline, order: 0, interrupted }
    }
}

/// A host call in progress.
pub struct HostWait {
    ticket: u64,
    call: HostCall,
    row: &'static Row,
    args: [u64; 6],
    /// Guest memory that the kernel may write while the call is in progress.
    outputs: Vec<(u64, u64)>,
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
    turns: Turns,
    /// Guest memory that the call being prepared may write, with several threads.
    pub(crate) outputs: Vec<(u64, u64)>,
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
        if let Some(completions) = core::mem::take(self).completions {
            completions.forget();
        }
    }
}

/// Has a host call made by the current thread's companion; the thread waits.
pub fn submit(ctx: &mut SyscallContext<'_>, call: HostCall) -> SysResult {
    let (row, args) = (ctx.row, ctx.args);
    let p = &mut *ctx.process;
    let ticket = p.sched.serial();
    let outputs = core::mem::take(&mut p.sched.outputs);
    if p.thread().companion.is_none() {
        let like = p.thread().tid;
        let companion = p.sched.completions()?.companion(like)?;
        published::companion(companion.tid);
        p.thread().companion = Some(companion);
    }
    let thread = p.thread();
    if let Some(c) = &thread.companion {
        c.submit(ticket, &call)?;
    }
    thread.wait = Some(Wait::Host(Box::new(HostWait {
        ticket,
        call,
        row,
        args,
        outputs,
        result: None,
        nudged: false,
    })));
    Err(Errno::PARKED)
}

/// Instructions a guest thread may run on when it is alone.
const ALONE: u64 = 1 << 20;
impl Process {
    /// Picks the thread that runs next and waits if none can. True when it is ready to run guest
    /// code; false when there is something else to look at first.
    pub fn schedule(&mut self, m: &mut dyn Machine, slice_over: bool) -> bool {
        if self.threads.len() == 1 && self.threads[0].wait.is_none() {
            return true;
        }
        deliver::absorb(self);
        self.collect();
        if core::mem::take(&mut self.sched.yielded) {
            let (before, rest) = self.threads.split_at_mut(self.current);
            if let [me, after @ ..] = rest {
                let equal = me.share.priority();
                let others = before.iter().chain(after.iter());
                let others = others.filter(|t| t.can_run() && t.share.priority() == equal);
                Turns::yield_to(&mut me.share, others.map(|t| &t.share));
            }
            self.end_turn();
        } else if slice_over {
            self.end_turn();
        }
        let able = self.threads.iter().filter(|t| t.can_run());
        let class = self.sched.turns.class(able.map(|t| &t.share));
        let ready = self.threads.iter_mut().enumerate();
        let ready = ready.filter(|(_, t)| t.share.priority() == class && t.can_run());
        let shares = ready.map(|(i, t)| (i, &mut t.share));
        let Some(next) = self.sched.turns.next(shares, self.current) else {
            self.idle();
            return false;
        };
        self.switch_to(m, next);
        self.finish_wait(m)
    }

    /// The current thread's slice is over.
    pub(crate) fn end_turn(&mut self) {
        let serial = self.sched.serial();
        self.thread().share.end(serial);
        self.sched.turns.end();
    }

    /// Has turn-taking follow the kernel's policy for thread `tid`, which the guest has changed.
    pub(crate) fn follow_policy(&mut self, tid: i32) {
        let Some(t) = self.threads.iter_mut().find(|t| t.tid == tid) else { return };
        let mut param = libc::sched_param { sched_priority: 0 };
        // SAFETY: the first only asks, the second fills the structure.
        let policy = unsafe {
            libc::sched_getparam(tid, &mut param);
            libc::sched_getscheduler(tid)
        };
        let priority = u8::try_from(param.sched_priority).unwrap_or(0);
        let reset = policy >= 0 && policy & libc::SCHED_RESET_ON_FORK != 0;
        self.sched.turns.prioritize(&mut t.share, priority, reset);
    }

    /// Runs guest code of the current thread.
    pub fn run_guest(&mut self, m: &mut dyn Machine) -> crate::Stop {
        let kernel = self.kernel();
        self.cpu().hdr.kernel = kernel;
        if self.threads.len() == 1 {
            return m.run(self.cpu(), Slice::About(ALONE));
        }
        if let Some(completions) = &self.sched.completions
            // From here on a companion that has a report interrupts.
            && !completions.watch()
        {
            return crate::Stop::Interrupted;
        }
        // A slice goes on behind a call that did not wait: one that makes nothing but such calls must
        // not keep the others from running.
        let alone =
            !(0..self.threads.len()).any(|i| i != self.current && self.threads[i].can_run());
        let share = &self.thread().share;
        let left = if alone { share.left_alone() } else { share.left() };
        let before = m.retired();
        let stop = m.run(self.cpu(), Slice::Exactly(left));
        crate::companion::unwatch();
        self.thread().share.count(m.retired() - before);
        if self.thread().share.left() == 0 {
            self.end_turn();
        }
        stop
    }

    fn switch_to(&mut self, m: &mut dyn Machine, at: usize) {
        if at != self.current {
            self.before_switch(at);
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
                Some(Wait::Host(w)) if t.signals.ends_call() && w.result.is_none() => {
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
                    registers: &call.registers,
                    args,
                };
                finish(&mut ctx, host, result.unwrap_or(Err(Errno::EINTR)))
            }
            // Not reached: such a thread cannot run.
            Wait::Futex(_) | Wait::Signal => Err(Errno::EINTR),
        };
        self.complete(m, &call, result);
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

    /// Guest memory that the host kernel may write at any moment: the results of calls that
    /// companions make.
    pub fn outputs_in_progress(&self) -> Vec<(u64, u64)> {
        let calls = self.threads.iter().filter_map(|t| match &t.wait {
            Some(Wait::Host(w)) => Some(&w.outputs),
            _ => None,
        });
        calls.flatten().copied().collect()
    }

    /// Ends every other thread (`execve`). Host calls they are in are interrupted first.
    pub fn end_other_threads(&mut self, m: &mut dyn Machine) {
        self.before_others_end();
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
        for i in 0..self.threads.len() {
            self.current = i;
            robust::release(self, m);
        }
        for t in self.threads.drain(..) {
            // A call that would not end still uses its memory.
            core::mem::forget(t.wait);
        }
        // SAFETY: cannot fail.
        me.tid = unsafe { libc::getpid() };
        published::companion(me.companion.as_ref().map_or(0, |c| c.tid));
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
        woken + self.wake_on_host(addr, count - woken, bitset)
    }

    /// Wakes threads that wait for `addr`, a word in private memory, on the host (`futex_waitv`).
    fn wake_on_host(&self, addr: u64, count: u64, bitset: u32) -> u64 {
        if count == 0 || !self.threads.iter().any(|t| t.waits_on_host_for(addr)) {
            return 0;
        }
        let args = [addr, libc::FUTEX_WAKE_BITSET as u64, count, 0, 0, u64::from(bitset)];
        host_call::syscall(libc::SYS_futex, &args, false).unwrap_or(0)
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
        moved + self.requeue_on_host(from, to, count - moved)
    }

    fn requeue_on_host(&mut self, from: u64, to: u64, count: u64) -> u64 {
        let mut waits = false;
        for t in self.threads.iter_mut().filter(|t| t.waits_on_host_for(from)) {
            waits = true;
            if let Some(Wait::Host(w)) = &mut t.wait {
                w.call.words.push(to);
            }
        }
        if count == 0 || !waits {
            return 0;
        }
        let args = [from, libc::FUTEX_REQUEUE as u64, 0, count, to, 0];
        host_call::syscall(libc::SYS_futex, &args, false).unwrap_or(0)
    }

    fn first_waiter(&self, addr: u64, bitset: u32) -> Option<usize> {
        self.first(|w| w.addr == addr && w.bitset & bitset != 0 && w.kind == FutexKind::Plain)
    }

    /// The thread that has waited longest for the lock at `addr`.
    pub fn first_for_lock(&self, addr: u64) -> Option<usize> {
        self.first(|w| w.addr == addr && w.kind == FutexKind::Lock)
    }

    /// Whether a thread waits for the lock at `addr`.
    pub fn waits_for_lock(&self, addr: u64) -> bool {
        self.first_for_lock(addr).is_some()
    }

    /// The thread that has waited longest at `addr` to be moved to a lock.
    pub fn first_for_requeue(&self, addr: u64) -> Option<usize> {
        self.first(|w| w.addr == addr && matches!(w.kind, FutexKind::Requeued { .. }))
    }

    fn first(&self, which: impl Fn(&FutexWait) -> bool) -> Option<usize> {
        let order = |i: usize| match &self.threads[i].wait {
            Some(Wait::Futex(w)) if which(w) => Some(w.order),
            _ => None,
        };
        (0..self.threads.len()).filter_map(|i| Some((order(i)?, i))).min().map(|(_, i)| i)
    }

    /// The current thread ends while others go on: its futex words are released.
    pub fn end_thread(&mut self, m: &mut dyn Machine) {
        let tid = self.thread().tid;
        self.emit(m, &crate::Event::ThreadExit { tid });
        robust::release(self, m);
        self.before_thread_end();
        let gone = self.threads.swap_remove(self.current);
        self.current %= self.threads.len().max(1);
        // Signals for the process may be among those it had taken.
        self.thread().signals.pending.extend(gone.signals.pending);
        host::set_mask_if_open(deliver::host_mask(self));
    }

    /// The thread a process-directed signal goes to: the current one if it takes it.
    pub fn signal_target(&self, signal: i32) -> usize {
        let takes = |i: &usize| self.threads[*i].signals.takes(signal);
        if takes(&self.current) {
            return self.current;
        }
        (0..self.threads.len()).find(takes).unwrap_or(self.current)
    }
}

impl crate::Thread {
    /// Whether its companion waits for the word at `addr`.
    fn waits_on_host_for(&self, addr: u64) -> bool {
        matches!(&self.wait, Some(Wait::Host(w)) if w.result.is_none() && w.call.words.contains(&addr))
    }

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
    let like = p.thread().tid;
    p.sched.completions()?.companion(like)
}
