//! SSE instructions that are not simply one op on vectors: immediate shifts, conversions from and
//! to integers, string comparison, MXCSR, masked stores.

use emu_ir::{Addr, FlagKind, Op, Ty, Val, VecOp};
use iced_x86::{Code, Instruction, Mnemonic as M, OpKind, Register};

use crate::helper::Helper;
use crate::lift::Lifter;
use crate::state::slot;

/// Lifts one of them; false when the instruction is not one.
pub(super) fn lift(l: &mut Lifter, i: &Instruction) -> bool {
    match i.mnemonic() {
        m @ (M::Psllw
        | M::Pslld
        | M::Psllq
        | M::Psrlw
        | M::Psrld
        | M::Psrlq
        | M::Psraw
        | M::Psrad
        | M::Pslldq
        | M::Psrldq) => shift(l, i, m),
        M::Insertps => insertps(l, i),
        M::Cvtsi2ss => from_int(l, i, VecOp::Cvtsi2ss32, VecOp::Cvtsi2ss64),
        M::Cvtsi2sd => from_int(l, i, VecOp::Cvtsi2sd32, VecOp::Cvtsi2sd64),
        M::Cvtss2si => to_int(l, i, VecOp::Cvtss2si),
        M::Cvttss2si => to_int(l, i, VecOp::Cvttss2si),
        M::Cvtsd2si => to_int(l, i, VecOp::Cvtsd2si),
        M::Cvttsd2si => to_int(l, i, VecOp::Cvttsd2si),
        M::Pcmpistri => string_index(l, i, Helper::Pcmpistri),
        M::Pcmpistrm => string_mask(l, i, Helper::Pcmpistrm),
        M::Pcmpestri | M::Pcmpestri64 => string_index(l, i, Helper::Pcmpestri),
        M::Pcmpestrm | M::Pcmpestrm64 => string_mask(l, i, Helper::Pcmpestrm),
        M::Ldmxcsr => ldmxcsr(l, i),
        M::Stmxcsr => stmxcsr(l, i),
        M::Maskmovdqu => maskmovdqu(l, i),
        _ => return false,
    }
    true
}

pub(in crate::lift) fn ldmxcsr(l: &mut Lifter, i: &Instruction) {
    let x = l.read(i, 0);
    l.helper(Ty::I64, Helper::Ldmxcsr, &[x]);
    // Whether vector ops can trap depends on the masks.
    l.end_block_after();
}

pub(in crate::lift) fn stmxcsr(l: &mut Lifter, i: &Instruction) {
    let x = l.helper(Ty::I32, Helper::Stmxcsr, &[]);
    l.write(i, 0, x);
}

pub(in crate::lift) fn maskmovdqu(l: &mut Lifter, i: &Instruction) {
    let data = l.read_xmm(i.op1_register());
    let mask = l.read_xmm(i.op2_register());
    l.masked_store(i, data, mask);
}

/// The op that shifts by a control byte, for a shift's mnemonic.
pub(in crate::lift) fn shift_by_imm(m: M) -> Option<VecOp> {
    Some(match m {
        M::Psllw => VecOp::Psllwi,
        M::Pslld => VecOp::Pslldi,
        M::Psllq => VecOp::Psllqi,
        M::Psrlw => VecOp::Psrlwi,
        M::Psrld => VecOp::Psrldi,
        M::Psrlq => VecOp::Psrlqi,
        M::Psraw => VecOp::Psrawi,
        M::Psrad => VecOp::Psradi,
        M::Pslldq => VecOp::Pslldq,
        M::Psrldq => VecOp::Psrldq,
        _ => return None,
    })
}

/// The op that shifts by a vector, for a shift's mnemonic.
pub(in crate::lift) fn shift_by_vector(m: M) -> Option<VecOp> {
    Some(match m {
        M::Psllw => VecOp::Psllw,
        M::Pslld => VecOp::Pslld,
        M::Psllq => VecOp::Psllq,
        M::Psrlw => VecOp::Psrlw,
        M::Psrld => VecOp::Psrld,
        M::Psrlq => VecOp::Psrlq,
        M::Psraw => VecOp::Psraw,
        M::Psrad => VecOp::Psrad,
        _ => return None,
    })
}

/// Whether a shift's count is in the instruction.
pub(in crate::lift) fn counts_by_imm(i: &Instruction) -> bool {
    i.op_kind(1) == OpKind::Immediate8
}

fn shift(l: &mut Lifter, i: &Instruction, m: M) {
    let dest = i.op0_register();
    let r = if counts_by_imm(i) {
        let Some(op) = shift_by_imm(m) else { return };
        let a = l.read_xmm(dest);
        l.vec1(op, a, i.immediate8())
    } else {
        let Some(op) = shift_by_vector(m) else { return };
        let count = l.vec_source(i, 1);
        let a = l.read_xmm(dest);
        l.vec2(op, a, count, 0)
    };
    l.write_xmm(dest, r);
}

