//! Flag instructions and what user code may do of system instructions.

use emu_ir::{Cond, FlagKind, Op, TrapKind, Ty, Val, flags};
use iced_x86::{Instruction, OpKind};

use super::operand::gpr_slot;
use super::{Lifter, Mode};
use crate::fxsave::FxLayout;
use crate::helper::Helper;
use crate::helper::x87::control::layout_code;
use crate::state::{eflags, gpr, slot};

/// `sahf`.
pub(super) fn sahf(l: &mut Lifter) {
    const TAKEN: u64 = (flags::CF | flags::PF | flags::AF | flags::ZF | flags::SF) as u64;
    let ah = l.b.get(Ty::I8, slot::gpr(gpr::RAX) + 1);
    let ah = l.b.bin(Op::And, Ty::I8, ah, TAKEN);
    let ah = l.zext64(Ty::I8, ah);
    let keep = l.b.flags_get(flags::OF);
    let v = l.b.bin(Op::Or, Ty::I64, ah, keep);
    l.b.flags_set(FlagKind::Raw, Ty::I64, v, 0, Val::NONE);
}

/// `lahf`.
pub(super) fn lahf(l: &mut Lifter) {
    let v = l.b.flags_get(flags::ALL & !flags::OF);
    let v = l.b.bin(Op::Or, Ty::I64, v, eflags::FIXED);
    let v = l.b.convert(Op::Trunc, Ty::I64, Ty::I8, v);
    l.b.put(Ty::I8, slot::gpr(gpr::RAX) + 1, v);
}

/// What a carry instruction does to CF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Carry {
    Clear,
    Set,
    Complement,
}

/// `clc`, `stc`, `cmc`.
pub(super) fn set_carry(l: &mut Lifter, change: Carry) {
    let v = match change {
        Carry::Clear => l.b.iconst(Ty::I8, 0),
        Carry::Set => l.b.iconst(Ty::I8, 1),
        Carry::Complement => l.b.flags_cond(Cond::Ae),
    };
    let keep = l.b.flags_get(FlagKind::Carry.keeps());
    l.b.flags_set(FlagKind::Carry, Ty::I8, v, 0, keep);
}

/// `cld`, `std`.
pub(super) fn set_direction(l: &mut Lifter, down: bool) {
    let v = l.b.get(Ty::I64, slot::SYS_FLAGS);
    let v = if down {
        l.b.bin(Op::Or, Ty::I64, v, eflags::DF)
    } else {
        l.b.bin(Op::And, Ty::I64, v, !eflags::DF)
    };
    l.b.put(Ty::I64, slot::SYS_FLAGS, v);
}

/// `clflush`, `clflushopt`: faults like a load of the byte.
pub(super) fn clflush(l: &mut Lifter, i: &Instruction) {
    let m = l.ea(i);
    l.b.load(Ty::I8, m);
}

/// `cpuid`: the architecture's hypercall when somebody listens.
pub(super) fn cpuid(l: &mut Lifter) {
    if l.options.hypercalls {
        l.trap(TrapKind::Hypercall);
        return;
    }
    let long = l.b.iconst(Ty::I64, u64::from(l.mode == Mode::Bits64));
    l.helper(Ty::I64, Helper::Cpuid, &[long]);
}

/// Splits an i64 into EDX:EAX.
fn put_edx_eax(l: &mut Lifter, v: Val) {
    let low = l.b.convert(Op::Trunc, Ty::I64, Ty::I32, v);
    let high = l.b.bin(Op::Shr, Ty::I64, v, 32u64);
    let high = l.b.convert(Op::Trunc, Ty::I64, Ty::I32, high);
    l.b.put(Ty::I32, slot::gpr(gpr::RAX), low);
    l.b.put(Ty::I32, slot::gpr(gpr::RDX), high);
}

/// `rdtsc`; `rdtscp` also gives the processor number, which is 0.
pub(super) fn rdtsc(l: &mut Lifter, with_processor: bool) {
    let v = l.helper(Ty::I64, Helper::Rdtsc, &[]);
    put_edx_eax(l, v);
    if with_processor {
        let zero = l.b.iconst(Ty::I32, 0);
        l.b.put(Ty::I32, slot::gpr(gpr::RCX), zero);
    }
}

/// `xgetbv`.
pub(super) fn xgetbv(l: &mut Lifter) {
    let index = l.b.get(Ty::I32, slot::gpr(gpr::RCX));
    let v = l.helper(Ty::I64, Helper::Xgetbv, &[index]);
    put_edx_eax(l, v);
}

/// `xsave` and its kind; EDX:EAX choose the components. `format` is a bit of the helper's argument.
pub(super) fn xsave(l: &mut Lifter, i: &Instruction, helper: Helper, format: u64, rex_w: bool) {
    let m = l.ea(i);
    let at = l.addr64(m);
    let low = l.b.get(Ty::I32, slot::gpr(gpr::RAX));
    let high = l.b.get(Ty::I32, slot::gpr(gpr::RDX));
    let (low, high) = (l.zext64(Ty::I32, low), l.zext64(Ty::I32, high));
    let high = l.b.bin(Op::Shl, Ty::I64, high, 32u64);
    let want = l.b.bin(Op::Or, Ty::I64, low, high);
    let layout = layout_code(FxLayout::of(l.mode, rex_w));
    let how = l.b.iconst(Ty::I64, layout | format);
    l.helper(Ty::I64, helper, &[at, want, how]);
    if helper == Helper::Xrstor {
        // Whether vector ops can trap depends on the masks in MXCSR.
        l.end_block_after();
    }
}

