//! Operations on one integer: bits, conversions, addresses.

use emu_ir::{Inst, Op, Ty, Val};

use super::{imm32, wide};
use crate::Unsupported;
use crate::asm::{Alu, Mem, NOREG, OF, PF3, Rm, Shift};
use crate::compile::Compiler;
use crate::state::NOROOT;

impl Compiler<'_> {
    /// [`Op::Not`] and [`Op::Neg`].
    pub fn not_neg(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let w = wide(i.ty);
        let s = self.gpr(i.a)?;
        let root = self.root_of(i.a);
        self.drop_dead_flags()?;
        self.release_all_late(i);
        let d = self.alloc_result(root)?;
        self.copy(w, d, s);
        let digit = if i.op == Op::Not { 2 } else { 3 };
        if i.op == Op::Neg {
            self.clobber_flags();
        }
        self.asm.op(0xf7, w == Ty::I64, digit, Rm::R(d), 0);
        self.finish(i, d, w.bits());
        Ok(())
    }

    /// [`Op::Bswap`], [`Op::Clz`], [`Op::Ctz`], [`Op::Popcnt`].
    pub fn bits(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let w = wide(i.ty);
        if i.op == Op::Bswap {
            let s = self.gpr(i.a)?;
            let root = self.root_of(i.a);
            self.release_all_late(i);
            let d = self.alloc_result(root)?;
            self.copy(w, d, s);
            if i.ty == Ty::I16 {
                self.clobber_flags();
                self.asm.shift_imm(Shift::Rol, Ty::I16, d, 8);
                self.finish(i, d, 32);
                return Ok(());
            }
            let rex = 0x40 | (d >> 3) | if w == Ty::I64 { 8 } else { 0 };
            if rex != 0x40 {
                self.asm.byte(rex);
            }
            self.asm.byte(0x0f);
            self.asm.byte(0xc8 | (d & 7));
            self.finish(i, d, w.bits());
            return Ok(());
        }
        let (ok, code) = match i.op {
            Op::Clz => (self.host.lzcnt, 0xbd),
            Op::Ctz => (self.host.tzcnt, 0xbc),
            _ => (self.host.popcnt, 0xb8),
        };
        if !ok {
            return Err(Unsupported::Op(i.op));
        }
        let s = self.gpr_clean(i.a, i.ty)?;
        let root = self.root_of(i.a);
        self.release_all_late(i);
        let d = self.alloc_result(root)?;
        self.clobber_flags();
        let narrow = i.ty.bits() < 32;
        if narrow && i.op == Op::Ctz {
            // A sentinel above the value gives the width for 0.
            self.copy(Ty::I32, d, s);
            self.asm.alu_imm(Alu::Or, Ty::I32, Rm::R(d), 1 << i.ty.bits());
            self.asm.op(code | OF | PF3, false, d, Rm::R(d), 0);
        } else {
            self.asm.op(code | OF | PF3, w == Ty::I64, d, Rm::R(s), 0);
            if narrow && i.op == Op::Clz {
                self.asm.alu_imm(Alu::Sub, Ty::I32, Rm::R(d), 32 - i.ty.bits() as i32);
            }
        }
        self.finish(i, d, 8);
        Ok(())
    }

    /// Conversions: mostly other views of the same register.
    pub fn convert(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let from = i.from_ty();
        if let Some(c) = self.const_of(i.a) {
            let r = emu_ir::scalar::convert(i.op, from, i.ty, c);
            return self.define_const(i, r);
        }
        match i.op {
            Op::Trunc => {
                self.gpr_or_vector(i.a)?;
                let r = self.root_of(i.a);
                self.st.bind(self.at, r);
                self.release(&[i.a]);
            }
            Op::Zext => {
                self.gpr_clean(i.a, from)?;
                let r = self.root_of(i.a);
                self.st.bind(self.at, r);
                self.release(&[i.a]);
            }
            _ => {
                let s = self.gpr(i.a)?;
                let root = self.root_of(i.a);
                self.release_all_late(i);
                let d = self.alloc_result(root)?;
                let to = wide(i.ty);
                self.asm.movsx(from, to, d, Rm::R(s));
                self.finish(i, d, to.bits());
            }
        }
        Ok(())
    }

    /// Makes sure an integer value is not the low part of a vector, which Trunc cannot rename.
    fn gpr_or_vector(&mut self, v: Val) -> Result<(), Unsupported> {
        let r = self.root_of(v);
        if r != NOROOT && !self.st.root(r).class.is_int() {
            self.gpr(v)?;
        }
        Ok(())
    }

    /// [`Op::Lea`].
    pub fn lea(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let w = wide(i.ty);
        let disp = match imm32(w, i.imm) {
            Some(d) => d,
            None => return Err(Unsupported::Op(i.op)),
        };
        let base = if i.a.is_some() { self.gpr(i.a)? } else { NOREG };
        let index = if i.b.is_some() { self.gpr(i.b)? } else { NOREG };
        self.release_all_late(i);
        let m = Mem { base, index, shift: (i.sub & 3) as u8, disp, addr32: false };
        let d = self.alloc_result(if i.a.is_some() { self.root_of(i.a) } else { NOROOT })?;
        self.asm.lea(w, d, m);
        self.finish(i, d, w.bits());
        Ok(())
    }
}
