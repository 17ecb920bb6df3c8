//! The forward sweep.

use super::fold::{FlagDef, Folded, fold, read_flags};
use super::slots::{Known, Slots};
use super::touch;
use crate::{Block, Inst, Op, Operand, Target, Ty, Val};

/// Buffers of the forward sweep.
#[derive(Debug, Default)]
pub(super) struct Forward {
    slots: Slots,
    /// For each op, the value to use for its result.
    instead: Vec<Val>,
}

impl Forward {
    pub fn run(&mut self, block: &mut Block, target: &(impl Target + ?Sized)) {
        self.slots.clear();
        self.instead.clear();
        self.instead.extend((0..block.insts.len()).map(|n| Val(n as u16)));
        let mut flags: Option<FlagDef> = None;
        for at in 0..block.insts.len() {
            let mut i = block.insts[at];
            let instead = &self.instead;
            i.map_operands(|v| instead[v.index()]);
            let before = &block.insts[..at];
            let folded = match i.op {
                Op::Get => self.get(before, &i, at),
                Op::FlagsCond | Op::FlagsGet => match &flags {
                    Some(def) => read_flags(before, &i, def),
                    None => Folded::Same,
                },
                _ => fold(before, i),
            };
            let mut folded = folded;
            loop {
                match folded {
                    Folded::Same => break,
                    Folded::Value(v) => {
                        self.instead[at] = v;
                        break;
                    }
                    // What it became may fold further; each step is simpler, so this ends.
                    Folded::Changed(new) => {
                        i = new;
                        folded = if i.op == Op::Const { Folded::Same } else { fold(before, i) };
                    }
                }
            }
            block.insts[at] = i;
            match i.op {
                Op::Put => {
                    let bytes = if i.ty == Ty::I32 { 8 } else { i.ty.bytes() };
                    self.slots.write(i.imm as u32, bytes, i.a);
                }
                Op::FlagsSet => define(&mut flags, &i),
                Op::Call | Op::Hook if touch(block, &i, target).is_some_and(|t| t.writes) => {
                    self.slots.clear();
                    flags = None;
                }
                _ => {}
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
    let def = FlagDef { kind: i.flag_kind(), ty: i.ty, a: i.a, b: i.rhs() };
    *flags = match (def.kind.void_if_zero_count(), def.b) {
        (false, _) => Some(def),
        // A count of 0 defines nothing: what was known stays.
        (true, Operand::Imm(n)) if n & 0xff == 0 => return,
        (true, Operand::Imm(_)) => Some(def),
        (true, Operand::Val(_)) => None,
    };
}
