//! BMI1, BMI2 and ADX.

use emu_ir::{Cond, FlagKind, Op, Ty, Val, flags};
use iced_x86::{Instruction, Register};

use super::Lifter;
use crate::helper::Helper;

/// Flags of a result that is not negative or zero by itself, and CF as given (an i8, 0 or 1).
fn flags_with_carry(l: &mut Lifter, ty: Ty, r: Val, carry: Val) {
    l.b.flags_set(FlagKind::Logic, ty, r, 0, Val::NONE);
    let keep = l.b.flags_get(FlagKind::Carry.keeps());
    l.b.flags_set(FlagKind::Carry, Ty::I8, carry, 0, keep);
}

/// `andn`.
pub(super) fn andn(l: &mut Lifter, i: &Instruction) {
    let ty = l.op_ty(i, 0);
    let b = l.read(i, 2);
    let a = l.read(i, 1);
    let a = l.b.un(Op::Not, ty, a);
    let r = l.b.bin(Op::And, ty, a, b);
    l.write_gpr(i.op0_register(), r);
    l.b.flags_set(FlagKind::Logic, ty, r, 0, Val::NONE);
}

/// What an instruction makes of the lowest bit set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lowest {
    /// `blsi`: only that bit; CF tells whether there is one.
    Isolate,
    /// `blsmsk`: all bits up to it; CF tells that there is none.
    Mask,
    /// `blsr`: the bits above it; CF tells that there is none.
    Reset,
}

/// `blsi`, `blsmsk`, `blsr`.
pub(super) fn lowest(l: &mut Lifter, i: &Instruction, what: Lowest) {
    let ty = l.op_ty(i, 0);
    let src = l.read(i, 1);
    let (r, carry) = match what {
        Lowest::Isolate => {
            let negated = l.b.un(Op::Neg, ty, src);
            (l.b.bin(Op::And, ty, src, negated), Cond::Ne)
        }
        Lowest::Mask | Lowest::Reset => {
            let below = l.b.bin(Op::Sub, ty, src, 1u64);
            let op = if what == Lowest::Mask { Op::Xor } else { Op::And };
            (l.b.bin(op, ty, src, below), Cond::E)
        }
    };
    l.write_gpr(i.op0_register(), r);
    let carry = l.b.cmp(carry, ty, src, 0u64);
    flags_with_carry(l, ty, r, carry);
}

/// `bextr`: a field given by start (bits 0 to 7) and length (bits 8 to 15) of the control operand.
pub(super) fn bextr(l: &mut Lifter, i: &Instruction) {
    let ty = l.op_ty(i, 0);
    let width = u64::from(ty.bits());
    let src = l.read(i, 1);
    let control = l.read_gpr(i.op2_register());
    let start = l.b.convert(Op::Trunc, ty, Ty::I8, control);
    let length = l.b.bin(Op::Shr, ty, control, 8u64);
    let length = l.b.convert(Op::Trunc, ty, Ty::I8, length);
    let zero = l.b.iconst(ty, 0);
    let shifted = l.b.bin(Op::Shr, ty, src, start);
    let inside = l.b.cmp(Cond::B, Ty::I8, start, width);
    let shifted = l.b.select(ty, inside, shifted, zero);
    let r = low_bits(l, ty, shifted, length);
    l.write_gpr(i.op0_register(), r);
    l.b.flags_set(FlagKind::Logic, ty, r, 0, Val::NONE);
}

/// The low `n` (an i8) bits of `v`; all if there are no more.
fn low_bits(l: &mut Lifter, ty: Ty, v: Val, n: Val) -> Val {
    let one = l.b.iconst(ty, 1);
    let mask = l.b.bin(Op::Shl, ty, one, n);
    let mask = l.b.bin(Op::Sub, ty, mask, 1u64);
    let some = l.b.bin(Op::And, ty, v, mask);
    let fewer = l.b.cmp(Cond::B, Ty::I8, n, u64::from(ty.bits()));
    l.b.select(ty, fewer, some, v)
}

