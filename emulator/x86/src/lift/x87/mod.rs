//! x87 instructions and the whole-state moves FXSAVE and FXRSTOR.

mod opcodes;

use emu_ir::{Cond, FlagKind, Op, Ty, Val};
use iced_x86::{Code, CodeSize, Instruction, Register};

use super::Lifter;
use crate::fxsave::FxLayout;
use crate::helper::Helper;
use crate::helper::x87::control::layout_code;
use crate::state::{gpr, slot};

/// Arithmetic in the order of the opcode's reg field; 2 and 3 are comparisons.
const fn by_operation(h: [Helper; 6], compare: [Helper; 2]) -> [Helper; 8] {
    let [add, mul, sub, subr, div, divr] = h;
    let [com, comp] = compare;
    [add, mul, com, comp, sub, subr, div, divr]
}

use Helper::*;

static MEMORY_F32: [Helper; 8] = by_operation(
    [X87AddF32, X87MulF32, X87SubF32, X87SubrF32, X87DivF32, X87DivrF32],
    [X87ComF32, X87CompF32],
);
static MEMORY_F64: [Helper; 8] = by_operation(
    [X87AddF64, X87MulF64, X87SubF64, X87SubrF64, X87DivF64, X87DivrF64],
    [X87ComF64, X87CompF64],
);
static MEMORY_I32: [Helper; 8] = by_operation(
    [X87AddI32, X87MulI32, X87SubI32, X87SubrI32, X87DivI32, X87DivrI32],
    [X87ComI32, X87CompI32],
);
static MEMORY_I16: [Helper; 8] = by_operation(
    [X87AddI16, X87MulI16, X87SubI16, X87SubrI16, X87DivI16, X87DivrI16],
    [X87ComI16, X87CompI16],
);
/// 0xd8: the destination is ST(0).
static TO_TOP: [Helper; 8] = by_operation(
    [X87AddTop, X87MulTop, X87SubTop, X87SubrTop, X87DivTop, X87DivrTop],
    [X87Com, X87Comp],
);
/// 0xdc: the destination is ST(i), for which opcode order swaps the reversed forms.
static TO_OTHER: [Helper; 8] = by_operation(
    [X87AddOther, X87MulOther, X87SubrOther, X87SubOther, X87DivrOther, X87DivOther],
    [X87Com, X87Comp],
);
/// 0xde: likewise, with a pop; reg 3 is FCOMPP.
static TO_OTHER_POP: [Helper; 8] = by_operation(
    [X87AddPop, X87MulPop, X87SubrPop, X87SubPop, X87DivrPop, X87DivPop],
    [X87Comp, X87Compp],
);
/// 0xd9 0xf0 to 0xff.
static FUNCTIONS: [Helper; 16] = [
    X872xm1, X87Yl2x, X87Ptan, X87Patan, X87Xtract, X87Prem1, X87Decstp, X87Incstp, X87Prem,
    X87Yl2xp1, X87Sqrt, X87Sincos, X87Rndint, X87Scale, X87Sin, X87Cos,
];

