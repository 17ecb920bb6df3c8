//! Exchanges and compare-exchanges.

use emu_ir::{Cond, FlagKind, Op, RmwKind, Ty, Val};
use iced_x86::Instruction;

use super::Lifter;
use super::place::Place;
use crate::helper::Helper;
use crate::state::{gpr, slot};

/// `xchg`; the memory form is atomic with or without the prefix.
pub(super) fn xchg(l: &mut Lifter, i: &Instruction) {
    // Either operand may be the memory one.
    let (m, r) = if Lifter::is_mem(i, 1) { (1, 0) } else { (0, 1) };
    let (ty, dst) = l.place(i, m);
    let src = i.op_register(r);
    let new = l.read_gpr(src);
    let old = match dst {
        Place::Mem(m) => {
            let addr = l.addr_value(m);
            l.b.rmw(RmwKind::Xchg, ty, addr, new)
        }
        Place::Reg(dst) => {
            let old = l.read_gpr(dst);
            l.write_gpr(dst, new);
            old
        }
    };
    l.write_gpr(src, old);
}

/// `xadd`.
pub(super) fn xadd(l: &mut Lifter, i: &Instruction) {
    let (ty, dst) = l.place(i, 0);
    let src = i.op1_register();
    let v = l.read_gpr(src);
    let old = match dst {
        Place::Mem(m) if i.has_lock_prefix() => {
            let addr = l.addr_value(m);
            let old = l.b.rmw(RmwKind::Add, ty, addr, v);
            l.write_gpr(src, old);
            old
        }
        Place::Mem(m) => {
            let old = l.b.load(ty, m);
            let r = l.b.bin(Op::Add, ty, old, v);
            l.b.store(ty, m, r);
            l.write_gpr(src, old);
            old
        }
        Place::Reg(dst) => {
            let old = l.read_gpr(dst);
            let r = l.b.bin(Op::Add, ty, old, v);
            // The destination is written last: it wins when both are the same register.
            l.write_gpr(src, old);
            l.write_gpr(dst, r);
            old
        }
    };
    l.b.flags_set(FlagKind::Add, ty, old, v, Val::NONE);
}

/// `cmpxchg`. On success the accumulator is not written; on failure the destination gets its own
/// value back.
pub(super) fn cmpxchg(l: &mut Lifter, i: &Instruction) {
    let rax = slot::gpr(gpr::RAX);
    let (ty, dst) = l.place(i, 0);
    let acc = l.b.get(ty, rax);
    let new = l.read_gpr(i.op1_register());
    let (old, equal) = match dst {
        Place::Mem(m) if i.has_lock_prefix() => {
            let addr = l.addr_value(m);
            let old = l.b.cas(ty, addr, acc, new);
            (old, l.b.cmp(Cond::E, ty, acc, old))
        }
        _ => {
            let old = l.load_place(ty, dst);
            let equal = l.b.cmp(Cond::E, ty, acc, old);
            let stored = l.b.select(ty, equal, new, old);
            l.store_place(ty, dst, stored);
            (old, equal)
        }
    };
    if ty == Ty::I32 {
        // A 32-bit success leaves the upper half of RAX.
        let whole = l.b.get(Ty::I64, rax);
        let loaded = l.zext64(Ty::I32, old);
        let v = l.b.select(Ty::I64, equal, whole, loaded);
        l.b.put(Ty::I64, rax, v);
    } else {
        l.b.put(ty, rax, old);
    }
    l.b.flags_set(FlagKind::Sub, ty, acc, old, Val::NONE);
}

/// `cmpxchg8b`, `cmpxchg16b`.
pub(super) fn cmpxchg_wide(l: &mut Lifter, i: &Instruction, helper: Helper) {
    let m = l.ea(i);
    let addr = l.addr64(m);
    l.helper(Ty::I64, helper, &[addr]);
}
