//! Comparisons and what depends on them.

use emu_ir::{Inst, Op, Operand, Ty, Val};

use crate::Unsupported;
use crate::asm::{Alu, Rm};
use crate::compile::Compiler;
use crate::state::{Kind, NOROOT};

impl Compiler<'_> {
    /// Emits `cmp a, b|imm` at the op's width.
    pub fn emit_cmp(&mut self, ty: Ty, a: Val, b: Operand) -> Result<(), Unsupported> {
        let ra = self.gpr(a)?;
        let c = match b {
            Operand::Imm(c) => Some(c & ty.mask()),
            Operand::Val(v) => self.const_of(v),
        };
        let c = c.and_then(|c| match ty {
            Ty::I64 => i32::try_from(c as i64).ok(),
            _ => Some(emu_ir::flags::sext(ty, c) as i32),
        });
        match (c, b) {
            (Some(0), _) => {
                self.clobber_flags();
                self.asm.test(ty, ra, ra);
            }
            (Some(c), _) => {
                self.clobber_flags();
                self.asm.alu_imm(Alu::Cmp, ty, Rm::R(ra), c);
            }
            (None, Operand::Val(v)) => {
                let rb = self.gpr(v)?;
                self.clobber_flags();
                self.asm.alu(Alu::Cmp, ty, ra, Rm::R(rb));
            }
            (None, Operand::Imm(c)) => {
                let rb = self.alloc_gpr()?;
                self.asm.mov_imm(rb, c);
                self.clobber_flags();
                self.asm.alu(Alu::Cmp, ty, ra, Rm::R(rb));
            }
        }
        Ok(())
    }

    /// [`Op::Cmp`].
    pub fn compare(&mut self, i: &Inst) -> Result<(), Unsupported> {
        self.emit_cmp(i.ty, i.a, i.rhs())?;
        self.release_all(i);
        self.define_cond(i.cond() as u8)
    }

    /// The host condition that says whether value `v` is not 0; emits a test unless the previous
    /// op left one.
    pub fn condition(&mut self, v: Val) -> Result<u8, Unsupported> {
        if let Some(p) = self.cond.take()
            && p.op == v.index()
        {
            return Ok(p.cc);
        }
        let r = self.gpr(v)?;
        self.clobber_flags();
        // Booleans are i8; other types are tested whole.
        let ty = self.block.insts[v.index()].ty;
        let ty = match self.block.insts[v.index()].op {
            Op::Cmp | Op::FlagsCond => Ty::I8,
            _ => ty,
        };
        self.asm.test(ty, r, r);
        Ok(5)
    }

    /// [`Op::Select`].
    pub fn select(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let (then, other) = (i.b, i.c());
        if !i.ty.is_int() {
            return self.vec_select(i);
        }
        // Loads and moves leave the host's flags alone, so the operands can come after the test.
        let had = self.cond.is_some();
        let cc = if had { self.condition(i.a)? } else { 0 };
        let b = self.gpr(then)?;
        let c = self.gpr(other)?;
        let cc = if had { cc } else { self.condition(i.a)? };
        let bits = {
            let (b, c) = (self.root_of(then), self.root_of(other));
            self.st.root(b).bits.max(self.st.root(c).bits)
        };
        let wide = bits > 32;
        for v in [i.a, then, other] {
            self.release_use(v);
        }
        let root_c = self.root_of(other);
        let root_b = self.root_of(then);
        let d = if root_b != root_c && self.clobberable(root_c, 0) {
            self.take_register(root_c)
        } else {
            let d = self.alloc_gpr()?;
            self.asm.mov64(d, c);
            d
        };
        self.asm.cmov(cc, wide, d, b);
        let r = self.st.new_root(Kind::Plain, Ty::I64, bits);
        self.st.place(r, d);
        self.st.root(r).live += 1;
        for v in [i.a, then, other] {
            let r = self.root_of(v);
            if r != NOROOT {
                self.st.collect(r);
            }
        }
        self.st.bind(self.at, r);
        self.st.root(r).live -= 1;
        self.st.collect(r);
        Ok(())
    }
}
