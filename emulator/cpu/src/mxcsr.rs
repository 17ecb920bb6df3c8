//! The host's MXCSR while guest code runs: the guest's, except around callbacks, when the guest's is
//! *parked* in the header and the host's default is in its place.
//!
//! Reading and writing MXCSR takes longer than a callback, so it stays parked until guest code needs
//! it: a floating-point operation, or the way out of the engine.

use core::arch::asm;

use crate::CpuHeader;

/// MXCSR as the ABI promises it to functions: all exceptions masked, rounding to nearest.
pub const HOST_MXCSR: u32 = 0x1f80;

/// Reads the host's MXCSR.
#[inline(always)]
pub fn host_mxcsr() -> u32 {
    let mut value = 0u32;
    // SAFETY: stores 4 bytes to a live variable.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags));
    }
    value
}

/// Sets the host's MXCSR.
///
/// # Safety
/// `value` has all exceptions masked and no reserved bits, and the caller does no floating-point
/// arithmetic that relies on other controls.
#[inline(always)]
pub unsafe fn set_host_mxcsr(value: u32) {
    // SAFETY: a valid value, promised by the caller.
    unsafe {
        asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags, readonly));
    }
}

impl CpuHeader {
    /// Makes the host's default MXCSR current, ahead of a callback.
    #[inline(always)]
    pub fn park_mxcsr(&mut self) {
        if self.mxcsr_parked == 0 {
            self.mxcsr_parked = 1;
            self.mxcsr = host_mxcsr();
            // SAFETY: the ABI's own value.
            unsafe { set_host_mxcsr(HOST_MXCSR) };
        }
    }

    /// Makes the guest's MXCSR current again.
    #[inline(always)]
    pub fn unpark_mxcsr(&mut self) {
        if self.mxcsr_parked != 0 {
            self.mxcsr_parked = 0;
            // SAFETY: what was current when it was parked.
            unsafe { set_host_mxcsr(self.mxcsr) };
        }
    }
}
