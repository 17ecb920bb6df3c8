//! CPU time of guest threads, which take turns on one host thread.
//!
//! A thread has used what the run thread used in its turns, and what its companion used. As long as nobody
//! asks, turns are not timed: the first question shares out the time so far by instructions.

use crate::{Errno, Process, nondet};

/// How the run thread's time is shared out.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mode {
    /// There is one thread.
    #[default]
    Alone,
    /// By the instructions of each thread.
    Instructions,
    /// By the clock, at the end of each turn.
    Clock,
}

/// What has to be remembered for a process.
#[derive(Clone, Copy, Default, Debug)]
pub struct CpuTime {
    mode: Mode,
    /// Somebody has asked.
    asked: bool,
    /// Up to when the run thread's time has been shared out, in nanoseconds.
    since: u64,
    /// What threads that have ended used since then, in instructions.
    ended: u64,
}

/// A clock of the host, in nanoseconds.
fn read(clock: i32) -> Result<u64, Errno> {
    let now = nondet::clock(clock)?;
    Ok(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// The id of a thread's CPU clock (`MAKE_THREAD_CPUCLOCK` with `CPUCLOCK_SCHED`).
fn clock_of(tid: i32) -> i32 {
    !tid << 3 | 4 | 2
}

impl Process {
    /// The thread whose CPU clock `id` is, if it is one of this process's threads'.
    pub(crate) fn thread_of_clock(&self, id: i32) -> Option<usize> {
        /// Of a dynamic id: one thread's, and the three kinds of CPU clock.
        const OF_THREAD: core::ops::RangeInclusive<i32> = 4..=6;
        match id {
            libc::CLOCK_THREAD_CPUTIME_ID => Some(self.current),
            0.. => None,
            _ if !OF_THREAD.contains(&(id & 7)) => None,
            _ => match !(id >> 3) {
                0 => Some(self.current),
                tid => self.threads.iter().position(|t| t.tid == tid),
            },
        }
    }

    /// The CPU time that a thread has used, in nanoseconds.
    pub(crate) fn cpu_time_of(&mut self, thread: usize) -> u64 {
        self.share_out();
        self.cpu_time.asked = true;
        if self.cpu_time.mode == Mode::Instructions {
            self.cpu_time.mode = Mode::Clock;
        }
        let t = &self.threads[thread];
        let companion = t.companion.as_ref().and_then(|c| read(clock_of(c.tid)).ok());
        t.cpu_time + companion.unwrap_or(0)
    }

    /// Gives each thread what it has used of the run thread's time up to now.
    fn share_out(&mut self) {
        let now = read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(self.cpu_time.since);
        let passed = now.saturating_sub(self.cpu_time.since);
        self.cpu_time.since = now;
        let total = self.threads.iter().map(|t| t.share.total()).sum::<u64>() + self.cpu_time.ended;
        if self.cpu_time.mode != Mode::Instructions || total == 0 {
            self.thread().cpu_time += passed;
            return;
        }
        for t in &mut self.threads {
            let part = u128::from(passed) * u128::from(t.share.total()) / u128::from(total);
            t.cpu_time += part as u64;
            t.share.forget_total();
        }
        self.cpu_time.ended = 0;
    }

    /// For a thread that is about to start another one.
    pub(crate) fn before_new_thread(&mut self) {
        if self.cpu_time.mode != Mode::Alone {
            return;
        }
        self.share_out();
        self.thread().share.forget_total();
        self.cpu_time.mode = if self.cpu_time.asked { Mode::Clock } else { Mode::Instructions };
    }

    /// For the current thread, which is about to end.
    pub(crate) fn before_thread_end(&mut self) {
        let last = self.threads.len() <= 2;
        if last || self.cpu_time.mode == Mode::Clock {
            self.share_out();
        } else {
            self.cpu_time.ended += self.thread().share.total();
        }
        let tid = self.thread().tid;
        self.timers.stop(tid);
        if last {
            self.cpu_time.mode = Mode::Alone;
        }
    }

    /// The other threads are about to end.
    pub(crate) fn before_others_end(&mut self) {
        self.share_out();
        self.cpu_time.mode = Mode::Alone;
    }

    /// The current thread's turn ends and another's begins.
    pub(crate) fn before_switch(&mut self, to: usize) {
        if self.cpu_time.mode == Mode::Clock {
            self.share_out();
        }
        if self.timers.follow_threads() {
            let (from, to) = (self.thread().tid, self.threads[to].tid);
            self.timers.switch(from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Abi, Thread, limits::Limits};

    fn spend(p: &mut Process, instructions: u64) {
        p.thread().share.count(instructions);
    }

    #[test]
    fn instructions_share_out_what_nobody_asked_for() {
        let mut p = Process::bare(Abi::X86_64, Limits::inherited());
        p.before_new_thread();
        p.threads.extend([Thread::new(1), Thread::new(2)]);
        for (i, t) in p.threads.iter_mut().enumerate() {
            t.cpu_time = 0;
            t.share.count((i as u64 + 1) << 20);
        }
        // Half of it was the third thread's.
        p.current = 2;
        p.before_thread_end();
        p.threads.remove(2);
        p.current = 1;
        p.cpu_time.since = 0;
        let now = read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap();
        let second = p.cpu_time_of(1);
        let first = p.threads[0].cpu_time;
        assert!(second >= now / 3 - 1 && second.abs_diff(2 * first) < now / 1000 + 2);
        // From now on the clock counts, whoever executes how much.
        spend(&mut p, 1 << 40);
        p.before_switch(0);
        p.current = 0;
        let before = p.threads[0].cpu_time;
        p.before_switch(1);
        assert!(p.threads[0].cpu_time - before < now);
        assert_eq!(p.thread_of_clock(clock_of(1)), Some(1));
        assert_eq!(p.thread_of_clock(clock_of(0)), Some(0));
        assert_eq!(p.thread_of_clock(libc::CLOCK_MONOTONIC), None);
        assert_eq!(p.thread_of_clock(clock_of(2)), None);
        assert_eq!(p.thread_of_clock(!0 << 3 | 2), None);
    }
}
