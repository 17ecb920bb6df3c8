//! Integer and system instructions: tries each family in turn.

use iced_x86::{Instruction, Mnemonic};

use super::Lifter;

/// Lifts one instruction of this family; false when it is not one.
pub(super) fn lift(_l: &mut Lifter, i: &Instruction) -> bool {
    matches!(i.mnemonic(), Mnemonic::Nop | Mnemonic::Pause | Mnemonic::Endbr64 | Mnemonic::Endbr32)
}
