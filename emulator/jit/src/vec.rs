//! Moving vectors: VEX-encoded when the host has AVX, else in the two-operand legacy form.
//!
//! With AVX, the register of a root of class v128 has a clear upper half: every instruction that
//! fills one is VEX-encoded.

use emu_ir::{Inst, Ty, Val};

use crate::Unsupported;
use crate::asm::{Mem, OF, OF3A, P66, PF3, Reg, Rm};
use crate::compile::Compiler;

/// Vector register no value lives in.
pub const TEMP: Reg = 0;

impl Compiler<'_> {
    /// A vector instruction with destination and r/m operand only.
    pub fn vop(&mut self, op: u32, wide: bool, l: bool, reg: Reg, rm: Rm) {
        if self.host.avx {
            self.asm.vex(op, wide, l, reg, 0, rm);
        } else {
            self.asm.op(op, wide, reg, rm, 0);
        }
    }

    /// Loads a vector, any alignment.
    pub fn vec_load(&mut self, ty: Ty, d: Reg, m: Mem) {
        self.vop(0x10 | OF, false, ty == Ty::V256, d, Rm::M(m));
    }

    /// Loads a vector; faults when misaligned.
    pub fn vec_load_aligned(&mut self, ty: Ty, d: Reg, m: Mem) {
        self.vop(0x28 | OF, false, ty == Ty::V256, d, Rm::M(m));
    }

    /// Stores a vector, any alignment.
    pub fn vec_store(&mut self, ty: Ty, m: Mem, s: Reg) {
        self.vop(0x11 | OF, false, ty == Ty::V256, s, Rm::M(m));
    }

    /// Stores a vector; faults when misaligned.
    pub fn vec_store_aligned(&mut self, ty: Ty, m: Mem, s: Reg) {
        self.vop(0x29 | OF, false, ty == Ty::V256, s, Rm::M(m));
    }

    /// Loads 4 or 8 bytes, clearing the rest of the register.
    pub fn vec_load_low(&mut self, ty: Ty, d: Reg, m: Mem) {
        let op = if ty == Ty::I32 { 0x6e | OF | P66 } else { 0x7e | OF | PF3 };
        self.vop(op, false, false, d, Rm::M(m));
    }

    /// Stores the low 4 or 8 bytes.
    pub fn vec_store_low(&mut self, ty: Ty, m: Mem, s: Reg) {
        let op = if ty == Ty::I32 { 0x7e | OF | P66 } else { 0xd6 | OF | P66 };
        self.vop(op, false, false, s, Rm::M(m));
    }

    /// Moves the low 64 bits to a general register.
    pub fn vec_to_gpr(&mut self, d: Reg, s: Reg) {
        self.vop(0x7e | OF | P66, true, false, s, Rm::R(d));
    }

    pub fn vec_move(&mut self, ty: Ty, d: Reg, s: Reg) {
        if d != s {
            self.vop(0x28 | OF, false, ty == Ty::V256, d, Rm::R(s));
        }
    }

    /// `d = op(d or v, s)` for the helpers below.
    pub fn vop3(&mut self, op: u32, l: bool, d: Reg, v: Reg, s: Reg) {
        if self.host.avx {
            self.asm.vex(op, false, l, d, v, Rm::R(s));
        } else {
            self.vec_move(Ty::V128, d, v);
            self.asm.op(op, false, d, Rm::R(s), 0);
        }
    }

    /// Loads a constant, the same in every 64-bit lane.
    pub fn vec_const(&mut self, ty: Ty, d: Reg, c: u64) -> Result<(), Unsupported> {
        match c {
            0 => self.vop3(0xef | OF | P66, false, d, d, d),
            u64::MAX => self.vop3(0x76 | OF | P66, false, d, d, d),
            _ => {
                let t = self.alloc_gpr()?;
                self.asm.mov_imm(t, c);
                self.vop(0x6e | OF | P66, true, false, d, Rm::R(t));
                self.vop3(0x6c | OF | P66, false, d, d, d);
            }
        }
        if ty == Ty::V256 && c != 0 {
            self.asm.vex(0x18 | OF3A | P66, false, true, d, d, Rm::R(d));
            self.asm.byte(1);
        }
        Ok(())
    }

    pub fn xmm(&mut self, v: Val) -> Result<Reg, Unsupported> {
        if !v.is_some() {
            return Err(Unsupported::Malformed);
        }
        let r = self.root_of(v);
        self.root_xmm(r)
    }

    /// [`emu_ir::Op::Select`] of vectors.
    pub fn vec_select(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let had = self.cond.is_some();
        let cc = if had { self.condition(i.a)? } else { 0 };
        let b = self.xmm(i.b)?;
        let c = self.xmm(i.c())?;
        let d = self.alloc_xmm()?;
        let cc = if had { cc } else { self.condition(i.a)? };
        self.vec_move(i.ty, d, b);
        let skip = self.asm.jcc(cc);
        self.vec_move(i.ty, d, c);
        let here = self.asm.len();
        self.asm.patch(skip, here);
        self.release(&[i.a, i.b, i.c()]);
        self.define_xmm(d, i.ty);
        Ok(())
    }

    /// [`emu_ir::Op::Zext`] of a vector. VEX instructions on 128 bits clear the upper half, so it is
    /// clear already where no 256-bit value is behind the operand.
    pub fn vec_zext(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let a = self.xmm(i.a)?;
        let ra = self.root_of(i.a);
        let clear = self.st.root(ra).class == Ty::V128;
        self.release_xmm(&[i.a]);
        let d = self.alloc_result_xmm(ra)?;
        if d != a || !clear {
            self.vop(0x28 | OF, false, false, d, Rm::R(a));
        }
        self.finish_xmm(i, d);
        Ok(())
    }
}