/// `bzhi`: CF tells that the index reaches beyond the operand.
pub(super) fn bzhi(l: &mut Lifter, i: &Instruction) {
    let ty = l.op_ty(i, 0);
    let src = l.read(i, 1);
    let index = l.read_gpr(i.op2_register());
    let index = l.b.convert(Op::Trunc, ty, Ty::I8, index);
    let r = low_bits(l, ty, src, index);
    l.write_gpr(i.op0_register(), r);
    let carry = l.b.cmp(Cond::Ae, Ty::I8, index, u64::from(ty.bits()));
    flags_with_carry(l, ty, r, carry);
}

/// `mulx`: the high half goes to the first operand, also when both are the same register.
pub(super) fn mulx(l: &mut Lifter, i: &Instruction) {
    let ty = l.op_ty(i, 0);
    let b = l.read(i, 2);
    let a = l.read_gpr(if ty == Ty::I64 { Register::RDX } else { Register::EDX });
    let low = l.b.bin(Op::Mul, ty, a, b);
    let high = l.b.bin(Op::MulHiU, ty, a, b);
    l.write_gpr(i.op1_register(), low);
    l.write_gpr(i.op0_register(), high);
}

/// `rorx`.
pub(super) fn rorx(l: &mut Lifter, i: &Instruction) {
    let ty = l.op_ty(i, 0);
    let src = l.read(i, 1);
    let count = u64::from(i.immediate8()) & u64::from(ty.bits() - 1);
    let r = l.b.bin(Op::Ror, ty, src, count);
    l.write_gpr(i.op0_register(), r);
}

/// `sarx`, `shlx`, `shrx`.
pub(super) fn shift(l: &mut Lifter, i: &Instruction, op: Op) {
    let ty = l.op_ty(i, 0);
    let src = l.read(i, 1);
    let count = l.read_gpr(i.op2_register());
    let count = l.b.convert(Op::Trunc, ty, Ty::I8, count);
    let r = l.b.bin(op, ty, src, count);
    l.write_gpr(i.op0_register(), r);
}

/// `pdep`, `pext`.
pub(super) fn scatter(l: &mut Lifter, i: &Instruction, helper: Helper) {
    let ty = l.op_ty(i, 0);
    let mask = l.read(i, 2);
    let src = l.read_gpr(i.op1_register());
    let r = l.helper(ty, helper, &[src, mask]);
    l.write_gpr(i.op0_register(), r);
}

/// `adcx` (`overflow` false), `adox`: addition with carry in CF or OF, which alone changes.
pub(super) fn add_carry(l: &mut Lifter, i: &Instruction, overflow: bool) {
    let ty = l.op_ty(i, 0);
    let b = l.read(i, 1);
    let dest = i.op0_register();
    let a = l.read_gpr(dest);
    let carry = l.b.flags_cond(if overflow { Cond::O } else { Cond::B });
    let wide = l.b.convert(Op::Zext, Ty::I8, ty, carry);
    let sum = l.b.bin(Op::Add, ty, a, b);
    let first = l.b.cmp(Cond::B, ty, sum, a);
    let r = l.b.bin(Op::Add, ty, sum, wide);
    let second = l.b.cmp(Cond::B, ty, r, sum);
    let out = l.b.bin(Op::Or, Ty::I8, first, second);
    l.write_gpr(dest, r);
    if overflow {
        let keep = l.b.flags_get(flags::ALL & !flags::OF);
        let out = l.zext64(Ty::I8, out);
        let out = l.b.bin(Op::Shl, Ty::I64, out, u64::from(flags::OF.trailing_zeros()));
        let v = l.b.bin(Op::Or, Ty::I64, out, keep);
        l.b.flags_set(FlagKind::Raw, Ty::I64, v, 0, Val::NONE);
    } else {
        let keep = l.b.flags_get(FlagKind::Carry.keeps());
        l.b.flags_set(FlagKind::Carry, Ty::I8, out, 0, keep);
    }
}
