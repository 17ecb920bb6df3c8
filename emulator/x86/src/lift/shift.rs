//! Shifts and rotates.

use emu_ir::{FlagKind, Op, Operand, Ty, Val, flags};
use iced_x86::Instruction;

use super::Lifter;
use crate::helper::Helper;

/// Direction of a rotate through carry or a double shift.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rotate {
    /// Towards the top bit.
    Left,
    /// Towards bit 0.
    Right,
}

/// The count operand `n`, masked as the processor does: modulo 64 for 64-bit operands, else 32.
fn count(l: &mut Lifter, i: &Instruction, n: u32, ty: Ty) -> Operand {
    let mask = if ty == Ty::I64 { 63 } else { 31 };
    match l.source(i, n, Ty::I8) {
        Operand::Imm(imm) => Operand::Imm(imm & mask),
        Operand::Val(v) => Operand::Val(l.b.bin(Op::And, Ty::I8, v, mask)),
    }
}

/// `shl`, `shr`, `sar`.
pub(super) fn shift(l: &mut Lifter, i: &Instruction, op: Op, kind: FlagKind) {
    let (ty, dst) = l.place(i, 0);
    let n = count(l, i, 1, ty);
    let old = l.load_place(ty, dst);
    let r = if n == Operand::Imm(0) { old } else { l.b.bin(op, ty, old, n) };
    l.store_place(ty, dst, r);
    if n != Operand::Imm(0) {
        l.b.flags_set(kind, ty, old, n, Val::NONE);
    }
}

/// `rol`, `ror`.
pub(super) fn rotate(l: &mut Lifter, i: &Instruction, op: Op, kind: FlagKind) {
    let (ty, dst) = l.place(i, 0);
    let n = count(l, i, 1, ty);
    let old = l.load_place(ty, dst);
    let r = if n == Operand::Imm(0) { old } else { l.b.bin(op, ty, old, n) };
    l.store_place(ty, dst, r);
    if n != Operand::Imm(0) {
        let keep = l.b.flags_get(kind.keeps());
        l.b.flags_set(kind, ty, r, n, keep);
    }
}

/// `rcl`, `rcr`.
pub(super) fn through_carry(l: &mut Lifter, i: &Instruction, direction: Rotate) {
    let (value, new_flags) = match direction {
        Rotate::Left => (Helper::Rcl, Helper::RclFlags),
        Rotate::Right => (Helper::Rcr, Helper::RcrFlags),
    };
    let (ty, dst) = l.place(i, 0);
    let n = count(l, i, 1, ty);
    let n = l.value(Ty::I8, n);
    let bits = l.b.iconst(Ty::I64, u64::from(ty.bits()));
    let old = l.load_place(ty, dst);
    let before = l.b.flags_get(flags::ALL);
    let r = l.helper(ty, value, &[old, n, before, bits]);
    let after = l.helper(Ty::I64, new_flags, &[old, n, before, bits]);
    l.store_place(ty, dst, r);
    l.b.flags_set(FlagKind::Raw, Ty::I64, after, 0, Val::NONE);
}

/// `shld`, `shrd`.
pub(super) fn double(l: &mut Lifter, i: &Instruction, direction: Rotate) {
    let (ty, dst) = l.place(i, 0);
    let n = count(l, i, 2, ty);
    let old = l.load_place(ty, dst);
    if n == Operand::Imm(0) {
        l.store_place(ty, dst, old);
        return;
    }
    let fill = l.read(i, 1);
    let r = if ty == Ty::I16 {
        double16(l, direction, old, fill, n)
    } else {
        double_wide(l, direction, ty, old, fill, n)
    };
    let before = l.b.flags_get(flags::ALL);
    let n = l.value(Ty::I8, n);
    let helper = match (direction, ty) {
        (Rotate::Left, Ty::I16) => Helper::Shld16Flags,
        (Rotate::Left, Ty::I32) => Helper::Shld32Flags,
        (Rotate::Left, _) => Helper::Shld64Flags,
        (Rotate::Right, Ty::I16) => Helper::Shrd16Flags,
        (Rotate::Right, Ty::I32) => Helper::Shrd32Flags,
        (Rotate::Right, _) => Helper::Shrd64Flags,
    };
    let after = l.helper(Ty::I64, helper, &[old, r, n, before]);
    l.store_place(ty, dst, r);
    l.b.flags_set(FlagKind::Raw, Ty::I64, after, 0, Val::NONE);
}

/// 32- and 64-bit double shifts. The other operand moves by width - n, done as 1 and then
/// width - 1 - n so that a count of 0 brings nothing in.
fn double_wide(l: &mut Lifter, dir: Rotate, ty: Ty, old: Val, fill: Val, n: Operand) -> Val {
    let (out, into) = match dir {
        Rotate::Left => (Op::Shl, Op::Shr),
        Rotate::Right => (Op::Shr, Op::Shl),
    };
    let width = u64::from(ty.bits());
    let kept = l.b.bin(out, ty, old, n);
    let brought = match n {
        Operand::Imm(n) => l.b.bin(into, ty, fill, width - n),
        Operand::Val(n) => {
            let once = l.b.bin(into, ty, fill, 1u64);
            let rest = l.b.bin(Op::Xor, Ty::I8, n, width - 1);
            l.b.bin(into, ty, once, rest)
        }
    };
    l.b.bin(Op::Or, ty, kept, brought)
}

/// 16-bit double shifts. Counts above 16 are undefined; the processor shifts old:fill:old.
fn double16(l: &mut Lifter, dir: Rotate, old: Val, fill: Val, n: Operand) -> Val {
    let old = l.zext64(Ty::I16, old);
    let fill = l.zext64(Ty::I16, fill);
    let high = l.b.bin(Op::Shl, Ty::I64, old, 32u64);
    let middle = l.b.bin(Op::Shl, Ty::I64, fill, 16u64);
    let all = l.b.bin(Op::Or, Ty::I64, high, middle);
    let all = l.b.bin(Op::Or, Ty::I64, all, old);
    let r = match dir {
        Rotate::Left => {
            let r = l.b.bin(Op::Shl, Ty::I64, all, n);
            l.b.bin(Op::Shr, Ty::I64, r, 32u64)
        }
        Rotate::Right => l.b.bin(Op::Shr, Ty::I64, all, n),
    };
    l.b.convert(Op::Trunc, Ty::I64, Ty::I16, r)
}
