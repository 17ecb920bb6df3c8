//! VEX-encoded moves between vector registers, memory and general registers.

use emu_ir::{Addr, Ty, Val, VecOp};
use iced_x86::{Instruction, Mnemonic as M, Register};

use super::ty;
use crate::lift::Lifter;
use crate::state::slot;

/// Lifts a move; false when the instruction is not one.
pub(super) fn lift(l: &mut Lifter, i: &Instruction) -> bool {
    match i.mnemonic() {
        M::Vmovaps | M::Vmovapd | M::Vmovdqa | M::Vmovntdqa => whole(l, i, true),
        M::Vmovups | M::Vmovupd | M::Vmovdqu | M::Vlddqu => whole(l, i, false),
        M::Vmovntps | M::Vmovntpd | M::Vmovntdq => whole(l, i, true),
        M::Vmovss => scalar(l, i, Ty::I32, VecOp::Movss),
        M::Vmovsd => scalar(l, i, Ty::I64, VecOp::Movsd),
        M::Vmovd => integer(l, i, Ty::I32),
        M::Vmovq => integer(l, i, Ty::I64),
        M::Vmovlps | M::Vmovlpd => half(l, i, 0),
        M::Vmovhps | M::Vmovhpd => half(l, i, 1),
        M::Vmovmskps => mask(l, i, VecOp::Movmskps),
        M::Vmovmskpd => mask(l, i, VecOp::Movmskpd),
        M::Vpmovmskb => mask(l, i, VecOp::Pmovmskb),
        M::Vpinsrb => insert(l, i, VecOp::Pinsrb, Ty::I8),
        M::Vpinsrw => insert(l, i, VecOp::Pinsrw, Ty::I16),
        M::Vpinsrd => insert(l, i, VecOp::Pinsrd, Ty::I32),
        M::Vpinsrq => insert(l, i, VecOp::Pinsrq, Ty::I64),
        M::Vpextrb => l.extract_lane(i, VecOp::Pextrb, Ty::I8),
        M::Vpextrw => l.extract_lane(i, VecOp::Pextrw, Ty::I16),
        M::Vpextrd | M::Vextractps => l.extract_lane(i, VecOp::Pextrd, Ty::I32),
        M::Vpextrq => l.extract_lane(i, VecOp::Pextrq, Ty::I64),
        M::Vzeroupper => zero(l, 16),
        M::Vzeroall => zero(l, 0),
        _ => return false,
    }
    true
}

/// A move of a whole register.
fn whole(l: &mut Lifter, i: &Instruction, aligned: bool) {
    if Lifter::is_mem(i, 0) {
        let src = i.op1_register();
        let v = l.read_vec(src);
        let m = l.ea(i);
        l.b.store(ty(src), Addr { aligned, ..m }, v);
        return;
    }
    let dest = i.op0_register();
    let v = if Lifter::is_mem(i, 1) {
        let m = l.ea(i);
        l.b.load(ty(dest), Addr { aligned, ..m })
    } else {
        l.read_vec(i.op1_register())
    };
    l.write_vec(dest, v);
}

/// `vmovss`, `vmovsd`: between registers the low lane of one and the rest of another.
fn scalar(l: &mut Lifter, i: &Instruction, lane: Ty, merge: VecOp) {
    if Lifter::is_mem(i, 0) {
        l.store_low(i, lane);
        return;
    }
    let r = if Lifter::is_mem(i, 1) {
        l.vex_source(i, 1)
    } else {
        let (a, b) = (l.read_xmm(i.op1_register()), l.read_xmm(i.op2_register()));
        l.vec2(merge, a, b, 0)
    };
    l.write_vec(i.op0_register(), r);
}

/// `vmovd`, `vmovq`: the low lane.
fn integer(l: &mut Lifter, i: &Instruction, lane: Ty) {
    let (dest, src) = (i.op0_register(), i.op1_register());
    if Lifter::is_mem(i, 0) {
        l.store_low(i, lane);
    } else if !dest.is_xmm() {
        let v = l.read_xmm(src);
        let x = l.vec_low(lane, v);
        l.write_gpr(dest, x);
    } else {
        let r = if src.is_xmm() {
            let v = l.read_xmm(src);
            l.vec1(VecOp::MovqLow, v, 0)
        } else {
            let x = l.read(i, 1);
            l.vec1(if lane == Ty::I32 { VecOp::Movd } else { VecOp::Movq }, x, 0)
        };
        l.write_vec(dest, r);
    }
}

/// Moves between memory and one half of an XMM register; a load takes the other half from another
/// register.
fn half(l: &mut Lifter, i: &Instruction, lane: u8) {
    let m = l.ea(i);
    if Lifter::is_mem(i, 0) {
        let v = l.read_xmm(i.op1_register());
        let x = l.b.vec(VecOp::Pextrq, Ty::I64, v, Val::NONE, Val::NONE, lane);
        l.b.store(Ty::I64, m, x);
    } else {
        let x = l.b.load(Ty::I64, m);
        let a = l.read_xmm(i.op1_register());
        let r = l.vec2(VecOp::Pinsrq, a, x, lane);
        l.write_vec(i.op0_register(), r);
    }
}

/// Sign bits to a general register.
fn mask(l: &mut Lifter, i: &Instruction, op: VecOp) {
    let v = l.read_vec(i.op1_register());
    let x = l.b.vec(op, Ty::I32, v, Val::NONE, Val::NONE, 0);
    l.write_gpr32(i.op0_register(), x);
}

/// `vpinsr*`: the low part of a general register, or memory of that size.
fn insert(l: &mut Lifter, i: &Instruction, op: VecOp, lane: Ty) {
    let x = l.insert_source(i, 2, lane);
    let a = l.read_xmm(i.op1_register());
    let r = l.vec2(op, a, x, i.immediate8());
    l.write_vec(i.op0_register(), r);
}

/// `vzeroupper`, `vzeroall`: clears the vector registers of the mode from byte `from` on.
fn zero(l: &mut Lifter, from: u32) {
    let ty = if from == 0 { Ty::V256 } else { Ty::V128 };
    let zero = l.b.vzero(ty);
    let count = if l.mode == crate::Mode::Bits64 { 16 } else { 8 };
    for n in 0..count {
        l.b.put(ty, slot::vec(n) + from, zero);
    }
}

impl Lifter {
    /// Clears the upper half of a YMM register.
    pub(super) fn clear_upper(&mut self, r: Register) {
        let zero = self.b.vzero(Ty::V128);
        self.b.put(Ty::V128, slot::vec(r.number()) + 16, zero);
    }
}
