//! Events that counters count, and where basic blocks begin.

use emu_ir::{Block, HookKind, Inst, JumpKind, Op};

/// Events counted but not yet added to their counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Retired instructions.
    pub insns: u64,
    /// Blocks entered.
    pub blocks: u64,
    /// Loads.
    pub loads: u64,
    /// Stores.
    pub stores: u64,
}

/// What the counters lack when instruction number `fault` of an instrumented block did not
/// complete: the events of the instructions before it and behind the last op that paid.
pub fn owed(insts: &[Inst], fault: usize) -> Owed {
    let mut owed = Owed::default();
    let mut insn = 0;
    let mut counted = true;
    let mut probed = false;
    for i in insts {
        // The load ahead of an announcement only shows that the one behind it will succeed.
        if i.op == Op::Hook && i.sub == HookKind::BeforeRead as u16 && probed {
            owed.loads = owed.loads.saturating_sub(1);
        }
        probed = i.op == Op::Load && insn < fault;
        match i.op {
            Op::InsnStart => {
                insn = usize::from(i.sub);
                if insn > fault {
                    break;
                }
                owed.insns += u64::from(!counted);
                counted = false;
                owed.blocks += u64::from(i.leads());
            }
            Op::Counter => owed = Owed::default(),
            Op::Hook if i.sub == HookKind::AfterInsnExec as u16 => counted = true,
            _ if insn < fault => {
                let (l, s) = accesses(i);
                owed.loads += l;
                owed.stores += s;
            }
            // What is paid in an instruction is paid ahead of, or behind, all that may fault in it.
            _ if fallible(i) => break,
            _ => {}
        }
    }
    owed
}

/// Finds where basic blocks begin in a block.
#[derive(Debug, Default)]
pub(super) struct Edge {
    /// Where the previous instruction ends, unless it is a branch.
    falls_to: Option<u64>,
}

impl Edge {
    /// Whether the instruction of this mark begins a basic block.
    pub(super) fn begins(&mut self, start: &Inst) -> bool {
        let end = start.imm.wrapping_add(u64::from(start.a.0));
        self.falls_to.replace(end) != Some(start.imm)
    }

    /// The instruction is a branch.
    pub(super) fn branch(&mut self) {
        self.falls_to = None;
    }
}

/// How many instructions of a block to keep, so that each of its basic blocks ends where it would without
/// the ones before it.
pub fn whole_basic_blocks(block: &Block) -> usize {
    let (mut edge, mut last, mut branch) = (Edge::default(), 0, true);
    for i in &block.insts {
        match i.op {
            Op::InsnStart => {
                branch = false;
                if edge.begins(i) {
                    last = usize::from(i.sub);
                }
            }
            Op::ExitIf => {
                branch = true;
                edge.branch();
            }
            Op::Jump => {
                branch |= i.jump_kind() != JumpKind::Jump || edge.falls_to != Some(i.imm);
            }
            Op::JumpInd | Op::Trap => branch = true,
            _ => {}
        }
    }
    if branch || last == 0 { block.insns.len() } else { last }
}

/// Loads and stores of an op.
pub(super) fn accesses(i: &Inst) -> (u64, u64) {
    match i.op {
        Op::Load => (1, 0),
        Op::Store => (0, 1),
        Op::AtomicRmw | Op::AtomicCas => (1, 1),
        _ => (0, 0),
    }
}

/// Whether the op can keep its instruction from completing.
pub(super) fn fallible(i: &Inst) -> bool {
    i.op.may_fault() || i.op == Op::Call
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_ir::Ty;

    #[test]
    fn a_load_that_was_announced_is_owed_once() {
        let op = |op, sub| {
            let mut i = Inst::new(op, Ty::I64);
            i.sub = sub;
            i
        };
        let hook = HookKind::BeforeRead as u16;
        let insts = [
            op(Op::InsnStart, 0),
            op(Op::Load, 0),
            op(Op::Hook, hook),
            op(Op::Hook, hook),
            op(Op::Load, 0),
            op(Op::InsnStart, 1),
            op(Op::Load, 0),
            op(Op::InsnStart, 2),
            op(Op::Call, 0),
        ];
        assert_eq!(owed(&insts, 2), Owed { insns: 2, blocks: 0, loads: 2, stores: 0 });
        assert_eq!(owed(&insts, 1), Owed { insns: 1, blocks: 0, loads: 1, stores: 0 });
        assert_eq!(owed(&insts, 0), Owed::default());
    }
}
