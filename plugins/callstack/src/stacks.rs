//! The calls in progress, per guest thread and per stack.
//!
//! A call is recorded with the place of its return address. It has ended when the stack pointer is above that
//! place, whatever made it rise: a return, `longjmp`, an exception. A tail call changes nothing, as the
//! return address stays. A thread may have several stacks (coroutines, signal stacks): a stack pointer that
//! jumps further than [`GAP`] out of the known calls is on another one.

/// A program that recurses deeper loses its outermost calls.
const DEEPEST: usize = 1 << 16;

/// How far from the known calls the stack pointer may be and still mean the same stack, in bytes.
const GAP: u64 = 256 << 10;

/// Stacks remembered for each thread; then the one unused for longest is forgotten.
const MOST_STACKS: usize = 64;

/// A call in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Where the return address lies.
    pub slot: u64,
    /// The return address.
    pub returns_to: u64,
    /// The call instruction.
    pub pc: u64,
    /// Where it went.
    pub callee: u64,
}

/// One stack: its calls, outermost first, slots falling.
#[derive(Default, Debug)]
struct Stack {
    calls: Vec<Call>,
    used: u64,
}

impl Stack {
    fn holds(&self, sp: u64) -> bool {
        match (self.calls.first(), self.calls.last()) {
            (Some(first), Some(last)) => {
                sp < first.slot.saturating_add(GAP) && sp > last.slot.saturating_sub(GAP)
            }
            _ => false,
        }
    }
}

/// The stacks of one thread.
#[derive(Debug)]
struct Thread {
    tid: u32,
    stacks: Vec<Stack>,
    current: usize,
    clock: u64,
}

impl Thread {
    fn new(tid: u32) -> Thread {
        Thread { tid, stacks: vec![Stack::default()], current: 0, clock: 0 }
    }

    /// The calls of the stack that `sp` is on.
    fn calls(&mut self, sp: u64) -> &mut Vec<Call> {
        let stack = &self.stacks[self.current];
        let fresh = stack.calls.is_empty() && self.stacks.len() == 1;
        if !fresh && !stack.holds(sp) {
            self.switch(sp);
        }
        &mut self.stacks[self.current].calls
    }

    #[cold]
    fn switch(&mut self, sp: u64) {
        self.clock += 1;
        self.stacks[self.current].used = self.clock;
        if let Some(known) = self.stacks.iter().position(|s| s.holds(sp)) {
            self.current = known;
            return;
        }
        if self.stacks[self.current].calls.is_empty() {
            return;
        }
        if self.stacks.len() >= MOST_STACKS
            && let Some(oldest) = (0..self.stacks.len()).min_by_key(|&n| self.stacks[n].used)
        {
            self.stacks.swap_remove(oldest);
        }
        self.stacks.push(Stack::default());
        self.current = self.stacks.len() - 1;
    }
}

/// The threads' stacks.
#[derive(Default, Debug)]
pub struct Stacks {
    threads: Vec<Thread>,
    /// Index of the thread asked about last.
    last: usize,
}

impl Stacks {
    /// The calls of the stack that the thread is on, those that have ended included.
    pub fn calls(&mut self, tid: u32, sp: u64) -> &mut Vec<Call> {
        if self.threads.get(self.last).is_none_or(|t| t.tid != tid) {
            self.last = self.threads.iter().position(|t| t.tid == tid).unwrap_or_else(|| {
                self.threads.push(Thread::new(tid));
                self.threads.len() - 1
            });
        }
        self.threads[self.last].calls(sp)
    }

    /// Records a call whose return address is at the stack pointer. Those that have ended go first.
    pub fn call(&mut self, tid: u32, call: Call) {
        let calls = self.calls(tid, call.slot);
        calls.truncate(live(calls, call.slot.saturating_add(1)));
        if calls.len() >= DEEPEST {
            calls.drain(..DEEPEST / 2);
        }
        calls.push(call);
    }

    /// Forgets a thread.
    pub fn end(&mut self, tid: u32) {
        self.threads.retain(|t| t.tid != tid);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.threads.clear();
    }

