//! Loads: memory and constants onto the stack.

use emu_cpu::{CpuHeader, read_guest};
use emu_mem::access;

use super::{DEFAULT_CONTROL, code, exact};
use crate::X86Cpu;
use crate::helper::x86;
use crate::state::X87;

/// Whether a push that raises no exception may go the short way.
#[inline(always)]
fn plain(x: &X87) -> bool {
    x.status & X87::PENDING == 0 && x.has_room()
}

/// Pushes a value; the stack has room.
#[inline(always)]
fn push(cpu: &mut X86Cpu, mantissa: u64, sign_exponent: u16) {
    cpu.x87.push(mantissa, sign_exponent);
    cpu.x87.status &= !code::C1;
    cpu.x87.last_ip = cpu.hdr.insn_pc;
}

/// FLD m32. Arguments: bits, address, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn f32(cpu: *mut CpuHeader, bits: u64, addr: u64, fop: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    if let Some((m, se)) = widen::<8, 23>(bits)
        && plain(&cpu.x87)
    {
        push(cpu, m, se);
    } else {
        exact::instruction(cpu, fop, bits, addr);
    }
    0
}

/// FLD m64. Arguments: bits, address, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn f64(cpu: *mut CpuHeader, bits: u64, addr: u64, fop: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    if let Some((m, se)) = widen::<11, 52>(bits)
        && plain(&cpu.x87)
    {
        push(cpu, m, se);
    } else {
        exact::instruction(cpu, fop, bits, addr);
    }
    0
}

/// An IEEE value with `E` exponent and `M` fraction bits as mantissa and sign with exponent;
/// `None` for those whose load raises an exception: denormals and signalling NaNs.
#[inline(always)]
fn widen<const E: u32, const M: u32>(bits: u64) -> Option<(u64, u16)> {
    let max = (1u64 << E) - 1;
    let exponent = bits >> M & max;
    let fraction = bits << (64 - M);
    let sign = (bits >> (E + M) & 1) << 15;
    let mantissa = 1 << 63 | fraction >> 1;
    let exponent = if exponent.wrapping_sub(1) < max - 1 {
        exponent + 0x3fff - (max >> 1)
    } else if exponent == 0 {
        return (fraction == 0).then_some((0, sign as u16));
    } else if fraction == 0 || fraction >> 63 != 0 {
        0x7fff
    } else {
        return None;
    };
    Some((mantissa, (sign | exponent) as u16))
}

/// FILD of `BITS` bits. Arguments: bits, address, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn int<const BITS: u32>(
    cpu: *mut CpuHeader,
    bits: u64,
    addr: u64,
    fop: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let value = ((bits << (64 - BITS)) as i64 >> (64 - BITS)) as u64;
    if !plain(&cpu.x87) {
        exact::instruction(cpu, fop, value, addr);
        return 0;
    }
    if value == 0 {
        push(cpu, 0, 0);
        return 0;
    }
    let sign = (value >> 63) as u16;
    let magnitude = (value as i64).unsigned_abs();
    let shift = magnitude.leading_zeros();
    push(cpu, magnitude << shift, sign << 15 | (0x3fff + 63 - shift as u16));
    0
}

/// Reads the 10 bytes at `addr`; a fault is raised.
fn read10(hdr: &mut CpuHeader, addr: u64) -> Option<(u64, u16)> {
    let value = if hdr.mem_hook.is_none() {
        access::load::<u64>(addr).and_then(|m| Ok((m, access::load::<u16>(addr.wrapping_add(8))?)))
    } else {
        let mut b = [0; 10];
        read_guest(hdr, addr, &mut b).map(|()| {
            let m = u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
            (m, u16::from_le_bytes([b[8], b[9]]))
        })
    };
    match value {
        Ok(v) => Some(v),
        Err(fault) => {
            hdr.raise_fault(fault);
            None
        }
    }
}

/// FLD m80 and FBLD. Arguments: address, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn ten<const BCD: bool>(
    cpu: *mut CpuHeader,
    addr: u64,
    fop: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    if exact::pending(cpu) {
        return 0;
    }
    let Some((m, se)) = read10(&mut cpu.hdr, addr) else { return 0 };
    if !BCD && cpu.x87.has_room() {
        push(cpu, m, se);
        return 0;
    }
    let mut operand = exact::Operand::default();
    operand.0[..8].copy_from_slice(&m.to_le_bytes());
    operand.0[8..10].copy_from_slice(&se.to_le_bytes());
    let done = exact::execute(&cpu.x87, fop as u16, &mut operand, 0);
    exact::commit(cpu, done, fop, addr);
    0
}

/// The constants of FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ, rounded to nearest:
/// mantissa, exponent.
const CONSTANTS: [(u64, u16); 7] = [
    (0x8000_0000_0000_0000, 0x3fff),
    (0xd49a_784b_cd1b_8afe, 0x4000),
    (0xb8aa_3b29_5c17_f0bc, 0x3fff),
    (0xc90f_daa2_2168_c235, 0x4000),
    (0x9a20_9a84_fbcf_f799, 0x3ffd),
    (0xb172_17f7_d1cf_79ac, 0x3ffe),
    (0, 0),
];

/// FLD1 and its kind. Argument: opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn constant(cpu: *mut CpuHeader, fop: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let exactly_known = matches!(fop & 7, 0 | 6) || cpu.x87.control == DEFAULT_CONTROL;
    match CONSTANTS.get((fop & 7) as usize) {
        Some(&(m, se)) if exactly_known && plain(&cpu.x87) => push(cpu, m, se),
        _ => {
            exact::instruction(cpu, fop, 0, 0);
        }
    }
    0
}
