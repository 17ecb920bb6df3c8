//! Whose turn it is: fair shares of the run thread, in guest instructions.
//!
//! The runnable thread that has used least runs next. One that has waited keeps a small credit, and now
//! and then the thread that wakes it makes room for it at once, in the middle of its slice. Programs
//! count on this: a thread that gives up a lock and takes it again a moment later would else have it
//! whenever the others look. Not each time: threads that hand each other work do it in batches.

/// Instructions before another thread gets its turn: some 100 µs, so that one that spins until
/// another has done something does not spin for long.
pub const SLICE: u64 = 1 << 17;
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

/// A thread's share.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Share {
    /// Instructions it has used, and what counts as such.
    spent: u64,
    /// Instructions of its present slice.
    used: u64,
    /// When it last gave up its turn: among equals who has waited longest is next.
    since: u64,
    /// Up to what it may use before it makes room for the one that made room for it.
    visit: u64,
    /// Up to what it makes no room for others.
    stretch: u64,
}

impl Share {
    /// The share of a thread that this one starts: no less is used up, so the starter goes on.
    pub fn of_new(self) -> Share {
        Share { used: 0, visit: 0, stretch: 0, ..self }
    }

    fn key(&self) -> (u64, u64) {
        (self.spent, self.since)
    }

    /// Instructions left of its slice.
    pub fn left(&self) -> u64 {
        SLICE - self.used
    }

    /// Counts what the thread has just used.
    pub fn count(&mut self, instructions: u64) {
        self.used += instructions.min(self.left());
        self.spent += instructions + STOP;
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
}

impl Turns {
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
