//! The vector operations, executed by the host instruction of the same name.

mod host;

use emu_ir::{Ty, VecOp, VecSig};

use crate::Value;
use host::EVAL;

/// How an op's function, which runs the host instruction once, gives the result on 256 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wide {
    /// The function looks at the type, or the instruction has only one length.
    Itself,
    /// Each half by itself.
    Halves,
    /// Each half by itself, with the same count.
    Shift,
    /// The upper half is made of lanes of the operand further up, behind this many bits.
    Widen(u8),
    /// The results of the halves of the operand, side by side, each this many bits.
    Join(u8),
    /// Flags that tell of both halves what they tell of one.
    Flags,
    /// Halves, or the function of the AVX instruction for predicates SSE has not.
    Compare,
}

/// By op number.
static WIDE: [Wide; VecOp::ALL.len()] = {
    let mut table = [Wide::Halves; VecOp::ALL.len()];
    let mut n = 0;
    while n < table.len() {
        table[n] = how(VecOp::ALL[n]);
        n += 1;
    }
    table
};

const fn how(op: VecOp) -> Wide {
    use VecOp as V;
    match op {
        V::Psllw | V::Pslld | V::Psllq | V::Psrlw | V::Psrld | V::Psrlq | V::Psraw | V::Psrad => {
            Wide::Shift
        }
        V::Pmovsxbw | V::Pmovsxwd | V::Pmovsxdq | V::Pmovzxbw | V::Pmovzxwd | V::Pmovzxdq => {
            Wide::Widen(64)
        }
        V::Cvtdq2pd | V::Cvtps2pd => Wide::Widen(64),
        V::Pmovsxbd | V::Pmovsxwq | V::Pmovzxbd | V::Pmovzxwq => Wide::Widen(32),
        V::Pmovsxbq | V::Pmovzxbq => Wide::Widen(16),
        V::Cvtpd2dq | V::Cvttpd2dq | V::Cvtpd2ps => Wide::Join(64),
        V::Pmovmskb => Wide::Join(16),
        V::Movmskps => Wide::Join(4),
        V::Movmskpd => Wide::Join(2),
        V::Ptest => Wide::Flags,
        V::Cmpps | V::Cmppd | V::Cmpss | V::Cmpsd => Wide::Compare,
        _ if op.is_vex() => Wide::Itself,
        _ => Wide::Halves,
    }
}

/// The result of `op` on a, b, c and its control byte. `ty` is the op's result type; operands the
/// op does not have are ignored. The upper half of a `v128` result is zero.
///
/// The host must have the instruction: see [`emu_ir::VecForm`].
#[inline]
pub fn eval(op: VecOp, ty: Ty, a: &Value, b: &Value, c: &Value, imm: u8) -> Value {
    let f = EVAL[op as usize];
    match WIDE[op as usize] {
        Wide::Itself => f(a, b, c, imm, ty),
        Wide::Halves | Wide::Shift | Wide::Widen(_) if ty != Ty::V256 => f(a, b, c, imm, ty),
        // The upper half of a v128 is zero.
        Wide::Join(_) | Wide::Flags if a.high() | b.high() == 0 => f(a, b, c, imm, ty),
        how => wide(op, how, ty, a, b, c, imm),
    }
}