/// Lifts one instruction of this family; false when it is not one.
pub(super) fn lift(l: &mut Lifter, i: &Instruction) -> bool {
    if let Some(op) = opcodes::opcode(i.code()) {
        return if op as u8 >= 0xc0 { register(l, i, op) } else { memory(l, i, op) };
    }
    match i.code() {
        Code::Wait | Code::Fnop => {
            l.helper(Ty::I64, X87Wait, &[]);
        }
        // No operation since the 80387, not even waiting.
        Code::Fneni | Code::Fndisi | Code::Fnsetpm => {}
        Code::Fnclex => {
            l.helper(Ty::I64, X87Clex, &[]);
        }
        Code::Fninit => {
            l.helper(Ty::I64, X87Init, &[]);
        }
        Code::Fldcw_m2byte => {
            let m = l.ea(i);
            let v = l.b.load(Ty::I16, m);
            l.helper(Ty::I64, X87Ldcw, &[v]);
        }
        Code::Fnstcw_m2byte => {
            let m = l.ea(i);
            let v = l.b.get(Ty::I16, slot::X87_CONTROL);
            l.b.store(Ty::I16, m, v);
        }
        Code::Fnstsw_m2byte => {
            let m = l.ea(i);
            let v = status_word(l);
            l.b.store(Ty::I16, m, v);
        }
        Code::Fnstsw_AX => {
            let v = status_word(l);
            l.b.put(Ty::I16, slot::gpr(gpr::RAX), v);
        }
        Code::Fnstenv_m14byte => image(l, i, X87Stenv, false),
        Code::Fnstenv_m28byte => image(l, i, X87Stenv, true),
        Code::Fldenv_m14byte => image(l, i, X87Ldenv, false),
        Code::Fldenv_m28byte => image(l, i, X87Ldenv, true),
        Code::Fnsave_m94byte => image(l, i, X87Save, false),
        Code::Fnsave_m108byte => image(l, i, X87Save, true),
        Code::Frstor_m94byte => image(l, i, X87Rstor, false),
        Code::Frstor_m108byte => image(l, i, X87Rstor, true),
        Code::Fxsave_m512byte => fx(l, i, Fxsave, false),
        Code::Fxsave64_m512byte => fx(l, i, Fxsave, true),
        Code::Fxrstor_m512byte => fx(l, i, Fxrstor, false),
        Code::Fxrstor64_m512byte => fx(l, i, Fxrstor, true),
        _ => return false,
    }
    true
}

/// The status word, as an i16.
fn status_word(l: &mut Lifter) -> Val {
    let status = l.helper(Ty::I64, X87Stsw, &[]);
    l.b.convert(Op::Trunc, Ty::I64, Ty::I16, status)
}

/// The address of the memory operand.
fn address(l: &mut Lifter, i: &Instruction) -> Val {
    let m = l.ea(i);
    l.addr64(m)
}

/// Environment and state images.
fn image(l: &mut Lifter, i: &Instruction, helper: Helper, wide: bool) {
    let addr = address(l, i);
    let wide = l.b.iconst(Ty::I64, u64::from(wide));
    l.helper(Ty::I64, helper, &[addr, wide]);
}

fn fx(l: &mut Lifter, i: &Instruction, helper: Helper, rex_w: bool) {
    let layout = FxLayout::of(l.mode, rex_w);
    let addr = address(l, i);
    let layout = l.b.iconst(Ty::I64, layout_code(layout));
    l.helper(Ty::I64, helper, &[addr, layout]);
    if helper == Helper::Fxrstor {
        // Whether vector ops can trap depends on the masks in MXCSR.
        l.end_block_after();
    }
}

/// The address fields of the ModRM byte, which the processor's last-opcode register shows, as the
/// shortest encoding has them (0 for 16-bit addressing).
fn address_fields(i: &Instruction) -> u16 {
    let (base, index) = (i.memory_base(), i.memory_index());
    if base.size() == 2 || index.size() == 2 {
        return 0;
    }
    if i.is_ip_rel_memory_operand() {
        return 5;
    }
    let number = base.number() as u16 & 7;
    let rm = match (base, index) {
        (Register::None, Register::None) => {
            return if i.code_size() == CodeSize::Code64 { 4 } else { 5 };
        }
        (Register::None, _) => return 4,
        (_, Register::None) if number != 4 => number,
        _ => 4,
    };
    match i.memory_displ_size() {
        0 => rm,
        1 => 0x40 | rm,
        _ => 0x80 | rm,
    }
}

/// Instructions with a memory operand.
fn memory(l: &mut Lifter, i: &Instruction, op: u16) -> bool {
    let op = op | address_fields(i);
    let reg = usize::from(op >> 3 & 7);
    let (helper, ty) = match (op >> 8, reg) {
        (0, _) => (MEMORY_F32[reg], Ty::I32),
        (2, _) => (MEMORY_I32[reg], Ty::I32),
        (4, _) => (MEMORY_F64[reg], Ty::I64),
        (6, _) => (MEMORY_I16[reg], Ty::I16),
        (1, 0) => (X87LdF32, Ty::I32),
        (5, 0) => (X87LdF64, Ty::I64),
        (7, 0) => (X87LdI16, Ty::I16),
        (3, 0) => (X87LdI32, Ty::I32),
        (7, 5) => (X87LdI64, Ty::I64),
        _ => return memory_by_address(l, i, op),
    };
    let m = l.ea(i);
    let value = l.b.load(ty, m);
    let addr = l.addr64(m);
    let op = l.b.iconst(Ty::I64, u64::from(op));
    l.helper(Ty::I64, helper, &[value, addr, op]);
    true
}

