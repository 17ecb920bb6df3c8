//! XSAVE, XRSTOR, XGETBV.

use core::ops::Range;

use emu_cpu::{CpuHeader, read_guest, write_guest};
use emu_ir::TrapKind;
use emu_mem::MemFault;

use super::x86;
use super::x87::control::layout;
use crate::xsave::{self, AREA, AVX_STATE, COMPACT, HEADER, SSE_STATE, X87_STATE, YMM};
use crate::{Level, X86Cpu, mxcsr};

/// In the third argument of [`xsave`]: the compacted format, without components in their initial
/// state. The low bits are the code of an [`crate::fxsave::FxLayout`].
pub const COMPACTED: u64 = 0x10;

/// `xgetbv` of (index): XCR0, or for index 1 its components in use.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn xgetbv(cpu: *mut CpuHeader, index: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let xcr0 = Level::current().xcr0();
    match index as u32 {
        0 => xcr0,
        1 => {
            mxcsr::sync(cpu);
            xsave::in_use(cpu, crate::fxsave::FxLayout::Long64) & xcr0
        }
        _ => {
            cpu.hdr.raise(TrapKind::Protection);
            0
        }
    }
}

/// `xsave`, `xsaveopt`, `xsavec`: (address, components, layout and format).
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn xsave(cpu: *mut CpuHeader, at: u64, want: u64, how: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    if !at.is_multiple_of(64) {
        cpu.hdr.raise(TrapKind::Protection);
        return 0;
    }
    mxcsr::sync(cpu);
    let want = want & Level::current().xcr0();
    if let Err(fault) = save(cpu, at, want, how) {
        cpu.hdr.raise_fault(fault);
    }
    0
}

fn save(cpu: &mut X86Cpu, at: u64, want: u64, how: u64) -> Result<(), MemFault> {
    let layout = layout(how & 0xf);
    let compact = how & COMPACTED != 0;
    let mut image = [0; AREA];
    xsave::write(cpu, &mut image, layout);
    let used = xsave::in_use(cpu, layout) & want;
    let mut header = [0; 64];
    let last = if want & AVX_STATE != 0 { AREA } else { YMM };
    emu_mem::access::probe_write(at)?;
    emu_mem::access::probe_write(at.wrapping_add(last as u64 - 1))?;
    let header_bytes = if compact {
        header[..8].copy_from_slice(&used.to_le_bytes());
        header[8..16].copy_from_slice(&(want | COMPACT).to_le_bytes());
        64
    } else {
        let mut old = [0; 8];
        read_guest(&mut cpu.hdr, at.wrapping_add(HEADER as u64), &mut old)?;
        let held = u64::from_le_bytes(old) & !want | used;
        header[..8].copy_from_slice(&held.to_le_bytes());
        8
    };
    let parts = if compact { used } else { want };
    let mxcsr = parts & if compact { SSE_STATE } else { SSE_STATE | AVX_STATE };
    let vectors = 16 * layout.vectors();
    let pieces: [(bool, Range<usize>); 5] = [
        (parts & X87_STATE != 0, 0..24),
        (mxcsr != 0, 24..32),
        (parts & X87_STATE != 0, 32..160),
        (parts & SSE_STATE != 0, 160..160 + vectors),
        (parts & AVX_STATE != 0, YMM..YMM + vectors),
    ];
    for (_, piece) in pieces.into_iter().filter(|(yes, _)| *yes) {
        write_guest(&mut cpu.hdr, at.wrapping_add(piece.start as u64), &image[piece])?;
    }
    write_guest(&mut cpu.hdr, at.wrapping_add(HEADER as u64), &header[..header_bytes])
}

/// `xrstor`: (address, components, layout).
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn xrstor(cpu: *mut CpuHeader, at: u64, want: u64, how: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    if !at.is_multiple_of(64) {
        cpu.hdr.raise(TrapKind::Protection);
        return 0;
    }
    let xcr0 = Level::current().xcr0();
    let want = want & xcr0;
    let mut image = [0; AREA];
    let bytes = if want & AVX_STATE != 0 { AREA } else { YMM };
    if let Err(fault) = read_guest(&mut cpu.hdr, at, &mut image[..bytes]) {
        cpu.hdr.raise_fault(fault);
        return 0;
    }
    mxcsr::sync(cpu);
    match xsave::read(cpu, &image, want, xcr0, layout(how)) {
        Ok(()) => mxcsr::load(cpu, cpu.mxcsr),
        Err(_) => cpu.hdr.raise(TrapKind::Protection),
    }
    0
}
