//! Gathers and masked moves: helpers that work on the vector registers in the CPU structure.

use emu_ir::{Addr, TrapKind, Ty};
use iced_x86::{Instruction, Mnemonic as M, Register};

use crate::helper::Helper;
use crate::helper::masked::{Gather, Masked};
use crate::lift::{Lifter, Mode};
use crate::state::slot;

/// Lifts one of them; false when the instruction is not one.
pub(super) fn lift(l: &mut Lifter, i: &Instruction) -> bool {
    match i.mnemonic() {
        M::Vmaskmovps | M::Vpmaskmovd => masked(l, i, 4),
        M::Vmaskmovpd | M::Vpmaskmovq => masked(l, i, 8),
        M::Vgatherdps | M::Vpgatherdd => gather(l, i, 4, 4),
        M::Vgatherdpd | M::Vpgatherdq => gather(l, i, 8, 4),
        M::Vgatherqps | M::Vpgatherqd => gather(l, i, 4, 8),
        M::Vgatherqpd | M::Vpgatherqq => gather(l, i, 8, 8),
        _ => return false,
    }
    true
}

fn number(r: Register) -> u8 {
    r.number() as u8
}

fn masked(l: &mut Lifter, i: &Instruction, lane: u8) {
    let store = Lifter::is_mem(i, 0);
    let register = if store { i.op2_register() } else { i.op0_register() };
    let m = l.ea(i);
    let what = Masked {
        register: number(register),
        mask: number(i.op1_register()),
        lane,
        bytes: register.size() as u8,
        wrap32: l.mode == Mode::Bits32,
    };
    let at = l.addr64(m);
    let what = l.b.iconst(Ty::I64, what.pack());
    l.helper(Ty::I64, if store { Helper::StoreLanes } else { Helper::LoadLanes }, &[at, what]);
}

fn gather(l: &mut Lifter, i: &Instruction, lane: u8, index: u8) {
    let (dest, mask, indices) = (i.op0_register(), i.op2_register(), i.memory_index());
    let n = [dest, mask, indices].map(number);
    if n[0] == n[1] || n[0] == n[2] || n[1] == n[2] {
        return l.trap(TrapKind::InvalidOpcode);
    }
    let wide = match i.memory_base() {
        Register::None => i.memory_displ_size() == 8,
        r => r.size() == 8,
    };
    let word = if wide { Ty::I64 } else { Ty::I32 };
    let base = match i.memory_base() {
        Register::None => l.b.iconst(word, 0),
        r => l.b.get(word, slot::gpr(r.full_register().number())),
    };
    let disp = i.memory_displacement64() as i32;
    let offset = Addr { disp, wrap32: !wide, ..Addr::base(base) };
    let what = Gather {
        dest: n[0],
        mask: n[1],
        indices: n[2],
        lane,
        index,
        shift: i.memory_index_scale().trailing_zeros() as u8,
        bytes: dest.size().max(indices.size()) as u8,
        wrap32: !wide,
        mode32: l.mode == Mode::Bits32,
    };
    let segment = match i.memory_segment() {
        Register::FS => l.b.get(Ty::I64, slot::FS_BASE),
        Register::GS => l.b.get(Ty::I64, slot::GS_BASE),
        _ => l.b.iconst(Ty::I64, 0),
    };
    let offset = l.addr64(offset);
    let what = l.b.iconst(Ty::I64, what.pack());
    l.helper(Ty::I64, Helper::Gather, &[offset, segment, what]);
}
