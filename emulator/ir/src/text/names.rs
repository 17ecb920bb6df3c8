//! Words of the text form.

use crate::{HookKind, JumpKind, Op, RmwKind, TrapKind};

/// Names of the ops that print as `name.type operands`.
pub(super) const PLAIN: &[(Op, &str)] = &[
    (Op::Const, "const"),
    (Op::Get, "get"),
    (Op::Put, "put"),
    (Op::Add, "add"),
    (Op::Sub, "sub"),
    (Op::And, "and"),
    (Op::Or, "or"),
    (Op::Xor, "xor"),
    (Op::Shl, "shl"),
    (Op::Shr, "shr"),
    (Op::Sar, "sar"),
    (Op::Rol, "rol"),
    (Op::Ror, "ror"),
    (Op::Mul, "mul"),
    (Op::MulHiU, "mulhu"),
    (Op::MulHiS, "mulhs"),
    (Op::DivU, "divu"),
    (Op::RemU, "remu"),
    (Op::DivS, "divs"),
    (Op::RemS, "rems"),
    (Op::Not, "not"),
    (Op::Neg, "neg"),
    (Op::Bswap, "bswap"),
    (Op::Clz, "clz"),
    (Op::Ctz, "ctz"),
    (Op::Popcnt, "popcnt"),
    (Op::Zext, "zext"),
    (Op::Sext, "sext"),
    (Op::Trunc, "trunc"),
    (Op::Cmp, "cmp"),
    (Op::Select, "select"),
    (Op::Lea, "lea"),
    (Op::Load, "load"),
    (Op::Store, "store"),
    (Op::ProbeWrite, "probe_write"),
    (Op::AtomicRmw, "rmw"),
    (Op::AtomicCas, "cas"),
    (Op::Vec, "vec"),
    (Op::Call, "call"),
];

/// Names of the ops whose line begins with the bare word.
pub(super) const BARE: &[(Op, &str)] = &[
    (Op::InsnStart, "insn"),
    (Op::Fence, "fence"),
    (Op::FlagsSet, "flags.set"),
    (Op::FlagsCond, "flags.cond"),
    (Op::FlagsGet, "flags.get"),
    (Op::ExitIf, "exit_if"),
    (Op::Jump, "jump"),
    (Op::JumpInd, "jump_ind"),
    (Op::Trap, "trap"),
    (Op::ReturnHint, "return_hint"),
    (Op::Hook, "hook"),
    (Op::Counter, "counter"),
];

/// Name of an op.
pub(super) fn op_name(op: Op) -> &'static str {
    PLAIN.iter().chain(BARE).find(|(o, _)| *o == op).map_or("?", |(_, name)| name)
}

/// Flags in the masks of `flags.get`.
pub(super) const FLAGS: &[(u16, &str)] = &[
    (crate::flags::CF, "cf"),
    (crate::flags::PF, "pf"),
    (crate::flags::AF, "af"),
    (crate::flags::ZF, "zf"),
    (crate::flags::SF, "sf"),
    (crate::flags::OF, "of"),
];

/// Names of the hook kinds.
pub(super) const HOOKS: &[(HookKind, &str)] = &[
    (HookKind::InsnExec, "insn_exec"),
    (HookKind::AfterInsnExec, "after_insn_exec"),
    (HookKind::BeforeBlock, "before_block"),
    (HookKind::AfterBlock, "after_block"),
    (HookKind::BeforeRead, "before_read"),
    (HookKind::AfterRead, "after_read"),
    (HookKind::BeforeWrite, "before_write"),
    (HookKind::AfterWrite, "after_write"),
];

/// What the jump kinds add to the op's name.
pub(super) const JUMPS: &[(JumpKind, &str)] =
    &[(JumpKind::Jump, ""), (JumpKind::Call, ".call"), (JumpKind::Ret, ".ret")];

/// Names of the read-modify-write kinds.
pub(super) const RMWS: &[(RmwKind, &str)] = &[
    (RmwKind::Xchg, "xchg"),
    (RmwKind::Add, "add"),
    (RmwKind::Sub, "sub"),
    (RmwKind::And, "and"),
    (RmwKind::Or, "or"),
    (RmwKind::Xor, "xor"),
];

/// Names of the traps.
pub(super) const TRAPS: &[(TrapKind, &str)] = &[
    (TrapKind::None, "none"),
    (TrapKind::Syscall, "syscall"),
    (TrapKind::Sysenter, "sysenter"),
    (TrapKind::Int80, "int80"),
    (TrapKind::Breakpoint, "breakpoint"),
    (TrapKind::Overflow, "overflow"),
    (TrapKind::InvalidOpcode, "invalid_opcode"),
    (TrapKind::DivideError, "divide_error"),
    (TrapKind::BoundRange, "bound_range"),
    (TrapKind::Protection, "protection"),
    (TrapKind::PageFault, "page_fault"),
    (TrapKind::BusError, "bus_error"),
    (TrapKind::X87, "x87"),
    (TrapKind::Simd, "simd"),
    (TrapKind::FetchFault, "fetch_fault"),
    (TrapKind::SingleStep, "single_step"),
    (TrapKind::Debug, "debug"),
    (TrapKind::Alignment, "alignment"),
    (TrapKind::Hypercall, "hypercall"),
];

/// The name of `x` in a table.
pub(super) fn name_of<T: PartialEq>(table: &'static [(T, &'static str)], x: &T) -> &'static str {
    table.iter().find(|(t, _)| t == x).map_or("?", |(_, name)| name)
}

/// The entry of a table with that name.
pub(super) fn by_name<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    table.iter().find(|(_, n)| *n == name).map(|(t, _)| *t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_a_name() {
        assert_eq!(PLAIN.len() + BARE.len(), Op::COUNT);
        assert!(HookKind::ALL.iter().all(|k| name_of(HOOKS, k) != "?"));
        assert!(JumpKind::ALL.iter().all(|k| name_of(JUMPS, k) != "?"));
        assert!(RmwKind::ALL.iter().all(|k| name_of(RMWS, k) != "?"));
        assert!(TrapKind::ALL.iter().all(|k| name_of(TRAPS, k) != "?"));
    }
}
