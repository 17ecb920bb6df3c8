//! Integer and system instructions.

use emu_cpu::CpuHeader;
use emu_ir::{TrapKind, flags};
use emu_mem::MemFault;
use emu_mem::access::{self, Atomic};

use super::x86;
use crate::state::gpr;
use crate::{Level, X86Cpu, cpuid};

/// The time-stamp counter.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn rdtsc(_: *mut CpuHeader, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Raises the trap of an instruction that cannot be fetched; the argument is the first address that
/// cannot be read.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn fetch_fault(
    cpu: *mut CpuHeader,
    addr: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    /// [`CpuHeader::trap_access`] of a fetch.
    const FETCH: u8 = 2;
    // SAFETY: the caller's promise.
    let hdr = &mut unsafe { x86(cpu) }.hdr;
    hdr.raise(TrapKind::FetchFault);
    hdr.trap_access = FETCH;
    hdr.trap_addr = addr;
    0
}

/// `cpuid`; the argument is 1 in 64-bit mode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn cpuid_insn(cpu: *mut CpuHeader, long: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let r = cpuid::cpuid(
        Level::current(),
        long != 0,
        cpu.gpr[gpr::RAX] as u32,
        cpu.gpr[gpr::RCX] as u32,
    );
    cpu.gpr[gpr::RAX] = u64::from(r.eax);
    cpu.gpr[gpr::RBX] = u64::from(r.ebx);
    cpu.gpr[gpr::RCX] = u64::from(r.ecx);
    cpu.gpr[gpr::RDX] = u64::from(r.edx);
    0
}

/// Faults with BoundRange unless (index, low, high) has low <= index <= high, all signed.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn bound(
    cpu: *mut CpuHeader,
    index: u64,
    low: u64,
    high: u64,
    _: u64,
) -> u64 {
    if !(low as i64..=high as i64).contains(&(index as i64)) {
        // SAFETY: the caller's promise.
        unsafe { x86(cpu) }.hdr.raise(TrapKind::BoundRange);
    }
    0
}

/// `crc32` of (crc so far, data, bytes of data).
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn crc32(_: *mut CpuHeader, crc: u64, data: u64, bytes: u64, _: u64) -> u64 {
    if is_x86_feature_detected!("sse4.2") {
        // SAFETY: the feature was just detected.
        return u64::from(unsafe { crc32_host(crc as u32, data, bytes) });
    }
    /// The Castagnoli polynomial, bit-reversed.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = crc as u32;
    for byte in data.to_le_bytes().into_iter().take(bytes as usize) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { POLYNOMIAL } else { 0 };
        }
    }
    u64::from(crc)
}

#[target_feature(enable = "sse4.2")]
fn crc32_host(crc: u32, data: u64, bytes: u64) -> u32 {
    use core::arch::x86_64 as host;
    match bytes {
        1 => host::_mm_crc32_u8(crc, data as u8),
        2 => host::_mm_crc32_u16(crc, data as u16),
        4 => host::_mm_crc32_u32(crc, data as u32),
        _ => host::_mm_crc32_u64(u64::from(crc), data) as u32,
    }
}

/// Performs a read-modify-write of `len` bytes at `addr` and reports it when somebody listens:
/// `replaced` tells from the bytes there what they become.
fn watched<T>(
    cpu: &mut CpuHeader,
    addr: u64,
    len: usize,
    replaced: impl FnOnce(u128) -> u128,
    operation: impl FnOnce() -> Result<T, MemFault>,
) -> Result<T, MemFault> {
    let Some(watch) = cpu.mem_hook else { return operation() };
    access::probe_write(addr)?;
    access::probe_write(addr.wrapping_add(len as u64 - 1))?;
    let mut old = [0; 16];
    access::read(addr, &mut old[..len])?;
    let new = replaced(u128::from_le_bytes(old)).to_le_bytes();
    let reporter = watch.reporter(cpu);
    reporter.loaded(cpu, addr, &old[..len]);
    reporter.storing(cpu, addr, &new[..len]);
    let result = operation()?;
    reporter.stored(cpu, addr, &new[..len]);
    Ok(result)
}

/// `lock neg` of (address, bytes): the old value.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn lock_neg(
    cpu: *mut CpuHeader,
    addr: u64,
    bytes: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let old = watched(&mut cpu.hdr, addr, bytes as usize, u128::wrapping_neg, || match bytes {
        1 => update::<u8>(addr, u8::wrapping_neg).map(u64::from),
        2 => update::<u16>(addr, u16::wrapping_neg).map(u64::from),
        4 => update::<u32>(addr, u32::wrapping_neg).map(u64::from),
        _ => update::<u64>(addr, u64::wrapping_neg),
    });
    old.unwrap_or_else(|f| {
        cpu.hdr.raise_fault(f);
        0
    })
}

