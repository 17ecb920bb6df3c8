//! How often pages with code are written: which ones are worth being protected.
//!
//! A store into a protected page costs a fault. A block on a page that is not protected costs a
//! comparison of its bytes and the way through the run loop, each time it runs. The rule is that of
//! renting and buying: a page may have faults for about the price of the comparisons it would
//! have had, and is compared for about the price of the faults it was spared. It counts events of
//! the guest only, so a run repeats itself.

use emu_mem::AddressMap;

/// Faults in a row before a page is compared instead.
const HOT: u64 = 32;

/// Instructions retired for which a page is forgiven one fault.
const FORGIVEN: u64 = 1 << 15;

/// Executions of blocks that are compared before a page is protected again, the first time; each
/// time that proves premature, twice as many.
const PATIENCE: u32 = 256;

const MOST_PATIENCE: u32 = 1 << 16;

/// Faults that a page protected again may have before it is compared again.
const ON_TRIAL: u64 = 4;

#[derive(Clone, Copy, Debug)]
struct Page {
    /// Instructions retired when all faults will be forgiven.
    cold_at: u64,
    hot: bool,
    /// Comparisons since it became hot.
    compared: u32,
    /// Comparisons for which it stays hot.
    patience: u32,
}

/// The pages that were written while they had code.
#[derive(Debug, Default)]
pub(crate) struct Heat {
    pages: AddressMap<Page>,
}

impl Heat {
    /// Notes a fault by a store into `page`, when that many instructions have retired.
    pub fn written(&mut self, page: u64, now: u64) {
        let fresh = Page { cold_at: now, hot: false, compared: 0, patience: PATIENCE };
        let p = self.pages.entry(page).or_insert(fresh);
        if p.cold_at < now {
            *p = Page { hot: p.hot, ..fresh };
        }
        p.cold_at += FORGIVEN;
        if !p.hot && p.cold_at >= now + HOT * FORGIVEN {
            (p.hot, p.compared) = (true, 0);
        }
    }

    /// Whether blocks on `page` are to be compared before they run.
    pub fn is_hot(&self, page: u64) -> bool {
        !self.pages.is_empty() && self.pages.get(&page).is_some_and(|p| p.hot)
    }

    /// Notes that a block on `page` was compared and is to run. Whether the page is still hot.
    pub fn compared(&mut self, page: u64, now: u64) -> bool {
        let Some(p) = self.pages.get_mut(&page).filter(|p| p.hot) else { return false };
        p.compared += 1;
        if p.compared >= p.patience {
            p.hot = false;
            p.patience = (p.patience * 2).min(MOST_PATIENCE);
            p.cold_at = now + (HOT - ON_TRIAL) * FORGIVEN;
        }
        p.hot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comparisons until `page` is protected again.
    fn cool(heat: &mut Heat, page: u64, now: u64) -> u32 {
        (1..).find(|_| !heat.compared(page, now)).unwrap_or(0)
    }

    /// Faults until `page` is compared.
    fn warm(heat: &mut Heat, page: u64, mut now: u64, distance: u64) -> Option<u64> {
        (1..=1000).find(|_| {
            now += distance;
            heat.written(page, now);
            heat.is_hot(page)
        })
    }

    #[test]
    fn only_faults_close_to_each_other_count() {
        let mut heat = Heat::default();
        assert!(!heat.is_hot(0x1000));
        assert_eq!(warm(&mut heat, 0x1000, 0, 10), Some(33));
        assert!(!heat.is_hot(0x2000));
        assert_eq!(warm(&mut heat, 0x2000, 0, FORGIVEN / 2), Some(63));
        assert_eq!(warm(&mut heat, 0x3000, 0, FORGIVEN + 1), None);
    }

    #[test]
    fn each_premature_protection_makes_the_next_one_later() {
        let mut heat = Heat::default();
        warm(&mut heat, 0x1000, 0, 10);
        for n in 0..12 {
            assert_eq!(cool(&mut heat, 0x1000, 500), (PATIENCE << n).min(MOST_PATIENCE));
            assert_eq!(warm(&mut heat, 0x1000, 500, 0), Some(ON_TRIAL), "{n}");
        }
        assert_eq!(cool(&mut heat, 0x1000, 500), MOST_PATIENCE);
        // A page long left alone is like a new one.
        assert_eq!(warm(&mut heat, 0x1000, 1 << 40, 10), Some(33));
        assert_eq!(cool(&mut heat, 0x1000, 1 << 41), PATIENCE);
    }
}
