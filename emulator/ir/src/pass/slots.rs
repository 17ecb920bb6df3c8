//! What is known about slots while a block is walked.

use crate::Val;

/// A value known to be in a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// First byte.
    pub slot: u32,
    /// Bytes covered. An i32 that was put covers 8: it is zero-extended there.
    pub bytes: u32,
    /// The value.
    pub val: Val,
    /// Valid while it equals the table's epoch.
    epoch: u32,
}

/// Entries; one per group of 8 bytes, by where the slot begins.
const ENTRIES: usize = 256;
/// The most groups a slot can reach back over: 32 bytes.
const REACH: u32 = 4;

/// A direct-mapped table of known slots.
#[derive(Debug)]
pub(super) struct Slots {
    entries: Box<[Known; ENTRIES]>,
    epoch: u32,
}

impl Default for Slots {
    fn default() -> Slots {
        let none = Known { slot: 0, bytes: 0, val: Val::NONE, epoch: 0 };
        Slots { entries: Box::new([none; ENTRIES]), epoch: 1 }
    }
}

impl Slots {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            *self = Slots::default();
        }
    }

    fn index(slot: u32) -> usize {
        (slot / 8) as usize % ENTRIES
    }

    /// What is known to begin at `slot`.
    pub fn get(&self, slot: u32) -> Option<Known> {
        let e = self.entries[Slots::index(slot)];
        (e.epoch == self.epoch && e.slot == slot).then_some(e)
    }

    /// Notes a value read from a slot, unless more is known about the place already.
    pub fn read(&mut self, slot: u32, bytes: u32, val: Val) {
        let e = &mut self.entries[Slots::index(slot)];
        if e.epoch != self.epoch || e.bytes < bytes {
            *e = Known { slot, bytes, val, epoch: self.epoch };
        }
    }

    /// Notes a value written to a slot; what it overwrites is forgotten.
    pub fn write(&mut self, slot: u32, bytes: u32, val: Val) {
        let end = slot + bytes;
        let first = (slot / 8).saturating_sub(REACH);
        for group in first..=(end - 1) / 8 {
            let e = &mut self.entries[group as usize % ENTRIES];
            if e.slot < end && slot < e.slot + e.bytes {
                e.epoch = 0;
            }
        }
        self.entries[Slots::index(slot)] = Known { slot, bytes, val, epoch: self.epoch };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_forget_whatever_they_overlap() {
        let mut s = Slots::default();
        s.write(128, 8, Val(1));
        s.write(136, 8, Val(2));
        s.write(144, 16, Val(3));
        s.write(139, 1, Val(4));
        assert_eq!(s.get(128).map(|k| k.val), Some(Val(1)));
        assert!(s.get(136).is_none());
        assert_eq!(s.get(139).map(|k| k.val), Some(Val(4)));
        s.write(152, 8, Val(5));
        assert!(s.get(144).is_none(), "a wide value that began earlier");
        s.write(128, 32, Val(6));
        assert!(s.get(139).is_none() && s.get(152).is_none());
        s.clear();
        assert!(s.get(128).is_none());
    }

    #[test]
    fn reads_do_not_displace_wider_knowledge() {
        let mut s = Slots::default();
        s.write(128, 8, Val(1));
        s.read(129, 1, Val(2));
        assert_eq!(s.get(128).map(|k| k.val), Some(Val(1)));
        s.read(136, 1, Val(3));
        s.read(136, 8, Val(4));
        assert_eq!(s.get(136).map(|k| k.val), Some(Val(4)));
    }
}
