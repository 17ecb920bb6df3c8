//! x87 state that a tier keeps in the host's x87 unit.
//!
//! While it is there, the CPU structure's copy is out of date. A tier that does so executes the
//! helpers that are an [`X87Op`] as the host's own instructions, and brings the state back before
//! anything else can look at it.

use core::ops::Range;

use crate::CpuHeader;

/// What a helper has to do with the guest's x87 state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum X87Use {
    /// It may use the state in the CPU structure, or call something that may.
    Structure,
    /// Nothing, and it calls nothing that has, but for reports of its memory accesses.
    Nothing,
    /// It does what this instruction does.
    Op(X87Op),
}

impl X87Use {
    /// The instruction it stands for.
    pub const fn op(self) -> Option<X87Op> {
        match self {
            X87Use::Op(op) => Some(op),
            _ => None,
        }
    }
}

/// An x87 instruction in a helper's place: what the helper's arguments mean.
///
/// "Opcode" is the 11-bit one of the last-opcode register: the low 3 bits of the first byte, then
/// the ModRM byte. Instructions with such an argument are noted in [`X87Unit::last_ip`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum X87Op {
    /// On stack registers. (opcode)
    Stack,
    /// With a source in memory. (its bits, its address, opcode); the bits are those of the source
    /// type, read before.
    Source,
    /// Reads or writes memory. (address, opcode)
    Address,
    /// FCOMI and its kind. (opcode), yields the arithmetic flags.
    Flags,
    /// FCMOVcc: moves ST(i) to ST(0). (whether the condition holds, opcode)
    Select,
    /// FLDCW. (the control word)
    Control,
    /// FNSTSW. (), yields the status word.
    Status,
    /// FNCLEX. ()
    Clear,
    /// FWAIT. ()
    Wait,
}

/// A guest's x87 unit.
#[derive(Debug)]
pub struct X87Unit {
    /// Slots that are out of date while the state is in the host's unit.
    pub slots: Range<u32>,
    /// The 16-bit slot of the control word, always up to date.
    pub control: u32,
    /// The 64-bit slot of the address of the last instruction, always up to date.
    pub last_ip: u32,
    /// Moves the state into the host's unit, whose stack is empty, and returns 1; or returns 0
    /// when the guest has an exception unmasked, which needs the helpers.
    pub load: unsafe extern "C" fn(*mut CpuHeader) -> u64,
    /// Moves it back to the CPU structure and resets the host's unit.
    pub store: unsafe extern "C" fn(*mut CpuHeader) -> u64,
}
