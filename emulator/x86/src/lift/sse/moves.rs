//! Moves between XMM registers, memory and general registers.

use emu_ir::{Addr, Op, Ty, Val, VecOp};
use iced_x86::{Instruction, Mnemonic as M};

use crate::lift::Lifter;

/// Lifts a move; false when the instruction is not one.
pub(super) fn lift(l: &mut Lifter, i: &Instruction) -> bool {
    match i.mnemonic() {
        M::Movaps | M::Movapd | M::Movdqa | M::Movntdqa => whole(l, i, true),
        M::Movups | M::Movupd | M::Movdqu | M::Lddqu => whole(l, i, false),
        M::Movntps | M::Movntpd | M::Movntdq => whole(l, i, true),
        M::Movss => scalar(l, i, Ty::I32, VecOp::Movss),
        M::Movsd if !i.is_string_instruction() => scalar(l, i, Ty::I64, VecOp::Movsd),
        M::Movd => integer(l, i, Ty::I32),
        M::Movq => integer(l, i, Ty::I64),
        M::Movlps | M::Movlpd => half(l, i, 0),
        M::Movhps | M::Movhpd => half(l, i, 1),
        M::Movmskps => mask(l, i, VecOp::Movmskps),
        M::Movmskpd => mask(l, i, VecOp::Movmskpd),
        M::Pmovmskb => mask(l, i, VecOp::Pmovmskb),
        M::Pinsrb => insert(l, i, VecOp::Pinsrb, Ty::I8),
        M::Pinsrw => insert(l, i, VecOp::Pinsrw, Ty::I16),
        M::Pinsrd => insert(l, i, VecOp::Pinsrd, Ty::I32),
        M::Pinsrq => insert(l, i, VecOp::Pinsrq, Ty::I64),
        M::Pextrb => l.extract_lane(i, VecOp::Pextrb, Ty::I8),
        M::Pextrw => l.extract_lane(i, VecOp::Pextrw, Ty::I16),
        M::Pextrd | M::Extractps => l.extract_lane(i, VecOp::Pextrd, Ty::I32),
        M::Pextrq => l.extract_lane(i, VecOp::Pextrq, Ty::I64),
        _ => return false,
    }
    true
}

/// A move of a whole register.
fn whole(l: &mut Lifter, i: &Instruction, aligned: bool) {
    let v = l.read_xmm_op(i, 1, aligned);
    if Lifter::is_mem(i, 0) {
        let m = l.ea(i);
        l.b.store(Ty::V128, Addr { aligned, ..m }, v);
    } else {
        l.write_xmm(i.op0_register(), v);
    }
}

/// `movss`, `movsd`: loads clear the rest of the register, register moves keep it.
fn scalar(l: &mut Lifter, i: &Instruction, ty: Ty, merge: VecOp) {
    if Lifter::is_mem(i, 0) {
        l.store_low(i, ty);
        return;
    }
    let dest = i.op0_register();
    let src = l.vec_source(i, 1);
    let r = if Lifter::is_mem(i, 1) {
        src
    } else {
        let a = l.read_xmm(dest);
        l.vec2(merge, a, src, 0)
    };
    l.write_xmm(dest, r);
}

/// `movd`, `movq`: the low lane, with the rest of an XMM destination cleared.
fn integer(l: &mut Lifter, i: &Instruction, ty: Ty) {
    let (dest, src) = (i.op0_register(), i.op1_register());
    if Lifter::is_mem(i, 0) {
        l.store_low(i, ty);
    } else if !dest.is_xmm() {
        let v = l.read_xmm(src);
        let x = l.vec_low(ty, v);
        l.write_gpr(dest, x);
    } else if src.is_xmm() {
        let v = l.read_xmm(src);
        let r = l.vec1(VecOp::MovqLow, v, 0);
        l.write_xmm(dest, r);
    } else {
        let x = l.read(i, 1);
        let op = if ty == Ty::I32 { VecOp::Movd } else { VecOp::Movq };
        let r = l.vec1(op, x, 0);
        l.write_xmm(dest, r);
    }
}

/// Moves between memory and one half of a register.
fn half(l: &mut Lifter, i: &Instruction, lane: u8) {
    let m = l.ea(i);
    if Lifter::is_mem(i, 0) {
        let v = l.read_xmm(i.op1_register());
        let x = l.b.vec(VecOp::Pextrq, Ty::I64, v, Val::NONE, Val::NONE, lane);
        l.b.store(Ty::I64, m, x);
    } else {
        let dest = i.op0_register();
        let x = l.b.load(Ty::I64, m);
        let a = l.read_xmm(dest);
        let r = l.vec2(VecOp::Pinsrq, a, x, lane);
        l.write_xmm(dest, r);
    }
}

/// Sign bits to a general register.
fn mask(l: &mut Lifter, i: &Instruction, op: VecOp) {
    let v = l.read_xmm(i.op1_register());
    let x = l.b.vec(op, Ty::I32, v, Val::NONE, Val::NONE, 0);
    l.write_gpr32(i.op0_register(), x);
}

/// `pinsr*`: the low part of a general register, or memory of that size.
fn insert(l: &mut Lifter, i: &Instruction, op: VecOp, ty: Ty) {
    let x = l.insert_source(i, 1, ty);
    let dest = i.op0_register();
    let a = l.read_xmm(dest);
    let r = l.vec2(op, a, x, i.immediate8());
    l.write_xmm(dest, r);
}

impl Lifter {
    /// Stores the low lane of operand 1.
    pub(in crate::lift) fn store_low(&mut self, i: &Instruction, ty: Ty) {
        let v = self.read_xmm(i.op1_register());
        let x = self.vec_low(ty, v);
        let m = self.ea(i);
        self.b.store(ty, m, x);
    }

    /// `pextr*`: zero-extended to a general register, or to memory of that size.
    pub(in crate::lift) fn extract_lane(&mut self, i: &Instruction, op: VecOp, ty: Ty) {
        let v = self.read_xmm(i.op1_register());
        let to_mem = Lifter::is_mem(i, 0);
        let ty = if to_mem || ty == Ty::I64 { ty } else { Ty::I32 };
        let x = self.b.vec(op, ty, v, Val::NONE, Val::NONE, i.immediate8());
        if to_mem {
            let m = self.ea(i);
            self.b.store(ty, m, x);
        } else if ty == Ty::I64 {
            self.write_gpr(i.op0_register(), x);
        } else {
            self.write_gpr32(i.op0_register(), x);
        }
    }

    /// Writes an i32 to a general register, clearing its upper half whatever width the
    /// instruction calls the register by.
    pub(in crate::lift) fn write_gpr32(&mut self, r: iced_x86::Register, v: Val) {
        self.b.put(Ty::I32, crate::state::slot::gpr(r.full_register().number()), v);
    }

    /// Operand `n` of the `pinsr` family, as an i32 or i64 whose low part counts.
    pub(in crate::lift) fn insert_source(&mut self, i: &Instruction, n: u32, ty: Ty) -> Val {
        let wide = if ty == Ty::I64 { Ty::I64 } else { Ty::I32 };
        if Lifter::is_mem(i, n) {
            let m = self.ea(i);
            let x = self.b.load(ty, m);
            return self.b.convert(Op::Zext, ty, wide, x);
        }
        let n = i.op_register(n).full_register().number();
        self.b.get(wide, crate::state::slot::gpr(n))
    }
}
