//! Addition, subtraction, comparison.

use emu_ir::{Cond, FlagKind, Op, Operand, RmwKind, Ty, Val};
use iced_x86::{Instruction, OpKind};

use super::Lifter;
use super::place::Place;
use crate::helper::Helper;

/// Whether both operands are the same register.
pub(super) fn same_register(i: &Instruction) -> bool {
    i.op0_kind() == OpKind::Register
        && i.op1_kind() == OpKind::Register
        && i.op0_register() == i.op1_register()
}

/// `add`, `sub`.
pub(super) fn binary(l: &mut Lifter, i: &Instruction, op: Op, kind: FlagKind, rmw: RmwKind) {
    let (ty, dst) = l.place(i, 0);
    if op == Op::Sub && same_register(i) {
        let zero = l.b.iconst(ty, 0);
        l.store_place(ty, dst, zero);
        l.b.flags_set(FlagKind::Logic, ty, zero, 0, Val::NONE);
        return;
    }
    let src = l.source(i, 1, ty);
    let old = if let (Place::Mem(m), true) = (dst, i.has_lock_prefix()) {
        let addr = l.addr_value(m);
        let v = l.value(ty, src);
        l.b.rmw(rmw, ty, addr, v)
    } else {
        let old = l.load_place(ty, dst);
        let r = l.b.bin(op, ty, old, src);
        l.store_place(ty, dst, r);
        old
    };
    l.b.flags_set(kind, ty, old, src, Val::NONE);
}

/// `adc`, `sbb`.
pub(super) fn with_carry(l: &mut Lifter, i: &Instruction, op: Op, kind: FlagKind, rmw: RmwKind) {
    let (ty, dst) = l.place(i, 0);
    let src = l.source(i, 1, ty);
    let carry = l.b.flags_cond(Cond::B);
    let wide = l.b.convert(Op::Zext, Ty::I8, ty, carry);
    let old = if let (Place::Mem(m), true) = (dst, i.has_lock_prefix()) {
        // Adding source and carry in one go leaves the same sum; the flags come from the parts.
        let sum = l.b.bin(Op::Add, ty, wide, src);
        let addr = l.addr_value(m);
        l.b.rmw(rmw, ty, addr, sum)
    } else {
        let old = l.load_place(ty, dst);
        let r = l.b.bin(op, ty, old, src);
        let r = l.b.bin(op, ty, r, wide);
        l.store_place(ty, dst, r);
        old
    };
    l.b.flags_set(kind, ty, old, src, carry);
}

/// `cmp`.
pub(super) fn cmp(l: &mut Lifter, i: &Instruction) {
    let (ty, dst) = l.place(i, 0);
    let src = l.source(i, 1, ty);
    let a = l.load_place(ty, dst);
    l.b.flags_set(FlagKind::Sub, ty, a, src, Val::NONE);
}

/// `inc`, `dec`.
pub(super) fn step(l: &mut Lifter, i: &Instruction, op: Op, kind: FlagKind, rmw: RmwKind) {
    let (ty, dst) = l.place(i, 0);
    let carry = l.b.flags_cond(Cond::B);
    let r = if let (Place::Mem(m), true) = (dst, i.has_lock_prefix()) {
        let addr = l.addr_value(m);
        let one = l.b.iconst(ty, 1);
        let old = l.b.rmw(rmw, ty, addr, one);
        l.b.bin(op, ty, old, Operand::Imm(1))
    } else {
        let old = l.load_place(ty, dst);
        let r = l.b.bin(op, ty, old, Operand::Imm(1));
        l.store_place(ty, dst, r);
        r
    };
    l.b.flags_set(kind, ty, r, 0, carry);
}

/// `neg`.
pub(super) fn neg(l: &mut Lifter, i: &Instruction) {
    let (ty, dst) = l.place(i, 0);
    let old = if let (Place::Mem(m), true) = (dst, i.has_lock_prefix()) {
        let addr = l.addr64(m);
        let size = l.b.iconst(Ty::I64, u64::from(ty.bytes()));
        l.helper(ty, Helper::LockNeg, &[addr, size])
    } else {
        let old = l.load_place(ty, dst);
        let r = l.b.un(Op::Neg, ty, old);
        l.store_place(ty, dst, r);
        old
    };
    let zero = l.b.iconst(ty, 0);
    l.b.flags_set(FlagKind::Sub, ty, zero, old, Val::NONE);
}
