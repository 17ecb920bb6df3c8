//! Control transfers.

use emu_ir::{Cond, JumpKind, Op, TrapKind, Ty, Val};
use iced_x86::{Instruction, OpKind};

use super::operand::int_ty;
use super::stack::{eflags_value, put_eflags};
use super::{Flow, Lifter, Mode};
use crate::helper::Helper;
use crate::state::{gpr, seg, slot};

/// The target of a direct near branch.
fn direct_target(l: &Lifter, i: &Instruction) -> Option<u64> {
    match i.op0_kind() {
        OpKind::NearBranch16 => Some(u64::from(i.near_branch16())),
        OpKind::NearBranch32 => Some(u64::from(i.near_branch32())),
        OpKind::NearBranch64 => Some(i.near_branch64()),
        _ => None,
    }
    .map(|t| t & l.mode.word().mask())
}

/// `jmp`; far forms are not supported.
pub(super) fn jmp(l: &mut Lifter, i: &Instruction) -> bool {
    if let Some(target) = direct_target(l, i) {
        // A jump that leads to the next instruction must show, too: it ends a basic block.
        if l.options.basic_blocks || l.b.has_insn(target) || target == l.next {
            l.b.jump(JumpKind::Jump, target);
            l.flow = Flow::Done;
        } else {
            l.flow = Flow::Follow(target);
        }
        return true;
    }
    if i.is_jmp_far() || i.is_jmp_far_indirect() {
        return far(l, i);
    }
    let target = l.read(i, 0);
    jump_to(l, JumpKind::Jump, l.op_ty(i, 0), target);
    true
}

/// Far direct jumps to the code segment the guest runs in are near jumps; all others are refused.
fn far(l: &mut Lifter, i: &Instruction) -> bool {
    const USER_CS32: u16 = 0x23;
    if i.op0_kind() == OpKind::FarBranch32
        && l.mode == Mode::Bits32
        && i.far_branch_selector() == USER_CS32
        && i.is_jmp_far()
    {
        l.b.jump(JumpKind::Jump, u64::from(i.far_branch32()));
        l.flow = Flow::Done;
    } else {
        l.trap(TrapKind::Protection);
    }
    true
}

fn jump_to(l: &mut Lifter, kind: JumpKind, ty: Ty, target: Val) {
    let target = l.zext64(ty, target);
    l.b.jump_ind(kind, target);
    l.flow = Flow::Done;
}

/// `call`.
pub(super) fn call(l: &mut Lifter, i: &Instruction) -> bool {
    if i.is_call_far() || i.is_call_far_indirect() {
        l.trap(TrapKind::Protection);
        return true;
    }
    let direct = direct_target(l, i);
    let ty = match i.op0_kind() {
        OpKind::NearBranch16 => Ty::I16,
        OpKind::NearBranch32 => Ty::I32,
        OpKind::NearBranch64 => Ty::I64,
        _ => l.op_ty(i, 0),
    };
    let indirect = if direct.is_none() { l.read(i, 0) } else { Val::NONE };
    let back = l.b.iconst(ty, l.next);
    l.push_value(ty, back);
    l.b.return_hint(l.next);
    match direct {
        Some(target) => l.b.jump(JumpKind::Call, target),
        None => {
            let target = l.zext64(ty, indirect);
            l.b.jump_ind(JumpKind::Call, target);
        }
    }
    l.flow = Flow::Done;
    true
}

/// `ret`.
pub(super) fn ret(l: &mut Lifter, i: &Instruction) {
    let extra = if i.op_count() == 1 { u64::from(i.immediate16()) } else { 0 };
    let bytes = (i.stack_pointer_increment() as u64).wrapping_sub(extra);
    let ty = Ty::int(bytes as u32).unwrap_or(l.mode.word());
    let sp = l.sp();
    let m = l.stack_addr(sp, 0);
    let target = l.b.load(ty, m);
    let sp = l.b.bin(Op::Add, l.mode.word(), sp, u64::from(ty.bytes()) + extra);
    l.put_sp(sp);
    jump_to(l, JumpKind::Ret, ty, target);
}

/// Leaves for `target` if `cond`, else goes on.
fn branch(l: &mut Lifter, cond: Val, target: u64) {
    l.b.exit_if(cond, target);
    // Behind a loop's closing branch code is rarely wanted; it gets a block of its own.
    if l.options.basic_blocks || target <= l.pc {
        l.b.jump(JumpKind::Jump, l.next);
        l.flow = Flow::Done;
    }
}

/// `jcc`.
pub(super) fn jcc(l: &mut Lifter, i: &Instruction, cond: Cond) {
    let Some(target) = direct_target(l, i) else {
        l.trap(TrapKind::InvalidOpcode);
        return;
    };
    let c = l.b.flags_cond(cond);
    branch(l, c, target);
}

/// The type of the counter register of `loop` and `jcxz`.
fn counter(i: &Instruction) -> Ty {
    use iced_x86::Code as C;
    match i.code() {
        C::Jcxz_rel8_16 | C::Jcxz_rel8_32 => Ty::I16,
        C::Jrcxz_rel8_16 | C::Jrcxz_rel8_64 => Ty::I64,
        C::Jecxz_rel8_16 | C::Jecxz_rel8_32 | C::Jecxz_rel8_64 => Ty::I32,
        C::Loop_rel8_16_CX
        | C::Loop_rel8_32_CX
        | C::Loope_rel8_16_CX
        | C::Loope_rel8_32_CX
        | C::Loopne_rel8_16_CX
        | C::Loopne_rel8_32_CX => Ty::I16,
        C::Loop_rel8_16_ECX
        | C::Loop_rel8_32_ECX
        | C::Loop_rel8_64_ECX
        | C::Loope_rel8_16_ECX
        | C::Loope_rel8_32_ECX
        | C::Loope_rel8_64_ECX
        | C::Loopne_rel8_16_ECX
        | C::Loopne_rel8_32_ECX
        | C::Loopne_rel8_64_ECX => Ty::I32,
        _ => Ty::I64,
    }
}

