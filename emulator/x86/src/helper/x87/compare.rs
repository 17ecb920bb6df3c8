//! Comparisons and classification.

use emu_cpu::CpuHeader;
use emu_ir::flags::{CF, PF, ZF};

use super::{code, enter, exact, quickly, x87_asm};
use crate::helper::x86;
use crate::state::X87;

const CODES: u16 = code::C0 | code::C1 | code::C2 | code::C3;

/// Takes the result of a comparison and pops, unless a fresh exception came up.
#[inline(always)]
fn accept(x: &mut X87, host: u16, pops: u8) -> Option<()> {
    if host & x.fresh() != 0 {
        return None;
    }
    x.take(CODES, host);
    for _ in 0..pops {
        x.pop();
    }
    Some(())
}

/// Compares ST(0) with memory, pops if `POP`. `ESC` as for [`super::arith::memory`]. Arguments:
/// the operand's bits, its address, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn memory<const ESC: u8, const POP: bool>(
    cpu: *mut CpuHeader,
    value: u64,
    addr: u64,
    fop: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    quickly(cpu, fop, value, addr, |x| {
        let a = &raw const x.st[x.full(0)?];
        let _guard = enter(x)?;
        let sw: u16;
        // SAFETY: reads the register and the operand on this stack frame.
        unsafe {
            x87_asm!("fld tbyte ptr [{a}]", ".byte {esc}, 0x1e", "fnstsw ax",
                a = in(reg) a, in("rsi") &value, esc = const ESC, out("ax") sw);
        }
        accept(x, sw, u8::from(POP))
    })
}

/// Compares ST(0) with ST(i), pops `POPS` times; quiet NaNs raise nothing if `QUIET`. Argument:
/// opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn stack<const QUIET: bool, const POPS: u8>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    quickly(cpu, fop, 0, 0, |x| {
        let (a, b) = (&raw const x.st[x.full(0)?], &raw const x.st[x.full(fop as u8 & 7)?]);
        let _guard = enter(x)?;
        let sw: u16;
        // SAFETY: reads two registers; fucompp (da e9) or fcompp (de d9) takes both off.
        unsafe {
            x87_asm!("fld tbyte ptr [{b}]", "fld tbyte ptr [{a}]", ".byte {esc}, {op}", "fnstsw ax",
                a = in(reg) a, b = in(reg) b,
                esc = const if QUIET { 0xda } else { 0xde },
                op = const if QUIET { 0xe9 } else { 0xd9 }, out("ax") sw);
        }
        accept(x, sw, POPS)
    })
}

/// Compares ST(0) with ST(i) giving arithmetic flags, which are the result; pops if `POP`.
/// Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn to_flags<const QUIET: bool, const POP: bool>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let (a, b) = (x.phys(0), x.phys(fop as u8 & 7));
    if x.is_valid(a)
        && x.is_valid(b)
        && let Some(_guard) = enter(x)
    {
        let (sw, flags): (u16, u16);
        // SAFETY: reads two registers; fucomip (df e9) or fcomip (df f1) takes one off, the next
        // instruction the other.
        unsafe {
            x87_asm!("fld tbyte ptr [{b}]", "fld tbyte ptr [{a}]", ".byte 0xdf, {op}", "fnstsw ax",
                "mov {sw:x}, ax", "lahf", "fstp st(0)",
                a = in(reg) &x.st[a], b = in(reg) &x.st[b], sw = out(reg) sw,
                op = const if QUIET { 0xe9 } else { 0xf1 }, out("ax") flags);
        }
        if sw & x.fresh() == 0 {
            if POP {
                x.pop();
            }
            x.last_ip = cpu.hdr.insn_pc;
            return u64::from(flags >> 8 & (ZF | PF | CF));
        }
    }
    u64::from(exact::instruction(cpu, fop, 0, 0).unwrap_or(0))
}

/// Compares ST(0) with 0. Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn zero(cpu: *mut CpuHeader, fop: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    quickly(cpu, fop, 0, 0, |x| {
        let a = &raw const x.st[x.full(0)?];
        let _guard = enter(x)?;
        let sw: u16;
        // SAFETY: reads a register.
        unsafe {
            x87_asm!("fld tbyte ptr [{a}]", "ftst", "fnstsw ax", "fstp st(0)",
                a = in(reg) a, out("ax") sw);
        }
        accept(x, sw, 0)
    })
}

/// Classifies ST(0) (FXAM). Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn classify(cpu: *mut CpuHeader, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    if exact::pending(cpu) {
        return 0;
    }
    let x = &mut cpu.x87;
    let p = x.phys(0);
    let (mantissa, se) = (x.st[p].mantissa(), x.st[p].sign_exponent());
    let integer_bit = mantissa >> 63 != 0;
    let class = if !x.is_valid(p) {
        code::C3 | code::C0
    } else {
        match se & 0x7fff {
            0 if mantissa == 0 => code::C3,
            0 => code::C3 | code::C2,
            _ if !integer_bit => 0,
            0x7fff if mantissa << 1 == 0 => code::C2 | code::C0,
            0x7fff => code::C0,
            _ => code::C2,
        }
    };
    let sign = if se >> 15 != 0 { code::C1 } else { 0 };
    x.take(CODES, class | sign);
    x.last_ip = cpu.hdr.insn_pc;
    0
}
