//! What the IR needs to know of the architecture a block was lifted for.

use core::ops::Range;

/// What a helper touches, so that tiers know what to write back before and forget after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effects {
    /// Reads guest registers or flags from the CPU structure.
    pub reads: bool,
    /// Writes guest registers or flags in the CPU structure.
    pub writes: bool,
    /// May raise a trap: the tier checks the header afterwards.
    pub traps: bool,
}

impl Effects {
    /// A function of its arguments only.
    pub const PURE: Effects = Effects { reads: false, writes: false, traps: false };
    /// Reads state.
    pub const READS: Effects = Effects { reads: true, writes: false, traps: false };
    /// May trap, but leaves registers and flags alone (memory is another matter).
    pub const TRAPS: Effects = Effects { reads: true, writes: false, traps: true };
    /// Reads and writes state.
    pub const STATE: Effects = Effects { reads: true, writes: true, traps: false };
    /// Reads and writes state, may trap.
    pub const FULL: Effects = Effects { reads: true, writes: true, traps: true };
}

/// The architecture as printer, parser, verifier and passes see it.
pub trait Target {
    /// The slots that get and put may name: byte offsets in the CPU structure.
    fn slots(&self) -> Range<u32>;
    /// Effects of helper `n`; `None` when there is no such helper.
    fn helper_effects(&self, n: u16) -> Option<Effects>;
    /// Name of helper `n` in IR text.
    fn helper_name(&self, n: u16) -> Option<&str>;
    /// Name of the slot that begins at `slot`, in IR text.
    fn slot_name(&self, slot: u32) -> Option<&str>;
    /// The slot with that name.
    fn slot_by_name(&self, name: &str) -> Option<u32>;

    /// The helper with that name.
    fn helper_by_name(&self, name: &str) -> Option<u16> {
        (0..u16::MAX)
            .take_while(|&n| self.helper_effects(n).is_some())
            .find(|&n| self.helper_name(n) == Some(name))
    }
}

/// A target without names: sixteen 64-bit slots `r0` … `r15` at offset 128 and the helpers given.
/// For tests and random programs.
#[derive(Clone, Copy, Debug)]
pub struct PlainTarget {
    /// Names and effects of the helpers.
    pub helpers: &'static [(&'static str, Effects)],
}

impl PlainTarget {
    /// Without helpers.
    pub const BARE: PlainTarget = PlainTarget { helpers: &[] };
    /// Number of registers.
    pub const REGS: u32 = 16;
    const NAMES: [&'static str; 16] = [
        "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13",
        "r14", "r15",
    ];

    /// The slot of register `n`.
    pub const fn reg(n: u32) -> u32 {
        128 + 8 * n
    }
}

impl Target for PlainTarget {
    fn slots(&self) -> Range<u32> {
        PlainTarget::reg(0)..PlainTarget::reg(PlainTarget::REGS)
    }

    fn helper_effects(&self, n: u16) -> Option<Effects> {
        self.helpers.get(usize::from(n)).map(|h| h.1)
    }

    fn helper_name(&self, n: u16) -> Option<&str> {
        self.helpers.get(usize::from(n)).map(|h| h.0)
    }

    fn slot_name(&self, slot: u32) -> Option<&str> {
        let n = slot.checked_sub(128).filter(|n| n.is_multiple_of(8))? / 8;
        PlainTarget::NAMES.get(n as usize).copied()
    }

    fn slot_by_name(&self, name: &str) -> Option<u32> {
        let n = PlainTarget::NAMES.iter().position(|&n| n == name)?;
        Some(PlainTarget::reg(n as u32))
    }
}
