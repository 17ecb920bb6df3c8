//! SSE instructions.

use iced_x86::Instruction;

use super::Lifter;

/// Lifts one instruction of this family; false when it is not one.
pub(super) fn lift(_l: &mut Lifter, _i: &Instruction) -> bool {
    false
}
