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

/// The flag of underflow.
const UNDERFLOW: u32 = 1 << 4;
/// Its mask bit.
const UNDERFLOW_MASK: u32 = 1 << 11;
/// Flush to zero: results too small for a normal number become zero and count as underflow.
const FLUSH_TO_ZERO: u32 = 1 << 15;

/// Runs `op`; its result unless it raises an exception that `masks` (MXCSR mask bits) leaves
/// unmasked. The sticky bits are set as the processor does in either case.
pub fn checked<T>(masks: u32, op: impl Fn() -> T) -> Option<T> {
    let before = read();
    // Unmasked, underflow is raised even for a tiny result that is exact. Masked, only flushing to
    // zero makes that visible; it changes no other result.
    let flush = if masks & UNDERFLOW_MASK == 0 { FLUSH_TO_ZERO } else { 0 };
    write(before & !STICKY | flush);
    let result = op();
    let mut raised = read() & STICKY;
    if flush != 0 && raised & UNDERFLOW != 0 {
        // Flushing makes a result inexact that may be exact. It is not done while unmasked. (Where
        // only the lack of range makes the result inexact, the processor does not say so.)
        write(before & !(STICKY | FLUSH_TO_ZERO));
        op();
        raised = read() & STICKY | UNDERFLOW;
    }
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
        write(0x1f80);
        assert_eq!(checked(0x1f80 & !0x800, || divide(f32::MIN_POSITIVE, 2.0)), None);
        assert_eq!(read() & STICKY, 0x10, "a tiny result that is exact");
        write(saved);
    }
}
