//! String instructions: one element in IR, repeated forms by helpers.

use emu_ir::{Addr, FlagKind, Op, Ty, Val};
use iced_x86::{Instruction, OpKind, Register};

use super::operand::int_ty;
use super::{Lifter, Mode};
use crate::helper::Helper;
use crate::state::{gpr, slot};

/// The type of the index registers, from the operand kinds.
fn address_ty(i: &Instruction) -> Ty {
    for n in 0..i.op_count() {
        match i.op_kind(n) {
            OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => return Ty::I16,
            OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => return Ty::I32,
            _ => {}
        }
    }
    if i.op_count() > 0 { Ty::I64 } else { Ty::I32 }
}

/// How far the index registers move: the element size, negative when DF is set.
fn step(l: &mut Lifter, ty: Ty, at: Ty) -> Val {
    // DF is bit 10; moved to the bit worth twice the element size it is what to subtract.
    let flags = l.b.get(Ty::I64, slot::SYS_FLAGS);
    let df = l.b.bin(Op::And, Ty::I64, flags, 1u64 << 10);
    let twice = l.b.bin(Op::Shr, Ty::I64, df, u64::from(9 - ty.bytes().trailing_zeros()));
    let twice = l.b.convert(Op::Trunc, Ty::I64, at, twice);
    let size = l.b.iconst(at, u64::from(ty.bytes()));
    l.b.bin(Op::Sub, at, size, twice)
}

/// The address in index register `n`, without a segment.
fn index_addr(l: &mut Lifter, at: Ty, n: usize) -> (Val, Addr) {
    let v = l.b.get(at, slot::gpr(n));
    let base = if at == Ty::I16 { l.b.convert(Op::Zext, Ty::I16, Ty::I32, v) } else { v };
    (v, Addr { wrap32: at != Ty::I64, ..Addr::base(base) })
}

/// The source address, in RSI and the instruction's segment.
fn source_addr(l: &mut Lifter, i: &Instruction, at: Ty) -> (Val, Addr) {
    let (v, m) = index_addr(l, at, gpr::RSI);
    (v, l.with_segment(i, m))
}

fn advance(l: &mut Lifter, at: Ty, n: usize, old: Val, by: Val) {
    let v = l.b.bin(Op::Add, at, old, by);
    l.b.put(at, slot::gpr(n), v);
}

/// Whether the instruction has a repeat prefix that counts.
fn repeats(i: &Instruction) -> bool {
    i.has_rep_prefix() || i.has_repne_prefix()
}

/// Calls the helper of a repeated form with (element bytes, address bytes, source segment base,
/// 1 for repne).
fn repeat(l: &mut Lifter, i: &Instruction, helper: Helper, ty: Ty) {
    let at = address_ty(i);
    let size = l.b.iconst(Ty::I64, u64::from(ty.bytes()));
    let address = l.b.iconst(Ty::I64, u64::from(at.bytes()));
    let base = match i.memory_segment() {
        Register::FS => l.b.get(Ty::I64, slot::FS_BASE),
        Register::GS => l.b.get(Ty::I64, slot::GS_BASE),
        _ => l.b.iconst(Ty::I64, 0),
    };
    let wrap = u64::from(l.mode == Mode::Bits32);
    let mode = l.b.iconst(Ty::I64, u64::from(i.has_repne_prefix()) | wrap << 1);
    l.helper(Ty::I64, helper, &[size, address, base, mode]);
}

/// The element type.
fn element(i: &Instruction) -> Ty {
    int_ty(i.memory_size().size())
}

/// `movs`.
pub(super) fn movs(l: &mut Lifter, i: &Instruction) {
    let (ty, at) = (element(i), address_ty(i));
    if repeats(i) {
        return repeat(l, i, Helper::RepMovs, ty);
    }
    let (si, from) = source_addr(l, i, at);
    let v = l.b.load(ty, from);
    let (di, to) = index_addr(l, at, gpr::RDI);
    l.b.store(ty, to, v);
    let by = step(l, ty, at);
    advance(l, at, gpr::RSI, si, by);
    advance(l, at, gpr::RDI, di, by);
}

/// `cmps`.
pub(super) fn cmps(l: &mut Lifter, i: &Instruction) {
    let (ty, at) = (element(i), address_ty(i));
    if repeats(i) {
        return repeat(l, i, Helper::RepCmps, ty);
    }
    // The processor reads the destination first, which shows when both fault.
    let (di, right) = index_addr(l, at, gpr::RDI);
    let b = l.b.load(ty, right);
    let (si, left) = source_addr(l, i, at);
    let a = l.b.load(ty, left);
    let by = step(l, ty, at);
    advance(l, at, gpr::RSI, si, by);
    advance(l, at, gpr::RDI, di, by);
    l.b.flags_set(FlagKind::Sub, ty, a, b, Val::NONE);
}

/// `scas`.
pub(super) fn scas(l: &mut Lifter, i: &Instruction) {
    let (ty, at) = (element(i), address_ty(i));
    if repeats(i) {
        return repeat(l, i, Helper::RepScas, ty);
    }
    let (di, m) = index_addr(l, at, gpr::RDI);
    let b = l.b.load(ty, m);
    let a = l.b.get(ty, slot::gpr(gpr::RAX));
    let by = step(l, ty, at);
    advance(l, at, gpr::RDI, di, by);
    l.b.flags_set(FlagKind::Sub, ty, a, b, Val::NONE);
}

/// `lods`.
pub(super) fn lods(l: &mut Lifter, i: &Instruction) {
    let (ty, at) = (element(i), address_ty(i));
    if repeats(i) {
        return repeat(l, i, Helper::RepLods, ty);
    }
    let (si, m) = source_addr(l, i, at);
    let v = l.b.load(ty, m);
    let by = step(l, ty, at);
    advance(l, at, gpr::RSI, si, by);
    l.b.put(ty, slot::gpr(gpr::RAX), v);
}

/// `stos`.
pub(super) fn stos(l: &mut Lifter, i: &Instruction) {
    let (ty, at) = (element(i), address_ty(i));
    if repeats(i) {
        return repeat(l, i, Helper::RepStos, ty);
    }
    let (di, m) = index_addr(l, at, gpr::RDI);
    let v = l.b.get(ty, slot::gpr(gpr::RAX));
    l.b.store(ty, m, v);
    let by = step(l, ty, at);
    advance(l, at, gpr::RDI, di, by);
}