#[cold]
fn wide(op: VecOp, how: Wide, ty: Ty, a: &Value, b: &Value, c: &Value, imm: u8) -> Value {
    let f = EVAL[op as usize];
    let high = |v: &Value| Value::from_u128(v.high());
    let halves = |f: host::EvalFn, shift: u32| {
        let low = f(a, b, c, imm, Ty::V128).u128();
        if ty != Ty::V256 {
            return Value::from_u128(low);
        }
        let upper = f(&high(a), &high(b), &high(c), imm >> shift, Ty::V128).u128();
        Value::from_halves(low, upper)
    };
    match how {
        Wide::Itself | Wide::Halves => halves(f, op.high_imm_shift()),
        Wide::Compare if imm < 8 => halves(f, 0),
        Wide::Compare => host::compare(op, ty, a, b, imm),
        Wide::Shift => {
            let low = f(a, b, c, imm, Ty::V128).u128();
            Value::from_halves(low, f(&high(a), b, c, imm, Ty::V128).u128())
        }
        Wide::Widen(bits) => {
            let further = Value::from_u128(a.u128() >> bits);
            let low = f(a, b, c, imm, Ty::V128).u128();
            Value::from_halves(low, f(&further, b, c, imm, Ty::V128).u128())
        }
        Wide::Join(bits) => {
            let low = f(a, b, c, imm, ty).u128() & ((1 << bits) - 1);
            let upper = f(&high(a), b, c, imm, ty).u128() & ((1 << bits) - 1);
            let joined = low | upper << bits;
            if op.sig() == VecSig::ToInt {
                Value::from_u64(joined as u64)
            } else {
                Value::from_u128(joined)
            }
        }
        Wide::Flags => {
            let low = f(a, b, c, imm, ty).u64();
            Value::from_u64(low & f(&high(a), &high(b), c, imm, ty).u64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vv(op: VecOp, a: u128, b: u128, imm: u8) -> u128 {
        eval(op, Ty::V128, &Value::from_u128(a), &Value::from_u128(b), &Value::ZERO, imm).u128()
    }

    fn float(x: f32) -> u128 {
        u128::from(x.to_bits())
    }

    #[test]
    fn lanes_wrap_on_their_own() {
        assert_eq!(vv(VecOp::Paddb, 0xff80_01ff, 0x0180_0102, 0), 0x0000_0201);
        assert_eq!(vv(VecOp::Psubw, 0x0000_0005, 0x0001_0006, 0), 0xffff_ffff);
    }

    #[test]
    fn every_control_byte_reaches_its_form() {
        let bytes: u128 = u128::from_le_bytes(core::array::from_fn(|n| n as u8 + 1));
        for imm in 0..=255u8 {
            let lane = |n: u32| (bytes >> (32 * (imm >> (2 * n) & 3))) as u32;
            let want = (0..4).fold(0, |r, n| r | u128::from(lane(n)) << (32 * n));
            assert_eq!(vv(VecOp::Pshufd, bytes, 0, imm), want);
            let shifted = if imm < 16 { bytes >> (8 * imm) } else { 0 };
            assert_eq!(vv(VecOp::Psrldq, bytes, 0, imm), shifted);
        }
    }

    #[test]
    fn scalar_ops_keep_the_upper_lanes_of_a() {
        let upper = 0x1111_2222_3333_4444_5555_6666u128 << 32;
        assert_eq!(vv(VecOp::Addss, upper | float(1.5), float(2.0), 0), upper | float(3.5));
        assert_eq!(vv(VecOp::Sqrtss, upper | float(1.5), float(16.0), 0), upper | float(4.0));
    }

    #[test]
    fn the_first_nan_survives() {
        let (first, second) = (0x7fc0_0001u128, 0x7fc0_0002u128);
        for op in [VecOp::Addss, VecOp::Mulss, VecOp::Subss, VecOp::Divss] {
            assert_eq!(vv(op, first, second, 0), first);
            assert_eq!(vv(op, second, first, 0), second);
        }
    }

    #[test]
    fn comparisons_give_flags() {
        let flags = |a: f32, b: f32| {
            let (a, b) = (Value::from_u128(float(a)), Value::from_u128(float(b)));
            eval(VecOp::Ucomiss, Ty::I64, &a, &b, &Value::ZERO, 0).u64()
        };
        assert_eq!(flags(2.0, 1.0), 0);
        assert_eq!(flags(1.0, 2.0), 0x01);
        assert_eq!(flags(1.0, 1.0), 0x40);
        assert_eq!(flags(f32::NAN, 1.0), 0x45);
    }

    #[test]
    fn integers_convert_at_the_type_asked_for() {
        let a = Value::from_u128(u128::from(5e9f64.to_bits()));
        let get = |ty| eval(VecOp::Cvttsd2si, ty, &a, &Value::ZERO, &Value::ZERO, 0).u64();
        assert_eq!(get(Ty::I64), 5_000_000_000);
        assert_eq!(get(Ty::I32), 0x8000_0000);
    }

    #[test]
    fn wide_ops_work_on_each_half() {
        let (a, b) = (Value::from_halves(1, 2), Value::from_halves(10, 20));
        let r = eval(VecOp::Paddq, Ty::V256, &a, &b, &Value::ZERO, 0);
        assert_eq!(r, Value::from_halves(11, 22));
    }
}
