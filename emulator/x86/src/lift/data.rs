//! Data movement.

use emu_ir::{Addr, Cond, Op, TrapKind, Ty, Val};
use iced_x86::{Instruction, OpKind, Register};

use super::operand::{int_ty, segment_number};
use super::place::Place;
use super::{Lifter, Mode};
use crate::helper::Helper;
use crate::state::{gpr, seg, slot};

/// `mov` (general registers, memory, immediates, moffs, segment registers) and `movnti`; false for
/// control and debug registers in the sense that they trap elsewhere.
pub(super) fn mov(l: &mut Lifter, i: &Instruction) -> bool {
    let (dst, src) = (i.op0_register(), i.op1_register());
    let system = |r: Register| r.is_cr() || r.is_dr() || r.is_tr();
    if system(dst) || system(src) {
        l.trap(TrapKind::Protection);
    } else if dst.is_segment_register() {
        mov_to_segment(l, i);
    } else if src.is_segment_register() {
        mov_from_segment(l, i);
    } else {
        let (ty, dst) = l.place(i, 0);
        let src = l.source(i, 1, ty);
        let v = l.value(ty, src);
        l.store_place(ty, dst, v);
    }
    true
}

/// Loads selector `v` (an i16) into segment register `number`; faults as the processor would.
pub(super) fn load_segment(l: &mut Lifter, number: usize, v: Val) {
    let number = l.b.iconst(Ty::I64, number as u64);
    let helper = match l.mode {
        Mode::Bits32 => Helper::LoadSegment32,
        Mode::Bits64 => Helper::LoadSegment64,
    };
    let selector = l.zext64(Ty::I16, v);
    l.helper(Ty::I64, helper, &[number, selector]);
}

fn mov_to_segment(l: &mut Lifter, i: &Instruction) {
    let number = segment_number(i.op0_register());
    if number == seg::CS {
        l.trap(TrapKind::InvalidOpcode);
        return;
    }
    let v = if i.op1_kind() == OpKind::Register {
        l.b.get(Ty::I16, slot::gpr(i.op1_register().full_register().number()))
    } else {
        let m = l.ea(i);
        l.b.load(Ty::I16, m)
    };
    load_segment(l, number, v);
}

fn mov_from_segment(l: &mut Lifter, i: &Instruction) {
    let v = l.b.get(Ty::I16, slot::selector(segment_number(i.op1_register())));
    if i.op0_kind() == OpKind::Register {
        let dst = i.op0_register();
        let v = l.b.convert(Op::Zext, Ty::I16, int_ty(dst.size()), v);
        l.write_gpr(dst, v);
    } else {
        let m = l.ea(i);
        l.b.store(Ty::I16, m, v);
    }
}

/// `movzx`, `movsx`, `movsxd`.
pub(super) fn extend(l: &mut Lifter, i: &Instruction, op: Op) {
    let (to, from) = (l.op_ty(i, 0), l.op_ty(i, 1));
    let v = l.read(i, 1);
    let v = if to.bytes() < from.bytes() {
        l.b.convert(Op::Trunc, from, to, v)
    } else {
        l.b.convert(op, from, to, v)
    };
    l.write_gpr(i.op0_register(), v);
}

/// `lea`.
pub(super) fn lea(l: &mut Lifter, i: &Instruction) {
    let ty = l.op_ty(i, 0);
    let m = l.offset(i);
    let (from, v) = address(l, m);
    let op = if ty.bytes() < from.bytes() { Op::Trunc } else { Op::Zext };
    let v = l.b.convert(op, from, ty, v);
    l.write_gpr(i.op0_register(), v);
}

/// An address as a value of its own width.
fn address(l: &mut Lifter, m: Addr) -> (Ty, Val) {
    let ty = if m.wrap32 { Ty::I32 } else { Ty::I64 };
    let bare = m.index == Val::NONE && m.disp == 0 && m.base.is_some();
    let v = if bare {
        m.base
    } else if m.index == Val::NONE && m.base == Val::NONE {
        l.b.iconst(ty, i64::from(m.disp) as u64)
    } else {
        l.b.lea(ty, m)
    };
    (ty, v)
}

/// `movbe`.
pub(super) fn movbe(l: &mut Lifter, i: &Instruction) {
    let ty = l.op_ty(i, 0);
    let v = l.read(i, 1);
    let v = l.b.un(Op::Bswap, ty, v);
    l.write(i, 0, v);
}

