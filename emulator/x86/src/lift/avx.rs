//! VEX-encoded vector instructions: AVX, AVX2, F16C, FMA, and AES and PCLMULQDQ with VEX.
//!
//! Most are one vector op, which [`table`] names; here are their operands. A result in an XMM
//! register clears the upper half of the YMM register. Memory operands need no alignment unless the
//! instruction demands it by name.

mod gather;
mod moves;
mod special;
mod table;

use emu_ir::{FlagKind, Op, Ty, Val, VecForm, VecOp, VecSig};
use iced_x86::{EncodingKind, Instruction, Register};

use super::Lifter;
use crate::state::slot;

/// Lifts one instruction of this family; false when it is not one.
pub(super) fn lift(l: &mut Lifter, i: &Instruction) -> bool {
    i.code().encoding() == EncodingKind::VEX
        && (moves::lift(l, i) || special::lift(l, i) || gather::lift(l, i) || regular(l, i))
}

/// The type of a vector register.
fn ty(r: Register) -> Ty {
    if r.is_ymm() { Ty::V256 } else { Ty::V128 }
}

/// Instructions whose effect is one vector op.
fn regular(l: &mut Lifter, i: &Instruction) -> bool {
    let Some(op) = table::op(i.mnemonic()) else { return false };
    let dest = i.op0_register();
    if let Some(lanes) = constant_idiom(op, i) {
        let constant = l.b.iconst(ty(dest), lanes);
        l.write_vec(dest, constant);
        return true;
    }
    let none = Val::NONE;
    let imm = if op.sig().has_imm() { control(op, i.immediate8()) } else { 0 };
    let r = match op.sig() {
        VecSig::Flags => {
            let b = l.vex_source(i, 1);
            let a = l.read_vec(dest);
            let flags = l.b.vec(op, Ty::I64, a, b, none, 0);
            l.b.flags_set(FlagKind::Raw, Ty::I64, flags, 0, none);
            return true;
        }
        VecSig::V | VecSig::Widen | VecSig::VImm => {
            let a = l.vex_source(i, 1);
            l.b.vec(op, ty(dest), a, none, none, imm)
        }
        VecSig::Narrow => {
            let a = l.vex_source(i, 1);
            l.b.vec(op, Ty::V128, a, none, none, 0)
        }
        VecSig::VV | VecSig::VVImm => {
            let b = l.vex_source(i, 2);
            let a = l.read_vec(i.op1_register());
            l.b.vec(op, ty(dest), a, b, none, imm)
        }
        VecSig::VVV if op.encoding().form == VecForm::Fma => {
            let c = l.vex_source(i, 2);
            let (a, b) = (l.read_vec(dest), l.read_vec(i.op1_register()));
            l.b.vec(op, ty(dest), a, b, c, 0)
        }
        VecSig::VVV => {
            let b = l.vex_source(i, 2);
            let (a, c) = (l.read_vec(i.op1_register()), l.read_vec(i.op3_register()));
            l.b.vec(op, ty(dest), a, b, c, 0)
        }
        _ => return false,
    };
    l.write_vec(dest, r);
    true
}

/// The control byte without the bits that VEX-encoded instructions ignore.
fn control(op: VecOp, imm: u8) -> u8 {
    match op {
        VecOp::Cmpps | VecOp::Cmppd | VecOp::Cmpss | VecOp::Cmpsd => imm & 31,
        _ => imm,
    }
}

/// The idioms that clear a register or set all its bits whatever it holds: what each 64-bit lane
/// becomes.
fn constant_idiom(op: VecOp, i: &Instruction) -> Option<u64> {
    if i.op1_register() == Register::None || i.op1_register() != i.op2_register() {
        return None;
    }
    match op {
        VecOp::Pxor | VecOp::Xorps | VecOp::Xorpd => Some(0),
        VecOp::Pcmpeqb | VecOp::Pcmpeqw | VecOp::Pcmpeqd | VecOp::Pcmpeqq => Some(u64::MAX),
        _ => None,
    }
}

impl Lifter {
    /// Reads an XMM or YMM register.
    fn read_vec(&mut self, r: Register) -> Val {
        self.b.get(ty(r), slot::vec(r.number()))
    }

    /// Writes `v`, of the register's own type, to an XMM or YMM register, clearing the rest.
    fn write_vec(&mut self, r: Register, v: Val) {
        let wide = self.b.convert(Op::Zext, ty(r), Ty::V256, v);
        self.b.put(Ty::V256, slot::vec(r.number()), wide);
    }

    /// Operand `n` as a vector: a register, or memory of the operand's own size, extended with
    /// zeros to 128 bits.
    fn vex_source(&mut self, i: &Instruction, n: u32) -> Val {
        if !Lifter::is_mem(i, n) {
            return self.read_vec(i.op_register(n));
        }
        let m = self.ea(i);
        match i.memory_size().size() {
            32 => self.b.load(Ty::V256, m),
            16 => self.b.load(Ty::V128, m),
            8 => {
                let x = self.b.load(Ty::I64, m);
                self.vec1(VecOp::Movq, x, 0)
            }
            bytes => {
                let from = super::operand::int_ty(bytes);
                let x = self.b.load(from, m);
                let x = self.b.convert(Op::Zext, from, Ty::I32, x);
                self.vec1(VecOp::Movd, x, 0)
            }
        }
    }
}
