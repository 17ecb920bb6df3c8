//! Moves between stack registers, sign changes, stack pointer and tags.

use emu_cpu::CpuHeader;

use super::{code, exact, quickly};
use crate::X86Cpu;
use crate::helper::x86;
use crate::state::X87;

/// Completes an instruction that raised nothing and has no exact way.
#[inline(always)]
fn done(cpu: &mut X86Cpu) -> u64 {
    cpu.x87.status &= !code::C1;
    cpu.x87.last_ip = cpu.hdr.insn_pc;
    0
}

/// A move with `f` that raises nothing: as [`quickly`], unless an exception is pending.
#[inline(always)]
fn moving(cpu: &mut X86Cpu, fop: u64, f: impl FnOnce(&mut X87) -> Option<()>) -> u64 {
    quickly(cpu, fop, 0, 0, |x| {
        if x.status & X87::PENDING != 0 {
            return None;
        }
        f(x)?;
        x.status &= !code::C1;
        Some(())
    })
}

/// Copies register `from` to `to`. Reading it in the two parts it is written in keeps the
/// processor's store forwarding working.
#[inline(always)]
fn copy(x: &mut X87, from: usize, to: usize) {
    let (m, se) = (x.st[from].mantissa(), x.st[from].sign_exponent());
    x.st[to].set(m, se);
}

/// FLD ST(i). Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn load(cpu: *mut CpuHeader, fop: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    moving(unsafe { x86(cpu) }, fop, |x| {
        let p = x.full(fop as u8 & 7)?;
        let (m, se) = (x.st[p].mantissa(), x.st[p].sign_exponent());
        x.has_room().then(|| x.push(m, se))
    })
}

/// FST ST(i) and FSTP ST(i). Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn store<const POP: bool>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    moving(unsafe { x86(cpu) }, fop, |x| {
        let (from, to) = (x.full(0)?, x.phys(fop as u8 & 7));
        copy(x, from, to);
        x.valid |= 1 << to;
        if POP {
            x.pop();
        }
        Some(())
    })
}

/// FXCH. Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn exchange(cpu: *mut CpuHeader, fop: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    moving(unsafe { x86(cpu) }, fop, |x| {
        let (a, b) = (x.full(0)?, x.full(fop as u8 & 7)?);
        let (m, se) = (x.st[a].mantissa(), x.st[a].sign_exponent());
        copy(x, b, a);
        x.st[b].set(m, se);
        Some(())
    })
}

/// FCMOVcc. Arguments: whether the condition holds, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn conditional(
    cpu: *mut CpuHeader,
    cond: u64,
    fop: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    // The condition bits stay.
    quickly(cpu, fop, 0, 0, |x| {
        let (to, from) = (x.full(0)?, x.full(fop as u8 & 7)?);
        if x.status & X87::PENDING != 0 {
            return None;
        }
        if cond != 0 {
            copy(x, from, to);
        }
        Some(())
    })
}

/// FABS and FCHS. Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn sign<const CLEAR: bool>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    moving(unsafe { x86(cpu) }, fop, |x| {
        let st = &mut x.st[x.full(0)?];
        let se = st.sign_exponent();
        let se = if CLEAR { se & 0x7fff } else { se ^ 0x8000 };
        st.0[8..10].copy_from_slice(&se.to_le_bytes());
        Some(())
    })
}

/// FINCSTP and FDECSTP. Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn rotate<const UP: bool>(
    cpu: *mut CpuHeader,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    if exact::pending(cpu) {
        return 0;
    }
    let x = &mut cpu.x87;
    x.top = x.top.wrapping_add(if UP { 1 } else { 7 }) & 7;
    done(cpu)
}

/// FFREE and FFREEP. Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn free<const POP: bool>(
    cpu: *mut CpuHeader,
    fop: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    if exact::pending(cpu) {
        return 0;
    }
    let x = &mut cpu.x87;
    x.valid &= !(1 << x.phys(fop as u8 & 7));
    if POP {
        x.pop();
    }
    done(cpu)
}
