//! What generated code knows at a point of a block: which value sits in which register, which
//! guest slots are cached, and which of those are newer than the CPU structure.
//!
//! IR values that are known to be equal share a *root*, the thing that has a location. A slot of
//! the CPU structure is cached by naming the root it equals. Writing a slot only renames: memory is
//! updated when the block is left, when a register is needed, or before a call that reads state.

use emu_ir::Ty;

use crate::analyze::Next;
use crate::asm::{NOREG, Reg};
use crate::pins::{Pins, VectorPins, Vectors, home, members, part};

/// "No root".
pub const NOROOT: u16 = u16::MAX;

/// How a root's content comes about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Computed; it has a register or a home.
    Plain,
    /// The constant.
    Const(u64),
    /// Not computed: `x + y` of two other roots. The lazy flags and slots that were moved on by a
    /// constant name such roots.
    Sum(u16, u16),
    /// Not computed: `x - y`.
    Diff(u16, u16),
}

/// Memory a root can be loaded from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// None: the register is the only copy.
    None,
    /// At this offset of the CPU structure.
    Slot(u16),
    /// Spill slot of the stack frame.
    Spill(u8),
}

/// A location-bearing value.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    /// Origin.
    pub kind: Kind,
    /// Its register, a vector register when `class` is a vector.
    pub reg: Reg,
    /// I64 for anything in a general register.
    pub class: Ty,
    /// The content is zero above this many bits.
    pub bits: u8,
    /// Bytes to load from the home.
    pub bytes: u8,
    /// Memory copy.
    pub home: Home,
    /// Live IR values (and uncomputed roots) that name it.
    pub live: u16,
    /// Slots that name it.
    pub slots: u8,
}

/// A cached slot, kept at its first 8-byte unit.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// What the slot equals, or [`NOROOT`].
    pub root: u16,
    /// Newer than memory.
    pub dirty: bool,
    /// Offset in the first unit.
    pub lo: u8,
    /// Bytes covered.
    pub bytes: u8,
    /// The next access.
    pub next: Next,
    /// For the further units of a vector slot: the first one. 0 otherwise.
    pub owner: u16,
    /// It is in the list of touched units.
    pub listed: bool,
}

impl Slot {
    /// Not cached.
    pub const EMPTY: Slot = Slot {
        root: NOROOT,
        dirty: false,
        lo: 0,
        bytes: 0,
        next: Next::NONE,
        owner: 0,
        listed: false,
    };
}

/// Everything known at the current point.
#[derive(Debug, Default)]
pub struct State {
    /// Roots.
    pub roots: Vec<Root>,
    /// The root of each IR value.
    pub val: Vec<u16>,
    /// Uses left of each IR value.
    pub left: Vec<u16>,
    /// Slots by unit.
    pub slots: Vec<Slot>,
    /// Units that have been cached in this block; the pinned ones are the first.
    pub touched: Vec<u16>,
    /// Root in each general register.
    pub gpr: [u16; 16],
    /// Root in each vector register.
    pub xmm: [u16; 16],
    /// General registers the current op uses.
    pub gpr_lock: u32,
    /// Vector registers the current op uses.
    pub xmm_lock: u32,
    /// Free 8-byte spill slots.
    pub spill_free: u64,
    /// Free 32-byte spill slots.
    pub vspill_free: u32,
}

impl State {
    /// Starts a block of `ops` ops.
    pub fn reset(&mut self, uses: &[u16], units: usize) {
        self.roots.clear();
        self.val.clear();
        self.val.resize(uses.len(), NOROOT);
        self.left.clear();
        self.left.extend_from_slice(uses);
        if self.slots.len() == units {
            for &u in &self.touched {
                self.slots[usize::from(u)] = Slot::EMPTY;
            }
            // Units covered by vectors are cleared when their owner is, but owners that were
            // still cached at the end of the block leave marks behind.
            for &u in &self.touched {
                for k in 1..4 {
                    if let Some(s) = self.slots.get_mut(usize::from(u) + k) {
                        s.owner = 0;
                    }
                }
            }
        } else {
            self.slots.clear();
            self.slots.resize(units, Slot::EMPTY);
        }
        self.touched.clear();
        self.gpr = [NOROOT; 16];
        self.xmm = [NOROOT; 16];
        self.gpr_lock = 0;
        self.xmm_lock = 0;
        self.spill_free = u64::MAX >> (64 - SPILLS);
        self.vspill_free = ((1u64 << VSPILLS) - 1) as u32;
    }

    /// Notes, first of all, that the pinned slots are in their registers; `bits` of each can be set, and `first`
    /// has the first access to each unit.
    pub fn seed(&mut self, pins: &Pins, bits: u8, first: &[Next]) {
        for (unit, reg) in pins.iter() {
            let r = self.roots.len() as u16;
            self.roots.push(Root {
                kind: Kind::Plain,
                reg,
                class: Ty::I64,
                bits,
                bytes: 8,
                home: Home::None,
                live: 0,
                slots: 1,
            });
            self.gpr[usize::from(reg & 15)] = r;
            self.touched.push(unit as u16);
            self.slots[unit] = Slot {
                root: r,
                dirty: true,
                bytes: 8,
                next: first[unit],
                listed: true,
                ..Slot::EMPTY
            };
        }
    }

    /// A new root.
    pub fn new_root(&mut self, kind: Kind, class: Ty, bits: u8) -> u16 {
        let r = self.roots.len() as u16;
        self.roots.push(Root {
            kind,
            reg: NOREG,
            class,
            bits,
            bytes: class.bytes() as u8,
            home: Home::None,
            live: 0,
            slots: 0,
        });
        r
    }

    /// The root numbered `r`.
    pub fn root(&mut self, r: u16) -> &mut Root {
        &mut self.roots[usize::from(r)]
    }

