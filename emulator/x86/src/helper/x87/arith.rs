//! Arithmetic: results go to a stack register.

use emu_cpu::CpuHeader;

use super::{code, enter, exact, x87_asm};
use crate::helper::x86;

/// Invalid operation: instructions that report results in condition bits leave them alone then, and
/// for NaNs, so the host's bits may be those of an older instruction.
const INVALID: u16 = 1;

/// ST(0) op memory. `ESC` is the first opcode byte (0xd8 m32, 0xdc m64, 0xda i32, 0xde i16), `OP`
/// the reg field of the second. Arguments: the operand's bits, its address, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn memory<const ESC: u8, const OP: u8>(
    cpu: *mut CpuHeader,
    value: u64,
    addr: u64,
    fop: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let p = x.phys(0);
    if x.is_valid(p)
        && let Some(_guard) = enter(x)
    {
        let sw: u16;
        let fresh = x.fresh();
        // SAFETY: loads the register and the operand on this stack frame, and stores the register
        // unless a fresh exception came up.
        unsafe {
            x87_asm!("fld tbyte ptr [{a}]", ".byte {esc}, {op} * 8 + 6", "fnstsw ax",
                "test al, {fresh}", "jnz 2f", "fstp tbyte ptr [{a}]", "jmp 3f",
                "2:", "fstp st(0)", "3:",
                a = in(reg) &mut x.st[p], in("rsi") &value, esc = const ESC, op = const OP,
                fresh = in(reg_byte) fresh as u8, out("ax") sw);
        }
        if sw & fresh == 0 {
            x.take(code::C1, sw);
            x.last_ip = cpu.hdr.insn_pc;
            return 0;
        }
    }
    exact::instruction(cpu, fop, value, addr);
    0
}

/// ST(d) = ST(d) op ST(s), then perhaps a pop. `OP` is the second byte of the popping instruction
/// (0xde OP) that does this to st(1) and st(0). Argument: opcode.
#[inline(always)]
unsafe fn two<const OP: u8, const DEST_IS_TOP: bool, const POP: bool>(
    cpu: *mut CpuHeader,
    fop: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let (top, other) = (x.phys(0), x.phys(fop as u8 & 7));
    let (d, s) = if DEST_IS_TOP { (top, other) } else { (other, top) };
    if x.is_valid(d)
        && x.is_valid(s)
        && let Some(_guard) = enter(x)
    {
        let sw: u16;
        let fresh = x.fresh();
        // SAFETY: loads two registers, computes, and stores one unless a fresh exception came up.
        unsafe {
            x87_asm!("fld tbyte ptr [{d}]", "fld tbyte ptr [{s}]", ".byte 0xde, {op}", "fnstsw ax",
                "test al, {fresh}", "jnz 2f", "fstp tbyte ptr [{d}]", "jmp 3f",
                "2:", "fstp st(0)", "3:",
                d = in(reg) &raw mut x.st[d], s = in(reg) &raw const x.st[s], op = const OP,
                fresh = in(reg_byte) fresh as u8, out("ax") sw);
        }
        if sw & fresh == 0 {
            x.take(code::C1, sw);
            if POP {
                x.pop();
            }
            x.last_ip = cpu.hdr.insn_pc;
            return 0;
        }
    }
    exact::instruction(cpu, fop, 0, 0);
    0
}

/// ST(0) = ST(0) op ST(i); see [`two`].
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn to_top<const OP: u8>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { two::<OP, true, false>(cpu, fop) }
}

/// ST(i) = ST(i) op ST(0); see [`two`].
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn to_other<const OP: u8>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { two::<OP, false, false>(cpu, fop) }
}

/// ST(i) = ST(i) op ST(0), pop; see [`two`].
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn to_other_pop<const OP: u8>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { two::<OP, false, true>(cpu, fop) }
}

/// ST(0) = op ST(0), for the instruction 0xd9 `OP`; `C2` when that bit says "out of range".
/// Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn unary<const OP: u8, const C2: bool>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let p = x.phys(0);
    if x.is_valid(p)
        && (!C2 || x.st[p].is_finite())
        && let Some(_guard) = enter(x)
    {
        let sw: u16;
        let fresh = x.fresh() | if C2 { INVALID } else { 0 };
        // SAFETY: loads a register, computes, and stores it unless a fresh exception came up.
        unsafe {
            x87_asm!("fld tbyte ptr [{a}]", ".byte 0xd9, {op}", "fnstsw ax",
                "test al, {fresh}", "jnz 2f", "fstp tbyte ptr [{a}]", "jmp 3f",
                "2:", "fstp st(0)", "3:",
                a = in(reg) &mut x.st[p], op = const OP,
                fresh = in(reg_byte) fresh as u8, out("ax") sw);
        }
        if sw & fresh == 0 {
            x.take(if C2 { code::C1 | code::C2 } else { code::C1 }, sw);
            x.last_ip = cpu.hdr.insn_pc;
            return 0;
        }
    }
    exact::instruction(cpu, fop, 0, 0);
    0
}

