//! Arithmetic: results go to a stack register.

use emu_cpu::CpuHeader;

use super::{code, enter, exact, quickly, unless_fresh};
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
    quickly(cpu, fop, value, addr, |x| {
        let a = &raw mut x.st[x.full(0)?];
        let _guard = enter(x)?;
        // SAFETY: reads a register and the operand on this stack frame, writes the register.
        let sw = unsafe {
            unless_fresh!(x.fresh(); "fld tbyte ptr [{a}]", ".byte {esc}, {op} * 8 + 6";
                "fstp tbyte ptr [{a}]"; "fstp st(0)";
                a = in(reg) a, in("rsi") &value, esc = const ESC, op = const OP)
        }?;
        x.take(code::C1, sw);
        Some(())
    })
}

/// ST(0) = ST(0) op ST(i) if `TO_TOP`, else ST(i) = ST(i) op ST(0), then a pop if `POP`. `OP` is the
/// second byte of the popping instruction (0xde OP) that does this to st(1) and st(0). Argument:
/// opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn two<const OP: u8, const TO_TOP: bool, const POP: bool>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    quickly(cpu, fop, 0, 0, |x| {
        let (top, other) = (x.full(0)?, x.full(fop as u8 & 7)?);
        let (d, s) = if TO_TOP { (top, other) } else { (other, top) };
        let _guard = enter(x)?;
        let (d, s) = (&raw mut x.st[d], &raw const x.st[s]);
        // SAFETY: reads two registers, writes one.
        let sw = unsafe {
            unless_fresh!(x.fresh(); "fld tbyte ptr [{d}]", "fld tbyte ptr [{s}]", ".byte 0xde, {op}";
                "fstp tbyte ptr [{d}]"; "fstp st(0)";
                d = in(reg) d, s = in(reg) s, op = const OP)
        }?;
        x.take(code::C1, sw);
        if POP {
            x.pop();
        }
        Some(())
    })
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
    quickly(cpu, fop, 0, 0, |x| {
        let p = x.full(0)?;
        if C2 && !x.st[p].is_finite() {
            return None;
        }
        let _guard = enter(x)?;
        let fresh = x.fresh() | if C2 { INVALID } else { 0 };
        // SAFETY: reads and writes a register.
        let sw = unsafe {
            unless_fresh!(fresh; "fld tbyte ptr [{a}]", ".byte 0xd9, {op}";
                "fstp tbyte ptr [{a}]"; "fstp st(0)";
                a = in(reg) &raw mut x.st[p], op = const OP)
        }?;
        x.take(if C2 { code::C1 | code::C2 } else { code::C1 }, sw);
        Some(())
    })
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
    quickly(cpu, fop, 0, 0, |x| {
        let (t, n) = (x.full(0)?, x.full(1)?);
        let _guard = enter(x)?;
        let (t, n) = (&raw const x.st[t], &raw mut x.st[n]);
        // SAFETY: reads two registers, writes one.
        let sw = unsafe {
            unless_fresh!(x.fresh(); "fld tbyte ptr [{n}]", "fld tbyte ptr [{t}]", ".byte 0xd9, {op}";
                "fstp tbyte ptr [{n}]"; "fstp st(0)";
                n = in(reg) n, t = in(reg) t, op = const OP)
        }?;
        x.take(code::C1, sw);
        x.pop();
        Some(())
    })
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
    quickly(cpu, fop, 0, 0, |x| {
        let (t, n) = (x.full(0)?, x.full(1)?);
        if CODES && !(x.st[t].is_finite() && x.st[n].is_finite()) {
            return None;
        }
        let _guard = enter(x)?;
        let fresh = x.fresh() | if CODES { INVALID } else { 0 };
        let (t, n) = (&raw mut x.st[t], &raw const x.st[n]);
        // SAFETY: reads two registers, writes one.
        let sw = unsafe {
            unless_fresh!(fresh; "fld tbyte ptr [{n}]", "fld tbyte ptr [{t}]", ".byte 0xd9, {op}";
                "fstp tbyte ptr [{t}]", "fstp st(0)"; "fstp st(0)", "fstp st(0)";
                n = in(reg) n, t = in(reg) t, op = const OP)
        }?;
        let all = code::C0 | code::C1 | code::C2 | code::C3;
        x.take(if CODES { all } else { code::C1 }, sw);
        Some(())
    })
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
    quickly(cpu, fop, 0, 0, |x| {
        let (top, new) = (x.full(0)?, x.phys(7));
        let st = &x.st[top];
        let normal = st.mantissa() >> 63 != 0 && st.sign_exponent() & 0x7fff < OUT_OF_RANGE;
        if !normal || !x.has_room() {
            return None;
        }
        let _guard = enter(x)?;
        let (t, n) = (&raw mut x.st[top], &raw mut x.st[new]);
        // SAFETY: reads a register and writes two. A normal number in range always gives two values.
        let sw = unsafe {
            unless_fresh!(x.fresh(); "fld tbyte ptr [{t}]", ".byte 0xd9, {op}";
                "fstp tbyte ptr [{n}]", "fstp tbyte ptr [{t}]"; "fstp st(0)", "fstp st(0)";
                n = in(reg) n, t = in(reg) t, op = const OP)
        }?;
        x.take(if C2 { code::C1 | code::C2 } else { code::C1 }, sw);
        x.valid |= 1 << new;
        x.top = new as u16;
        Some(())
    })
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