    /// In a forked child: its only thread goes on where the one that forked left off.
    pub fn forked(&mut self, child: u32, sp: u64) {
        let forking = |t: &Thread| t.stacks[t.current].holds(sp);
        let at = match self.threads.get(self.last) {
            Some(t) if forking(t) => Some(self.last),
            _ => self.threads.iter().position(forking),
        };
        let thread = at.map(|n| self.threads.swap_remove(n));
        self.threads.clear();
        self.threads.extend(thread.map(|t| Thread { tid: child, ..t }));
        self.last = 0;
    }
}

/// How many of the calls are in progress at a stack pointer.
pub fn live(calls: &[Call], sp: u64) -> usize {
    let mut n = calls.len();
    while n > 0 && calls[n - 1].slot < sp {
        n -= 1;
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(slot: u64) -> Call {
        Call { slot, returns_to: slot + 1, pc: 0, callee: 0 }
    }

    fn caller(s: &mut Stacks, tid: u32, sp: u64) -> Option<u64> {
        let calls = s.calls(tid, sp);
        calls[..live(calls, sp)].last().map(|c| c.slot)
    }

    #[test]
    fn a_call_ends_when_the_stack_pointer_rises_above_it() {
        let mut s = Stacks::default();
        s.call(1, call(0x9000));
        s.call(1, call(0x8f00));
        s.call(1, call(0x8e00));
        assert_eq!(caller(&mut s, 1, 0x8d00), Some(0x8e00));
        assert_eq!(caller(&mut s, 1, 0x8e08), Some(0x8f00), "returned");
        assert_eq!(caller(&mut s, 1, 0x8fff), Some(0x9000), "two at once: longjmp");
        s.call(1, call(0x8f80));
        assert_eq!(s.calls(1, 0x8f80).len(), 2);
        assert_eq!(caller(&mut s, 1, 0x9008), None);
    }

    #[test]
    fn threads_are_apart_and_end() {
        let mut s = Stacks::default();
        s.call(1, call(0x9000));
        s.call(2, call(0x8000));
        assert_eq!(
            (caller(&mut s, 1, 0x7000), caller(&mut s, 2, 0x7000)),
            (Some(0x9000), Some(0x8000))
        );
        s.end(1);
        assert_eq!((caller(&mut s, 1, 0x7000), caller(&mut s, 2, 0x7000)), (None, Some(0x8000)));
    }

    #[test]
    fn a_thread_returns_to_a_stack_it_left() {
        const MAIN: u64 = 0x7000_0000;
        for other in [MAIN + 0x100_0000, MAIN - 0x100_0000] {
            let mut s = Stacks::default();
            s.call(1, call(MAIN));
            for round in 0..100 {
                s.call(1, call(other));
                assert_eq!(caller(&mut s, 1, other - 8), Some(other), "{round}");
                assert_eq!(caller(&mut s, 1, MAIN - 8), Some(MAIN), "{round}");
            }
            assert_eq!(s.threads[0].stacks.len(), 2);
        }
    }

    #[test]
    fn many_stacks_do_not_pile_up() {
        let mut s = Stacks::default();
        for n in 0..1000 {
            s.call(1, call(0x10_0000_0000 + n * 0x100_0000));
        }
        assert_eq!(s.threads[0].stacks.len(), MOST_STACKS);
        assert_eq!(
            caller(&mut s, 1, 0x10_0000_0000 + 999 * 0x100_0000),
            Some(0x10_0000_0000 + 999 * 0x100_0000)
        );
    }

    #[test]
    fn deep_recursion_loses_the_outermost_calls_only() {
        let mut s = Stacks::default();
        for n in 0..=DEEPEST as u64 {
            s.call(1, call(0x4000_0000 - n * 16));
        }
        let sp = 0x4000_0000 - DEEPEST as u64 * 16;
        assert_eq!(caller(&mut s, 1, sp), Some(sp));
        assert_eq!(s.calls(1, sp).len(), DEEPEST / 2 + 1);
    }

    #[test]
    fn a_forked_child_goes_on_with_the_forking_threads_calls() {
        let mut s = Stacks::default();
        s.call(1, call(0x9_0000_0000));
        s.call(2, call(0x8_0000_0000));
        s.forked(3, 0x8_0000_0000 - 64);
        assert_eq!(caller(&mut s, 3, 0x8_0000_0000 - 64), Some(0x8_0000_0000));
        assert_eq!(s.threads.len(), 1);
    }
}
