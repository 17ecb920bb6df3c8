//! Control, environment and whole-state instructions.

use emu_cpu::{CpuHeader, read_guest, write_guest};
use emu_ir::TrapKind;

use super::exact;
use crate::fxsave::{self, FxLayout};
use crate::helper::x86;
use crate::state::X87;
use crate::{X86Cpu, mxcsr};

/// FWAIT, FNOP and the instructions that do nothing since the 387: raise what is pending.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn wait(cpu: *mut CpuHeader, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    exact::pending(unsafe { x86(cpu) });
    0
}

/// FNSTSW. The result is the status word.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn status(cpu: *mut CpuHeader, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    u64::from(unsafe { x86(cpu) }.x87.status_word())
}

/// FLDCW. Argument: the new control word.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn load_control(
    cpu: *mut CpuHeader,
    value: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    if !exact::pending(cpu) {
        cpu.x87.set_control(value as u16);
    }
    0
}

/// FNCLEX.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn clear(cpu: *mut CpuHeader, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let x = unsafe { &mut x86(cpu).x87 };
    // Exceptions, stack fault, pending and busy.
    x.status &= !0x80ff;
    0
}

/// FNINIT.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn init(cpu: *mut CpuHeader, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { x86(cpu).x87.init() };
    0
}

/// Bytes of a state image.
fn state_bytes(wide: bool) -> usize {
    fxsave::env_bytes(wide) + 80
}

/// Runs `f`, raising the fault it returns; whether there was none.
fn access(
    cpu: &mut X86Cpu,
    f: impl FnOnce(&mut CpuHeader) -> Result<(), emu_mem::MemFault>,
) -> bool {
    match f(&mut cpu.hdr) {
        Ok(()) => true,
        Err(fault) => {
            cpu.hdr.raise_fault(fault);
            false
        }
    }
}

/// FNSTENV. Arguments: address, whether the operand size is 32 bits.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn store_env(
    cpu: *mut CpuHeader,
    addr: u64,
    wide: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let wide = wide != 0;
    let mut image = [0; 28];
    fxsave::write_env(&cpu.x87, &mut image, wide);
    if access(cpu, |hdr| write_guest(hdr, addr, &image[..fxsave::env_bytes(wide)])) {
        let masked = cpu.x87.control | X87::EXCEPTIONS;
        cpu.x87.set_control(masked);
    }
    0
}

/// FLDENV. Arguments as for [`store_env`].
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn load_env(
    cpu: *mut CpuHeader,
    addr: u64,
    wide: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let wide = wide != 0;
    let mut image = [0; 28];
    if !exact::pending(cpu)
        && access(cpu, |hdr| read_guest(hdr, addr, &mut image[..fxsave::env_bytes(wide)]))
    {
        fxsave::read_env(&mut cpu.x87, &image, wide);
    }
    0
}

/// FNSAVE. Arguments as for [`store_env`].
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn save(cpu: *mut CpuHeader, addr: u64, wide: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let wide = wide != 0;
    let mut image = [0; 108];
    fxsave::write_fsave(&cpu.x87, &mut image, wide);
    if access(cpu, |hdr| write_guest(hdr, addr, &image[..state_bytes(wide)])) {
        cpu.x87.init();
    }
    0
}

/// FRSTOR. Arguments as for [`store_env`].
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn restore(cpu: *mut CpuHeader, addr: u64, wide: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    let wide = wide != 0;
    let mut image = [0; 108];
    if !exact::pending(cpu)
        && access(cpu, |hdr| read_guest(hdr, addr, &mut image[..state_bytes(wide)]))
    {
        fxsave::read_fsave(&mut cpu.x87, &image, wide);
    }
    0
}

/// Codes of [`FxLayout`] as helper arguments.
pub const fn layout_code(layout: FxLayout) -> u64 {
    match layout {
        FxLayout::I386 => 0,
        FxLayout::Long32 => 1,
        FxLayout::Long64 => 2,
    }
}

pub(in crate::helper) fn layout(code: u64) -> FxLayout {
    match code {
        0 => FxLayout::I386,
        1 => FxLayout::Long32,
        _ => FxLayout::Long64,
    }
}

/// Bytes of an FXSAVE image that hold state.
fn image_bytes(layout: FxLayout) -> usize {
    if layout == FxLayout::I386 { 288 } else { 416 }
}

/// FXSAVE. Arguments: address, layout.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn fxsave(cpu: *mut CpuHeader, addr: u64, code: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    if !addr.is_multiple_of(16) {
        cpu.hdr.raise(TrapKind::Protection);
        return 0;
    }
    mxcsr::sync(cpu);
    let layout = layout(code);
    let mut image = [0; 512];
    fxsave::write_fxsave_as(cpu, &mut image, layout);
    access(cpu, |hdr| write_guest(hdr, addr, &image[..image_bytes(layout)]));
    0
}

/// FXRSTOR. Arguments: address, layout.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn fxrstor(cpu: *mut CpuHeader, addr: u64, code: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as the caller promises.
    let cpu = unsafe { x86(cpu) };
    if !addr.is_multiple_of(16) {
        cpu.hdr.raise(TrapKind::Protection);
        return 0;
    }
    let layout = layout(code);
    let mut image = [0; 512];
    if access(cpu, |hdr| read_guest(hdr, addr, &mut image[..image_bytes(layout)])) {
        match fxsave::read_fxsave_as(cpu, &image, layout) {
            Ok(()) => mxcsr::enter(cpu),
            Err(_) => cpu.hdr.raise(TrapKind::Protection),
        }
    }
    0
}
