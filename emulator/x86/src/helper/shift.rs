//! Rotates through carry, and the flags of double shifts. Pure functions of their arguments.

use emu_cpu::CpuHeader;
use emu_ir::{Ty, flags};

/// `value` with `carry` as its top bit, rotated left by `n` (at most `bits`) within `bits` + 1
/// bits: (value, carry).
fn rotate_through_carry(value: u64, carry: bool, bits: u32, n: u32) -> (u64, bool) {
    let wide = u128::from(value) | u128::from(carry) << bits;
    let mask = (1u128 << (bits + 1)) - 1;
    let r = if n == 0 { wide } else { (wide << n | wide >> (bits + 1 - n)) & mask };
    (r as u64 & (mask >> 1) as u64, r >> bits & 1 != 0)
}

/// The left rotation by which `rcl` (or `rcr`) by a masked count `n` rotates.
fn left_by(n: u64, bits: u64, right: bool) -> u32 {
    let n = (n & 0xff) as u32 % (bits as u32 + 1);
    if right && n != 0 { bits as u32 + 1 - n } else { n }
}

fn rc_flags(value: u64, n: u64, before: u64, bits: u64, right: bool) -> u64 {
    let bits32 = bits as u32;
    let by = left_by(n, bits, right);
    if by == 0 {
        return before;
    }
    let (r, carry) = rotate_through_carry(value, before & 1 != 0, bits32, by);
    let top = r >> (bits32 - 1) & 1 != 0;
    // OF is defined for a count of 1: rcl top ^ carry, rcr the two top bits of the result.
    let other = if right { r >> (bits32 - 2) & 1 != 0 } else { carry };
    let overflow = if top != other { u64::from(flags::OF) } else { 0 };
    before & !u64::from(flags::CF | flags::OF) | u64::from(carry) | overflow
}

/// `rcl` of (value, masked count, flags before, bits).
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn rcl(_: *mut CpuHeader, v: u64, n: u64, f: u64, bits: u64) -> u64 {
    rotate_through_carry(v, f & 1 != 0, bits as u32, left_by(n, bits, false)).0
}

/// `rcr` of (value, masked count, flags before, bits).
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn rcr(_: *mut CpuHeader, v: u64, n: u64, f: u64, bits: u64) -> u64 {
    rotate_through_carry(v, f & 1 != 0, bits as u32, left_by(n, bits, true)).0
}

/// Flags after `rcl`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn rcl_flags(_: *mut CpuHeader, v: u64, n: u64, f: u64, bits: u64) -> u64 {
    rc_flags(v, n, f, bits, false)
}

/// Flags after `rcr`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn rcr_flags(_: *mut CpuHeader, v: u64, n: u64, f: u64, bits: u64) -> u64 {
    rc_flags(v, n, f, bits, true)
}

/// Flags after a double shift of `old` to `new` by `n`.
fn double_flags(ty: Ty, old: u64, new: u64, n: u64, before: u64, right: bool) -> u64 {
    let n = (n & 0xff) as u32;
    if n == 0 {
        return before;
    }
    let bits = ty.bits();
    let last_out = if right { n - 1 } else { bits.wrapping_sub(n) };
    let carry = last_out < bits && old >> last_out & 1 != 0;
    let sign_changed = (old ^ new) >> (bits - 1) & 1 != 0;
    let logic = emu_ir::flags::evaluate(emu_ir::FlagKind::Logic, ty, new, 0, 0);
    let overflow = if sign_changed { u64::from(flags::OF) } else { 0 };
    u64::from(logic) | u64::from(carry) | overflow
}

macro_rules! double {
    ($($name:ident $ty:ident $right:literal $doc:literal;)*) => {$(
        #[doc = concat!("Flags after ", $doc, ": (value before, value after, masked count, flags before).")]
        ///
        /// # Safety
        /// See [`emu_cpu::HelperFn`].
        pub unsafe extern "C" fn $name(_: *mut CpuHeader, old: u64, new: u64, n: u64, f: u64) -> u64 {
            double_flags(Ty::$ty, old, new, n, f, $right)
        }
    )*};
}

double! {
    shld16_flags I16 false "16-bit `shld`";
    shld32_flags I32 false "32-bit `shld`";
    shld64_flags I64 false "64-bit `shld`";
    shrd16_flags I16 true "16-bit `shrd`";
    shrd32_flags I32 true "32-bit `shrd`";
    shrd64_flags I64 true "64-bit `shrd`";
}