/// ST(1) = ST(1) op ST(0), pop, for the instruction 0xd9 `OP` (logarithms, arc tangent).
/// Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn binary_pop<const OP: u8>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let (top, next) = (x.phys(0), x.phys(1));
    if x.is_valid(top)
        && x.is_valid(next)
        && let Some(_guard) = enter(x)
    {
        let sw: u16;
        let fresh = x.fresh();
        // SAFETY: loads two registers, computes, and stores one unless a fresh exception came up.
        unsafe {
            x87_asm!("fld tbyte ptr [{n}]", "fld tbyte ptr [{t}]", ".byte 0xd9, {op}", "fnstsw ax",
                "test al, {fresh}", "jnz 2f", "fstp tbyte ptr [{n}]", "jmp 3f",
                "2:", "fstp st(0)", "3:",
                n = in(reg) &raw mut x.st[next], t = in(reg) &raw const x.st[top], op = const OP,
                fresh = in(reg_byte) fresh as u8, out("ax") sw);
        }
        if sw & fresh == 0 {
            x.take(code::C1, sw);
            x.pop();
            x.last_ip = cpu.hdr.insn_pc;
            return 0;
        }
    }
    exact::instruction(cpu, fop, 0, 0);
    0
}

/// ST(0) = ST(0) op ST(1), for the instruction 0xd9 `OP` (scale, partial remainders); `CODES` when
/// it sets all condition bits. Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn binary<const OP: u8, const CODES: bool>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let (top, next) = (x.phys(0), x.phys(1));
    if x.is_valid(top)
        && x.is_valid(next)
        && (!CODES || x.st[top].is_finite() && x.st[next].is_finite())
        && let Some(_guard) = enter(x)
    {
        let sw: u16;
        let fresh = x.fresh() | if CODES { INVALID } else { 0 };
        // SAFETY: loads two registers, computes, and stores one unless a fresh exception came up.
        unsafe {
            x87_asm!("fld tbyte ptr [{n}]", "fld tbyte ptr [{t}]", ".byte 0xd9, {op}", "fnstsw ax",
                "test al, {fresh}", "jnz 2f", "fstp tbyte ptr [{t}]", "jmp 3f",
                "2:", "fstp st(0)", "3:", "fstp st(0)",
                n = in(reg) &raw const x.st[next], t = in(reg) &raw mut x.st[top], op = const OP,
                fresh = in(reg_byte) fresh as u8, out("ax") sw);
        }
        if sw & fresh == 0 {
            let all = code::C0 | code::C1 | code::C2 | code::C3;
            x.take(if CODES { all } else { code::C1 }, sw);
            x.last_ip = cpu.hdr.insn_pc;
            return 0;
        }
    }
    exact::instruction(cpu, fop, 0, 0);
    0
}

/// ST(0) = op ST(0), then a push of a second result, for the instruction 0xd9 `OP` (sine and
/// cosine, tangent, extraction); `C2` when that bit says "out of range". Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn unary_push<const OP: u8, const C2: bool>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    /// From here on trigonometric functions leave the stack alone.
    const OUT_OF_RANGE: u16 = 0x3fff + 63;
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let (top, new) = (x.phys(0), x.phys(7));
    let st = &x.st[top];
    let normal = st.mantissa() >> 63 != 0 && st.sign_exponent() & 0x7fff < OUT_OF_RANGE;
    if normal
        && x.is_valid(top)
        && !x.is_valid(new)
        && let Some(_guard) = enter(x)
    {
        let sw: u16;
        let fresh = x.fresh();
        // SAFETY: loads a register and computes two values, which go to two registers unless a
        // fresh exception came up. A normal number in range always gives two.
        unsafe {
            x87_asm!("fld tbyte ptr [{t}]", ".byte 0xd9, {op}", "fnstsw ax",
                "test al, {fresh}", "jnz 2f", "fstp tbyte ptr [{n}]", "fstp tbyte ptr [{t}]",
                "jmp 3f", "2:", "fstp st(0)", "fstp st(0)", "3:",
                n = in(reg) &raw mut x.st[new], t = in(reg) &raw mut x.st[top], op = const OP,
                fresh = in(reg_byte) fresh as u8, out("ax") sw);
        }
        if sw & fresh == 0 {
            x.take(if C2 { code::C1 | code::C2 } else { code::C1 }, sw);
            x.valid |= 1 << new;
            x.top = new as u16;
            x.last_ip = cpu.hdr.insn_pc;
            return 0;
        }
    }
    exact::instruction(cpu, fop, 0, 0);
    0
}

/// Any instruction without memory operand, by the exact way. Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn any(cpu: *mut CpuHeader, fop: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    exact::instruction(cpu, fop, 0, 0);
    0
}