/// `rdrand`, `rdseed`: CF tells success, the other flags are clear.
pub(super) fn random(l: &mut Lifter, i: &Instruction, helper: Helper) {
    let ty = l.op_ty(i, 0);
    let v = l.helper(Ty::I64, helper, &[]);
    let v = l.b.convert(Op::Trunc, Ty::I64, ty, v);
    l.write_gpr(i.op0_register(), v);
    let carry = l.b.iconst(Ty::I64, u64::from(flags::CF));
    l.b.flags_set(FlagKind::Raw, Ty::I64, carry, 0, Val::NONE);
}

/// `rdfsbase`, `rdgsbase`.
pub(super) fn read_base(l: &mut Lifter, i: &Instruction, base: u32) {
    let ty = l.op_ty(i, 0);
    let v = l.b.get(ty, base);
    l.write_gpr(i.op0_register(), v);
}

/// `wrfsbase`, `wrgsbase`.
pub(super) fn write_base(l: &mut Lifter, i: &Instruction, base: u32) {
    let ty = l.op_ty(i, 0);
    let v = l.read_gpr(i.op0_register());
    let v = l.zext64(ty, v);
    if ty == Ty::I64 {
        l.helper(Ty::I64, Helper::CheckCanonical, &[v]);
    }
    l.b.put(Ty::I64, base, v);
}

/// Sets ZF to `v` (0 or 1, i8) and leaves the other flags.
fn set_zf(l: &mut Lifter, v: Val) {
    let keep = l.b.flags_get(flags::ALL & !flags::ZF);
    let v = l.zext64(Ty::I8, v);
    let v = l.b.bin(Op::Shl, Ty::I64, v, 6u64);
    let v = l.b.bin(Op::Or, Ty::I64, v, keep);
    l.b.flags_set(FlagKind::Raw, Ty::I64, v, 0, Val::NONE);
}

/// `arpl`: raises the requested privilege level of a selector to that of another.
pub(super) fn arpl(l: &mut Lifter, i: &Instruction) {
    let ty = Ty::I16;
    let src = word_operand(l, i, 1);
    let memory = Lifter::is_mem(i, 0).then(|| l.ea(i));
    let register = slot::gpr(i.op0_register().full_register().number() & 15);
    let old = match memory {
        Some(m) => l.b.load(ty, m),
        None => l.b.get(ty, register),
    };
    let want = l.b.bin(Op::And, ty, src, 3u64);
    let have = l.b.bin(Op::And, ty, old, 3u64);
    let lower = l.b.cmp(Cond::B, ty, have, want);
    let raised = l.b.bin(Op::And, ty, old, !3u64);
    let raised = l.b.bin(Op::Or, ty, raised, want);
    let r = l.b.select(ty, lower, raised, old);
    match memory {
        Some(m) => l.b.store(ty, m, r),
        None => l.b.put(ty, register, r),
    }
    set_zf(l, lower);
}

/// The low 16 bits of operand `n`, whatever width the register has.
fn word_operand(l: &mut Lifter, i: &Instruction, n: u32) -> Val {
    if i.op_kind(n) == OpKind::Register {
        l.b.get(Ty::I16, slot::gpr(i.op_register(n).full_register().number()))
    } else {
        let m = l.ea(i);
        l.b.load(Ty::I16, m)
    }
}

/// A selector operand as an i64.
fn selector(l: &mut Lifter, i: &Instruction, n: u32) -> Val {
    let v = word_operand(l, i, n);
    l.zext64(Ty::I16, v)
}

/// `lar`, `lsl`: the helper returns the value with bit 32 set, or 0 for a selector it cannot use.
pub(super) fn lar(l: &mut Lifter, i: &Instruction, helper: Helper) {
    let s = selector(l, i, 1);
    let found = l.helper(Ty::I64, helper, &[s]);
    let ok = l.b.bin(Op::Shr, Ty::I64, found, 32u64);
    let ok = l.b.convert(Op::Trunc, Ty::I64, Ty::I8, ok);
    // Failure leaves the whole register, also the half a 32-bit write would clear.
    let (ty, register) = gpr_slot(i.op0_register());
    let ty = if ty == Ty::I16 { ty } else { Ty::I64 };
    let old = l.b.get(ty, register);
    let v = l.b.bin(Op::And, Ty::I64, found, 0xffff_ffff);
    let v = l.b.convert(Op::Trunc, Ty::I64, ty, v);
    let v = l.b.select(ty, ok, v, old);
    l.b.put(ty, register, v);
    set_zf(l, ok);
}

/// `verr`, `verw`.
pub(super) fn verify(l: &mut Lifter, i: &Instruction, helper: Helper) {
    let s = selector(l, i, 0);
    let ok = l.helper(Ty::I8, helper, &[s]);
    set_zf(l, ok);
}
