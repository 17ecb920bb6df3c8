//! SIMD instructions with operands or effects no vector op has.

use core::arch::asm;
use core::arch::x86_64::__m128i;

use emu_cpu::{CpuHeader, write_guest};
use emu_ir::TrapKind;

use super::x86;
use crate::X86Cpu;
use crate::mxcsr;

/// The MXCSR bits that exist.
const MXCSR_MASK: u64 = 0xffff;

/// `ldmxcsr`: (value). Reserved bits are a protection fault.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn ldmxcsr(cpu: *mut CpuHeader, value: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    if value & !MXCSR_MASK != 0 {
        cpu.hdr.raise(TrapKind::Protection);
    } else {
        mxcsr::load(cpu, value as u32);
    }
    0
}

/// `stmxcsr`: the guest's MXCSR.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn stmxcsr(cpu: *mut CpuHeader, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    u64::from(mxcsr::current(unsafe { x86(cpu) }))
}

/// `maskmovq`, `maskmovdqu`: (address, low half of the data, high half, mask). Stores the bytes
/// whose bit in the mask is set.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn masked_store(
    cpu: *mut CpuHeader,
    addr: u64,
    low: u64,
    high: u64,
    mask: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let data = (u128::from(low) | u128::from(high) << 64).to_le_bytes();
    let bytes = || (0..16).filter(|n| mask >> n & 1 != 0).map(|n| (n, addr.wrapping_add(n as u64)));
    let all = bytes()
        .try_for_each(|(_, at)| emu_mem::access::probe_write(at))
        .and_then(|()| bytes().try_for_each(|(n, at)| write_guest(&mut cpu.hdr, at, &data[n..=n])));
    if let Err(fault) = all {
        cpu.hdr.raise_fault(fault);
    }
    0
}

/// Runs a string comparison with a control byte known only now: jumps into a table of the 256
/// forms, 16 bytes each. AH gets the flags as `lahf` has them, AL the overflow flag.
macro_rules! compare {
    ($instruction:literal, $cpu:ident, $imm:ident, $($operands:tt)*) => {{
        let a = load(&$cpu.scratch[0].0);
        let b = load(&$cpu.scratch[1].0);
        // SAFETY: the instruction reads and writes only the registers named; the jump goes to one
        // of the 256 aligned slots of the table, each of which ends with a jump behind it.
        unsafe {
            asm!(
                "leaq 2f(%rip), %rsi",
                "shll $4, %edi",
                "addq %rdi, %rsi",
                "jmpq *%rsi",
                ".p2align 4",
                "2:",
                ".set .Lcontrol, 0",
                ".rept 256",
                concat!($instruction, " $.Lcontrol, {b}, {a}"),
                "jmp 3f",
                ".p2align 4",
                ".set .Lcontrol, .Lcontrol + 1",
                ".endr",
                "3:",
                "lahf",
                "seto %al",
                a = in(xmm_reg) a,
                b = in(xmm_reg) b,
                inout("rdi") u64::from($imm as u8) => _,
                out("rsi") _,
                $($operands)*
                options(att_syntax, nostack, nomem)
            )
        }
    }};
}

fn load(bytes: &[u8; 32]) -> __m128i {
    let low: [u8; 16] = core::array::from_fn(|n| bytes[n]);
    // SAFETY: both are 16 plain bytes.
    unsafe { core::mem::transmute::<[u8; 16], __m128i>(low) }
}

/// The result of a comparison: the index, and the flags in the upper half.
fn pack(index: u64, ax: u64) -> u64 {
    // CF, PF, AF, ZF, SF from AH; OF from AL.
    let flags = (ax >> 8 & 0xd5) | (ax & 1) << 11;
    (index & 0xffff_ffff) | flags << 32
}

/// Stores the mask a comparison gives, for the lifted code to fetch.
fn give_mask(cpu: &mut X86Cpu, mask: __m128i) {
    // SAFETY: both are 16 plain bytes.
    let mask = unsafe { core::mem::transmute::<__m128i, [u8; 16]>(mask) };
    cpu.scratch[0].0[..16].copy_from_slice(&mask);
}

/// A string length as the 32-bit form takes it: the processor saturates its magnitude anyway.
fn length(x: u64) -> u64 {
    (x as i64).clamp(-16, 16) as u64
}

/// `pcmpistri` of scratch 0 and 1: (control). Index and flags, see [`pack`].
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn pcmpistri(cpu: *mut CpuHeader, imm: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let (index, ax): (u64, u64);
    compare!("pcmpistri", cpu, imm, out("rax") ax, out("rcx") index,);
    pack(index, ax)
}

/// `pcmpistrm` of scratch 0 and 1: (control). The mask goes to scratch 0; flags, see [`pack`].
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn pcmpistrm(cpu: *mut CpuHeader, imm: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let (mask, ax): (__m128i, u64);
    compare!("pcmpistrm", cpu, imm, out("rax") ax, out("xmm0") mask,);
    give_mask(cpu, mask);
    pack(0, ax)
}

/// `pcmpestri` of scratch 0 and 1: (control, length of 0, length of 1). Index and flags, see
/// [`pack`].
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn pcmpestri(
    cpu: *mut CpuHeader,
    imm: u64,
    len_a: u64,
    len_b: u64,
    _: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let (index, ax): (u64, u64);
    compare!("pcmpestri", cpu, imm, inout("rax") length(len_a) => ax, in("rdx") length(len_b),
        out("rcx") index,);
    pack(index, ax)
}

/// `pcmpestrm` of scratch 0 and 1: (control, length of 0, length of 1). The mask goes to scratch
/// 0; flags, see [`pack`].
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn pcmpestrm(
    cpu: *mut CpuHeader,
    imm: u64,
    len_a: u64,
    len_b: u64,
    _: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let (mask, ax): (__m128i, u64);
    compare!("pcmpestrm", cpu, imm, inout("rax") length(len_a) => ax, in("rdx") length(len_b),
        out("xmm0") mask,);
    give_mask(cpu, mask);
    pack(0, ax)
}
