//! What can be wrong with a block.

use crate::{Builder, Ty};

/// A rule a block breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rule {
    /// No ops at all.
    #[error("the block is empty")]
    Empty,
    /// More ops than [`Builder::MAX_OPS`].
    #[error("the block has more than {} ops", Builder::MAX_OPS)]
    TooLong,
    /// The last op does not end the block.
    #[error("the last op is not a terminator")]
    NoTerminator,
    /// Ops follow a terminator.
    #[error("code follows the terminator")]
    AfterTerminator,
    /// The op needs an operand that is absent.
    #[error("operand {0} is missing")]
    Missing(char),
    /// The op has an operand it does not take.
    #[error("operand {0} is not taken by this op")]
    Unexpected(char),
    /// The operand is not defined yet, or never.
    #[error("operand {operand} is v{value}, which is not defined before this op")]
    Undefined {
        /// Which.
        operand: char,
        /// What it names.
        value: u16,
    },
    /// The operand names an op that has no result.
    #[error("operand {operand} is v{value}, but that op defines no value")]
    NoValue {
        /// Which.
        operand: char,
        /// What it names.
        value: u16,
    },
    /// The operand has another type than the op needs.
    #[error("operand {operand} has type {}, expected {expected}", found.name())]
    Type {
        /// Which.
        operand: char,
        /// Its type.
        found: Ty,
        /// What the op takes.
        expected: &'static str,
    },
    /// The op does not exist for its type.
    #[error("the op is not defined on {}", .0.name())]
    OpType(Ty),
    /// The selector has no meaning.
    #[error("selector {0:#x} is invalid for this op")]
    Selector(u16),
    /// The immediate does not fit, or unused bits are set.
    #[error("immediate {0:#x} is invalid for this op")]
    Immediate(u64),
    /// The slot is not inside the registers of the CPU structure.
    #[error(
        "slot {slot:#x} of {bytes} bytes lies outside the CPU structure ({start:#x}..{end:#x})"
    )]
    Slot {
        /// Its offset.
        slot: u64,
        /// Bytes read or written there.
        bytes: u32,
        /// First valid offset.
        start: u32,
        /// End of the valid offsets.
        end: u32,
    },
    /// No such helper.
    #[error("there is no helper {0}")]
    Helper(u16),
    /// No such hook site, or of another kind.
    #[error("there is no such hook site {0}")]
    HookSite(u64),
    /// No such counter site.
    #[error("there is no counter site {0}")]
    CounterSite(u64),
    /// The op may fault after the instruction has changed state.
    #[error("the op may fault, but op {0} of the same instruction has changed state already")]
    FaultAfterChange(u16),
    /// The op stands before the first guest instruction.
    #[error("the op belongs to no guest instruction")]
    OutsideInstruction,
    /// An instruction mark disagrees with the block's instruction list.
    #[error("the instruction mark does not match entry {0} of the instruction list")]
    InsnList(u16),
    /// The instruction list has entries without a mark.
    #[error("the instruction list has {listed} entries for {marked} marks")]
    InsnCount {
        /// Entries.
        listed: usize,
        /// Marks.
        marked: usize,
    },
    /// The first instruction is not at the block's pc.
    #[error("the first instruction is at {found:#x}, the block at {block:#x}")]
    BlockPc {
        /// The block's pc.
        block: u64,
        /// The instruction's.
        found: u64,
    },
}

/// A broken rule and where. This always is a bug of whoever made the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("op {op}: {rule}")]
pub struct VerifyError {
    /// Index of the op.
    pub op: u16,
    /// The rule.
    pub rule: Rule,
}
