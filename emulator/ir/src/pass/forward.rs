//! The forward sweep.

use super::fold::{FlagDef, Folded, fold, fold_binary, read_flags};
use super::slots::{Known, Slots};
use super::{number_table, touch};
use crate::inst::ValTable;
use crate::{Block, Inst, Op, Operand, Target, Ty, Val};

/// Buffers of the forward sweep.
#[derive(Debug)]
pub(super) struct Forward {
    slots: Slots,
    /// For each op, the value to use for its result.
    instead: Box<ValTable<u16>>,
}

impl Default for Forward {
    fn default() -> Forward {
        Forward { slots: Slots::default(), instead: number_table() }
    }
}

impl Forward {
    pub fn run(&mut self, block: &mut Block, target: &(impl Target + ?Sized)) {
        self.slots.clear();
        let mut flags: Option<FlagDef> = None;
        let Block { insts, hooks, .. } = block;
        for at in 0..insts.len() {
            // Ops are changed in place and read field by field: copying one right after writing
            // parts of it would stall.
            let (before, rest) = insts.split_at_mut(at);
            let i = &mut rest[0];
            i.map_by_table(&self.instead);
            self.instead[at] = at as u16;
            let folded = match i.op {
                // Nothing to fold, nothing to learn.
                Op::InsnStart
                | Op::Const
                | Op::Load
                | Op::Store
                | Op::ProbeWrite
                | Op::AtomicRmw
                | Op::AtomicCas
                | Op::DivU
                | Op::RemU
                | Op::DivS
                | Op::RemS
                | Op::Fence
                | Op::Vec
                | Op::ExitIf
                | Op::Jump
                | Op::JumpInd
                | Op::Trap
                | Op::ReturnHint
                | Op::Counter => continue,
                Op::Put => {
                    let bytes = if i.ty == Ty::I32 { 8 } else { i.ty.bytes() };
                    self.slots.write(i.imm as u32, bytes, i.a);
                    continue;
                }
                Op::Call | Op::Hook => {
                    if touch(hooks, i, target).is_some_and(|t| t.writes) {
                        self.slots.clear();
                        flags = None;
                    }
                    continue;
                }
                Op::Get => self.get(before, i, at),
                Op::FlagsCond | Op::FlagsGet => match &flags {
                    Some(def) => read_flags(before, i, def),
                    None => continue,
                },
                Op::Add
                | Op::Sub
                | Op::And
                | Op::Or
                | Op::Xor
                | Op::Shl
                | Op::Shr
                | Op::Sar
                | Op::Rol
                | Op::Ror
                | Op::Mul
                | Op::MulHiU
                | Op::MulHiS => fold_binary(before, i),
                _ => fold(before, i),
            };
            match folded {
                Folded::Same => {}
                Folded::Value(v) => self.instead[at] = v.0,
                Folded::Changed(new) => {
                    *i = new;
                    self.settle(before, i, at);
                }
            }
            if i.op == Op::FlagsSet {
                define(&mut flags, i);
            }
        }
    }

    /// Folds a changed op until nothing changes; each step gives a simpler op, so this ends.
    #[cold]
    fn settle(&mut self, before: &[Inst], i: &mut Inst, at: usize) {
        while i.op != Op::Const {
            match fold(before, i) {
                Folded::Same => return,
                Folded::Value(v) => {
                    self.instead[at] = v.0;
                    return;
                }
                Folded::Changed(new) => *i = new,
            }
        }
    }

    /// A get of a slot whose value, or a wider one, is known.
    fn get(&mut self, before: &[Inst], i: &Inst, at: usize) -> Folded {
        let slot = i.imm as u32;
        let Some(known) = self.slots.get(slot) else {
            self.slots.read(slot, i.ty.bytes(), Val(at as u16));
            return Folded::Same;
        };
        match reuse(before, i, &known) {
            Folded::Same => {
                self.slots.read(slot, i.ty.bytes(), Val(at as u16));
                Folded::Same
            }
            folded => folded,
        }
    }
}

fn reuse(before: &[Inst], i: &Inst, known: &Known) -> Folded {
    let Some(ty) = before[known.val.index()].result_ty() else { return Folded::Same };
    let convert = |op| {
        let mut c = Inst::new(op, i.ty);
        (c.sub, c.a) = (ty as u16, known.val);
        Folded::Changed(c)
    };
    if ty == i.ty {
        Folded::Value(known.val)
    } else if !ty.is_int() || !i.ty.is_int() {
        Folded::Same
    } else if i.ty < ty {
        convert(Op::Trunc)
    } else if i.ty.bytes() <= known.bytes {
        convert(Op::Zext)
    } else {
        Folded::Same
    }
}

fn define(flags: &mut Option<FlagDef>, i: &Inst) {
    let def = FlagDef { kind: i.flag_kind(), ty: i.ty, a: i.a, b: i.rhs(), c: i.c() };
    *flags = match (def.kind.void_if_zero_count(), def.b) {
        (false, _) => Some(def),
        // A count of 0 defines nothing: what was known stays.
        (true, Operand::Imm(n)) if n & 0xff == 0 => return,
        (true, Operand::Imm(_)) => Some(def),
        (true, Operand::Val(_)) => None,
    };
}
