//! Shifts and rotates.

use emu_ir::{Inst, Op, Operand, Ty};

use super::wide;
use crate::Unsupported;
use crate::asm::{OF38, P66, PF2, PF3, RCX, Rm, Shift};
use crate::compile::Compiler;

impl Compiler<'_> {
    /// Shifts and rotates.
    pub fn shift(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let op = match i.op {
            Op::Shl => Shift::Shl,
            Op::Shr => Shift::Shr,
            Op::Sar => Shift::Sar,
            Op::Rol => Shift::Rol,
            _ => Shift::Ror,
        };
        let rotate = matches!(op, Shift::Rol | Shift::Ror);
        let ty = i.ty;
        let w = wide(ty);
        if let (Some(a), Some(n)) = (self.const_of(i.a), self.count_const(i)) {
            let r = emu_ir::scalar::binary(i.op, ty, a, n);
            return self.define_const(i, r);
        }
        if let Some(n) = self.count_const(i) {
            let n = if rotate {
                (n % u64::from(ty.bits())) as u8
            } else {
                (n & if ty == Ty::I64 { 63 } else { 31 }) as u8
            };
            let s = match op {
                Shift::Shr => self.gpr_clean(i.a, ty)?,
                _ => self.gpr(i.a)?,
            };
            let root_a = self.root_of(i.a);
            let bits_a = u32::from(self.st.root(root_a).bits);
            if n == 0 {
                // The value itself.
                self.st.bind(self.at, root_a);
                self.release_all(i);
                return Ok(());
            }
            let narrow = ty.bits() < 32;
            self.drop_dead_flags()?;
            self.release_all_late(i);
            if narrow && op == Shift::Sar {
                let d = self.alloc_result(root_a)?;
                self.asm.movsx(ty, Ty::I32, d, Rm::R(s));
                self.clobber_flags();
                self.asm.shift_imm(Shift::Sar, Ty::I32, d, n);
                self.finish(i, d, 32);
                return Ok(());
            }
            let d = if self.clobberable(root_a, 0) {
                self.take_register(root_a)
            } else {
                let d = self.alloc_gpr()?;
                self.copy(w, d, s);
                d
            };
            if narrow && rotate {
                self.clobber_flags();
                self.asm.shift_imm(op, ty, d, n);
                self.finish(i, d, bits_a.max(ty.bits()));
                return Ok(());
            }
            self.asm.shift_imm(op, w, d, n);
            if rotate || narrow {
                self.clobber_flags()
            } else {
                self.host_flags_of_this()
            }
            let bits = match op {
                Shift::Shr => bits_a.min(ty.bits()).saturating_sub(u32::from(n)),
                Shift::Shl => (bits_a + u32::from(n)).min(w.bits()),
                _ => w.bits(),
            };
            self.finish(i, d, bits);
            return Ok(());
        }
        let Operand::Val(count) = i.rhs() else { return Err(Unsupported::Malformed) };
        if self.host.bmi2 && !rotate {
            let s = match op {
                Shift::Shr => self.gpr_clean(i.a, ty)?,
                _ => self.gpr(i.a)?,
            };
            let n = self.gpr(count)?;
            let root_a = self.root_of(i.a);
            self.release_all_late(i);
            let d = self.alloc_result(root_a)?;
            let prefix = match op {
                Shift::Shl => P66,
                Shift::Shr => PF2,
                _ => PF3,
            };
            let mut s = s;
            if op == Shift::Sar && ty.bits() < 32 {
                let t = self.alloc_gpr()?;
                self.asm.movsx(ty, Ty::I32, t, Rm::R(s));
                s = t;
            }
            self.asm.vex(0xf7 | OF38 | prefix, w == Ty::I64, false, d, n, Rm::R(s));
            let bits = if op == Shift::Shr { ty.bits() } else { w.bits() };
            self.finish(i, d, bits);
            return Ok(());
        }
        // By cl.
        self.vacate(RCX)?;
        self.st.gpr_lock |= 1 << RCX;
        let n = self.gpr(count)?;
        if n != RCX {
            self.asm.mov32(RCX, n);
        }
        let s = match op {
            Shift::Shr => self.gpr_clean(i.a, ty)?,
            _ => self.gpr(i.a)?,
        };
        let d = self.alloc_gpr()?;
        self.clobber_flags();
        if op == Shift::Sar && ty.bits() < 32 {
            self.asm.movsx(ty, Ty::I32, d, Rm::R(s));
        } else {
            self.copy(w, d, s);
        }
        self.asm.shift_cl(op, if rotate { ty } else { w }, d);
        self.release_all(i);
        let bits = match op {
            Shift::Shr => ty.bits(),
            _ if rotate && ty.bits() < 32 => 32,
            _ => w.bits(),
        };
        self.define(d, bits);
        Ok(())
    }

    fn count_const(&self, i: &Inst) -> Option<u64> {
        match i.rhs() {
            Operand::Imm(c) => Some(c & 0xff),
            Operand::Val(v) => self.const_of(v).map(|c| c & 0xff),
        }
    }
}
