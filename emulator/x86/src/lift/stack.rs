//! The stack.

use emu_ir::{Addr, FlagKind, Op, Ty, Val, flags};
use iced_x86::{Instruction, OpKind};

use super::data::load_segment;
use super::operand::{gpr_slot, segment_number};
use super::place::Place;
use super::{Lifter, Mode};
use crate::state::{eflags, gpr, seg, slot};

impl Lifter {
    /// The stack pointer.
    pub(super) fn sp(&mut self) -> Val {
        self.b.get(self.mode.word(), slot::gpr(gpr::RSP))
    }

    /// Sets the stack pointer.
    pub(super) fn put_sp(&mut self, v: Val) {
        self.b.put(self.mode.word(), slot::gpr(gpr::RSP), v);
    }

    /// The stack address `base + disp`.
    pub(super) fn stack_addr(&self, base: Val, disp: i32) -> Addr {
        Addr { disp, wrap32: self.mode == Mode::Bits32, ..Addr::base(base) }
    }

    /// Pushes `v`: stores, then moves the stack pointer.
    pub(super) fn push_value(&mut self, ty: Ty, v: Val) {
        let sp = self.sp();
        let bytes = ty.bytes();
        let m = self.stack_addr(sp, -(bytes as i32));
        self.b.store(ty, m, v);
        let sp = self.b.bin(Op::Sub, self.mode.word(), sp, u64::from(bytes));
        self.put_sp(sp);
    }

    /// Loads the value on top of the stack; the stack pointer after the pop, not yet written.
    pub(super) fn pop_value(&mut self, ty: Ty) -> (Val, Val) {
        let sp = self.sp();
        let m = self.stack_addr(sp, 0);
        let v = self.b.load(ty, m);
        let after = self.b.bin(Op::Add, self.mode.word(), sp, u64::from(ty.bytes()));
        (v, after)
    }
}

/// The type a push or pop moves, from how far it moves the stack pointer.
fn moved(i: &Instruction) -> Ty {
    Ty::int(i.stack_pointer_increment().unsigned_abs()).unwrap_or(Ty::I64)
}

/// `push`.
pub(super) fn push(l: &mut Lifter, i: &Instruction) {
    let ty = moved(i);
    let v = match i.op0_kind() {
        OpKind::Register if i.op0_register().is_segment_register() => {
            let v = l.b.get(Ty::I16, slot::selector(segment_number(i.op0_register())));
            l.b.convert(Op::Zext, Ty::I16, ty, v)
        }
        OpKind::Register | OpKind::Memory => l.read(i, 0),
        _ => l.b.iconst(ty, i.immediate(0)),
    };
    l.push_value(ty, v);
}

/// `pop`.
pub(super) fn pop(l: &mut Lifter, i: &Instruction) -> bool {
    let ty = moved(i);
    let (v, after) = l.pop_value(ty);
    if i.op0_kind() == OpKind::Register {
        let r = i.op0_register();
        if r.is_segment_register() {
            if segment_number(r) == seg::CS {
                return false;
            }
            let v = l.b.convert(Op::Trunc, ty, Ty::I16, v);
            load_segment(l, segment_number(r), v);
            l.put_sp(after);
        } else {
            // `pop rsp`: the popped value wins.
            l.put_sp(after);
            l.write_gpr(r, v);
        }
        return true;
    }
    // An address based on the stack pointer uses its value after the pop.
    let mut m = l.offset(i);
    if i.memory_base().full_register().number() == gpr::RSP
        && gpr_slot(i.memory_base()).1 == slot::gpr(gpr::RSP)
        && i.memory_base().is_gpr()
    {
        m.base =
            if m.wrap32 { l.b.convert(Op::Trunc, l.mode.word(), Ty::I32, after) } else { after };
    }
    let m = l.with_segment(i, m);
    l.b.store(ty, m, v);
    l.put_sp(after);
    true
}

/// `pusha`, `pushad`.
pub(super) fn push_all(l: &mut Lifter, i: &Instruction) {
    let ty = if i.stack_pointer_increment() == -16 { Ty::I16 } else { Ty::I32 };
    let sp = l.sp();
    let places: [Addr; 8] =
        core::array::from_fn(|n| l.stack_addr(sp, -((n as i32 + 1) * ty.bytes() as i32)));
    for m in places {
        l.b.probe_write(ty, m);
    }
    for (n, m) in places.into_iter().enumerate() {
        let v = l.b.get(ty, slot::gpr(n));
        l.b.store(ty, m, v);
    }
    let sp = l.b.bin(Op::Sub, Ty::I32, sp, u64::from(8 * ty.bytes()));
    l.put_sp(sp);
}

