//! Signals that handlers of the host have taken and the run loop has not: a few slots, filled without
//! locks by any thread, emptied by one.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::SigInfo;

const EMPTY: u8 = 0;
const CLAIMED: u8 = 1;
const FULL: u8 = 2;

struct Slot {
    state: AtomicU8,
    info: UnsafeCell<[u8; 128]>,
}

impl Slot {
    const fn new() -> Slot {
        Slot { state: AtomicU8::new(EMPTY), info: UnsafeCell::new([0; 128]) }
    }
}

/// Signals that have arrived.
pub struct Arrivals {
    slots: [Slot; Arrivals::SLOTS],
    count: AtomicU32,
}

// SAFETY: who changes a slot's state from EMPTY to CLAIMED writes its content; only the run thread reads it,
// while the state is FULL.
unsafe impl Sync for Arrivals {}

impl Arrivals {
    /// The run thread takes one signal at a time, each companion one for each call.
    const SLOTS: usize = 32;

    /// None has arrived.
    pub const fn new() -> Arrivals {
        let slots = [const { Slot::new() }; Arrivals::SLOTS];
        Arrivals { slots, count: AtomicU32::new(0) }
    }

    /// Whether one waits to be taken.
    pub fn waiting(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// Keeps a signal; false if there is no place. Async-signal-safe.
    pub fn put(&self, info: &SigInfo) -> bool {
        let claim = |s: &&Slot| {
            s.state.compare_exchange(EMPTY, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let Some(slot) = self.slots.iter().find(claim) else { return false };
        // SAFETY: claimed.
        unsafe { *slot.info.get() = info.0 };
        slot.state.store(FULL, Ordering::Release);
        self.count.fetch_add(1, Ordering::Release);
        true
    }

    /// Takes one that waits. For one thread only.
    pub fn take(&self) -> Option<SigInfo> {
        let slot = self.slots.iter().find(|s| s.state.load(Ordering::Acquire) == FULL)?;
        // SAFETY: full, and nobody else empties it.
        let info = SigInfo(unsafe { *slot.info.get() });
        slot.state.store(EMPTY, Ordering::Release);
        self.count.fetch_sub(1, Ordering::Release);
        Some(info)
    }

    /// Empties every place, also one that a thread had just begun to fill. In a forked child, where no
    /// other thread is and no signal can arrive.
    pub fn forget(&self) {
        for slot in &self.slots {
            slot.state.store(EMPTY, Ordering::Release);
        }
        self.count.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_lost_between_threads() {
        let arrivals = Arrivals::new();
        let mut sums = [0u64; 4];
        std::thread::scope(|s| {
            for n in 0..4u8 {
                let arrivals = &arrivals;
                s.spawn(move || {
                    for i in 0..1000u16 {
                        let mut info = [n; 128];
                        info[126..].copy_from_slice(&i.to_le_bytes());
                        while !arrivals.put(&SigInfo(info)) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut left = 4000;
            while left != 0 {
                let Some(SigInfo(info)) = arrivals.take() else { continue };
                assert!(info[..126].iter().all(|&b| b == info[0]), "{info:?}");
                sums[usize::from(info[0])] += u64::from(u16::from_le_bytes([info[126], info[127]]));
                left -= 1;
            }
        });
        assert_eq!(sums, [999 * 1000 / 2; 4]);
        assert!(!arrivals.waiting() && arrivals.take().is_none());
    }

    #[test]
    fn one_without_a_place_is_refused() {
        let arrivals = Arrivals::new();
        for n in 0..Arrivals::SLOTS {
            assert!(arrivals.put(&SigInfo([n as u8; 128])));
        }
        assert!(!arrivals.put(&SigInfo([99; 128])));
        assert_eq!(arrivals.take(), Some(SigInfo([0; 128])));
        assert!(arrivals.put(&SigInfo([99; 128])) && arrivals.waiting());
    }

    #[test]
    fn every_place_is_free_again() {
        let arrivals = Arrivals::new();
        assert!(arrivals.put(&SigInfo([1; 128])));
        // As a thread leaves it that is copied in the middle of `put`.
        arrivals.slots[1].state.store(CLAIMED, Ordering::Release);
        arrivals.forget();
        assert!(!arrivals.waiting() && arrivals.take().is_none());
        for n in 0..Arrivals::SLOTS {
            assert!(arrivals.put(&SigInfo([n as u8; 128])), "{n}");
        }
    }
}
