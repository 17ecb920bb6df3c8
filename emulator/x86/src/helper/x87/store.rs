//! Stores: ST(0) to memory.
//!
//! The value is computed first, then stored, and only then does the state change, so that a page
//! fault leaves it as it was.

use emu_cpu::{CpuHeader, write_guest};
use emu_mem::{MemFault, access};

use super::{DEFAULT_CONTROL, code, enter, exact, x87_asm};
use crate::X86Cpu;
use crate::helper::x86;

/// The precision flag.
const PRECISION: u16 = 1 << 5;

/// Stores the low `BYTES` bytes of `value`.
#[inline(always)]
fn write<const BYTES: usize>(hdr: &mut CpuHeader, addr: u64, value: u64) -> Result<(), MemFault> {
    if hdr.mem_hook.is_some() {
        return write_guest(hdr, addr, &value.to_le_bytes()[..BYTES]);
    }
    match BYTES {
        2 => access::store(addr, value as u16),
        4 => access::store(addr, value as u32),
        _ => access::store(addr, value),
    }
}

/// Completes a store of ST(0): raises the fault, or pops.
#[inline(always)]
fn finish(cpu: &mut X86Cpu, stored: Result<(), MemFault>, host_status: u16, pop: bool) -> u64 {
    if let Err(fault) = stored {
        cpu.hdr.raise_fault(fault);
        return 0;
    }
    cpu.x87.take(code::C1, host_status);
    if pop {
        cpu.x87.pop();
    }
    cpu.x87.last_ip = cpu.hdr.insn_pc;
    0
}

/// Any store, by the exact way. `bytes` is the size of the operand.
#[cold]
#[inline(never)]
fn exactly(cpu: &mut X86Cpu, addr: u64, fop: u64, bytes: usize) -> u64 {
    if exact::pending(cpu) {
        return 0;
    }
    let mut operand = exact::Operand::default();
    let done = exact::execute(&cpu.x87, fop as u16, &mut operand, 0);
    if done.completed
        && let Err(fault) = write_guest(&mut cpu.hdr, addr, &operand.0[..bytes])
    {
        cpu.hdr.raise_fault(fault);
        return 0;
    }
    exact::commit(cpu, done, fop, addr);
    0
}

/// A normal value or zero rounded to nearest with `E` exponent and `M` fraction bits.
struct Narrow {
    bits: u64,
    inexact: bool,
    up: bool,
}

/// Rounds to a narrower float; `None` for what is not a normal number (or zero) before and after.
#[inline(always)]
fn narrow<const E: u32, const M: u32>(mantissa: u64, sign_exponent: u16) -> Option<Narrow> {
    let max = (1u64 << E) - 1;
    let sign = u64::from(sign_exponent >> 15) << (E + M);
    let exponent = u64::from(sign_exponent & 0x7fff);
    if exponent == 0 && mantissa == 0 {
        return Some(Narrow { bits: sign, inexact: false, up: false });
    }
    let exponent = exponent.wrapping_sub(0x3fff - (max >> 1));
    if exponent.wrapping_sub(1) >= max - 1 || mantissa >> 63 == 0 {
        return None;
    }
    let dropped = 63 - M;
    let rest = mantissa & ((1 << dropped) - 1);
    let half = 1 << (dropped - 1);
    let magnitude = exponent << M | (mantissa << 1) >> (64 - M);
    let up = rest > half || rest == half && magnitude & 1 != 0;
    let magnitude = magnitude + u64::from(up);
    (magnitude >> M < max).then_some(Narrow { bits: sign | magnitude, inexact: rest != 0, up })
}

/// FST m32 and m64: `E` and `M` as for [`narrow`], the others as for [`scalar`]. Arguments:
/// address, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn float<
    const E: u32,
    const M: u32,
    const ESC: u8,
    const BYTES: usize,
    const POP: bool,
>(
    header: *mut CpuHeader,
    addr: u64,
    fop: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(header) };
    let x = &cpu.x87;
    let st = &x.st[x.phys(0)];
    if x.is_valid(x.phys(0))
        && x.control == DEFAULT_CONTROL
        && let Some(n) = narrow::<E, M>(st.mantissa(), st.sign_exponent())
        && (!n.inexact || x.status & PRECISION != 0)
    {
        let stored = write::<BYTES>(&mut cpu.hdr, addr, n.bits);
        return finish(cpu, stored, if n.up { code::C1 } else { 0 }, POP);
    }
    // SAFETY: as the caller promises.
    unsafe { scalar::<ESC, 3, BYTES, POP>(header, addr, fop, 0, 0) }
}

/// FST, FIST and FISTTP to memory of `BYTES` bytes: the instruction `ESC` /`OP`, which pops.
/// Whether the guest's pops is `POP`. Arguments: address, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn scalar<
    const ESC: u8,
    const OP: u8,
    const BYTES: usize,
    const POP: bool,
>(
    cpu: *mut CpuHeader,
    addr: u64,
    fop: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let x = &cpu.x87;
    let p = x.phys(0);
    if x.is_valid(p)
        && let Some(guard) = enter(x)
    {
        let sw: u16;
        let mut value = 0u64;
        // SAFETY: reads a register and stores at most 8 bytes to a variable.
        unsafe {
            x87_asm!("fld tbyte ptr [{a}]", ".byte {esc}, {op} * 8 + 6", "fnstsw ax",
                a = in(reg) &x.st[p], in("rsi") &mut value, esc = const ESC, op = const OP,
                out("ax") sw);
        }
        drop(guard);
        if sw & x.fresh() == 0 {
            let stored = write::<BYTES>(&mut cpu.hdr, addr, value);
            return finish(cpu, stored, sw, POP);
        }
    }
    exactly(cpu, addr, fop, BYTES)
}

/// FSTP m80. Arguments: address, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn f80(cpu: *mut CpuHeader, addr: u64, fop: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let p = cpu.x87.phys(0);
    if cpu.x87.status & crate::state::X87::PENDING != 0 || !cpu.x87.is_valid(p) {
        return exactly(cpu, addr, fop, 10);
    }
    let st = cpu.x87.st[p];
    let in_page = addr % emu_mem::PAGE <= emu_mem::PAGE - 10;
    let stored = if in_page && cpu.hdr.mem_hook.is_none() {
        // Within one page the second store cannot fault when the first did not.
        access::store(addr, st.mantissa())
            .and_then(|()| access::store(addr.wrapping_add(8), st.sign_exponent()))
    } else {
        write_guest(&mut cpu.hdr, addr, &st.0[..10])
    };
    finish(cpu, stored, 0, true)
}

/// FBSTP. Arguments: address, opcode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn bcd(cpu: *mut CpuHeader, addr: u64, fop: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    exactly(unsafe { x86(cpu) }, addr, fop, 10)
}
