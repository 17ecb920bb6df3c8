//! The backward sweep: dead flag definitions, dead values, and the renumbering.

use super::touch;
use crate::flags::{ALL, FlagMask};
use crate::{Block, Inst, Op, Operand, Target, Val};

/// Buffers of the backward sweep.
#[derive(Debug, Default)]
pub(super) struct Dead {
    /// Per op: its result is used, or it has an effect.
    live: Vec<bool>,
    /// Per op: its number after the removal.
    number: Vec<Val>,
}

/// What becomes of a flag definition.
enum Definition {
    Remove,
    Keep,
    /// Nothing reads the flags it passes on: c can go.
    DropKept,
}

/// Decides about definition `i` and moves `live`, the flags read after it, to before it.
fn definition(i: &Inst, live: &mut FlagMask) -> Definition {
    let kind = i.flag_kind();
    let maybe_void = kind.void_if_zero_count();
    match i.rhs() {
        Operand::Imm(n) if maybe_void && n & 0xff == 0 => return Definition::Remove,
        _ if *live == 0 => return Definition::Remove,
        _ => {}
    }
    let drop = i.c().is_some() && kind.keeps() != 0 && kind.keeps() & *live == 0;
    // With a count that may be 0 the older flags may still be read.
    if !(maybe_void && i.b.is_some()) {
        *live = 0;
    }
    if drop { Definition::DropKept } else { Definition::Keep }
}

impl Dead {
    pub fn run(&mut self, block: &mut Block, target: &(impl Target + ?Sized)) {
        let n = block.insts.len();
        self.live.clear();
        self.live.resize(n, false);
        // Flags somebody may read after the current op.
        let mut flags = ALL;
        for at in (0..n).rev() {
            let mut i = block.insts[at];
            let keep = match i.op {
                Op::FlagsSet => match definition(&i, &mut flags) {
                    Definition::Remove => false,
                    Definition::Keep => true,
                    Definition::DropKept => {
                        i = i.with_c(Val::NONE);
                        block.insts[at] = i;
                        true
                    }
                },
                Op::FlagsCond if self.live[at] => {
                    flags |= i.cond().uses();
                    true
                }
                Op::FlagsGet if self.live[at] => {
                    flags |= i.imm as FlagMask;
                    true
                }
                Op::Call => {
                    let t = touch(block, &i, target);
                    let (reads, writes) = t.map_or((true, true), |t| (t.reads, t.writes));
                    if reads {
                        flags = ALL;
                    }
                    // A pure helper whose result is unused need not run; one that reads may still
                    // look at memory.
                    reads || writes || self.live[at]
                }
                Op::Hook => {
                    if touch(block, &i, target).is_none_or(|t| t.reads) {
                        flags = ALL;
                    }
                    true
                }
                Op::ExitIf if never(&block.insts, &i) => false,
                Op::Vec if i.vec_op().uses_mxcsr() => {
                    flags = ALL;
                    true
                }
                Op::Vec => self.live[at],
                op if op.may_fault() || op.is_terminator() || op == Op::ExitIf => {
                    flags = ALL;
                    true
                }
                op if op.defines() => self.live[at],
                _ => true,
            };
            self.live[at] = keep;
            if keep {
                let live = &mut self.live;
                i.for_each_operand(|v| live[v.index()] = true);
            }
        }
        self.compact(block);
    }

    fn compact(&mut self, block: &mut Block) {
        self.number.clear();
        self.number.resize(block.insts.len(), Val::NONE);
        let mut to = 0;
        for at in 0..block.insts.len() {
            if !self.live[at] {
                continue;
            }
            let mut i = block.insts[at];
            let number = &self.number;
            i.map_operands(|v| number[v.index()]);
            if i.op == Op::InsnStart
                && let Some(insn) = block.insns.get_mut(usize::from(i.sub))
            {
                insn.first = to;
            }
            block.insts[usize::from(to)] = i;
            self.number[at] = Val(to);
            to += 1;
        }
        block.insts.truncate(usize::from(to));
    }
}

/// Whether the condition of a side exit is known to be 0.
fn never(insts: &[Inst], i: &Inst) -> bool {
    let cond = &insts[i.a.index()];
    cond.op == Op::Const && cond.imm == 0
}
