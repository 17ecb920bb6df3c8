//! Unmasked floating-point exceptions.
//!
//! The host's MXCSR has every exception masked while guest code runs, so a vector op always
//! completes and only sets sticky bits. When the guest has unmasked an exception, the bits an op
//! newly sets tell whether the guest's processor would have trapped instead.

use core::arch::asm;

/// The exception flags of MXCSR; the mask bits are the same ones 7 higher.
const STICKY: u32 = 0x3f;
/// Invalid, denormal and divide-by-zero are found before the operation, and then the others are
/// not raised.
const BEFORE: u32 = 0x07;

fn read() -> u32 {
    let mut x = 0u32;
    // SAFETY: stores MXCSR to a local.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut x, options(nostack, preserves_flags)) };
    x
}

fn write(x: u32) {
    // SAFETY: `x` is a value read from MXCSR with other sticky bits; masks stay set.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const x, options(nostack, preserves_flags)) };
}

/// The mask bit of underflow.
const UNDERFLOW_MASK: u32 = 1 << 11;
/// Flush to zero: results too small for a normal number become zero and count as underflow.
const FLUSH_TO_ZERO: u32 = 1 << 15;

/// Runs `op`; its result unless it raises an exception that `masks` (MXCSR mask bits) leaves
/// unmasked. The sticky bits are set as the processor does in either case.
pub fn checked<T>(masks: u32, op: impl FnOnce() -> T) -> Option<T> {
    let before = read();
    // Unmasked, underflow is raised even for a tiny result that is exact. Masked, only flushing to
    // zero makes that visible; it changes no other result.
    let flush = if masks & UNDERFLOW_MASK == 0 { FLUSH_TO_ZERO } else { 0 };
    write(before & !STICKY | flush);
    let result = op();
    let raised = read() & STICKY;
    let unmasked = raised & !(masks >> 7);
    let raised = if unmasked & BEFORE != 0 { raised & BEFORE } else { raised };
    write(before | raised);
    (unmasked == 0).then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(a: f32, b: f32) -> f32 {
        let mut r = a;
        // SAFETY: register-only arithmetic.
        unsafe { asm!("divss {r}, {b}", r = inout(xmm_reg) r, b = in(xmm_reg) b) };
        r
    }

    #[test]
    fn only_unmasked_new_exceptions_trap() {
        let saved = read();
        write(0x1f80 | 0x20);
        assert_eq!(checked(0x1f80, || divide(1.0, 3.0)), Some(1.0 / 3.0));
        assert_eq!(checked(0x1f80 & !0x200, || divide(1.0, 0.0)), None);
        assert_eq!(read() & STICKY, 0x24, "divide by zero is recorded beside the older bit");
        assert_eq!(checked(0x1f80 & !0x1000, || divide(1.0, 2.0)), Some(0.5));
        assert_eq!(checked(0x1f80 & !0x1000, || divide(1.0, 3.0)), None);
        write(saved);
    }
}
