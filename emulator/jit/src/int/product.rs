//! Products and quotients.

use emu_ir::{Inst, Op, Operand, Ty};

use super::{imm32, wide};
use crate::Unsupported;
use crate::asm::{Alu, OF, P66, RAX, RDX, Reg, Rm, Shift};
use crate::compile::Compiler;
use crate::state::{Kind, NOROOT};

impl Compiler<'_> {
    /// [`Op::Mul`].
    pub fn mul(&mut self, i: &Inst) -> Result<(), Unsupported> {
        if let (Some(a), Some(b)) = (self.const_of(i.a), self.rhs_const(i)) {
            let r = emu_ir::scalar::binary(i.op, i.ty, a, b);
            return self.define_const(i, r);
        }
        if i.ty == Ty::I64
            && i.b.is_some()
            && self.const_of(i.b).is_none()
            && let Some(j) = self.partner(i, &[Op::MulHiU, Op::MulHiS])
        {
            return self.mul_both(i, self.at, j);
        }
        let w = wide(i.ty);
        let a = self.gpr(i.a)?;
        let root_a = self.root_of(i.a);
        self.clobber_flags();
        if let Some(c) = self.rhs_const(i).and_then(|c| imm32(w, c)) {
            self.release_all_late(i);
            let d = self.alloc_result(root_a)?;
            if i8::try_from(c).is_ok() {
                self.asm.op(0x6b, w == Ty::I64, d, Rm::R(a), 0);
                self.asm.byte(c as u8);
            } else {
                self.asm.op(0x69, w == Ty::I64, d, Rm::R(a), 0);
                self.asm.dword(c as u32);
            }
            self.finish(i, d, w.bits());
            return Ok(());
        }
        let b = match i.rhs() {
            Operand::Val(v) => self.gpr(v)?,
            Operand::Imm(c) => {
                let d = self.alloc_gpr()?;
                self.asm.mov_imm(d, c);
                d
            }
        };
        self.release_all_late(i);
        let root_b = if i.b.is_some() { self.root_of(i.b) } else { NOROOT };
        let d = if root_b != NOROOT && root_a != root_b && self.clobberable(root_b, 0) {
            let d = self.take_register(root_b);
            self.asm.op(0xaf | OF, w == Ty::I64, d, Rm::R(a), 0);
            d
        } else {
            let d = self.alloc_result(root_a)?;
            self.copy(w, d, a);
            // For a × a the operand may be the register just taken, which is the same value.
            self.asm.op(0xaf | OF, w == Ty::I64, d, Rm::R(b), 0);
            d
        };
        self.finish(i, d, w.bits());
        Ok(())
    }

    /// A live op soon after this one with the same operands and one of these operations.
    fn partner(&self, i: &Inst, ops: &[Op]) -> Option<usize> {
        let end = (self.at + 5).min(self.block.insts.len());
        (self.at + 1..end).find(|&j| {
            let p = &self.block.insts[j];
            ops.contains(&p.op)
                && p.ty == i.ty
                && self.an.live[j]
                && !self.done[j]
                && p.a == i.a
                && p.b == i.b
                && p.imm == i.imm
        })
    }

    /// Both halves of a 64-bit product: values `low` and `high`, one of them the current op.
    fn mul_both(&mut self, i: &Inst, low: usize, high: usize) -> Result<(), Unsupported> {
        let signed = self.block.insts[high].op == Op::MulHiS;
        self.vacate(RAX)?;
        self.st.gpr_lock |= 1 << RAX;
        self.vacate(RDX)?;
        self.st.gpr_lock |= 1 << RDX;
        let a = self.gpr(i.a)?;
        let b = match i.rhs() {
            Operand::Val(v) => self.gpr(v)?,
            Operand::Imm(c) => {
                let d = self.alloc_gpr()?;
                self.asm.mov_imm(d, c);
                d
            }
        };
        self.clobber_flags();
        self.asm.mov64(RAX, a);
        self.asm.op(0xf7, true, if signed { 5 } else { 4 }, Rm::R(b), 0);
        self.release_all(i);
        for (v, reg) in [(low, RAX), (high, RDX)] {
            if v == usize::MAX {
                continue;
            }
            let r = self.st.new_root(Kind::Plain, Ty::I64, 64);
            self.st.place(r, reg);
            self.st.bind(v, r);
            if v != self.at {
                self.done[v] = true;
            }
        }
        Ok(())
    }

    /// [`Op::MulHiU`] and [`Op::MulHiS`].
    pub fn mul_high(&mut self, i: &Inst) -> Result<(), Unsupported> {
        if i.ty == Ty::I64 {
            let low = self.partner(i, &[Op::Mul]).unwrap_or(usize::MAX);
            return self.mul_both(i, low, self.at);
        }
        // Narrower products fit in a 64-bit register.
        let signed = i.op == Op::MulHiS;
        let d = self.alloc_gpr()?;
        let t = self.alloc_gpr()?;
        let a = self.gpr(i.a)?;
        self.extend(i.ty, signed, d, a);
        match i.rhs() {
            Operand::Imm(c) => {
                let c = if signed { emu_ir::flags::sext(i.ty, c) as u64 } else { c };
                self.asm.mov_imm(t, c);
            }
            Operand::Val(v) => {
                let b = self.gpr(v)?;
                self.extend(i.ty, signed, t, b);
            }
        }
        self.clobber_flags();
        self.asm.op(0xaf | OF, true, d, Rm::R(t), 0);
        self.asm.shift_imm(Shift::Shr, Ty::I64, d, i.ty.bits() as u8);
        self.release_all(i);
        self.define(d, 64 - i.ty.bits());
        Ok(())
    }

    fn extend(&mut self, ty: Ty, signed: bool, d: Reg, s: Reg) {
        if signed {
            self.asm.movsx(ty, Ty::I64, d, Rm::R(s));
        } else {
            self.asm.movzx(ty, d, s);
        }
    }

    /// Division ops; quotient and remainder of the same operands share one instruction.
    pub fn divide(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let signed = matches!(i.op, Op::DivS | Op::RemS);
        let quotient = matches!(i.op, Op::DivU | Op::DivS);
        let other = match i.op {
            Op::DivU => Op::RemU,
            Op::RemU => Op::DivU,
            Op::DivS => Op::RemS,
            _ => Op::DivS,
        };
        let partner = self.partner(i, &[other]);
        self.vacate(RAX)?;
        self.st.gpr_lock |= 1 << RAX;
        self.vacate(RDX)?;
        self.st.gpr_lock |= 1 << RDX;
        let d = self.gpr(i.c())?;
        let lo = self.gpr(i.b)?;
        let hi_const = self.const_of(i.a);
        self.clobber_flags();
        let digit = if signed { 7 } else { 6 };
        if i.ty == Ty::I8 {
            let hi = self.gpr(i.a)?;
            self.asm.movzx(Ty::I8, RAX, lo);
            self.asm.mov32(RDX, hi);
            self.asm.shift_imm(Shift::Shl, Ty::I32, RDX, 8);
            self.asm.alu(Alu::Or, Ty::I32, RAX, Rm::R(RDX));
            self.fault_point();
            self.asm.op(0xf6, false, digit, Rm::R(d), 2);
            // Remainder in ah.
            self.asm.mov32(RDX, RAX);
            self.asm.shift_imm(Shift::Shr, Ty::I32, RDX, 8);
        } else {
            self.asm.mov64(RAX, lo);
            match hi_const {
                Some(0) => self.asm.alu(Alu::Xor, Ty::I32, RDX, Rm::R(RDX)),
                _ => {
                    let hi = self.gpr(i.a)?;
                    self.asm.mov64(RDX, hi);
                }
            }
            self.fault_point();
            let p = if i.ty == Ty::I16 { P66 } else { 0 };
            self.asm.op(0xf7 | p, i.ty == Ty::I64, digit, Rm::R(d), 0);
        }
        self.release(&[i.a, i.b, i.c()]);
        let (mine, its) = if quotient { (RAX, RDX) } else { (RDX, RAX) };
        let bits = if i.ty == Ty::I32 { 32 } else { 64 };
        self.define(mine, bits);
        if let Some(j) = partner {
            let r = self.st.new_root(Kind::Plain, Ty::I64, bits as u8);
            self.st.place(r, its);
            self.st.bind(j, r);
            self.done[j] = true;
        }
        Ok(())
    }
}
