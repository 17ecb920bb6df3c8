//! Ops of a random block that touch memory, slots and flags, or call.

use super::generator::{Generator, INTS};
use crate::{Addr, Cond, FlagKind, Op, Operand, RmwKind, Target, Ty, Val, flags};

const DIVISIONS: [Op; 4] = [Op::DivU, Op::RemU, Op::DivS, Op::RemS];

impl Generator<'_> {
    /// An address operand with room for `ty`.
    fn address(&mut self, (start, size): (u64, u64)) -> Addr {
        let aligned = self.rng.one_in(8);
        if self.recipe.faults && self.rng.one_in(8) {
            let base = self.value(Ty::I64);
            return Addr { aligned, ..Addr::base(base) };
        }
        // index << shift stays below half of the memory, displacement and access in the rest.
        let shift = self.rng.below(4) as u8;
        let half = 1u64 << (63 - (size / 2).leading_zeros());
        let raw = self.value(Ty::I64);
        let low = if aligned && !self.recipe.faults { 31 } else { 0 };
        let index = self.b.bin(Op::And, Ty::I64, raw, ((half >> shift) - 1) & !low);
        let disp = self.rng.below(size / 2 - 64) & !low;
        if self.rng.one_in(2) && start < 1 << 31 {
            let disp = (start + disp) as i32;
            let wrap32 = self.rng.one_in(2);
            return Addr { base: Val::NONE, index, shift, disp, wrap32, aligned };
        }
        let base = self.b.iconst(Ty::I64, start);
        Addr { base, index, shift, disp: disp as i32, wrap32: false, aligned }
    }

    /// An op that may fault and changes nothing.
    pub(super) fn fallible(&mut self) {
        match (self.rng.below(4), self.recipe.memory) {
            (0, _) if self.recipe.faults => self.divide(),
            (1, _) => self.vector(true),
            (2.., Some(memory)) => {
                let ty = self.any_type();
                let m = self.address(memory);
                if self.rng.one_in(6) {
                    self.b.probe_write(ty, m);
                } else {
                    self.b.load(ty, m);
                }
            }
            _ => self.pure(),
        }
    }

    fn divide(&mut self) {
        let ty = self.rng.pick(&INTS);
        let op = self.rng.pick(&DIVISIONS);
        let lo = self.value(ty);
        // As a rule a high half that only extends the low one, so that most divisions succeed.
        let hi = match self.rng.below(4) {
            0 => self.value(ty),
            1 => self.b.bin(Op::Sar, ty, lo, u64::from(ty.bits().min(32) - 1)),
            _ => self.b.iconst(ty, 0),
        };
        let d = self.value(ty);
        self.b.div(op, ty, hi, lo, d);
    }

    /// A store or an atomic, once in an instruction.
    pub(super) fn write_memory(&mut self) {
        let Some(memory) = self.recipe.memory else { return };
        let m = self.address(memory);
        match self.rng.below(4) {
            0 => {
                let ty = self.rng.pick(&INTS);
                let kind = self.rng.pick(&RmwKind::ALL);
                let (addr, v) = (self.aligned(ty, m), self.value(ty));
                self.b.rmw(kind, ty, addr, v);
            }
            1 => {
                let ty = self.rng.pick(&INTS);
                let addr = self.aligned(ty, m);
                let (expected, new) = (self.value(ty), self.value(ty));
                self.b.cas(ty, addr, expected, new);
            }
            _ => {
                let ty = self.any_type();
                let v = self.value(ty);
                self.b.store(ty, m, v);
            }
        }
        self.dirty = true;
    }

    /// The address `m` rounded down: hosts may punish atomics that straddle cache lines with
    /// milliseconds of delay.
    fn aligned(&mut self, ty: Ty, m: Addr) -> Val {
        let addr = self.b.lea(Ty::I64, m);
        self.b.bin(Op::And, Ty::I64, addr, !u64::from(ty.bytes() - 1))
    }

    pub(super) fn call(&mut self, target: &(impl Target + ?Sized)) {
        let helper = self.rng.pick(&self.recipe.helpers);
        let Some(effects) = target.helper_effects(helper) else { return };
        if effects.traps && self.dirty {
            return;
        }
        let args: Vec<Val> = (0..self.rng.below(5))
            .map(|_| {
                let ty = self.rng.pick(&INTS);
                self.value(ty)
            })
            .collect();
        let ty = self.rng.pick(&INTS);
        self.b.call(ty, helper, &args);
        self.dirty |= effects.writes;
    }

    pub(super) fn put(&mut self) {
        let ty = self.any_type();
        let v = self.value(ty);
        let slot =
            if ty.is_int() { self.int_slot(ty) } else { self.rng.pick(&self.recipe.vectors) };
        self.b.put(ty, slot, v);
        self.dirty = true;
    }

    /// A flag definition as lifters make them: counts are masked, carries are 0 or 1.
    pub(super) fn define_flags(&mut self) {
        let kind = self.rng.pick(&FlagKind::ALL);
        let ty = if kind == FlagKind::Raw { Ty::I64 } else { self.rng.pick(&INTS) };
        let a = self.value(ty);
        let b = if kind.void_if_zero_count() {
            let mask = if ty == Ty::I64 { 63 } else { 31 };
            if self.rng.one_in(2) {
                Operand::Imm(self.rng.below(mask + 1) & ty.mask())
            } else {
                let n = self.value(Ty::I8);
                Operand::Val(self.b.bin(Op::And, Ty::I8, n, mask))
            }
        } else {
            self.rhs(ty)
        };
        let c = match kind {
            FlagKind::Adc | FlagKind::Sbb => {
                if self.rng.one_in(2) {
                    self.b.flags_cond(Cond::B)
                } else {
                    self.b.flags_get(flags::CF)
                }
            }
            _ if kind.keeps() != 0 => self.b.flags_get(kind.keeps()),
            _ => Val::NONE,
        };
        self.b.flags_set(kind, ty, a, b, c);
        self.dirty = true;
        if self.rng.one_in(2) {
            let cond = self.rng.pick(&Cond::ALL);
            let r = self.b.flags_cond(cond);
            let slot = self.int_slot(Ty::I8);
            self.b.put(Ty::I8, slot, r);
        }
    }
}
