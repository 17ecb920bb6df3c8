//! What the integer ops compute: the one definition that the interpreter, the constant folder and
//! the tests share.
//!
//! Operands and results are zero-extended in 64 bits, as [`Ty`] says.

use crate::flags::sext;
use crate::{Cond, Op, Ty};

/// The count of a shift of `ty` (see [`Op::Shl`]).
#[inline(always)]
const fn shift_count(ty: Ty, count: u64) -> u32 {
    (count & if matches!(ty, Ty::I64) { 63 } else { 31 }) as u32
}

#[inline(always)]
const fn rotate_left(ty: Ty, a: u64, n: u32) -> u64 {
    match ty {
        Ty::I8 => (a as u8).rotate_left(n & 7) as u64,
        Ty::I16 => (a as u16).rotate_left(n & 15) as u64,
        Ty::I32 => (a as u32).rotate_left(n & 31) as u64,
        _ => a.rotate_left(n & 63),
    }
}

/// The result of a binary integer op; 0 for any other op.
#[inline(always)]
pub const fn binary(op: Op, ty: Ty, a: u64, b: u64) -> u64 {
    let r = match op {
        Op::Add => a.wrapping_add(b),
        Op::Sub => a.wrapping_sub(b),
        Op::And => a & b,
        Op::Or => a | b,
        Op::Xor => a ^ b,
        Op::Shl => a << shift_count(ty, b),
        Op::Shr => a >> shift_count(ty, b),
        Op::Sar => (sext(ty, a) >> shift_count(ty, b)) as u64,
        Op::Rol => rotate_left(ty, a, b as u32 & 0xff),
        Op::Ror => rotate_left(ty, a, 0u32.wrapping_sub(b as u32 & 0xff)),
        Op::Mul => a.wrapping_mul(b),
        Op::MulHiU => ((a as u128 * b as u128) >> ty.bits()) as u64,
        Op::MulHiS => ((sext(ty, a) as i128 * sext(ty, b) as i128) >> ty.bits()) as u64,
        _ => 0,
    };
    r & ty.mask()
}

/// The result of a unary integer op; 0 for any other op.
#[inline(always)]
pub const fn unary(op: Op, ty: Ty, a: u64) -> u64 {
    let r = match op {
        Op::Not => !a,
        Op::Neg => a.wrapping_neg(),
        Op::Bswap => a.swap_bytes() >> (64 - ty.bits()),
        Op::Clz => (a.leading_zeros() - (64 - ty.bits())) as u64,
        Op::Ctz => {
            let n = a.trailing_zeros();
            if n > ty.bits() { ty.bits() as u64 } else { n as u64 }
        }
        Op::Popcnt => a.count_ones() as u64,
        _ => 0,
    };
    r & ty.mask()
}

/// The result of [`Op::Zext`], [`Op::Sext`] or [`Op::Trunc`]; 0 for any other op.
#[inline(always)]
pub const fn convert(op: Op, from: Ty, to: Ty, a: u64) -> u64 {
    match op {
        Op::Zext => a,
        Op::Sext => sext(from, a) as u64 & to.mask(),
        Op::Trunc => a & to.mask(),
        _ => 0,
    }
}

/// The result of [`Op::Cmp`]. The conditions that name a single flag follow the subtraction a - b.
#[inline(always)]
pub fn compare(cond: Cond, ty: Ty, a: u64, b: u64) -> bool {
    crate::flags::condition(crate::FlagKind::Sub, ty, a, b, 0, cond)
}

/// The result of a division op on `hi:lo` by `d`: `None` when it traps, or for any other op.
#[inline(always)]
pub const fn divide(op: Op, ty: Ty, hi: u64, lo: u64, d: u64) -> Option<u64> {
    if d == 0 {
        return None;
    }
    let bits = ty.bits();
    match op {
        Op::DivU | Op::RemU => {
            if hi >= d {
                return None;
            }
            let (q, r) = if hi == 0 {
                (lo / d, lo % d)
            } else {
                let n = (hi as u128) << bits | lo as u128;
                ((n / d as u128) as u64, (n % d as u128) as u64)
            };
            Some(if matches!(op, Op::DivU) { q } else { r })
        }
        Op::DivS | Op::RemS => {
            let d = sext(ty, d);
            let (q, r) = if bits < 64 {
                // The double-width value fits in 64 bits.
                let n = sext(ty, hi) << bits | lo as i64;
                // An overflow of the i64 division is an overflow of the narrower one too.
                match (n.checked_div(d), n.checked_rem(d)) {
                    (Some(q), Some(r)) => (q as i128, r as u64),
                    _ => return None,
                }
            } else if hi == (lo as i64 >> 63) as u64 {
                match ((lo as i64).checked_div(d), (lo as i64).checked_rem(d)) {
                    (Some(q), Some(r)) => (q as i128, r as u64),
                    _ => return None,
                }
            } else {
                let n = ((hi as u128) << 64 | lo as u128) as i128;
                match (n.checked_div(d as i128), n.checked_rem(d as i128)) {
                    (Some(q), Some(r)) => (q, r as u64),
                    _ => return None,
                }
            };
            if q != sext(ty, q as u64) as i128 {
                return None;
            }
            Some(if matches!(op, Op::DivS) { q as u64 & ty.mask() } else { r & ty.mask() })
        }
        _ => None,
    }
}
