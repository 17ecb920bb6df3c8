//! What an instruction does to labels, found once from its bytes.

use iced_x86::{ConditionCode, Register};
use plugin_api::Reg;

use crate::registers::Bytes;

/// Bytes that an instruction reads or writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Of a register.
    Register(Bytes),
    /// Of memory: which of the recipe's addresses, and how many bytes.
    Memory { index: u8, len: u16 },
    /// Of an x87 register, counted from the top of the stack before the instruction.
    X87(i8),
}

impl Place {
    /// How many bytes.
    pub fn len(self) -> u16 {
        match self {
            Place::Register(bytes) => bytes.len,
            Place::Memory { len, .. } => len,
            Place::X87(_) => 10,
        }
    }

    /// The lowest bytes of it.
    pub fn low(self, len: u16) -> Place {
        match self {
            Place::Register(b) => Place::Register(Bytes { len: len.min(b.len), ..b }),
            Place::Memory { index, len: n } => Place::Memory { index, len: len.min(n) },
            Place::X87(_) => self,
        }
    }
}

/// An address in memory: `segment + ((base + index * scale + displacement) & mask)`.
#[derive(Clone, Debug)]
pub struct Address {
    pub segment: Option<Reg>,
    pub base: Option<Reg>,
    /// The register, and which of its bits count.
    pub index: Option<(Reg, u64)>,
    pub scale: u64,
    pub displacement: u64,
    pub mask: u64,
    /// Bytes accessed.
    pub len: u16,
    /// The registers' own bytes, whose labels the loaded value gets.
    pub registers: Vec<Bytes>,
    /// For gathers: the register with the indices, bytes of one, bytes of one element.
    pub lanes: Option<(Register, u16, u16)>,
}

/// Where a byte of a result comes from: (which source, which of its bytes), at most four of them.
pub type Route = [Option<(u8, u8)>; 4];

/// The labels of a result.
#[derive(Clone, Debug)]
pub enum Value {
    /// No labels.
    Clean,
    /// Byte by byte the source's.
    Copy(Place),
    /// The same, and the bytes beyond its end have those of its last one.
    Extend(Place),
    /// A byte has those of the sources' bytes at and below its position in its lane of so many bytes: carries go up.
    Upward(Vec<Place>, u16),
    /// All bytes of a lane have all labels of the sources' bytes in that lane. With lanes of one byte: byte by byte.
    Lanes(Vec<Place>, u16),
    /// All bytes have all labels.
    All(Vec<Place>),
    /// Each byte as listed.
    Route(Vec<Place>, Box<[Route]>),
    /// Shifted by the number of bits in a register.
    Shift { from: Place, how: Shift, count: Register },
    /// The first source if the condition holds, otherwise the second.
    Choose(ConditionCode, Place, Place),
    /// `pshufb`: bytes of a source, chosen by the low bits of an operand's bytes within 16 (MMX: 8) bytes.
    Shuffle { from: Place, by: Place, register: Register },
}

/// Kinds of shifts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shift {
    Left,
    Right,
    Arithmetic,
    RotateLeft,
    RotateRight,
}

/// One result of an instruction. Values are found from the state before the instruction.
#[derive(Clone, Debug)]
pub struct Assign {
    pub to: Place,
    /// The value has so many bytes; the rest of `to` becomes clean.
    pub len: u16,
    pub value: Value,
    /// What was there stays, too: it is not known whether it is written.
    pub keep: bool,
}

/// String instructions that write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StringOp {
    Move,
    Store,
    Load,
}

/// What an instruction does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Sets these, all at once.
    Assign(Vec<Assign>),
    /// A string instruction: bytes of an element, whether it repeats, the addresses' width, the source's segment.
    String { op: StringOp, element: u16, repeats: bool, mask: u64, segment: Option<Reg> },
    /// Stores x87 and vector state (`fxsave` when not extended).
    SaveState { extended: bool },
    /// Loads it.
    LoadState { extended: bool },
    /// `vzeroupper` (false) and `vzeroall` (true).
    ClearVectors(bool),
}

/// An instruction's effect on labels, and the addresses it uses.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub addresses: Vec<Address>,
    pub action: Action,
    /// It names x87 registers.
    pub x87: bool,
}
