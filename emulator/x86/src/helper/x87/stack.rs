//! Moves between stack registers, sign changes, stack pointer and tags.

use emu_cpu::CpuHeader;

use super::{code, exact};
use crate::X86Cpu;
use crate::helper::x86;
use crate::state::X87;

/// Completes an instruction that raised nothing.
#[inline(always)]
fn done(cpu: &mut X86Cpu) -> u64 {
    cpu.x87.status &= !code::C1;
    cpu.x87.last_ip = cpu.hdr.insn_pc;
    0
}

#[inline(always)]
fn idle(x: &X87) -> bool {
    x.status & X87::PENDING == 0
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
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let p = x.phys(fop as u8 & 7);
    if idle(x) && x.is_valid(p) && x.has_room() {
        let (m, se) = (x.st[p].mantissa(), x.st[p].sign_exponent());
        x.push(m, se);
        return done(cpu);
    }
    exact::instruction(cpu, fop, 0, 0);
    0
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
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let (from, to) = (x.phys(0), x.phys(fop as u8 & 7));
    if idle(x) && x.is_valid(from) {
        copy(x, from, to);
        x.valid |= 1 << to;
        if POP {
            x.pop();
        }
        return done(cpu);
    }
    exact::instruction(cpu, fop, 0, 0);
    0
}

/// FXCH. Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn exchange(cpu: *mut CpuHeader, fop: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let (a, b) = (x.phys(0), x.phys(fop as u8 & 7));
    if idle(x) && x.is_valid(a) && x.is_valid(b) {
        let (m, se) = (x.st[a].mantissa(), x.st[a].sign_exponent());
        copy(x, b, a);
        x.st[b].set(m, se);
        return done(cpu);
    }
    exact::instruction(cpu, fop, 0, 0);
    0
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
    let x = &mut cpu.x87;
    let (to, from) = (x.phys(0), x.phys(fop as u8 & 7));
    if idle(x) && x.is_valid(from) && x.is_valid(to) {
        if cond != 0 {
            copy(x, from, to);
        }
        x.last_ip = cpu.hdr.insn_pc;
        return 0;
    }
    exact::instruction(cpu, fop, 0, 0);
    0
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
    let cpu = unsafe { x86(cpu) };
    let x = &mut cpu.x87;
    let p = x.phys(0);
    if idle(x) && x.is_valid(p) {
        let se = x.st[p].sign_exponent();
        let se = if CLEAR { se & 0x7fff } else { se ^ 0x8000 };
        x.st[p].0[8..10].copy_from_slice(&se.to_le_bytes());
        return done(cpu);
    }
    exact::instruction(cpu, fop, 0, 0);
    0
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
