//! Decimal arithmetic of 32-bit code.

use emu_ir::{Cond, FlagKind, Op, TrapKind, Ty, Val, flags};
use iced_x86::Instruction;

use super::Lifter;
use crate::helper::Helper;
use crate::state::{gpr, slot};

/// `aaa`, `aas`, `daa`, `das`: the helper returns AX, and the flags from bit 16 on.
pub(super) fn adjust(l: &mut Lifter, helper: Helper) {
    let ax = l.b.get(Ty::I16, slot::gpr(gpr::RAX));
    let before = l.b.flags_get(flags::ALL);
    let both = l.helper(Ty::I64, helper, &[ax, before]);
    let ax = l.b.convert(Op::Trunc, Ty::I64, Ty::I16, both);
    l.b.put(Ty::I16, slot::gpr(gpr::RAX), ax);
    let after = l.b.bin(Op::Shr, Ty::I64, both, 16u64);
    l.b.flags_set(FlagKind::Raw, Ty::I64, after, 0, Val::NONE);
}

/// `aam`.
pub(super) fn aam(l: &mut Lifter, i: &Instruction) {
    let base = i.immediate8();
    if base == 0 {
        l.trap(TrapKind::DivideError);
        return;
    }
    let rax = slot::gpr(gpr::RAX);
    let al = l.b.get(Ty::I8, rax);
    let (zero, base) = (l.b.iconst(Ty::I8, 0), l.b.iconst(Ty::I8, u64::from(base)));
    let high = l.b.div(Op::DivU, Ty::I8, zero, al, base);
    let low = l.b.div(Op::RemU, Ty::I8, zero, al, base);
    l.b.put(Ty::I8, rax, low);
    l.b.put(Ty::I8, rax + 1, high);
    l.b.flags_set(FlagKind::Logic, Ty::I8, low, 0, Val::NONE);
}

/// `aad`.
pub(super) fn aad(l: &mut Lifter, i: &Instruction) {
    let rax = slot::gpr(gpr::RAX);
    let al = l.b.get(Ty::I8, rax);
    let ah = l.b.get(Ty::I8, rax + 1);
    let ah = l.b.bin(Op::Mul, Ty::I8, ah, u64::from(i.immediate8()));
    let sum = l.b.bin(Op::Add, Ty::I8, al, ah);
    let wide = l.b.convert(Op::Zext, Ty::I8, Ty::I16, sum);
    l.b.put(Ty::I16, rax, wide);
    l.b.flags_set(FlagKind::Logic, Ty::I8, sum, 0, Val::NONE);
}

/// `salc`: AL = CF ? 0xff : 0.
pub(super) fn salc(l: &mut Lifter) {
    let carry = l.b.flags_cond(Cond::B);
    let v = l.b.un(Op::Neg, Ty::I8, carry);
    l.b.put(Ty::I8, slot::gpr(gpr::RAX), v);
}
