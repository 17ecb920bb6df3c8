//! Bit tests, scans and counts; CRC32.

use emu_ir::{Addr, Cond, FlagKind, Op, Operand, RmwKind, Ty, Val};
use iced_x86::{Instruction, OpKind};

use super::Lifter;
use super::operand::gpr_slot;
use super::place::Place;
use crate::helper::Helper;

/// `bt`, and with a change to the tested bit `bts` (or), `btr` (and not), `btc` (xor).
pub(super) fn bt(l: &mut Lifter, i: &Instruction, change: Option<RmwKind>) {
    let (ty, mut dst) = l.place(i, 0);
    let width = u64::from(ty.bits());
    let offset = l.source(i, 1, ty);
    if let (Place::Mem(m), OpKind::Register, Operand::Val(v)) = (dst, i.op1_kind(), offset) {
        dst = Place::Mem(bit_string(l, i, ty, m, v));
    }
    // The bit number within the operand, as a shift count.
    let n = match offset {
        Operand::Imm(imm) => Operand::Imm(imm & (width - 1)),
        Operand::Val(v) => {
            let low = l.b.convert(Op::Trunc, ty, Ty::I8, v);
            Operand::Val(l.b.bin(Op::And, Ty::I8, low, width - 1))
        }
    };
    let old = match (change, dst) {
        (None, _) => l.load_place(ty, dst),
        (Some(kind), Place::Mem(m)) if i.has_lock_prefix() => {
            let operand = change_operand(l, ty, kind, n);
            let addr = l.addr_value(m);
            l.b.rmw(kind, ty, addr, operand)
        }
        (Some(kind), _) => {
            let operand = change_operand(l, ty, kind, n);
            let old = l.load_place(ty, dst);
            let op = match kind {
                RmwKind::And => Op::And,
                RmwKind::Or => Op::Or,
                _ => Op::Xor,
            };
            let r = l.b.bin(op, ty, old, operand);
            l.store_place(ty, dst, r);
            old
        }
    };
    let bit = l.b.bin(Op::Shr, ty, old, n);
    let keep = l.b.flags_get(FlagKind::Carry.keeps());
    l.b.flags_set(FlagKind::Carry, ty, bit, 0, keep);
}

/// The second operand of the read-modify-write that sets, clears or flips bit `n`.
fn change_operand(l: &mut Lifter, ty: Ty, kind: RmwKind, n: Operand) -> Val {
    let invert = kind == RmwKind::And;
    match n {
        Operand::Imm(n) => l.b.iconst(ty, if invert { !(1 << n) } else { 1 << n }),
        Operand::Val(_) => {
            let one = l.b.iconst(ty, 1);
            let mask = l.b.bin(Op::Shl, ty, one, n);
            if invert { l.b.un(Op::Not, ty, mask) } else { mask }
        }
    }
}

/// The address of the operand-sized piece of a bit string that holds bit `offset` (signed).
fn bit_string(l: &mut Lifter, i: &Instruction, ty: Ty, m: Addr, offset: Val) -> Addr {
    let base = l.addr_value(m);
    let word = l.mode.word();
    let log2_bits = u64::from(ty.bits().trailing_zeros());
    let piece = l.b.bin(Op::Sar, ty, offset, log2_bits);
    let piece = l.b.convert(Op::Sext, ty, word, piece);
    let shift = ty.bytes().trailing_zeros() as u8;
    let m = Addr { base, index: piece, shift, disp: 0, wrap32: word == Ty::I32, aligned: false };
    if i.memory_base().size() != 2 {
        return m;
    }
    // 16-bit addressing wraps at 64 KiB.
    let sum = l.b.lea(word, m);
    let sum = l.b.bin(Op::And, word, sum, 0xffff);
    Addr { wrap32: m.wrap32, ..Addr::base(sum) }
}

/// `bsf`, `bsr`: a source of 0 leaves the destination as it was.
pub(super) fn scan(l: &mut Lifter, i: &Instruction, reverse: bool) {
    let ty = l.op_ty(i, 0);
    let src = l.read(i, 1);
    let n = if reverse {
        let leading = l.b.un(Op::Clz, ty, src);
        l.b.bin(Op::Xor, ty, leading, u64::from(ty.bits() - 1))
    } else {
        l.b.un(Op::Ctz, ty, src)
    };
    // "As it was" includes the upper half a 32-bit write would clear.
    let (_, register) = gpr_slot(i.op0_register());
    let wide = if ty == Ty::I32 { l.mode.word() } else { ty };
    let old = l.b.get(wide, register);
    let none = l.b.cmp(Cond::E, ty, src, 0u64);
    let n = l.b.convert(Op::Zext, ty, wide, n);
    let r = l.b.select(wide, none, old, n);
    l.b.put(wide, register, r);
    l.b.flags_set(FlagKind::Zero, ty, src, 0, Val::NONE);
}

/// `lzcnt`, `tzcnt`: CF tells a source of 0, ZF a result of 0.
pub(super) fn count_zeros(l: &mut Lifter, i: &Instruction, op: Op) {
    let ty = l.op_ty(i, 0);
    let src = l.read(i, 1);
    let r = l.b.un(op, ty, src);
    l.write_gpr(i.op0_register(), r);
    let none = l.b.cmp(Cond::E, ty, src, 0u64);
    l.b.flags_set(FlagKind::Zero, ty, r, 0, Val::NONE);
    let keep = l.b.flags_get(FlagKind::Carry.keeps());
    l.b.flags_set(FlagKind::Carry, Ty::I8, none, 0, keep);
}

/// `popcnt`.
pub(super) fn popcnt(l: &mut Lifter, i: &Instruction) {
    let ty = l.op_ty(i, 0);
    let src = l.read(i, 1);
    let r = l.b.un(Op::Popcnt, ty, src);
    l.write_gpr(i.op0_register(), r);
    l.b.flags_set(FlagKind::Zero, ty, src, 0, Val::NONE);
}

/// `crc32`.
pub(super) fn crc32(l: &mut Lifter, i: &Instruction) {
    let ty = l.op_ty(i, 1);
    let src = l.read(i, 1);
    let dst = i.op0_register();
    let crc = l.read_gpr(dst);
    let bytes = l.b.iconst(Ty::I64, u64::from(ty.bytes()));
    let r = l.helper(Ty::I32, Helper::Crc32, &[crc, src, bytes]);
    let dst_ty = l.op_ty(i, 0);
    let r = l.b.convert(Op::Zext, Ty::I32, dst_ty, r);
    l.write_gpr(dst, r);
}
