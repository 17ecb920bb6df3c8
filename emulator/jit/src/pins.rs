//! Guest registers that stay in host registers across blocks.
//!
//! While generated code runs, at every block boundary each pinned slot's content is in its host
//! register and the CPU structure's copy is out of date. The way into generated code loads them all,
//! the way out stores them all; in between a block may move them about as it likes.

use emu_cpu::GuestArch;
use emu_ir::Ty;

use crate::asm::{NOREG, R8, R9, R12, R13, RAX, RBX, RCX, RDI, RDX, RSI, Reg};
use crate::slots::{WIDE_END, is_wide};

/// Most slots pinned.
pub const MAX_PINS: usize = 10;

/// The host register of each pin. In x86's order of numbers, so that x86 guests find the registers
/// that instructions use implicitly in their place; the stack pointer and the frame pointer are
/// registers that callees keep.
const HOST: [Reg; MAX_PINS] = [RAX, RCX, RDX, RBX, R12, R13, RSI, RDI, R8, R9];

/// Which slots are pinned.
#[derive(Clone, Copy, Debug)]
pub struct Pins {
    count: usize,
    units: [u16; MAX_PINS],
    by_unit: [Reg; (WIDE_END / 8) as usize],
}

impl Pins {
    /// The pins for guests of `arch`.
    pub fn new(arch: &dyn GuestArch) -> Pins {
        let mut pins =
            Pins { count: 0, units: [0; MAX_PINS], by_unit: [NOREG; (WIDE_END / 8) as usize] };
        for &slot in arch.hot_slots().iter().take(MAX_PINS) {
            if !is_wide(slot) || !slot.is_multiple_of(8) {
                continue;
            }
            let unit = slot / 8;
            pins.units[pins.count] = unit as u16;
            pins.by_unit[unit as usize] = HOST[pins.count];
            pins.count += 1;
        }
        pins
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Pairs of slot unit and host register.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Reg)> + use<> {
        let units = self.units;
        (0..self.count).map(move |n| (usize::from(units[n]), HOST[n]))
    }

    /// The host register of the slot at `unit`, if it is pinned.
    pub fn reg(&self, unit: usize) -> Option<Reg> {
        self.by_unit.get(unit).copied().filter(|&r| r != NOREG)
    }
}

/// Vector slots, which a block may want in host registers where it is entered.
///
/// Unlike pinned slots these are a matter between two linked blocks: [`Vectors`] of the exit and of
/// the block it goes to are reconciled when they are linked, and code that uses no vectors pays
/// nothing.
#[derive(Clone, Copy, Debug)]
pub struct VectorPins {
    count: usize,
    units: [u16; MAX_VECTORS],
}

/// Most vector slots that can be in registers between blocks.
pub const MAX_VECTORS: usize = 15;

/// A set of vector slots, by number. A number from [`LONG`] on stands for all 32 bytes of the slot
/// whose number it is without that, which need not be in a set then as well.
pub type Vectors = u32;

/// See [`Vectors`].
pub const LONG: usize = 16;

/// Most vector slots that a block asks for, so that it has registers left to work with.
pub const WANTED: u32 = 11;

impl VectorPins {
    /// Those of `arch`.
    pub fn new(arch: &dyn GuestArch) -> VectorPins {
        let slots = arch.vector_slots();
        let mut pins = VectorPins { count: slots.len().min(MAX_VECTORS), units: [0; MAX_VECTORS] };
        for (unit, &slot) in pins.units.iter_mut().zip(slots) {
            *unit = (slot / 8) as u16;
        }
        pins
    }

    /// The number of the vector slot at `unit`.
    pub fn number(&self, unit: usize) -> Option<usize> {
        self.units[..self.count].iter().position(|&u| usize::from(u) == unit)
    }

    /// The slot's unit.
    pub fn unit(&self, n: usize) -> usize {
        usize::from(self.units[n % LONG])
    }

    /// The slot's offset.
    pub fn slot(&self, n: usize) -> u32 {
        u32::from(self.units[n % LONG]) * 8
    }
}

/// What of the slot a number of a set stands for.
pub const fn part(n: usize) -> Ty {
    if n < LONG { Ty::V128 } else { Ty::V256 }
}

/// Whether a set has slot `n`, or a part of it.
pub const fn has(set: Vectors, n: usize) -> bool {
    (set >> n | set >> (n + LONG)) & 1 != 0
}

/// The host vector register a slot is in between blocks; register 0 is never one.
pub const fn home(n: usize) -> Reg {
    if n.is_multiple_of(LONG) { MAX_VECTORS as Reg } else { (n % LONG) as Reg }
}

/// The numbers in a set.
pub fn members(set: Vectors) -> impl Iterator<Item = usize> {
    (0..2 * LONG).filter(move |n| set >> n & 1 != 0)
}
