//! Bitwise logic.

use emu_ir::{FlagKind, Op, RmwKind, Ty, Val};
use iced_x86::Instruction;

use super::Lifter;
use super::arith::same_register;
use super::place::Place;

/// `and`, `or`, `xor`.
pub(super) fn binary(l: &mut Lifter, i: &Instruction, op: Op, rmw: RmwKind) {
    let (ty, dst) = l.place(i, 0);
    let r = if same_register(i) {
        let r = if op == Op::Xor { l.b.iconst(ty, 0) } else { l.load_place(ty, dst) };
        // `or r32, r32` still clears the upper half of the register.
        if op == Op::Xor || ty == Ty::I32 {
            l.store_place(ty, dst, r);
        }
        r
    } else {
        let src = l.source(i, 1, ty);
        if let (Place::Mem(m), true) = (dst, i.has_lock_prefix()) {
            let addr = l.addr_value(m);
            let v = l.value(ty, src);
            let old = l.b.rmw(rmw, ty, addr, v);
            l.b.bin(op, ty, old, src)
        } else {
            let old = l.load_place(ty, dst);
            let r = l.b.bin(op, ty, old, src);
            l.store_place(ty, dst, r);
            r
        }
    };
    l.b.flags_set(FlagKind::Logic, ty, r, 0, Val::NONE);
}

/// `test`.
pub(super) fn test(l: &mut Lifter, i: &Instruction) {
    let (ty, dst) = l.place(i, 0);
    let a = l.load_place(ty, dst);
    let r = if same_register(i) {
        a
    } else {
        let src = l.source(i, 1, ty);
        l.b.bin(Op::And, ty, a, src)
    };
    l.b.flags_set(FlagKind::Logic, ty, r, 0, Val::NONE);
}

/// `not`.
pub(super) fn not(l: &mut Lifter, i: &Instruction) {
    let (ty, dst) = l.place(i, 0);
    if let (Place::Mem(m), true) = (dst, i.has_lock_prefix()) {
        let addr = l.addr_value(m);
        let ones = l.b.iconst(ty, u64::MAX);
        l.b.rmw(RmwKind::Xor, ty, addr, ones);
    } else {
        let old = l.load_place(ty, dst);
        let r = l.b.un(Op::Not, ty, old);
        l.store_place(ty, dst, r);
    }
}
