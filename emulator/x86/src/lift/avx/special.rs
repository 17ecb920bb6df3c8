//! VEX-encoded instructions that are not simply one op on their operands.

use emu_ir::{Op, Ty, Val, VecOp};
use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};

use super::ty;
use crate::helper::Helper;
use crate::lift::Lifter;
use crate::lift::sse::special as sse;

/// Lifts one of them; false when the instruction is not one.
pub(super) fn lift(l: &mut Lifter, i: &Instruction) -> bool {
    match i.mnemonic() {
        M::Vpsllw => shift(l, i, VecOp::Psllw, VecOp::Psllwi),
        M::Vpslld => shift(l, i, VecOp::Pslld, VecOp::Pslldi),
        M::Vpsllq => shift(l, i, VecOp::Psllq, VecOp::Psllqi),
        M::Vpsrlw => shift(l, i, VecOp::Psrlw, VecOp::Psrlwi),
        M::Vpsrld => shift(l, i, VecOp::Psrld, VecOp::Psrldi),
        M::Vpsrlq => shift(l, i, VecOp::Psrlq, VecOp::Psrlqi),
        M::Vpsraw => shift(l, i, VecOp::Psraw, VecOp::Psrawi),
        M::Vpsrad => shift(l, i, VecOp::Psrad, VecOp::Psradi),
        M::Vpslldq => by_imm(l, i, VecOp::Pslldq),
        M::Vpsrldq => by_imm(l, i, VecOp::Psrldq),
        M::Vpermilps if i.op2_kind() == OpKind::Immediate8 => by_imm(l, i, VecOp::Vpermilpsi),
        M::Vpermilpd if i.op2_kind() == OpKind::Immediate8 => by_imm(l, i, VecOp::Vpermilpdi),
        M::Vinsertps => insertps(l, i),
        M::Vinsertf128 | M::Vinserti128 => insert_half(l, i),
        M::Vextractf128 | M::Vextracti128 => extract_half(l, i),
        M::Vbroadcastf128 | M::Vbroadcasti128 => broadcast_half(l, i),
        M::Vcvtps2ph => to_half_precision(l, i),
        M::Vcvtsi2ss => from_int(l, i, VecOp::Cvtsi2ss32, VecOp::Cvtsi2ss64),
        M::Vcvtsi2sd => from_int(l, i, VecOp::Cvtsi2sd32, VecOp::Cvtsi2sd64),
        M::Vcvtss2si => to_int(l, i, VecOp::Cvtss2si),
        M::Vcvttss2si => to_int(l, i, VecOp::Cvttss2si),
        M::Vcvtsd2si => to_int(l, i, VecOp::Cvtsd2si),
        M::Vcvttsd2si => to_int(l, i, VecOp::Cvttsd2si),
        M::Vpcmpistri => sse::string_index(l, i, Helper::Pcmpistri),
        M::Vpcmpestri | M::Vpcmpestri64 => sse::string_index(l, i, Helper::Pcmpestri),
        M::Vpcmpistrm => string_mask(l, i, Helper::Pcmpistrm),
        M::Vpcmpestrm | M::Vpcmpestrm64 => string_mask(l, i, Helper::Pcmpestrm),
        M::Vldmxcsr => sse::ldmxcsr(l, i),
        M::Vstmxcsr => sse::stmxcsr(l, i),
        M::Vmaskmovdqu => sse::maskmovdqu(l, i),
        _ => return false,
    }
    true
}

fn shift(l: &mut Lifter, i: &Instruction, by_vector: VecOp, by_control: VecOp) {
    if i.op2_kind() == OpKind::Immediate8 {
        return by_imm(l, i, by_control);
    }
    let dest = i.op0_register();
    let count = l.vex_source(i, 2);
    let a = l.read_vec(i.op1_register());
    let r = l.b.vec(by_vector, ty(dest), a, count, Val::NONE, 0);
    l.write_vec(dest, r);
}