/// Replaces the value at `addr` by `f` of it, atomically; the old value.
fn update<T: Atomic + PartialEq>(addr: u64, f: impl Fn(T) -> T) -> Result<T, MemFault> {
    // A fault of the read half of a read-modify-write counts as a write.
    let as_store = |f| MemFault { write: true, ..f };
    let mut old = access::load::<T>(addr).map_err(as_store)?;
    loop {
        let seen = T::cas(addr, old, f(old))?;
        if seen == old {
            return Ok(old);
        }
        old = seen;
    }
}

fn set_zf(cpu: &mut X86Cpu, on: bool) {
    let f = cpu.hdr.flags() & !flags::ZF;
    cpu.hdr.set_flags(f | if on { flags::ZF } else { 0 });
}

/// Finishes a double-width compare and exchange: flags, and on failure the value found, in halves
/// of `half` bits.
fn finish_exchange(
    cpu: &mut X86Cpu,
    old: Result<u128, MemFault>,
    expected: u128,
    half: u32,
) -> u64 {
    match old {
        Ok(old) => {
            if old != expected {
                cpu.gpr[gpr::RAX] = (old & ((1 << half) - 1)) as u64;
                cpu.gpr[gpr::RDX] = (old >> half) as u64;
            }
            set_zf(cpu, old == expected);
        }
        Err(f) => cpu.hdr.raise_fault(MemFault { write: true, ..f }),
    }
    0
}

/// `cmpxchg8b` at (address).
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn cmpxchg8b(cpu: *mut CpuHeader, addr: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let pair = |hi: usize, lo: usize| (cpu.gpr[hi] << 32) | (cpu.gpr[lo] & 0xffff_ffff);
    let (expected, new) = (pair(gpr::RDX, gpr::RAX), pair(gpr::RCX, gpr::RBX));
    let replaced = |old| if old == u128::from(expected) { u128::from(new) } else { old };
    let exchange = || <u64 as Atomic>::cas(addr, expected, new).map(u128::from);
    let old = watched(&mut cpu.hdr, addr, 8, replaced, exchange);
    finish_exchange(cpu, old, expected.into(), 32)
}

/// `cmpxchg16b` at (address).
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn cmpxchg16b(cpu: *mut CpuHeader, addr: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    if addr & 15 != 0 {
        cpu.hdr.raise(TrapKind::Protection);
        return 0;
    }
    let pair = |hi: usize, lo: usize| u128::from(cpu.gpr[hi]) << 64 | u128::from(cpu.gpr[lo]);
    let (expected, new) = (pair(gpr::RDX, gpr::RAX), pair(gpr::RCX, gpr::RBX));
    let replaced = |old| if old == expected { new } else { old };
    let old = watched(&mut cpu.hdr, addr, 16, replaced, || access::cas128(addr, expected, new));
    finish_exchange(cpu, old, expected, 64)
}

/// `rdrand`: 64 random bits.
///
/// # Safety
/// See [`emu_cpu::HelperFn`]; the host has the instruction.
pub unsafe extern "C" fn rdrand(_: *mut CpuHeader, _: u64, _: u64, _: u64, _: u64) -> u64 {
    random(|x| {
        // SAFETY: the model has the instruction only where the host has it.
        unsafe {
            core::arch::asm!("rdrand {x}", "setc {ok}", x = out(reg) x.0, ok = out(reg_byte) x.1)
        }
    })
}

/// `rdseed`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`]; the host has the instruction.
pub unsafe extern "C" fn rdseed(_: *mut CpuHeader, _: u64, _: u64, _: u64, _: u64) -> u64 {
    random(|x| {
        // SAFETY: as for `rdrand`.
        unsafe {
            core::arch::asm!("rdseed {x}", "setc {ok}", x = out(reg) x.0, ok = out(reg_byte) x.1)
        }
    })
}

/// What an instruction gives that may find its source exhausted, which does not last.
fn random(instruction: impl Fn(&mut (u64, u8))) -> u64 {
    let mut x = (0, 0);
    while x.1 == 0 {
        instruction(&mut x);
    }
    x.0
}

/// `wrfsbase`, `wrgsbase`: a protection fault unless the address is canonical.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn check_canonical(
    cpu: *mut CpuHeader,
    addr: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    if ((addr << 16) as i64 >> 16) as u64 != addr {
        // SAFETY: the caller's promise.
        unsafe { x86(cpu) }.hdr.raise(TrapKind::Protection);
    }
    0
}

/// `pdep` of (source, mask).
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn pdep(_: *mut CpuHeader, src: u64, mask: u64, _: u64, _: u64) -> u64 {
    let (mut left, mut result, mut n) = (mask, 0, 0);
    while left != 0 {
        let bit = left & left.wrapping_neg();
        result |= if src >> n & 1 != 0 { bit } else { 0 };
        left ^= bit;
        n += 1;
    }
    result
}

/// `pext` of (source, mask).
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn pext(_: *mut CpuHeader, src: u64, mask: u64, _: u64, _: u64) -> u64 {
    let (mut left, mut result, mut n) = (mask, 0, 0);
    while left != 0 {
        let bit = left & left.wrapping_neg();
        result |= u64::from(src & bit != 0) << n;
        left ^= bit;
        n += 1;
    }
    result
}