/// `popa`, `popad`: the saved stack pointer is skipped.
pub(super) fn pop_all(l: &mut Lifter, i: &Instruction) {
    let ty = if i.stack_pointer_increment() == 16 { Ty::I16 } else { Ty::I32 };
    let sp = l.sp();
    let mut values = [Val::NONE; 8];
    for (n, v) in values.iter_mut().enumerate().rev() {
        let m = l.stack_addr(sp, (7 - n as i32) * ty.bytes() as i32);
        if n != gpr::RSP {
            *v = l.b.load(ty, m);
        }
    }
    for (n, v) in values.into_iter().enumerate() {
        if n != gpr::RSP {
            l.b.put(ty, slot::gpr(n), v);
        }
    }
    let sp = l.b.bin(Op::Add, Ty::I32, sp, u64::from(8 * ty.bytes()));
    l.put_sp(sp);
}

/// EFLAGS as user code sees them, as an i64.
pub(super) fn eflags_value(l: &mut Lifter) -> Val {
    let arithmetic = l.b.flags_get(flags::ALL);
    let system = l.b.get(Ty::I64, slot::SYS_FLAGS);
    let system = l.b.bin(Op::And, Ty::I64, system, eflags::USER);
    let v = l.b.bin(Op::Or, Ty::I64, arithmetic, system);
    l.b.bin(Op::Or, Ty::I64, v, eflags::FIXED | eflags::IF)
}

/// `pushf`.
pub(super) fn pushf(l: &mut Lifter, i: &Instruction) {
    let ty = moved(i);
    let v = eflags_value(l);
    let v = l.b.convert(Op::Trunc, Ty::I64, ty, v);
    l.push_value(ty, v);
}

/// `popf`: user code changes the arithmetic flags and those of [`eflags::USER`].
pub(super) fn popf(l: &mut Lifter, i: &Instruction) {
    let ty = moved(i);
    let (v, after) = l.pop_value(ty);
    let v = l.zext64(ty, v);
    put_eflags(l, ty, v);
    l.put_sp(after);
    // TF takes effect after the next instruction, which the engine has to see.
    l.end_block_after();
}

/// Writes the EFLAGS bits user code may write, of the low `ty` of `v` (an i64).
pub(super) fn put_eflags(l: &mut Lifter, ty: Ty, v: Val) {
    let mut system = l.b.bin(Op::And, Ty::I64, v, eflags::USER & ty.mask());
    if ty == Ty::I16 {
        let old = l.b.get(Ty::I64, slot::SYS_FLAGS);
        let kept = l.b.bin(Op::And, Ty::I64, old, eflags::USER & !ty.mask());
        system = l.b.bin(Op::Or, Ty::I64, system, kept);
    }
    l.b.put(Ty::I64, slot::SYS_FLAGS, system);
    l.b.flags_set(FlagKind::Raw, Ty::I64, v, 0, Val::NONE);
}

/// `enter`.
pub(super) fn enter(l: &mut Lifter, i: &Instruction) {
    use iced_x86::Code;
    let word = l.mode.word();
    let ty = if i.code() == Code::Enterw_imm16_imm8 { Ty::I16 } else { word };
    let size = u64::from(i.immediate16());
    let level = i32::from(i.immediate8_2nd() & 31);
    let bytes = ty.bytes() as i32;
    let rbp_slot = slot::gpr(gpr::RBP);
    let sp = l.sp();
    let bp = l.b.get(word, rbp_slot);
    let saved = l.b.get(ty, rbp_slot);
    let m = l.stack_addr(sp, -bytes);
    l.b.probe_write(ty, m);
    let display: Vec<Val> = (1..level)
        .map(|n| {
            let m = l.stack_addr(bp, -n * bytes);
            l.b.load(ty, m)
        })
        .collect();
    let frame = l.b.bin(Op::Sub, word, sp, bytes as u64);
    if level > 0 {
        let lowest = l.stack_addr(frame, -level * bytes);
        l.b.probe_write(ty, lowest);
    }
    let sp = l.b.bin(Op::Sub, word, frame, size + (level * bytes) as u64);
    let top = l.stack_addr(sp, 0);
    l.b.probe_write(ty, top);
    l.b.store(ty, m, saved);
    let frame_value = l.b.convert(Op::Trunc, word, ty, frame);
    for (n, v) in display.into_iter().chain((level > 0).then_some(frame_value)).enumerate() {
        let m = l.stack_addr(frame, -(n as i32 + 1) * bytes);
        l.b.store(ty, m, v);
    }
    l.b.put(ty, rbp_slot, frame_value);
    l.put_sp(sp);
}

/// `leave`.
pub(super) fn leave(l: &mut Lifter, i: &Instruction) {
    use iced_x86::Code;
    let word = l.mode.word();
    let ty = if i.code() == Code::Leavew { Ty::I16 } else { word };
    let rbp_slot = slot::gpr(gpr::RBP);
    let bp = l.b.get(word, rbp_slot);
    let m = l.stack_addr(bp, 0);
    let v = l.b.load(ty, m);
    let sp = l.b.bin(Op::Add, word, bp, u64::from(ty.bytes()));
    l.put_sp(sp);
    l.store_place(ty, Place::Reg(bp_register(ty)), v);
}

fn bp_register(ty: Ty) -> iced_x86::Register {
    match ty {
        Ty::I16 => iced_x86::Register::BP,
        Ty::I32 => iced_x86::Register::EBP,
        _ => iced_x86::Register::RBP,
    }
}
