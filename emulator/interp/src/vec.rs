//! The vector operations, executed by the host instruction of the same name.
//!
//! Inline assembly rather than intrinsics, because floating-point results depend on operand order
//! (which NaN survives) and on MXCSR, and the compiler knows of neither.

use core::arch::asm;
use core::arch::x86_64::__m128i;

use emu_ir::{Ty, VecOp, VecSig};

use crate::Value;

/// The function of one op, on a, b, c, control byte and type; operands the op does not have are
/// ignored.
type EvalFn = fn(&Value, &Value, &Value, u8, Ty) -> Value;

/// The result of `op` on a, b, c and its control byte. `ty` is the op's result type; operands the
/// op does not have are ignored. The upper half of a `v128` result is zero; on `v256` the op works
/// on each half by itself.
#[inline]
pub fn eval(op: VecOp, ty: Ty, a: &Value, b: &Value, c: &Value, imm: u8) -> Value {
    let f = EVAL[op as usize];
    if ty == Ty::V256 { eval_halves(op, a, b, c, imm) } else { f(a, b, c, imm, ty) }
}

#[cold]
fn eval_halves(op: VecOp, a: &Value, b: &Value, c: &Value, imm: u8) -> Value {
    let f = EVAL[op as usize];
    let high = |v: &Value| Value::from_u128(v.high());
    let low = f(a, b, c, imm, Ty::V128).u128();
    // Integers go into the low half only.
    let upper = match op.sig() {
        VecSig::FromInt => 0,
        VecSig::VInt | VecSig::VIntImm => a.high(),
        _ => f(&high(a), &high(b), &high(c), imm, Ty::V128).u128(),
    };
    Value::from_halves(low, upper)
}

/// What the bodies of the functions name.
struct Operands<'a> {
    a: &'a Value,
    b: &'a Value,
    c: &'a Value,
    imm: u8,
    ty: Ty,
}

#[inline(always)]
fn xmm(v: &Value) -> __m128i {
    // SAFETY: both are 16 plain bytes.
    unsafe { core::mem::transmute::<u128, __m128i>(v.u128()) }
}

#[inline(always)]
fn value(x: __m128i) -> Value {
    // SAFETY: both are 16 plain bytes.
    Value::from_u128(unsafe { core::mem::transmute::<__m128i, u128>(x) })
}

/// The flags `lahf` leaves in AH that an op defines: SF, ZF, AF, PF, CF.
const LAHF: u64 = 0xd5;

/// Runs one instruction with a control byte known only now: jumps into a table of its 256 forms,
/// 16 bytes each. The operands follow the instruction, AT&T order.
macro_rules! with_imm {
    ($o:ident, $instruction:expr, $($operands:tt)*) => {{
        // SAFETY: the instruction reads and writes only the registers named; the jump goes to one
        // of the 256 aligned slots of the table, each of which ends with a jump behind it. Memory
        // and stack are not touched.
        unsafe {
            asm!(
                "leaq 2f(%rip), {table}",
                "shll $4, {at:e}",
                "addq {at}, {table}",
                "jmpq *{table}",
                ".p2align 4",
                "2:",
                ".set .Lcontrol, 0",
                ".rept 256",
                $instruction,
                "jmp 3f",
                ".p2align 4",
                ".set .Lcontrol, .Lcontrol + 1",
                ".endr",
                "3:",
                table = out(reg) _,
                at = inout(reg) u64::from($o.imm) => _,
                $($operands)*
                options(att_syntax, nostack, nomem)
            )
        }
    }};
}

/// Runs one instruction on registers.
macro_rules! plain {
    ($($asm:tt)*) => {
        // SAFETY: the instruction reads and writes only the registers named.
        unsafe { asm!($($asm)* options(att_syntax, nostack, nomem)) }
    };
}

