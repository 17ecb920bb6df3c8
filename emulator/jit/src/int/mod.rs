//! Integer operations.

mod binary;
mod compare;
mod product;
mod shift;
mod unary;

use emu_ir::{Inst, Operand, Ty, Val};

use crate::Unsupported;
use crate::asm::Reg;
use crate::compile::Compiler;
use crate::state::{Kind, NOROOT};

/// The width an operation on `ty` is carried out in.
const fn wide(ty: Ty) -> Ty {
    match ty {
        Ty::I64 => Ty::I64,
        _ => Ty::I32,
    }
}

fn imm32(ty: Ty, imm: u64) -> Option<i32> {
    match ty {
        Ty::I64 => i32::try_from(imm as i64).ok(),
        _ => Some(imm as u32 as i32),
    }
}

impl Compiler<'_> {
    /// The second operand as a constant: immediate or value known to be one.
    pub(super) fn rhs_const(&self, i: &Inst) -> Option<u64> {
        match i.rhs() {
            Operand::Imm(c) => Some(c & i.ty.mask()),
            Operand::Val(v) => self.const_of(v),
        }
    }

    /// Counts a use of `v` as gone without freeing anything yet; [`Compiler::unrelease`] does.
    pub(super) fn release_use(&mut self, v: Val) {
        let left = &mut self.st.left[v.index()];
        *left = left.saturating_sub(1);
        if *left == 0 {
            let r = self.root_of(v);
            if r != NOROOT {
                let root = self.st.root(r);
                root.live = root.live.saturating_sub(1);
            }
        }
    }

    pub(super) fn copy(&mut self, ty: Ty, d: Reg, s: Reg) {
        if d != s {
            if ty == Ty::I64 { self.asm.mov64(d, s) } else { self.asm.mov32(d, s) }
        }
    }

    pub(super) fn define_const(&mut self, i: &Inst, c: u64) -> Result<(), Unsupported> {
        let bits = (64 - c.leading_zeros()) as u8;
        let r = self.st.new_root(Kind::Const(c), Ty::I64, bits);
        self.st.bind(self.at, r);
        for v in [i.a, i.b] {
            if v.is_some() {
                self.st.release(v.index());
            }
        }
        Ok(())
    }

    /// The host's flags now describe the current op's result.
    pub fn host_flags_of_this(&mut self) {
        self.flags.host_op = self.at as u16;
        self.flags.host_current = false;
    }

    /// Releases a and b at once.
    pub(super) fn release_all(&mut self, i: &Inst) {
        for v in [i.a, i.b] {
            if v.is_some() {
                self.st.release(v.index());
            }
        }
    }

    /// Counts the uses of a and b as gone; [`Compiler::finish`] frees them.
    pub(super) fn release_all_late(&mut self, i: &Inst) {
        for v in [i.a, i.b] {
            if v.is_some() {
                self.release_use(v);
            }
        }
    }

    /// Defines the current op's value in `d` and frees operands released late.
    pub(super) fn finish(&mut self, i: &Inst, d: Reg, bits: u32) {
        let r = self.st.new_root(Kind::Plain, Ty::I64, bits as u8);
        self.st.place(r, d);
        self.st.root(r).live += 1;
        self.unrelease(i);
        self.st.bind(self.at, r);
        self.st.root(r).live -= 1;
        self.st.collect(r);
    }

    /// Frees the operands a and b of `i` if nothing names them any more.
    pub(super) fn unrelease(&mut self, i: &Inst) {
        for v in [i.a, i.b] {
            if v.is_some() {
                let r = self.root_of(v);
                if r != NOROOT {
                    self.st.collect(r);
                }
            }
        }
    }
}