    /// Makes `r` the root of value `v`; dropped at once when the value is not used.
    pub fn bind(&mut self, v: usize, r: u16) {
        self.val[v] = r;
        if self.left[v] > 0 {
            self.root(r).live += 1;
        } else {
            self.collect(r);
        }
    }

    /// Puts root `r` into register `reg`.
    pub fn place(&mut self, r: u16, reg: Reg) {
        self.root(r).reg = reg;
        if self.root(r).class.is_int() {
            self.gpr[usize::from(reg)] = r;
        } else {
            self.xmm[usize::from(reg)] = r;
        }
    }

    /// Takes root `r` out of its register.
    pub fn displace(&mut self, r: u16) {
        let root = self.root(r);
        let (reg, int) = (root.reg, root.class.is_int());
        root.reg = NOREG;
        if reg != NOREG {
            if int {
                self.gpr[usize::from(reg)] = NOROOT;
            } else {
                self.xmm[usize::from(reg)] = NOROOT;
            }
        }
    }

    /// Frees the locations of `r` when nothing names it any more.
    pub fn collect(&mut self, r: u16) {
        let root = *self.root(r);
        if root.live > 0 || root.slots > 0 {
            return;
        }
        self.displace(r);
        if let Home::Spill(n) = root.home {
            self.root(r).home = Home::None;
            self.free_spill(n);
        }
        if let Kind::Sum(x, y) | Kind::Diff(x, y) = root.kind {
            self.root(r).kind = Kind::Plain;
            for d in [x, y] {
                self.root(d).live -= 1;
                self.collect(d);
            }
        }
    }

    /// Notes a use of value `v` by the current op.
    pub fn release(&mut self, v: usize) {
        let left = &mut self.left[v];
        *left = left.saturating_sub(1);
        if *left == 0 {
            let r = self.val[v];
            if r != NOROOT {
                let root = self.root(r);
                root.live = root.live.saturating_sub(1);
                self.collect(r);
            }
        }
    }

    /// Forgets what the slot at `unit` equals, without writing it.
    pub fn forget(&mut self, unit: usize) {
        let s = self.slots[unit];
        if s.root == NOROOT {
            return;
        }
        self.slots[unit].root = NOROOT;
        self.slots[unit].dirty = false;
        let last = unit + (usize::from(s.lo) + usize::from(s.bytes) - 1) / 8;
        for u in unit + 1..=last {
            self.slots[u].owner = 0;
        }
        self.root(s.root).slots -= 1;
        self.collect(s.root);
    }

    /// Caches root `r` as the content of the slot at `unit`, `lo`, `bytes`. The range must not
    /// be cached otherwise.
    pub fn cache(&mut self, unit: usize, lo: u8, bytes: u8, r: u16, dirty: bool, next: Next) {
        let listed = self.slots[unit].listed;
        if !listed {
            self.touched.push(unit as u16);
        }
        self.slots[unit] = Slot { root: r, dirty, lo, bytes, next, owner: 0, listed: true };
        let last = unit + (usize::from(lo) + usize::from(bytes) - 1) / 8;
        for u in unit + 1..=last {
            self.slots[u].owner = unit as u16;
        }
        self.root(r).slots += 1;
    }

    /// Notes that the vector slots of `set` are in their registers.
    pub fn seed_vectors(&mut self, pins: &VectorPins, set: Vectors, first: &[Next]) {
        for n in members(set) {
            let unit = pins.unit(n);
            let ty = part(n);
            let units = &first[unit..unit + ty.bytes() as usize / 8];
            let next = units.iter().fold(units[0], |a, b| a.join(*b));
            let r = self.new_root(Kind::Plain, ty, 0);
            self.place(r, home(n));
            self.cache(unit, 0, ty.bytes() as u8, r, true, next);
        }
    }

    /// Takes a spill slot for a root of that class.
    pub fn take_spill(&mut self, class: Ty) -> Option<u8> {
        if class.is_int() {
            let n = self.spill_free.trailing_zeros() as u8;
            if u32::from(n) >= SPILLS {
                return None;
            }
            self.spill_free &= !(1 << n);
            Some(n)
        } else {
            let n = self.vspill_free.trailing_zeros() as u8;
            if u32::from(n) >= VSPILLS {
                return None;
            }
            self.vspill_free &= !(1 << n);
            Some(n | VSPILL)
        }
    }

    fn free_spill(&mut self, n: u8) {
        if n & VSPILL != 0 {
            self.vspill_free |= 1 << (n & !VSPILL);
        } else {
            self.spill_free |= 1 << n;
        }
    }
}

/// Number of 8-byte spill slots.
pub const SPILLS: u32 = 64;
/// Number of 32-byte spill slots.
pub const VSPILLS: u32 = 16;
/// Set in the number of a 32-byte spill slot.
pub const VSPILL: u8 = 0x80;

/// Offset from rsp of a spill slot.
pub const fn spill_offset(n: u8) -> i32 {
    if n & VSPILL != 0 { 8 * SPILLS as i32 + 32 * (n & !VSPILL) as i32 } else { 8 * n as i32 }
}

/// Offset from rsp of 64 bytes for data passed to callbacks by address.
pub const SCRATCH: i32 = 8 * SPILLS as i32 + 32 * VSPILLS as i32;
/// Offset from rsp of room for all general registers.
pub const SAVED: i32 = SCRATCH + 64;
/// Offset from rsp of room for all vector registers.
pub const SAVED_VECTORS: i32 = SAVED + 16 * 8;
/// Size of the frame below the saved registers; keeps the stack 16-byte aligned at calls.
pub const FRAME: i32 = SAVED_VECTORS + 16 * 32 + 8;
