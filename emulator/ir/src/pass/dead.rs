//! The backward sweep: dead flag definitions, dead values, and the renumbering.

use super::{number_table, touch, val_table};
use crate::flags::{ALL, FlagMask};
use crate::inst::ValTable;
use crate::{Block, Inst, Op, Operand, Target, Val};

/// Buffers of the backward sweep.
#[derive(Debug)]
pub(super) struct Dead {
    /// Per op: not 0 if its result is used, or it has an effect. Not `bool`: a table of that size is
    /// fresh from the system.
    live: Box<ValTable<u16>>,
    /// Per op: its number after the removal.
    number: Box<ValTable<u16>>,
    /// Vector ops may trap.
    pub vector_traps: bool,
}

impl Default for Dead {
    fn default() -> Dead {
        Dead { live: val_table(vec![0; 1 << 16]), number: number_table(), vector_traps: false }
    }
}

/// How the sweep treats an op.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stays if its result is used.
    Pure,
    /// Stays.
    Effect,
    /// Stays, and may show the flags to whoever handles the fault or runs next.
    Shows,
    /// Looked at one by one.
    Special,
}

const CLASSES: [Class; 256] = {
    let mut table = [Class::Effect; 256];
    let mut n = 0;
    while n < Op::ALL.len() {
        let op = Op::ALL[n];
        table[op as usize] = match op {
            Op::FlagsSet
            | Op::FlagsCond
            | Op::FlagsGet
            | Op::Call
            | Op::Hook
            | Op::ExitIf
            | Op::Vec => Class::Special,
            op if op.may_fault() || op.is_terminator() => Class::Shows,
            op if op.defines() => Class::Pure,
            _ => Class::Effect,
        };
        n += 1;
    }
    table
};

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
        self.live[..n].fill(0);
        // Flags somebody may read after the current op.
        let mut flags = ALL;
        for at in (0..n).rev() {
            let i = block.insts[at];
            let used = self.live[at] != 0;
            let keep = match CLASSES[i.op as usize] {
                Class::Pure => used,
                Class::Effect => true,
                Class::Shows => {
                    flags = ALL;
                    true
                }
                Class::Special => {
                    let keep = special(block, at, used, &mut flags, target);
                    if self.vector_traps && i.op == Op::Vec && i.vec_op().uses_mxcsr() {
                        flags = ALL;
                    }
                    keep
                }
            };
            self.live[at] = u16::from(keep);
            // Read again: the kept flags may have been dropped.
            block.insts[at].mark_operands(keep, &mut self.live);
        }
        self.compact(block);
    }

    fn compact(&mut self, block: &mut Block) {
        let mut to = 0u16;
        for at in 0..block.insts.len() {
            let mut i = block.insts[at];
            i.map_by_table(&self.number);
            // An op that goes is overwritten by the next one that stays.
            block.insts[usize::from(to)] = i;
            self.number[at] = to;
            to += self.live[at];
        }
        block.insts.truncate(usize::from(to));
        for insn in &mut block.insns {
            insn.first = self.number[usize::from(insn.first)];
        }
    }
}

/// Whether the op at `at` stays; moves `flags` to before it.
fn special(
    block: &mut Block,
    at: usize,
    used: bool,
    flags: &mut FlagMask,
    target: &(impl Target + ?Sized),
) -> bool {
    let i = block.insts[at];
    match i.op {
        Op::FlagsSet => match definition(&i, flags) {
            Definition::Remove => false,
            Definition::Keep => true,
            Definition::DropKept => {
                block.insts[at] = i.with_c(Val::NONE);
                true
            }
        },
        Op::FlagsCond => {
            *flags |= if used { i.cond().uses() } else { 0 };
            used
        }
        Op::FlagsGet => {
            *flags |= if used { i.imm as FlagMask } else { 0 };
            used
        }
        Op::Call => {
            let t = touch(&block.hooks, &i, target);
            let (reads, writes) = t.map_or((true, true), |t| (t.reads, t.writes));
            if reads {
                *flags = ALL;
            }
            // A pure helper whose result is unused need not run; one that reads may still look at
            // memory.
            reads || writes || used
        }
        Op::Hook => {
            if touch(&block.hooks, &i, target).is_none_or(|t| t.reads) {
                *flags = ALL;
            }
            true
        }
        Op::ExitIf if never(&block.insts, &i) => false,
        Op::Vec if !i.vec_op().uses_mxcsr() => used,
        // Side exits, and floating-point ops, which may trap.
        _ => {
            *flags = ALL;
            true
        }
    }
}

/// Whether the condition of a side exit is known to be 0.
fn never(insts: &[Inst], i: &Inst) -> bool {
    let cond = &insts[i.a.index()];
    cond.op == Op::Const && cond.imm == 0
}