/// A memory operand is the lane itself: the bits that choose a source lane do not count.
fn insertps(l: &mut Lifter, i: &Instruction) {
    let src = l.vec_source(i, 1);
    let imm = if Lifter::is_mem(i, 1) { i.immediate8() & 0x3f } else { i.immediate8() };
    let dest = i.op0_register();
    let a = l.read_xmm(dest);
    let r = l.vec2(VecOp::Insertps, a, src, imm);
    l.write_xmm(dest, r);
}

fn from_int(l: &mut Lifter, i: &Instruction, op32: VecOp, op64: VecOp) {
    let op = if l.op_ty(i, 1) == Ty::I64 { op64 } else { op32 };
    let x = l.read(i, 1);
    let dest = i.op0_register();
    let a = l.read_xmm(dest);
    let r = l.vec2(op, a, x, 0);
    l.write_xmm(dest, r);
}

fn to_int(l: &mut Lifter, i: &Instruction, op: VecOp) {
    let ty = l.op_ty(i, 0);
    let src = l.vec_source(i, 1);
    let x = l.b.vec(op, ty, src, Val::NONE, Val::NONE, 0);
    l.write_gpr(i.op0_register(), x);
}

/// Puts the operands of a string comparison where the helper takes them, calls it, and sets the
/// flags; the rest of its result.
fn string_compare(l: &mut Lifter, i: &Instruction, helper: Helper) -> Val {
    // Unlike other 16-byte operands, this one need not be aligned.
    let b = l.read_xmm_op(i, 1, false);
    let a = l.read_xmm(i.op0_register());
    l.b.put(Ty::V128, slot::scratch(0), a);
    l.b.put(Ty::V128, slot::scratch(1), b);
    let wide = matches!(
        i.code(),
        Code::Pcmpestri64_xmm_xmmm128_imm8
            | Code::Pcmpestrm64_xmm_xmmm128_imm8
            | Code::VEX_Vpcmpestri64_xmm_xmmm128_imm8
            | Code::VEX_Vpcmpestrm64_xmm_xmmm128_imm8
    );
    let imm = l.b.iconst(Ty::I64, u64::from(i.immediate8()));
    let mut args = vec![imm];
    if matches!(helper, Helper::Pcmpestri | Helper::Pcmpestrm) {
        for r in [Register::RAX, Register::RDX] {
            args.push(if wide {
                l.read_gpr(r)
            } else {
                let x = l.b.get(Ty::I32, slot::gpr(r.number()));
                l.b.convert(Op::Sext, Ty::I32, Ty::I64, x)
            });
        }
    }
    let packed = l.helper(Ty::I64, helper, &args);
    let flags = l.b.bin(Op::Shr, Ty::I64, packed, 32);
    l.b.flags_set(FlagKind::Raw, Ty::I64, flags, 0, Val::NONE);
    packed
}

pub(in crate::lift) fn string_index(l: &mut Lifter, i: &Instruction, helper: Helper) {
    let packed = string_compare(l, i, helper);
    let index = l.b.convert(Op::Trunc, Ty::I64, Ty::I32, packed);
    l.write_gpr32(Register::ECX, index);
}

pub(in crate::lift) fn string_mask(l: &mut Lifter, i: &Instruction, helper: Helper) {
    string_compare(l, i, helper);
    let mask = l.b.get(Ty::V128, slot::scratch(0));
    l.write_xmm(Register::XMM0, mask);
}

impl Lifter {
    /// Stores the bytes of `data` whose byte in `mask` has its top bit set at DS:rDI.
    pub(in crate::lift) fn masked_store(&mut self, i: &Instruction, data: Val, mask: Val) {
        let (offset_ty, wrap32) = match i.op0_kind() {
            OpKind::MemorySegRDI => (Ty::I64, false),
            OpKind::MemorySegEDI => (Ty::I32, true),
            _ => (Ty::I16, true),
        };
        let word = self.mode.word();
        let offset = self.b.get(offset_ty, slot::gpr(crate::state::gpr::RDI));
        let mut at = self.b.convert(Op::Zext, offset_ty, Ty::I64, offset);
        let segment = match i.memory_segment() {
            Register::FS => Some(slot::FS_BASE),
            Register::GS => Some(slot::GS_BASE),
            _ => None,
        };
        if let Some(segment) = segment {
            let base = self.b.get(word, segment);
            let wrap32 = wrap32 && word == Ty::I32;
            let sum = Addr { index: base, wrap32, ..Addr::base(at) };
            at = self.addr64_of(sum, wrap32);
        }
        let low = self.vec_low(Ty::I64, data);
        let high = self.b.vec(VecOp::Pextrq, Ty::I64, data, Val::NONE, Val::NONE, 1);
        let mask = self.b.vec(VecOp::Pmovmskb, Ty::I32, mask, Val::NONE, Val::NONE, 0);
        self.helper(Ty::I64, Helper::MaskedStore, &[at, low, high, mask]);
    }

    fn addr64_of(&mut self, sum: Addr, wrap32: bool) -> Val {
        let v = self.b.lea(Ty::I64, sum);
        if wrap32 { self.b.bin(Op::And, Ty::I64, v, 0xffff_ffff) } else { v }
    }
}
