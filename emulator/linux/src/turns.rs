//! Whose turn it is: fair shares of the run thread, in guest instructions.
//!
//! The runnable thread that has used least runs next. One that has waited keeps a small credit, and now
//! and then the thread that wakes it makes room for it at once, in the middle of its slice. Programs
//! count on this: a thread that gives up a lock and takes it again a moment later would else have it
//! whenever the others look. Not each time: threads that hand each other work do it in batches.
//!
//! Threads with a real-time priority go first, the highest alone or in turns with its equals. As the kernel
//! throttles such threads, every now and then one of the others has a turn: one that spins until another has
//! done something would else spin for ever.

/// Instructions before another thread gets its turn: some 100 µs, so that one that spins until
/// another has done something does not spin for long.
pub const SLICE: u64 = 1 << 17;
/// Slices that a thread runs without a look at the others while none of them can run.
const ALONE: u64 = 16;
/// How far below the others a thread that has waited may be.
const CREDIT: u64 = SLICE;
/// What a thread uses at least before it makes room, in the middle of its slice, for one that becomes ready
/// and has used less: else threads that wake each other for every little thing do nothing but that.
const STRETCH: u64 = SLICE / 4;
/// How much the other may use then before it has to make room itself: to take a lock it may have to wait
/// and be woken several times.
const VISIT: u64 = SLICE / 16;
/// What a stop of the guest counts, a system call for the most part: threads that make only calls use
/// time too.
const STOP: u64 = 1 << 9;

/// Of so many turns that real-time threads have while others could run, one is the others'.
const THROTTLE: u32 = 20;

/// A thread's share.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Share {
    /// Instructions it has used, and what counts as such.
    spent: u64,
    /// Instructions of its present slice.
    used: u64,
    /// What it has used in all since [`Share::forget_total`].
    total: u64,
    /// When it last gave up its turn: among equals who has waited longest is next.
    since: u64,
    /// Up to what it may use before it makes room for the one that made room for it.
    visit: u64,
    /// Up to what it makes no room for others.
    stretch: u64,
    /// Real-time priority, 1 to 99; 0: it has none.
    priority: u8,
    /// Threads it starts do not inherit that (`SCHED_RESET_ON_FORK`).
    reset: bool,
}

impl Share {
    /// The share of a thread that this one starts: no less is used up, so the starter goes on.
    pub fn of_new(self) -> Share {
        let priority = if self.reset { 0 } else { self.priority };
        Share { used: 0, total: 0, visit: 0, stretch: 0, priority, reset: false, ..self }
    }

    /// The real-time priority; 0: it has none.
    pub fn priority(&self) -> u8 {
        self.priority
    }

    fn key(&self) -> (u64, u64) {
        (self.spent, self.since)
    }

    /// Instructions left of its slice.
    pub fn left(&self) -> u64 {
        SLICE - self.used
    }

    /// Instructions until the last of several slices ends, for a thread that no other one waits for.
    pub fn left_alone(&self) -> u64 {
        self.left() + (ALONE - 1) * SLICE
    }

    /// Counts what the thread has just used.
    pub fn count(&mut self, instructions: u64) {
        self.used += instructions;
        if self.used > SLICE {
            self.used = (self.used - 1) % SLICE + 1;
        }
        self.spent += instructions + STOP;
        self.total += instructions + STOP;
    }

    /// What it has used, whatever credit it had.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Begins the total anew.
    pub fn forget_total(&mut self) {
        self.total = 0;
    }

    /// It begins to wait, or its slice is over.
    pub fn end(&mut self, serial: u64) {
        self.used = 0;
        self.since = serial;
    }
}

/// What all threads have in common.
#[derive(Debug, Default)]
pub struct Turns {
    /// No runnable thread has used less, but for credits.
    floor: u64,
    /// A thread has had a real-time priority.
    real_time: bool,
    /// Turns that ended while threads of several priorities could run, modulo [`THROTTLE`].
    ended: u32,
}

impl Turns {
    /// Gives a thread a real-time priority (0: takes it), which threads it starts inherit unless `reset`.
    pub fn prioritize(&mut self, share: &mut Share, priority: u8, reset: bool) {
        (share.priority, share.reset) = (priority, reset);
        self.real_time |= priority != 0;
    }

