//! A compiled block apart from its place: machine code with what must be added to it once the place is
//! known, and everything the code cache has to know of it.

use crate::exits::Exit;
use crate::faults::{FaultPoint, Snap};
use crate::pins::Vectors;
use crate::recipes::FlagRecipe;

/// A compiled block. All offsets are in its code, all numbers count from its first.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Guest pc.
    pub pc: u64,
    /// Number of guest instructions.
    pub insns: u32,
    /// Where links enter.
    pub head: u32,
    /// Vector slots that must be in their registers there.
    pub wants: Vectors,
    /// Machine code.
    pub code: &'a [u8],
    /// What of it depends on its place.
    pub fixups: &'a [Fixup],
    /// The ways out.
    pub exits: &'a [Exit],
    /// Flags that exits can leave unstored.
    pub recipes: &'a [FlagRecipe],
    /// Where it can fault.
    pub faults: &'a [FaultPoint],
    /// State at faults.
    pub snaps: &'a [Snap],
    /// 64-bit constants in `snaps`.
    pub pool: &'a [u64],
    /// Address of the block's description in the code; 0 when it has none.
    pub info: u64,
}

/// What to do about a number in machine code that depends on its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fix {
    /// To add to 32 bits.
    Add(u32),
    /// It is the address of the block's description.
    Info,
}

/// A number in machine code that depends on its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fixup(u32);

impl Fixup {
    /// The offset's top bits tell the kinds apart.
    const EXIT: u32 = 1 << 31;
    const INFO: u32 = 1 << 30;

    /// The number of an exit, 32 bits.
    pub fn exit(at: usize) -> Fixup {
        Fixup(at as u32 | Fixup::EXIT)
    }

    /// The address of the block's description, 64 bits.
    pub fn info(at: usize) -> Fixup {
        Fixup(at as u32 | Fixup::INFO)
    }

    /// A displacement to what is not part of the block.
    pub fn outside(at: usize) -> Fixup {
        Fixup(at as u32)
    }

    /// The same in code that begins at `base` of other code.
    pub fn moved(self, base: u32) -> Fixup {
        Fixup(self.0 + base)
    }

    /// Where in the code it is.
    pub fn at(self) -> u32 {
        self.0 & !(Fixup::EXIT | Fixup::INFO)
    }

    /// What to do for code at offset `off` of the arena whose first exit is number `first`.
    pub fn fix(self, off: u32, first: u32) -> Fix {
        match self.0 & (Fixup::EXIT | Fixup::INFO) {
            0 => Fix::Add(off.wrapping_neg()),
            Fixup::EXIT => Fix::Add(first),
            _ => Fix::Info,
        }
    }
}
