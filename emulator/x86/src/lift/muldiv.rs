//! Multiplication and division.

use emu_ir::{FlagKind, Op, Ty, Val};
use iced_x86::Instruction;

use super::Lifter;
use crate::state::{gpr, slot};

/// The accumulator's low half, and where the high half of a double-width value lives: AH for
/// bytes, else DX, EDX or RDX.
fn high_slot(ty: Ty) -> u32 {
    if ty == Ty::I8 { slot::gpr(gpr::RAX) + 1 } else { slot::gpr(gpr::RDX) }
}

/// `mul`.
pub(super) fn mul(l: &mut Lifter, i: &Instruction) {
    widening(l, i, Op::MulHiU, Op::Zext, FlagKind::MulU);
}

/// `imul` with one, two or three operands.
pub(super) fn imul(l: &mut Lifter, i: &Instruction) {
    if i.op_count() == 1 {
        widening(l, i, Op::MulHiS, Op::Sext, FlagKind::MulS);
        return;
    }
    let ty = l.op_ty(i, 0);
    let (a, b) = if i.op_count() == 3 { (1, 2) } else { (0, 1) };
    let a = l.read(i, a);
    let b = l.source(i, b, ty);
    let lo = l.b.bin(Op::Mul, ty, a, b);
    let hi = l.b.bin(Op::MulHiS, ty, a, b);
    l.write_gpr(i.op0_register(), lo);
    l.b.flags_set(FlagKind::MulS, ty, lo, hi, Val::NONE);
}

fn widening(l: &mut Lifter, i: &Instruction, high: Op, extend: Op, kind: FlagKind) {
    let ty = l.op_ty(i, 0);
    let rax = slot::gpr(gpr::RAX);
    let src = l.read(i, 0);
    let acc = l.b.get(ty, rax);
    if ty == Ty::I8 {
        let a = l.b.convert(extend, Ty::I8, Ty::I16, acc);
        let b = l.b.convert(extend, Ty::I8, Ty::I16, src);
        let product = l.b.bin(Op::Mul, Ty::I16, a, b);
        l.b.put(Ty::I16, rax, product);
        let lo = l.b.convert(Op::Trunc, Ty::I16, Ty::I8, product);
        let hi = l.b.bin(Op::Shr, Ty::I16, product, 8u64);
        let hi = l.b.convert(Op::Trunc, Ty::I16, Ty::I8, hi);
        l.b.flags_set(kind, ty, lo, hi, Val::NONE);
        return;
    }
    let lo = l.b.bin(Op::Mul, ty, acc, src);
    let hi = l.b.bin(high, ty, acc, src);
    l.b.put(ty, rax, lo);
    l.b.put(ty, high_slot(ty), hi);
    l.b.flags_set(kind, ty, lo, hi, Val::NONE);
}

/// `div`, `idiv`. The flags, which the manual leaves undefined, stay.
pub(super) fn div(l: &mut Lifter, i: &Instruction, quotient: Op, remainder: Op) {
    let ty = l.op_ty(i, 0);
    let rax = slot::gpr(gpr::RAX);
    let d = l.read(i, 0);
    let hi = l.b.get(ty, high_slot(ty));
    let lo = l.b.get(ty, rax);
    let q = l.b.div(quotient, ty, hi, lo, d);
    let r = l.b.div(remainder, ty, hi, lo, d);
    l.b.put(ty, rax, q);
    l.b.put(ty, high_slot(ty), r);
}