/// The body of an op's function, by shape, width and form.
macro_rules! body {
    ($o:ident, $m:literal, V, $w:ident, $form:ident) => {{
        let d: __m128i;
        plain!(concat!($m, " {a}, {d}"), a = in(xmm_reg) xmm($o.a), d = lateout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VV, $w:ident, $form:ident) => {{
        let mut d = xmm($o.a);
        plain!(concat!($m, " {b}, {d}"), b = in(xmm_reg) xmm($o.b), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VVV, $w:ident, $form:ident) => {{
        let mut d = xmm($o.a);
        plain!(
            concat!($m, " %xmm0, {b}, {d}"),
            b = in(xmm_reg) xmm($o.b),
            d = inout(xmm_reg) d,
            in("xmm0") xmm($o.c),
        );
        value(d)
    }};
    ($o:ident, $m:literal, VImm, $w:ident, Rm) => {{
        let d: __m128i;
        with_imm!($o, concat!($m, " $.Lcontrol, {a}, {d}"),
            a = in(xmm_reg) xmm($o.a), d = lateout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VImm, $w:ident, Digit) => {{
        let mut d = xmm($o.a);
        with_imm!($o, concat!($m, " $.Lcontrol, {d}"), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VVImm, $w:ident, $form:ident) => {{
        let mut d = xmm($o.a);
        with_imm!($o, concat!($m, " $.Lcontrol, {b}, {d}"),
            b = in(xmm_reg) xmm($o.b), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, ToInt, W0, $form:ident) => {{
        let d: u32;
        plain!(concat!($m, " {a}, {d:e}"), a = in(xmm_reg) xmm($o.a), d = lateout(reg) d,);
        Value::from_u64(u64::from(d))
    }};
    ($o:ident, $m:literal, ToInt, W1, $form:ident) => {{
        let d: u64;
        plain!(concat!($m, " {a}, {d}"), a = in(xmm_reg) xmm($o.a), d = lateout(reg) d,);
        Value::from_u64(d)
    }};
    ($o:ident, $m:literal, ToInt, ByType, $form:ident) => {
        if $o.ty == Ty::I64 {
            body!($o, $m, ToInt, W1, $form)
        } else {
            body!($o, $m, ToInt, W0, $form)
        }
    };
    ($o:ident, $m:literal, ToIntImm, W0, $form:ident) => {{
        let d: u32;
        with_imm!($o, concat!($m, " $.Lcontrol, {a}, {d:e}"),
            a = in(xmm_reg) xmm($o.a), d = lateout(reg) d,);
        Value::from_u64(u64::from(d))
    }};
    ($o:ident, $m:literal, ToIntImm, W1, $form:ident) => {{
        let d: u64;
        with_imm!($o, concat!($m, " $.Lcontrol, {a}, {d}"),
            a = in(xmm_reg) xmm($o.a), d = lateout(reg) d,);
        Value::from_u64(d)
    }};
    ($o:ident, $m:literal, VInt, W0, $form:ident) => {{
        let mut d = xmm($o.a);
        plain!(concat!($m, "l {b:e}, {d}"), b = in(reg) $o.b.u64(), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VInt, W1, $form:ident) => {{
        let mut d = xmm($o.a);
        plain!(concat!($m, "q {b}, {d}"), b = in(reg) $o.b.u64(), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VIntImm, W0, $form:ident) => {{
        let mut d = xmm($o.a);
        with_imm!($o, concat!($m, " $.Lcontrol, {b:e}, {d}"),
            b = in(reg) $o.b.u64(), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VIntImm, W1, $form:ident) => {{
        let mut d = xmm($o.a);
        with_imm!($o, concat!($m, " $.Lcontrol, {b}, {d}"),
            b = in(reg) $o.b.u64(), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, FromInt, W0, $form:ident) => {{
        let d: __m128i;
        plain!(concat!($m, " {a:e}, {d}"), a = in(reg) $o.a.u64(), d = lateout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, FromInt, W1, $form:ident) => {{
        let d: __m128i;
        plain!(concat!($m, " {a}, {d}"), a = in(reg) $o.a.u64(), d = lateout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, Flags, $w:ident, $form:ident) => {{
        let ax: u64;
        // These instructions clear OF, which lahf does not show.
        plain!(
            concat!($m, " {b}, {a}"), "lahf",
            a = in(xmm_reg) xmm($o.a), b = in(xmm_reg) xmm($o.b), lateout("rax") ax,
        );
        Value::from_u64((ax >> 8) & LAHF)
    }};
}

macro_rules! eval_table {
    ($($name:ident $text:literal $mnemonic:literal $sig:ident $unit:ident
       $prefix:literal $map:ident $opcode:literal $w:ident $form:ident $(($digit:literal))?;)*) => {
        /// The functions, by op number.
        static EVAL: [EvalFn; VecOp::ALL.len()] = [$(|a, b, c, imm, ty| {
            let o = Operands { a, b, c, imm, ty };
            body!(o, $mnemonic, $sig, $w, $form)
        }),*];
    };
}

emu_ir::for_each_vec_op!(eval_table);

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