/// `bswap`; the 16-bit form is undefined and gives 0 as processors do.
pub(super) fn bswap(l: &mut Lifter, i: &Instruction) {
    let r = i.op0_register();
    let ty = l.op_ty(i, 0);
    let v = if ty == Ty::I16 {
        l.b.iconst(ty, 0)
    } else {
        let v = l.read_gpr(r);
        l.b.un(Op::Bswap, ty, v)
    };
    l.write_gpr(r, v);
}

/// `cbw`, `cwde`, `cdqe`.
pub(super) fn sign_extend_acc(l: &mut Lifter, i: &Instruction) {
    use iced_x86::Mnemonic as M;
    let (from, to) = match i.mnemonic() {
        M::Cbw => (Ty::I8, Ty::I16),
        M::Cwde => (Ty::I16, Ty::I32),
        _ => (Ty::I32, Ty::I64),
    };
    let rax = slot::gpr(gpr::RAX);
    let v = l.b.get(from, rax);
    let v = l.b.convert(Op::Sext, from, to, v);
    l.b.put(to, rax, v);
}

/// `cwd`, `cdq`, `cqo`.
pub(super) fn sign_fill_dx(l: &mut Lifter, i: &Instruction) {
    use iced_x86::Mnemonic as M;
    let ty = match i.mnemonic() {
        M::Cwd => Ty::I16,
        M::Cdq => Ty::I32,
        _ => Ty::I64,
    };
    let v = l.b.get(ty, slot::gpr(gpr::RAX));
    let v = l.b.bin(Op::Sar, ty, v, u64::from(ty.bits() - 1));
    l.b.put(ty, slot::gpr(gpr::RDX), v);
}

/// `xlat`.
pub(super) fn xlat(l: &mut Lifter, i: &Instruction) {
    let base = i.memory_base();
    let ty = int_ty(base.size());
    let index = l.b.get(Ty::I8, slot::gpr(gpr::RAX));
    let index = l.b.convert(Op::Zext, Ty::I8, if ty == Ty::I16 { Ty::I32 } else { ty }, index);
    let m = if ty == Ty::I16 {
        let bx = l.b.get(Ty::I32, slot::gpr(gpr::RBX));
        let sum = l.b.bin(Op::Add, Ty::I32, bx, index);
        let sum = l.b.bin(Op::And, Ty::I32, sum, 0xffff);
        Addr { wrap32: true, ..Addr::base(sum) }
    } else {
        let bx = l.b.get(ty, slot::gpr(gpr::RBX));
        Addr { index, wrap32: ty == Ty::I32, ..Addr::base(bx) }
    };
    let m = l.with_segment(i, m);
    let v = l.b.load(Ty::I8, m);
    l.b.put(Ty::I8, slot::gpr(gpr::RAX), v);
}

/// `setcc`.
pub(super) fn setcc(l: &mut Lifter, i: &Instruction, cond: Cond) {
    let v = l.b.flags_cond(cond);
    l.write(i, 0, v);
}

/// `cmovcc`: a memory source is read whatever the condition.
pub(super) fn cmov(l: &mut Lifter, i: &Instruction, cond: Cond) {
    let ty = l.op_ty(i, 0);
    let src = l.read(i, 1);
    let dst = i.op0_register();
    let old = l.read_gpr(dst);
    let c = l.b.flags_cond(cond);
    let r = l.b.select(ty, c, src, old);
    l.write_gpr(dst, r);
}

/// `lds`, `les`, `lss`, `lfs`, `lgs`.
pub(super) fn load_far_pointer(l: &mut Lifter, i: &Instruction) {
    use iced_x86::Mnemonic as M;
    let number = match i.mnemonic() {
        M::Lds => seg::DS,
        M::Les => seg::ES,
        M::Lss => seg::SS,
        M::Lfs => seg::FS,
        _ => seg::GS,
    };
    let dst = i.op0_register();
    let ty = int_ty(dst.size());
    let m = l.ea(i);
    let base = l.addr_value(m);
    let m = Addr { wrap32: l.mode == Mode::Bits32, ..Addr::base(base) };
    let offset = l.b.load(ty, m);
    let selector = l.b.load(Ty::I16, Addr { disp: ty.bytes() as i32, ..m });
    load_segment(l, number, selector);
    l.store_place(ty, Place::Reg(dst), offset);
}
