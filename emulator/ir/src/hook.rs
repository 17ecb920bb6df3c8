//! Hooks: calls of subscribers from inside a block, and their conditions.

use core::cell::Cell;

/// What a hook op reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum HookKind {
    /// Before an instruction.
    InsnExec = 0,
    /// After an instruction retired.
    AfterInsnExec = 1,
    /// On entry to the block.
    BeforeBlock = 2,
    /// On leaving the block; stands before its last branch, and only in blocks without other
    /// exits. When a fault ends the block early the engine makes the call itself.
    AfterBlock = 3,
    /// Before a load.
    BeforeRead = 4,
    /// After a load.
    AfterRead = 5,
    /// Before a store.
    BeforeWrite = 6,
    /// After a store.
    AfterWrite = 7,
}

impl HookKind {
    /// All kinds, in numeric order.
    pub const ALL: [HookKind; 8] = [
        HookKind::InsnExec,
        HookKind::AfterInsnExec,
        HookKind::BeforeBlock,
        HookKind::AfterBlock,
        HookKind::BeforeRead,
        HookKind::AfterRead,
        HookKind::BeforeWrite,
        HookKind::AfterWrite,
    ];
}

/// What a hook calls, at an address that stays valid as long as any block that names it exists.
///
/// Ending a subscription swaps `func` for a function that does nothing, so a block that is still running
/// never calls a subscriber that has let go.
#[repr(C)]
#[derive(Debug)]
pub struct HookCell {
    /// Address of the `extern "C"` function; its type follows from the hook's kind.
    pub func: Cell<usize>,
    /// Its first argument.
    pub user: Cell<usize>,
    /// Calls made, while they are counted.
    pub calls: Cell<u64>,
    /// For hooks with a countdown: events up to and including the next one that is due.
    pub left: Cell<u64>,
    /// What `left` becomes then; 0: none is due any more (for 2^64 events).
    pub every: Cell<u64>,
}

impl HookCell {
    /// A cell for a function without conditions.
    pub fn new(func: usize, user: usize) -> HookCell {
        HookCell {
            func: Cell::new(func),
            user: Cell::new(user),
            calls: Cell::new(0),
            left: Cell::new(1),
            every: Cell::new(1),
        }
    }

    /// Counts an event down; whether it is due.
    pub fn count_down(&self) -> bool {
        self.left.set(self.left.get().wrapping_sub(1));
        let due = self.left.get() == 0;
        if due {
            self.left.set(self.every.get());
        }
        due
    }
}

/// Addresses from one on and below another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Within {
    /// The first one.
    pub from: u64,
    /// The one behind the last; more than `from`.
    pub to: u64,
}

impl Within {
    /// Whether it has one of the `size` (at least one) bytes at `addr`.
    pub fn touches(&self, addr: u64, size: u64) -> bool {
        let (first, span) = self.starts(size);
        addr.wrapping_sub(first) < span
    }

    /// The addresses at which accesses of `size` bytes touch it: the first, modulo 2^64, and their number.
    pub fn starts(&self, size: u64) -> (u64, u64) {
        let before = size.saturating_sub(1);
        let span = self.to.wrapping_sub(self.from).saturating_add(before);
        (self.from.wrapping_sub(before), span)
    }
}

/// When a hook calls.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct When {
    /// Only for accesses that touch these addresses; for memory hooks.
    pub within: Option<Within>,
    /// Only when the countdown in the cell says so; what the range leaves out is not counted.
    pub countdown: bool,
}

impl When {
    /// At every event.
    pub const ALWAYS: When = When { within: None, countdown: false };

    /// Whether an event is due; counts it down.
    pub fn due(&self, cell: &HookCell, addr: u64, size: u64) -> bool {
        self.within.is_none_or(|w| w.touches(addr, size)) && (!self.countdown || cell.count_down())
    }
}

/// One call a hook op makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HookSite {
    /// What is reported.
    pub kind: HookKind,
    /// Address of the [`HookCell`].
    pub cell: usize,
    /// Guest pc passed to the callback.
    pub pc: u64,
    /// For block hooks: address of the block description passed to the callback.
    pub info: usize,
    /// For block hooks: passed to the callback behind the description (how the block ends).
    pub detail: u32,
    /// The callback reads registers: state must be in the CPU structure.
    pub reads_regs: bool,
    /// The callback writes registers: cached state is stale afterwards.
    pub writes_regs: bool,
    /// The cell counts calls.
    pub counts_calls: bool,
    /// When it is called.
    pub when: When,
}

impl HookSite {
    /// A hook that is always called, touches no registers and has no description.
    pub fn new(kind: HookKind, cell: usize, pc: u64) -> HookSite {
        HookSite {
            kind,
            cell,
            pc,
            info: 0,
            detail: 0,
            reads_regs: false,
            writes_regs: false,
            counts_calls: false,
            when: When::ALWAYS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_touched_by_any_byte() {
        let w = Within { from: 0x100, to: 0x110 };
        for (addr, size, touches) in [
            (0xff, 1, false),
            (0x100, 1, true),
            (0x10f, 1, true),
            (0x110, 1, false),
            (0xf8, 8, false),
            (0xf9, 8, true),
            (0x10f, 8, true),
            (0x110, 8, false),
            (0, 0x1000, true),
        ] {
            assert_eq!(w.touches(addr, size), touches, "{addr:#x} {size}");
        }
        let low = Within { from: 0, to: 1 };
        assert!(low.touches(0, 8) && !low.touches(1, 8) && !low.touches(u64::MAX - 8, 8));
        let all = Within { from: 0, to: u64::MAX };
        assert!(all.touches(0, 32) && all.touches(0x5500_0000_0000, 32));
    }

    #[test]
    fn a_countdown_comes_round_or_ends() {
        let cell = HookCell::new(1, 2);
        let due = |cell: &HookCell| -> Vec<u32> { (1..=9).filter(|_| cell.count_down()).collect() };
        assert_eq!(due(&cell).len(), 9);
        cell.left.set(2);
        cell.every.set(3);
        assert_eq!(due(&cell), [2, 5, 8]);
        cell.left.set(4);
        cell.every.set(0);
        assert_eq!(due(&cell), [4]);
        assert_eq!(due(&cell), []);
    }
}
