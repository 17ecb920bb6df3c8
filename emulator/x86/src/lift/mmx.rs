//! MMX instructions, those of SSE to SSSE3 on MMX registers included.
//!
//! An MMX value is held as a vector whose upper half is zero. Every instruction leaves the x87 stack
//! with top 0 and all registers valid (`emms`: empty), and a register it writes with all ones in
//! the exponent (SDM vol. 1, 9.6.2).

use emu_ir::{Op, Ty, Val, VecOp};
use iced_x86::{Instruction, Mnemonic as M, Register};

use super::Lifter;
use super::sse::{same_name, special};
use crate::helper::Helper;
use crate::state::slot;

/// Lifts one instruction of this family; false when it is not one.
pub(super) fn lift(l: &mut Lifter, i: &Instruction) -> bool {
    let converts = matches!(i.mnemonic(), M::Cvtpi2ps | M::Cvtpi2pd);
    let has_mm = i.op0_register().is_mm() || i.op1_register().is_mm();
    if converts && Lifter::is_mem(i, 1) {
        // Touches no MMX register, so it is no MMX instruction to the x87 unit.
        return conversions(l, i);
    }
    if i.mnemonic() == M::Emms {
        wait(l);
        set_stack(l, 0);
        return true;
    }
    if !has_mm {
        return false;
    }
    let start = l.b.len();
    wait(l);
    let done = moves(l, i) || conversions(l, i) || arithmetic(l, i);
    if done {
        set_stack(l, 0xff);
    } else {
        l.b.truncate(start);
    }
    done
}

/// Raises a pending x87 exception. None can be pending after another MMX instruction of the block
/// unless something was called in between.
fn wait(l: &mut Lifter) {
    for n in (0..l.b.len()).rev() {
        let inst = l.b.def(Val(n as u16));
        match inst.op {
            Op::Put if inst.imm == u64::from(slot::X87_VALID) => return,
            Op::Call => break,
            _ => {}
        }
    }
    l.helper(Ty::I64, Helper::X87Wait, &[]);
}

/// Leaves the x87 stack with top 0 and these registers valid.
fn set_stack(l: &mut Lifter, valid: u64) {
    let top = l.b.iconst(Ty::I16, 0);
    l.b.put(Ty::I16, slot::X87_TOP, top);
    let valid = l.b.iconst(Ty::I8, valid);
    l.b.put(Ty::I8, slot::X87_VALID, valid);
}

fn read_mm_int(l: &mut Lifter, r: Register) -> Val {
    l.b.get(Ty::I64, slot::mmx(r.number()))
}

/// An MMX register as a vector.
fn read_mm(l: &mut Lifter, r: Register) -> Val {
    let x = read_mm_int(l, r);
    l.vec1(VecOp::Movq, x, 0)
}

fn write_mm_int(l: &mut Lifter, r: Register, x: Val) {
    let at = slot::mmx(r.number());
    l.b.put(Ty::I64, at, x);
    let ones = l.b.iconst(Ty::I16, 0xffff);
    l.b.put(Ty::I16, at + 8, ones);
}

/// Writes the low half of a vector to an MMX register.
fn write_mm(l: &mut Lifter, r: Register, v: Val) {
    let x = l.vec_low(Ty::I64, v);
    write_mm_int(l, r, x);
}

/// Operand `n`, an MMX or XMM register or memory of the operand's own size, as a vector.
fn source(l: &mut Lifter, i: &Instruction, n: u32) -> Val {
    if !Lifter::is_mem(i, n) && i.op_register(n).is_mm() {
        read_mm(l, i.op_register(n))
    } else {
        l.vec_source(i, n)
    }
}

fn moves(l: &mut Lifter, i: &Instruction) -> bool {
    let (dest, src) = (i.op0_register(), i.op1_register());
    match i.mnemonic() {
        m @ (M::Movd | M::Movq | M::Movntq) => {
            let ty = if m == M::Movd { Ty::I32 } else { Ty::I64 };
            if dest.is_mm() {
                let x = if src.is_mm() { read_mm_int(l, src) } else { l.read(i, 1) };
                let x = l.b.convert(Op::Zext, ty, Ty::I64, x);
                write_mm_int(l, dest, x);
            } else {
                let x = l.b.get(ty, slot::mmx(src.number()));
                l.write(i, 0, x);
            }
        }
        M::Movq2dq => {
            let v = read_mm(l, src);
            l.write_xmm(dest, v);
        }
        M::Movdq2q => {
            let v = l.read_xmm(src);
            write_mm(l, dest, v);
        }
        M::Pinsrw => {
            let x = l.insert_source(i, 1, Ty::I16);
            let a = read_mm(l, dest);
            let r = l.vec2(VecOp::Pinsrw, a, x, i.immediate8() & 3);
            write_mm(l, dest, r);
        }
        M::Pextrw => {
            let v = read_mm(l, src);
            let imm = i.immediate8() & 3;
            let x = l.b.vec(VecOp::Pextrw, Ty::I32, v, Val::NONE, Val::NONE, imm);
            l.write_gpr32(dest, x);
        }
        M::Pmovmskb => {
            let v = read_mm(l, src);
            let x = l.b.vec(VecOp::Pmovmskb, Ty::I32, v, Val::NONE, Val::NONE, 0);
            l.write_gpr32(dest, x);
        }
        M::Maskmovq => {
            let data = read_mm(l, src);
            let mask = read_mm(l, i.op2_register());
            l.masked_store(i, data, mask);
        }
        _ => return false,
    }
    true
}