/// `jcxz`, `jecxz`, `jrcxz`.
pub(super) fn jcxz(l: &mut Lifter, i: &Instruction) {
    let ty = counter(i);
    let target = direct_target(l, i).unwrap_or(l.next);
    let n = l.b.get(ty, slot::gpr(gpr::RCX));
    let zero = l.b.cmp(Cond::E, ty, n, 0u64);
    branch(l, zero, target);
}

/// `loop`, `loope`, `loopne`.
pub(super) fn loop_(l: &mut Lifter, i: &Instruction, cond: Option<Cond>) {
    let ty = counter(i);
    let target = direct_target(l, i).unwrap_or(l.next);
    let rcx = slot::gpr(gpr::RCX);
    let n = l.b.get(ty, rcx);
    let n = l.b.bin(Op::Sub, ty, n, 1u64);
    l.b.put(ty, rcx, n);
    let mut again = l.b.cmp(Cond::Ne, ty, n, 0u64);
    if let Some(cond) = cond {
        let c = l.b.flags_cond(cond);
        again = l.b.bin(Op::And, Ty::I8, again, c);
    }
    branch(l, again, target);
}

/// `into`.
pub(super) fn into(l: &mut Lifter) {
    let c = l.b.flags_cond(Cond::No);
    l.b.exit_if(c, l.next);
    l.trap(TrapKind::Overflow);
}

/// `bound`.
pub(super) fn bound(l: &mut Lifter, i: &Instruction) {
    let index = i.op0_register();
    let ty = int_ty(index.size());
    let m = l.ea(i);
    let base = l.addr_value(m);
    let low = l.stack_addr(base, 0);
    let high = l.stack_addr(base, ty.bytes() as i32);
    let low = l.b.load(ty, low);
    let high = l.b.load(ty, high);
    let index = l.read_gpr(index);
    let mut wide = |v| l.b.convert(Op::Sext, ty, Ty::I64, v);
    let args = [wide(index), wide(low), wide(high)];
    l.helper(Ty::I64, Helper::Bound, &args);
}

/// `syscall`: rcx and r11 get the return address and the flags.
pub(super) fn syscall(l: &mut Lifter) {
    let flags = eflags_value(l);
    let next = l.b.iconst(Ty::I64, l.next);
    l.b.put(Ty::I64, slot::gpr(gpr::RCX), next);
    l.b.put(Ty::I64, slot::gpr(11), flags);
    l.trap(TrapKind::Syscall);
}

/// `retf` to the code segment the guest runs in.
pub(super) fn retf(l: &mut Lifter, i: &Instruction) {
    let extra = if i.op_count() == 1 { u64::from(i.immediate16()) } else { 0 };
    let bytes = (i.stack_pointer_increment() as u64).wrapping_sub(extra) / 2;
    let ty = Ty::int(bytes as u32).unwrap_or(l.mode.word());
    let sp = l.sp();
    let at = |n: u32| (n * ty.bytes()) as i32;
    let (pc_at, cs_at) = (l.stack_addr(sp, 0), l.stack_addr(sp, at(1)));
    let target = l.b.load(ty, pc_at);
    let selector = l.b.load(Ty::I16, cs_at);
    check_cs(l, selector);
    let sp = l.b.bin(Op::Add, l.mode.word(), sp, 2 * u64::from(ty.bytes()) + extra);
    l.put_sp(sp);
    jump_to(l, JumpKind::Jump, ty, target);
}

/// Faults unless `selector` is the code segment the guest runs in.
fn check_cs(l: &mut Lifter, selector: Val) {
    let cs = l.b.get(Ty::I16, slot::selector(seg::CS));
    l.helper(Ty::I64, Helper::CheckCs, &[selector, cs]);
}

/// `iret` within the code segment the guest runs in; in 64-bit mode it also loads rsp.
pub(super) fn iret(l: &mut Lifter, i: &Instruction) {
    use iced_x86::Code;
    let ty = match i.code() {
        Code::Iretw => Ty::I16,
        Code::Iretd => Ty::I32,
        _ => Ty::I64,
    };
    let word = l.mode.word();
    let sp = l.sp();
    let at = |n: u32| (n * ty.bytes()) as i32;
    let places = [0, 1, 2, 3].map(|n| l.stack_addr(sp, at(n)));
    let target = l.b.load(ty, places[0]);
    let selector = l.b.load(Ty::I16, places[1]);
    let flags = l.b.load(ty, places[2]);
    let new_sp = if l.mode == Mode::Bits64 {
        let v = l.b.load(ty, places[3]);
        l.zext64(ty, v)
    } else {
        l.b.bin(Op::Add, word, sp, 3 * u64::from(ty.bytes()))
    };
    check_cs(l, selector);
    let flags = l.zext64(ty, flags);
    put_eflags(l, ty, flags);
    l.put_sp(new_sp);
    jump_to(l, JumpKind::Jump, ty, target);
}