/// Stores and 80-bit loads, which access memory themselves.
fn memory_by_address(l: &mut Lifter, i: &Instruction, op: u16) -> bool {
    let helper = match (op >> 8, op >> 3 & 7) {
        (1, 2) => X87StF32,
        (1, 3) => X87StpF32,
        (5, 2) => X87StF64,
        (5, 3) => X87StpF64,
        (7, 2) => X87StI16,
        (7, 3) => X87StpI16,
        (3, 2) => X87StI32,
        (3, 3) => X87StpI32,
        (7, 7) => X87StpI64,
        (7, 1) => X87SttpI16,
        (3, 1) => X87SttpI32,
        (5, 1) => X87SttpI64,
        (3, 5) => X87LdF80,
        (3, 7) => X87StpF80,
        (7, 4) => X87LdBcd,
        (7, 6) => X87StpBcd,
        _ => return false,
    };
    let addr = address(l, i);
    let op = l.b.iconst(Ty::I64, u64::from(op));
    l.helper(Ty::I64, helper, &[addr, op]);
    true
}

/// Instructions on stack registers.
fn register(l: &mut Lifter, i: &Instruction, op: u16) -> bool {
    // One operand is ST(0) wherever there are two.
    let st: usize = (0..i.op_count()).map(|n| i.op_register(n).number()).sum();
    let op = op | st as u16 & 7;
    let group = usize::from(op >> 3 & 7);
    let helper = match (op >> 8, group) {
        (0, _) => TO_TOP[group],
        (4, _) => TO_OTHER[group],
        (6, _) => TO_OTHER_POP[group],
        (1, 0) => X87Ld,
        (1 | 5 | 7, 1) => X87Xch,
        // FSTPNCE differs from FSTP on an empty register.
        (1, 3) => X87Any,
        (1, 4) => match op & 7 {
            0 => X87Chs,
            1 => X87Abs,
            4 => X87Tst,
            5 => X87Xam,
            _ => return false,
        },
        (1, 5) => X87LdConst,
        (1, 6 | 7) => FUNCTIONS[usize::from(op & 15)],
        (2, 0) => return conditional(l, Cond::B, op),
        (2, 1) => return conditional(l, Cond::E, op),
        (2, 2) => return conditional(l, Cond::Be, op),
        (2, 3) => return conditional(l, Cond::P, op),
        (3, 0) => return conditional(l, Cond::Ae, op),
        (3, 1) => return conditional(l, Cond::Ne, op),
        (3, 2) => return conditional(l, Cond::A, op),
        (3, 3) => return conditional(l, Cond::Np, op),
        (2, 5) => X87Ucompp,
        (3, 5) => return to_flags(l, X87Ucomi, op),
        (3, 6) => return to_flags(l, X87Comi, op),
        (7, 5) => return to_flags(l, X87Ucomip, op),
        (7, 6) => return to_flags(l, X87Comip, op),
        (5, 0) => X87Free,
        (5, 2) => X87St,
        (5, 3) | (7, 2 | 3) => X87Stp,
        (5, 4) => X87Ucom,
        (5, 5) => X87Ucomp,
        (7, 0) => X87Freep,
        _ => return false,
    };
    let op = l.b.iconst(Ty::I64, u64::from(op));
    l.helper(Ty::I64, helper, &[op]);
    true
}

fn conditional(l: &mut Lifter, cond: Cond, op: u16) -> bool {
    let cond = l.b.flags_cond(cond);
    let op = l.b.iconst(Ty::I64, u64::from(op));
    l.helper(Ty::I64, X87Cmov, &[cond, op]);
    true
}

/// Comparisons that set the arithmetic flags, all of them.
fn to_flags(l: &mut Lifter, helper: Helper, op: u16) -> bool {
    let op = l.b.iconst(Ty::I64, u64::from(op));
    let flags = l.helper(Ty::I64, helper, &[op]);
    l.b.flags_set(FlagKind::Raw, Ty::I64, flags, 0, Val::NONE);
    true
}
