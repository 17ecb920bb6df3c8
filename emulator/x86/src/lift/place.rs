//! A destination operand that is read and written: its address is computed once.

use emu_ir::{Addr, Op, Operand, Ty, Val};
use iced_x86::{Instruction, OpKind, Register};

use super::Lifter;
use super::operand::int_ty;

/// A general register or a memory operand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// A register.
    Reg(Register),
    /// Memory.
    Mem(Addr),
}

impl Lifter {
    /// Operand `n` as a place, with its type.
    pub(super) fn place(&mut self, i: &Instruction, n: u32) -> (Ty, Place) {
        if i.op_kind(n) == OpKind::Register {
            let r = i.op_register(n);
            (int_ty(r.size()), Place::Reg(r))
        } else {
            (int_ty(i.memory_size().size()), Place::Mem(self.ea(i)))
        }
    }

    /// Reads a place.
    pub(super) fn load_place(&mut self, ty: Ty, p: Place) -> Val {
        match p {
            Place::Reg(r) => self.read_gpr(r),
            Place::Mem(m) => self.b.load(ty, m),
        }
    }

    /// Writes a place.
    pub(super) fn store_place(&mut self, ty: Ty, p: Place, v: Val) {
        match p {
            Place::Reg(r) => self.write_gpr(r, v),
            Place::Mem(m) => self.b.store(ty, m, v),
        }
    }

    /// Operand `n` as the right side of a binary op of type `ty`.
    pub(super) fn source(&mut self, i: &Instruction, n: u32, ty: Ty) -> Operand {
        match i.op_kind(n) {
            OpKind::Register | OpKind::Memory => Operand::Val(self.read(i, n)),
            _ => Operand::Imm(i.immediate(n) & ty.mask()),
        }
    }

    /// An operand as a value of type `ty`.
    pub(super) fn value(&mut self, ty: Ty, o: Operand) -> Val {
        match o {
            Operand::Val(v) => v,
            Operand::Imm(imm) => self.b.iconst(ty, imm),
        }
    }

    /// A value of type `from` zero-extended to 64 bits.
    pub(super) fn zext64(&mut self, from: Ty, v: Val) -> Val {
        self.b.convert(Op::Zext, from, Ty::I64, v)
    }
}