fn conversions(l: &mut Lifter, i: &Instruction) -> bool {
    let dest = i.op0_register();
    // The upper lanes of the sources are zero, which converts without an exception.
    let low = |l: &mut Lifter, i: &Instruction| {
        let v = l.vec_source(i, 1);
        if Lifter::is_mem(i, 1) { v } else { l.vec1(VecOp::MovqLow, v, 0) }
    };
    match i.mnemonic() {
        M::Cvtpi2ps => {
            let v = source(l, i, 1);
            let v = l.vec1(VecOp::Cvtdq2ps, v, 0);
            let a = l.read_xmm(dest);
            let r = l.vec2(VecOp::Movsd, a, v, 0);
            l.write_xmm(dest, r);
        }
        M::Cvtpi2pd => {
            let v = source(l, i, 1);
            let r = l.vec1(VecOp::Cvtdq2pd, v, 0);
            l.write_xmm(dest, r);
        }
        M::Cvtps2pi => {
            let v = low(l, i);
            let r = l.vec1(VecOp::Cvtps2dq, v, 0);
            write_mm(l, dest, r);
        }
        M::Cvttps2pi => {
            let v = low(l, i);
            let r = l.vec1(VecOp::Cvttps2dq, v, 0);
            write_mm(l, dest, r);
        }
        M::Cvtpd2pi => {
            let v = l.vec_source(i, 1);
            let r = l.vec1(VecOp::Cvtpd2dq, v, 0);
            write_mm(l, dest, r);
        }
        M::Cvttpd2pi => {
            let v = l.vec_source(i, 1);
            let r = l.vec1(VecOp::Cvttpd2dq, v, 0);
            write_mm(l, dest, r);
        }
        _ => return false,
    }
    true
}

/// Instructions whose result is the low half of a vector op, or of a few.
fn arithmetic(l: &mut Lifter, i: &Instruction) -> bool {
    let dest = i.op0_register();
    let m = i.mnemonic();
    let r = if let Some(op) = special::shift_by_imm(m).filter(|_| special::counts_by_imm(i)) {
        let a = read_mm(l, dest);
        l.vec1(op, a, i.immediate8())
    } else if m == M::Pshufw {
        let v = source(l, i, 1);
        l.vec1(VecOp::Pshuflw, v, i.immediate8())
    } else if let Some(op) = special::shift_by_vector(m).or_else(|| same_name(m)) {
        let b = source(l, i, 1);
        if matches!(m, M::Pabsb | M::Pabsw | M::Pabsd) {
            l.vec1(op, b, 0)
        } else {
            let a = read_mm(l, dest);
            combine(l, m, op, a, b, i)
        }
    } else {
        return false;
    };
    write_mm(l, dest, r);
    true
}

/// The vector whose low half is the result of the MMX form of `op` on the low halves of a and b.
fn combine(l: &mut Lifter, m: M, op: VecOp, a: Val, b: Val, i: &Instruction) -> Val {
    match m {
        // Lanes come first from a, then from b.
        M::Packsswb
        | M::Packssdw
        | M::Packuswb
        | M::Phaddw
        | M::Phaddd
        | M::Phaddsw
        | M::Phsubw
        | M::Phsubd
        | M::Phsubsw => {
            let both = l.vec2(VecOp::Punpcklqdq, a, b, 0);
            l.vec2(op, both, both, 0)
        }
        M::Palignr => {
            let both = l.vec2(VecOp::Punpcklqdq, b, a, 0);
            l.vec1(VecOp::Psrldq, both, i.immediate8())
        }
        // The upper half of what the low form gives for whole registers.
        M::Punpckhbw => unpack_high(l, VecOp::Punpcklbw, a, b),
        M::Punpckhwd => unpack_high(l, VecOp::Punpcklwd, a, b),
        M::Punpckhdq => unpack_high(l, VecOp::Punpckldq, a, b),
        // Indices are taken modulo 8.
        M::Pshufb => {
            let x = l.b.iconst(Ty::I64, 0x8787_8787_8787_8787);
            let index_bits = l.vec1(VecOp::Movq, x, 0);
            let b = l.vec2(VecOp::Pand, b, index_bits, 0);
            l.vec2(op, a, b, 0)
        }
        _ => l.vec2(op, a, b, 0),
    }
}

fn unpack_high(l: &mut Lifter, low: VecOp, a: Val, b: Val) -> Val {
    let all = l.vec2(low, a, b, 0);
    l.vec1(VecOp::Psrldq, all, 8)
}
