//! Integer and system instructions.

use emu_cpu::CpuHeader;

/// The time-stamp counter.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn rdtsc(_: *mut CpuHeader, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}