/// One operand and a control byte.
fn by_imm(l: &mut Lifter, i: &Instruction, op: VecOp) {
    let dest = i.op0_register();
    let a = l.vex_source(i, 1);
    let r = l.b.vec(op, ty(dest), a, Val::NONE, Val::NONE, i.immediate8());
    l.write_vec(dest, r);
}

/// A memory operand is the lane itself: the bits that choose a source lane do not count.
fn insertps(l: &mut Lifter, i: &Instruction) {
    let src = l.vex_source(i, 2);
    let imm = if Lifter::is_mem(i, 2) { i.immediate8() & 0x3f } else { i.immediate8() };
    let a = l.read_xmm(i.op1_register());
    let r = l.vec2(VecOp::Insertps, a, src, imm);
    l.write_vec(i.op0_register(), r);
}

fn insert_half(l: &mut Lifter, i: &Instruction) {
    let src = l.vex_source(i, 2);
    let a = l.read_vec(i.op1_register());
    let r = l.b.vec(VecOp::Vinserti128, Ty::V256, a, src, Val::NONE, i.immediate8() & 1);
    l.write_vec(i.op0_register(), r);
}

fn extract_half(l: &mut Lifter, i: &Instruction) {
    let src = i.op1_register();
    let v = if i.immediate8() & 1 == 0 {
        l.read_xmm(src)
    } else {
        let a = l.read_vec(src);
        l.b.vec(VecOp::Vextracti128, Ty::V128, a, Val::NONE, Val::NONE, 1)
    };
    if Lifter::is_mem(i, 0) {
        let m = l.ea(i);
        l.b.store(Ty::V128, m, v);
    } else {
        l.write_vec(i.op0_register(), v);
    }
}

fn broadcast_half(l: &mut Lifter, i: &Instruction) {
    let v = l.vex_source(i, 1);
    let low = l.b.convert(Op::Zext, Ty::V128, Ty::V256, v);
    let r = l.b.vec(VecOp::Vinserti128, Ty::V256, low, v, Val::NONE, 1);
    l.write_vec(i.op0_register(), r);
}

fn to_half_precision(l: &mut Lifter, i: &Instruction) {
    let src = i.op1_register();
    let to_memory = Lifter::is_mem(i, 0);
    let stored = if ty(src) == Ty::V256 { Ty::V128 } else { Ty::I64 };
    // A store that faults must come before the exceptions the conversion leaves in MXCSR.
    let m = to_memory.then(|| l.ea(i));
    if let Some(m) = m {
        l.b.probe_write(stored, m);
    }
    let a = l.read_vec(src);
    let r = l.b.vec(VecOp::Vcvtps2ph, Ty::V128, a, Val::NONE, Val::NONE, i.immediate8());
    match m {
        Some(m) => {
            let x = if stored == Ty::I64 { l.vec_low(Ty::I64, r) } else { r };
            l.b.store(stored, m, x);
        }
        None => l.write_vec(i.op0_register(), r),
    }
}

fn from_int(l: &mut Lifter, i: &Instruction, op32: VecOp, op64: VecOp) {
    let op = if l.op_ty(i, 2) == Ty::I64 { op64 } else { op32 };
    let x = l.read(i, 2);
    let a = l.read_xmm(i.op1_register());
    let r = l.vec2(op, a, x, 0);
    l.write_vec(i.op0_register(), r);
}

fn to_int(l: &mut Lifter, i: &Instruction, op: VecOp) {
    let ty = l.op_ty(i, 0);
    let src = l.vex_source(i, 1);
    let x = l.b.vec(op, ty, src, Val::NONE, Val::NONE, 0);
    l.write_gpr(i.op0_register(), x);
}

fn string_mask(l: &mut Lifter, i: &Instruction, helper: Helper) {
    sse::string_mask(l, i, helper);
    l.clear_upper(Register::XMM0);
}
