//! The vector operations.

use emu_ir::{Ty, VecOp};

use crate::Value;

/// The result of `op` on a, b, c and its control byte. `ty` is the op's result type; operands the
/// op does not have are ignored. The upper half of a `v128` result is zero.
#[inline]
pub fn eval(op: VecOp, ty: Ty, a: Value, b: Value, _c: Value, _imm: u8) -> Value {
    let full = match op {
        VecOp::Paddb => lanes8(a, b, u8::wrapping_add),
        VecOp::Paddw => lanes16(a, b, u16::wrapping_add),
        VecOp::Paddd => lanes32(a, b, u32::wrapping_add),
        VecOp::Paddq => lanes64(a, b, u64::wrapping_add),
        VecOp::Pand => lanes64(a, b, |x, y| x & y),
        VecOp::Por => lanes64(a, b, |x, y| x | y),
        VecOp::Pxor => lanes64(a, b, |x, y| x ^ y),
        VecOp::Pandn => lanes64(a, b, |x, y| !x & y),
    };
    if ty == Ty::V128 { Value::from_u128(full.u128()) } else { full }
}

fn lanes8(a: Value, b: Value, f: impl Fn(u8, u8) -> u8) -> Value {
    let (a, b) = (a.bytes(), b.bytes());
    Value::from_bytes(core::array::from_fn(|n| f(a[n], b[n])))
}

fn lanes16(a: Value, b: Value, f: impl Fn(u16, u16) -> u16) -> Value {
    lanes64(a, b, |x, y| {
        (0..4).fold(0, |r, n| {
            r | u64::from(f((x >> (16 * n)) as u16, (y >> (16 * n)) as u16)) << (16 * n)
        })
    })
}

fn lanes32(a: Value, b: Value, f: impl Fn(u32, u32) -> u32) -> Value {
    lanes64(a, b, |x, y| {
        u64::from(f(x as u32, y as u32)) | u64::from(f((x >> 32) as u32, (y >> 32) as u32)) << 32
    })
}

fn lanes64(a: Value, b: Value, f: impl Fn(u64, u64) -> u64) -> Value {
    Value(core::array::from_fn(|n| f(a.0[n], b.0[n])))
}