    /// A turn is over.
    pub fn end(&mut self) {
        self.ended = (self.ended + 1) % THROTTLE;
    }

    /// The priority of those among whom [`Turns::next`] is to pick, of the threads that can run.
    pub fn class<'a>(&mut self, ready: impl Iterator<Item = &'a Share> + Clone) -> u8 {
        if !self.real_time {
            return 0;
        }
        let highest = ready.clone().map(Share::priority).max().unwrap_or(0);
        let others = ready.filter(|s| s.priority != highest);
        match others.min_by_key(|s| s.since) {
            // The others lack nothing.
            None => self.ended = 0,
            Some(other) if self.ended == THROTTLE - 1 => return other.priority,
            Some(_) => {}
        }
        highest
    }

    /// Picks among the threads that can run, each with its number. `current` runs on until its slice
    /// is over, unless another has used much less.
    pub fn next<'a>(
        &mut self,
        ready: impl Iterator<Item = (usize, &'a mut Share)>,
        current: usize,
    ) -> Option<usize> {
        let mut best: Option<(usize, &mut Share)> = None;
        let mut running = None;
        for (i, share) in ready {
            share.spent = share.spent.max(self.floor.saturating_sub(CREDIT));
            if i == current && share.used > 0 && share.left() > 0 {
                running = Some(share);
            } else if best.as_ref().is_none_or(|(_, b)| share.key() < b.key()) {
                best = Some((i, share));
            }
        }
        let least = best.as_ref().map(|(_, share)| share.spent).into_iter();
        let least = least.chain(running.as_ref().map(|share| share.spent)).min()?;
        self.floor = self.floor.max(least);
        let (Some(running), Some((i, share))) = (&mut running, &mut best) else {
            return best.map(|(i, _)| i).or(Some(current));
        };
        if share.spent + VISIT < running.spent && running.stretch <= running.spent {
            running.stretch = running.spent + STRETCH;
            share.visit = share.spent + VISIT;
        }
        Some(if share.spent < share.visit.min(running.spent) { *i } else { current })
    }

    /// `share` gives way: it counts as having used as much as any of the others.
    pub fn yield_to<'a>(share: &mut Share, others: impl Iterator<Item = &'a Share>) {
        share.spent = others.map(|o| o.spent).fold(share.spent, u64::max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(turns: &mut Turns, shares: &mut [Share], ready: &[usize], current: usize) -> usize {
        let all = shares.iter_mut().enumerate().filter(|(i, _)| ready.contains(i));
        turns.next(all, current).unwrap()
    }

    /// Runs whoever's turn it is for up to `steps` instructions, `times` times; what each used.
    fn run(shares: &mut [Share], ready: &[usize], steps: u64, times: u64) -> Vec<u64> {
        let (mut turns, mut current, mut serial) = (Turns::default(), ready[0], 0);
        let mut sums = vec![0; shares.len()];
        for _ in 0..times {
            current = pick(&mut turns, shares, ready, current);
            let n = steps.min(shares[current].left());
            shares[current].count(n);
            sums[current] += n;
            if shares[current].left() == 0 {
                serial += 1;
                shares[current].end(serial);
            }
        }
        sums
    }

    #[test]
    fn a_thread_that_runs_alone_ends_where_slices_end() {
        let mut share = Share::default();
        share.count(100);
        assert_eq!(share.left_alone(), 16 * SLICE - 100);
        share.count(3 * SLICE);
        assert_eq!((share.left(), share.total()), (SLICE - 100, 3 * SLICE + 100 + 2 * STOP));
        share.count(share.left_alone());
        assert_eq!(share.left(), 0);
    }

    #[test]
    fn shares_are_equal() {
        let sums = run(&mut [Share::default(); 3], &[0, 1, 2], SLICE / 4, 1200);
        assert_eq!(sums, [100 * SLICE; 3]);
    }

    #[test]
    fn room_is_made_now_and_then() {
        let (mut turns, mut shares) = (Turns::default(), [Share::default(); 2]);
        assert_eq!(pick(&mut turns, &mut shares, &[0, 1], 0), 0);
        shares[0].count(VISIT - STOP);
        assert_eq!(pick(&mut turns, &mut shares, &[0, 1], 0), 0);
        shares[0].count(1);
        // Thread 1 waits and is woken again and again.
        let mut times = 0;
        while pick(&mut turns, &mut shares, &[0, 1], 0) == 1 {
            shares[1].count(100);
            shares[1].end(times);
            assert_eq!(pick(&mut turns, &mut shares, &[0], 1), 0);
            shares[0].count(1);
            times += 1;
        }
        assert!((VISIT / STOP / 2..=VISIT / STOP).contains(&times), "{times}");
        shares[0].count(STRETCH / 2);
        assert_eq!(pick(&mut turns, &mut shares, &[0, 1], 0), 0);
        shares[0].count(STRETCH / 2);
        assert_eq!(pick(&mut turns, &mut shares, &[0, 1], 0), 1);
    }

    #[test]
    fn one_that_waited_runs_at_once_but_not_for_long() {
        let (mut turns, mut shares) = (Turns::default(), [Share::default(); 2]);
        for serial in 0..100 {
            assert_eq!(pick(&mut turns, &mut shares, &[0], 0), 0);
            shares[0].count(SLICE);
            shares[0].end(serial);
        }
        let mut extra = 0;
        while pick(&mut turns, &mut shares, &[0, 1], 1) == 1 {
            shares[1].count(SLICE / 8);
            if shares[1].left() == 0 {
                shares[1].end(200);
            }
            extra += SLICE / 8;
        }
        assert!((SLICE..3 * SLICE).contains(&extra), "{extra}");
    }

    #[test]
    fn calls_alone_use_up_a_share() {
        let (mut turns, mut shares) = (Turns::default(), [Share::default(); 2]);
        let mut calls = 0;
        while pick(&mut turns, &mut shares, &[0, 1], 0) == 0 {
            shares[0].count(3);
            calls += 1;
        }
        assert!(calls <= 2 * SLICE / STOP, "{calls}");
    }

    /// Runs whoever's turn it is for a slice, `times` times; whose turns they were.
    fn turns_of(
        turns: &mut Turns,
        shares: &mut [Share],
        ready: &[usize],
        times: u64,
    ) -> Vec<usize> {
        let mut current = ready[0];
        let one = |serial| {
            let class = turns.class(ready.iter().map(|&i| &shares[i]));
            let able: Vec<_> =
                ready.iter().copied().filter(|&i| shares[i].priority() == class).collect();
            current = pick(turns, shares, &able, current);
            shares[current].count(SLICE);
            shares[current].end(serial);
            turns.end();
            current
        };
        (1..=times).map(one).collect()
    }

    #[test]
    fn the_highest_priority_goes_first_but_not_for_ever() {
        let (mut turns, mut shares) = (Turns::default(), [Share::default(); 4]);
        turns.prioritize(&mut shares[1], 10, false);
        turns.prioritize(&mut shares[2], 50, false);
        turns.prioritize(&mut shares[3], 50, true);
        let all = turns_of(&mut turns, &mut shares, &[0, 1, 2, 3], 60);
        let count = |n| all.iter().filter(|i| **i == n).count();
        // Equals share; the two others have one throttled turn after the other.
        assert_eq!((count(2) + count(3), count(0) + count(1)), (57, 3), "{all:?}");
        assert!(count(2).abs_diff(count(3)) <= 1 && count(0) > 0 && count(1) > 0, "{all:?}");
        // Without the highest the next one has what it had.
        let rest = turns_of(&mut turns, &mut shares, &[0, 1], 20);
        assert_eq!(rest.iter().filter(|i| **i == 1).count(), 19, "{rest:?}");
        // In the middle of another's slice, too.
        shares[0].count(100);
        assert_eq!(turns.class([shares[0], shares[2]].iter()), 50);
        assert_eq!((shares[2].of_new().priority(), shares[3].of_new().priority()), (50, 0));
        turns.prioritize(&mut shares[2], 0, false);
        assert_eq!(turns.class([shares[0], shares[2]].iter()), 0);
    }

    #[test]
    fn who_yields_goes_behind_the_others() {
        let mut shares = [Share::default(); 3];
        shares[1].spent = 500;
        shares[2].spent = 300;
        let [first, others @ ..] = &mut shares;
        Turns::yield_to(first, others.iter());
        first.end(1);
        assert_eq!(pick(&mut Turns::default(), &mut shares, &[0, 1, 2], 0), 2);
        assert_eq!(pick(&mut Turns::default(), &mut shares, &[0, 1], 0), 1);
    }
}
