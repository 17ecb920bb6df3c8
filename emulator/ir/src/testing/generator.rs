//! Values and the frame of a random block.

use super::{Recipe, Rng};
use crate::{
    Addr, Builder, Cond, CounterSite, Inst, JumpKind, Op, Operand, Target, TrapKind, Ty, Val,
    VecLen, VecSig, VecWidth, flags,
};

pub(super) const INTS: [Ty; 4] = [Ty::I8, Ty::I16, Ty::I32, Ty::I64];
const BINARY: [Op; 8] =
    [Op::Add, Op::Sub, Op::And, Op::Or, Op::Xor, Op::Mul, Op::MulHiU, Op::MulHiS];
const SHIFTS: [Op; 5] = [Op::Shl, Op::Shr, Op::Sar, Op::Rol, Op::Ror];
const UNARY: [Op; 6] = [Op::Not, Op::Neg, Op::Bswap, Op::Clz, Op::Ctz, Op::Popcnt];
const COMPARISONS: [Cond; 10] =
    [Cond::B, Cond::Ae, Cond::E, Cond::Ne, Cond::Be, Cond::A, Cond::L, Cond::Ge, Cond::Le, Cond::G];

/// The block being made.
pub(super) struct Generator<'a> {
    pub recipe: &'a Recipe,
    pub rng: &'a mut Rng,
    pub b: Builder,
    pub counters: Vec<CounterSite>,
    /// The current instruction has changed state: nothing that may fault from here on.
    pub dirty: bool,
}
impl Generator<'_> {
    pub(super) fn insn(&mut self, pc: u64, len: u8, target: &(impl Target + ?Sized)) {
        self.b.insn_start(pc, len);
        self.dirty = false;
        if !self.recipe.counters.is_empty() && self.rng.one_in(4) {
            self.counter();
        }
        for _ in 0..self.rng.below(5) {
            if self.rng.one_in(3) { self.fallible() } else { self.pure() }
        }
        if self.rng.one_in(4) {
            self.write_memory();
        }
        if !self.recipe.helpers.is_empty() && self.rng.one_in(4) {
            self.call(target);
        }
        for _ in 0..1 + self.rng.below(4) {
            match self.rng.below(4) {
                0 => self.pure(),
                1 => self.define_flags(),
                _ => self.put(),
            }
        }
        if self.rng.one_in(5) {
            let cond = self.condition();
            let pc = self.target_pc();
            self.b.exit_if(cond, pc);
        }
    }

    pub(super) fn terminator(&mut self, next: u64) {
        if self.rng.one_in(3) {
            let kind = self.rng.pick(&JumpKind::ALL);
            let ty = self.rng.pick(&[Ty::I32, Ty::I64]);
            let to = self.value(ty);
            self.b.jump_ind(kind, to);
        } else if self.rng.one_in(6) {
            let trap = self.rng.pick(&[TrapKind::Syscall, TrapKind::Breakpoint]);
            self.b.trap(trap, next);
        } else {
            let kind = self.rng.pick(&JumpKind::ALL);
            let pc = self.target_pc();
            if kind == JumpKind::Call {
                self.b.return_hint(next);
            }
            self.b.jump(kind, pc);
        }
    }

    fn target_pc(&mut self) -> u64 {
        self.recipe.pc.wrapping_add(0x1000 * self.rng.below(8))
    }

    fn counter(&mut self) {
        let cell = self.rng.pick(&self.recipe.counters);
        let mut i = Inst::new(Op::Counter, Ty::I64);
        i.imm = self.counters.len() as u64;
        self.counters.push(CounterSite { cell, amount: self.rng.below(4) });
        self.b.push(i);
    }

    /// An earlier value of the type, recent ones more likely.
    fn earlier(&mut self, ty: Ty) -> Option<Val> {
        let len = self.b.len() as u64;
        let window = len.min(4 + self.rng.below(40));
        (0..6).find_map(|_| {
            let back = self.rng.below(window);
            let v = Val((len - 1 - back) as u16);
            (self.b.def(v).result_ty() == Some(ty)).then_some(v)
        })
    }

    /// A value of the type: an earlier one, a register, or a constant.
    pub(super) fn value(&mut self, ty: Ty) -> Val {
        if let Some(v) = self.earlier(ty)
            && !self.rng.one_in(4)
        {
            return v;
        }
        if !ty.is_int() {
            if self.rng.one_in(6) {
                let mut i = Inst::new(Op::Const, ty);
                i.imm = self.rng.value();
                return self.b.push(i);
            }
            let slot = self.rng.pick(&self.recipe.vectors);
            return self.b.get(ty, slot);
        }
        if self.rng.one_in(6) {
            let imm = self.rng.value();
            return self.b.iconst(ty, imm);
        }
        let slot = self.int_slot(ty);
        self.b.get(ty, slot)
    }

    /// A place for an access of the type in an integer register.
    pub(super) fn int_slot(&mut self, ty: Ty) -> u32 {
        let slot = self.rng.pick(&self.recipe.ints);
        let second_byte = ty == Ty::I8 && self.rng.one_in(4);
        if second_byte {
            slot + 1
        } else if self.recipe.odd_slots && ty < Ty::I32 && self.rng.one_in(3) {
            slot + self.rng.below(u64::from(9 - ty.bytes())) as u32
        } else {
            slot
        }
    }

    pub(super) fn rhs(&mut self, ty: Ty) -> Operand {
        if self.rng.one_in(3) {
            Operand::Imm(self.rng.value() & ty.mask())
        } else {
            Operand::Val(self.value(ty))
        }
    }

    /// Something to test: a flag condition or a comparison, 0 or 1.
    fn condition(&mut self) -> Val {
        if self.rng.one_in(2) {
            let cond = self.rng.pick(&Cond::ALL);
            return self.b.flags_cond(cond);
        }
        let ty = self.rng.pick(&INTS);
        let a = self.value(ty);
        let b = self.rhs(ty);
        let cond = self.rng.pick(&COMPARISONS);
        self.b.cmp(cond, ty, a, b)
    }

    /// Appends an op without effects.
    pub(super) fn pure(&mut self) {
        let ty = self.rng.pick(&INTS);
        match self.rng.below(12) {
            0..=3 => {
                let op = self.rng.pick(&BINARY);
                let a = self.value(ty);
                let b = self.rhs(ty);
                self.b.bin(op, ty, a, b);
            }
            4 => {
                let op = self.rng.pick(&SHIFTS);
                let a = self.value(ty);
                let n = self.rhs(Ty::I8);
                self.b.bin(op, ty, a, n);
            }
            5 => {
                let op = self.rng.pick(&UNARY);
                let ty = if op == Op::Bswap && ty == Ty::I8 { Ty::I32 } else { ty };
                let a = self.value(ty);
                self.b.un(op, ty, a);
            }
            6 => {
                let from = self.rng.pick(&INTS);
                let a = self.value(from);
                let op = if ty < from { Op::Trunc } else { self.rng.pick(&[Op::Zext, Op::Sext]) };
                self.b.convert(op, from, ty, a);
            }
            7 => {
                self.condition();
            }
            8 => {
                let cond = self.condition();
                let ty = if self.recipe.vectors.is_empty() { ty } else { self.any_type() };
                let (x, y) = (self.value(ty), self.value(ty));
                self.b.select(ty, cond, x, y);
            }
            9 => {
                let ty = self.rng.pick(&[Ty::I32, Ty::I64]);
                let m = Addr {
                    index: if self.rng.one_in(2) { self.value(ty) } else { Val::NONE },
                    disp: self.rng.value() as i32,
                    ..Addr::base(self.value(ty))
                };
                let shift = if m.index.is_some() { self.rng.below(4) as u8 } else { 0 };
                self.b.lea(ty, Addr { shift, ..m });
            }
            10 => {
                let mask = self.rng.bits() as u16 & flags::ALL;
                self.b.flags_get(mask);
            }
            _ => self.vector(false),
        }
    }

    pub(super) fn any_type(&mut self) -> Ty {
        match (self.recipe.vectors.is_empty(), self.recipe.v256) {
            (true, _) => self.rng.pick(&INTS),
            (false, false) => self.rng.pick(&Ty::ALL[..5]),
            (false, true) => self.rng.pick(&Ty::ALL),
        }
    }

    /// A random vector op, if the recipe has any.
    pub(super) fn vector(&mut self, may_fault: bool) {
        if self.recipe.vectors.is_empty() || self.recipe.vec_ops.is_empty() {
            return;
        }
        let op = self.rng.pick(&self.recipe.vec_ops);
        if op.uses_mxcsr() && !may_fault {
            return;
        }
        let v = match op.len() {
            VecLen::Both if self.recipe.v256 => self.rng.pick(&[Ty::V128, Ty::V256]),
            VecLen::Ymm if self.recipe.v256 => Ty::V256,
            VecLen::Ymm => return,
            _ => Ty::V128,
        };
        if self.recipe.v256 && self.rng.one_in(4) {
            let a = self.value(Ty::V128);
            self.b.convert(Op::Zext, Ty::V128, Ty::V256, a);
        }
        let width = op.encoding().w;
        let int = match width {
            VecWidth::W0 => Ty::I32,
            VecWidth::W1 => Ty::I64,
            VecWidth::ByType => self.rng.pick(&[Ty::I32, Ty::I64]),
        };
        let imm = self.rng.bits() as u8;
        let none = Val::NONE;
        match op.sig() {
            VecSig::Widen => {
                let a = self.value(Ty::V128);
                self.b.vec(op, v, a, none, none, 0);
            }
            VecSig::Narrow => {
                let a = self.value(v);
                self.b.vec(op, Ty::V128, a, none, none, 0);
            }
            VecSig::NarrowImm => {
                let a = self.value(v);
                self.b.vec(op, Ty::V128, a, none, none, imm);
            }
            VecSig::Shift => {
                let (a, b) = (self.value(v), self.value(Ty::V128));
                self.b.vec(op, v, a, b, none, 0);
            }
            VecSig::Insert => {
                let (a, b) = (self.value(v), self.value(Ty::V128));
                self.b.vec(op, v, a, b, none, imm);
            }
            VecSig::V => {
                let a = self.value(v);
                self.b.vec(op, v, a, none, none, 0);
            }
            VecSig::VImm => {
                let a = self.value(v);
                self.b.vec(op, v, a, none, none, imm);
            }
            VecSig::VV => {
                let (a, b) = (self.value(v), self.value(v));
                self.b.vec(op, v, a, b, none, 0);
            }
            VecSig::VVImm => {
                let (a, b) = (self.value(v), self.value(v));
                self.b.vec(op, v, a, b, none, imm);
            }
            VecSig::VVV => {
                let (a, b, c) = (self.value(v), self.value(v), self.value(v));
                self.b.vec(op, v, a, b, c, 0);
            }
            VecSig::ToInt => {
                let a = self.value(v);
                self.b.vec(op, int, a, none, none, 0);
            }
            VecSig::ToIntImm => {
                let a = self.value(v);
                self.b.vec(op, int, a, none, none, imm);
            }
            VecSig::VInt => {
                let (a, b) = (self.value(v), self.value(int));
                self.b.vec(op, v, a, b, none, 0);
            }
            VecSig::VIntImm => {
                let (a, b) = (self.value(v), self.value(int));
                self.b.vec(op, v, a, b, none, imm);
            }
            VecSig::FromInt => {
                let a = self.value(int);
                self.b.vec(op, v, a, none, none, 0);
            }
            VecSig::Flags => {
                let (a, b) = (self.value(v), self.value(v));
                self.b.vec(op, Ty::I64, a, b, none, 0);
            }
        }
    }
}
