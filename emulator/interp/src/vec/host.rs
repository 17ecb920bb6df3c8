//! The host instruction of each vector op.
//!
//! Inline assembly rather than intrinsics, because floating-point results depend on operand order
//! (which NaN survives) and on MXCSR, and the compiler knows of neither.

use core::arch::asm;
use core::arch::x86_64::__m128i;

use emu_ir::{Ty, VecOp};

use crate::Value;

/// The function of one op, on a, b, c, control byte and type; operands the op does not have are
/// ignored.
pub(super) type EvalFn = fn(&Value, &Value, &Value, u8, Ty) -> Value;

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

/// Runs one AVX instruction, given for 128 and for 256 bits: a, b and c are in registers 1 to 3,
/// the result in register 0.
macro_rules! vex {
    ($o:ident, $xmm:expr, $ymm:expr) => {
        if $o.ty == Ty::V256 { vex!($o, $ymm) } else { vex!($o, $xmm) }
    };
    ($o:ident, $instruction:expr) => {{
        let mut d = Value::ZERO;
        // SAFETY: reads three values and writes one, of 32 bytes each; changes only registers that
        // are declared, and clears their upper halves, which the compiler does not use.
        unsafe {
            asm!(
                "vmovdqu ({a}), %ymm1",
                "vmovdqu ({b}), %ymm2",
                "vmovdqu ({c}), %ymm3",
                $instruction,
                "vmovdqu %ymm0, ({d})",
                "vzeroupper",
                a = in(reg) &raw const *$o.a,
                b = in(reg) &raw const *$o.b,
                c = in(reg) &raw const *$o.c,
                d = in(reg) &raw mut d,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                options(att_syntax, nostack)
            )
        }
        d
    }};
}

/// As [`vex`], for an instruction with the control byte `.Lcontrol`.
macro_rules! vex_imm {
    ($o:ident, $xmm:expr, $ymm:expr) => {
        if $o.ty == Ty::V256 { vex_imm!($o, $ymm) } else { vex_imm!($o, $xmm) }
    };
    ($o:ident, $instruction:expr) => {{
        let mut d = Value::ZERO;
        // SAFETY: as in `vex`; the jump goes to one of the 256 aligned slots of the table, each of
        // which ends with a jump behind it.
        unsafe {
            asm!(
                "vmovdqu ({a}), %ymm1",
                "vmovdqu ({b}), %ymm2",
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
                "vmovdqu %ymm0, ({d})",
                "vzeroupper",
                a = in(reg) &raw const *$o.a,
                b = in(reg) &raw const *$o.b,
                d = in(reg) &raw mut d,
                table = out(reg) _,
                at = inout(reg) u64::from($o.imm) => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _,
                options(att_syntax, nostack)
            )
        }
        d
    }};
}

/// The predicates of the AVX comparisons.
pub(super) fn compare(op: VecOp, ty: Ty, a: &Value, b: &Value, imm: u8) -> Value {
    let o = Operands { a, b, c: &Value::ZERO, imm, ty };
    match op {
        VecOp::Cmpps => vex_imm!(
            o,
            "vcmpps $.Lcontrol & 31, %xmm2, %xmm1, %xmm0",
            "vcmpps $.Lcontrol & 31, %ymm2, %ymm1, %ymm0"
        ),
        VecOp::Cmppd => vex_imm!(
            o,
            "vcmppd $.Lcontrol & 31, %xmm2, %xmm1, %xmm0",
            "vcmppd $.Lcontrol & 31, %ymm2, %ymm1, %ymm0"
        ),
        VecOp::Cmpss => vex_imm!(o, "vcmpss $.Lcontrol & 31, %xmm2, %xmm1, %xmm0"),
        _ => vex_imm!(o, "vcmpsd $.Lcontrol & 31, %xmm2, %xmm1, %xmm0"),
    }
}

/// The body of an op's function, by shape, width, length and form.
macro_rules! body {
    ($o:ident, $m:literal, VV, $w:ident, Both, VexRm) => {
        vex!(
            $o,
            concat!($m, " %xmm2, %xmm1, %xmm0"),
            concat!($m, " %ymm2, %ymm1, %ymm0")
        )
    };
    ($o:ident, $m:literal, VV, $w:ident, Ymm, VexRm) => {
        vex!($o, concat!($m, " %ymm2, %ymm1, %ymm0"))
    };
    ($o:ident, $m:literal, Widen, $w:ident, $len:ident, VexRm) => {
        vex!($o, concat!($m, " %xmm1, %xmm0"), concat!($m, " %xmm1, %ymm0"))
    };
    ($o:ident, $m:literal, VImm, $w:ident, Both, VexRm) => {
        vex_imm!(
            $o,
            concat!($m, " $.Lcontrol, %xmm1, %xmm0"),
            concat!($m, " $.Lcontrol, %ymm1, %ymm0")
        )
    };
    ($o:ident, $m:literal, VImm, $w:ident, Ymm, VexRm) => {
        vex_imm!($o, concat!($m, " $.Lcontrol, %ymm1, %ymm0"))
    };
    ($o:ident, $m:literal, VVImm, $w:ident, Both, VexRm) => {
        vex_imm!(
            $o,
            concat!($m, " $.Lcontrol, %xmm2, %xmm1, %xmm0"),
            concat!($m, " $.Lcontrol, %ymm2, %ymm1, %ymm0")
        )
    };
    ($o:ident, $m:literal, VVImm, $w:ident, Ymm, VexRm) => {
        vex_imm!($o, concat!($m, " $.Lcontrol, %ymm2, %ymm1, %ymm0"))
    };
    ($o:ident, $m:literal, Insert, $w:ident, $len:ident, VexRm) => {
        vex_imm!($o, concat!($m, " $.Lcontrol, %xmm2, %ymm1, %ymm0"))
    };
    // The upper half of a v128 is zero, and gives zeros.
    ($o:ident, $m:literal, NarrowImm, $w:ident, $len:ident, VexMr) => {
        vex_imm!($o, concat!($m, " $.Lcontrol, %ymm1, %xmm0"))
    };
    ($o:ident, $m:literal, VVV, $w:ident, Both, Fma) => {
        vex!(
            $o,
            concat!($m, " %xmm3, %xmm2, %xmm1\nvmovdqa %xmm1, %xmm0"),
            concat!($m, " %ymm3, %ymm2, %ymm1\nvmovdqa %ymm1, %ymm0")
        )
    };
    ($o:ident, $m:literal, VVV, $w:ident, Xmm, Fma) => {
        vex!($o, concat!($m, " %xmm3, %xmm2, %xmm1\nvmovdqa %xmm1, %xmm0"))
    };
    // The upper half of a v128 is zero, and changes no flag.
    ($o:ident, $m:literal, Flags, $w:ident, $len:ident, VexRm) => {{
        let ax: u64;
        // SAFETY: reads two values of 32 bytes; changes only registers that are declared, and
        // clears their upper halves, which the compiler does not use.
        unsafe {
            asm!(
                "vmovdqu ({a}), %ymm1",
                concat!($m, " ({b}), %ymm1"),
                "lahf",
                "vzeroupper",
                a = in(reg) &raw const *$o.a,
                b = in(reg) &raw const *$o.b,
                out("xmm1") _, lateout("rax") ax,
                options(att_syntax, nostack)
            )
        }
        Value::from_u64((ax >> 8) & LAHF)
    }};
    ($o:ident, $m:literal, Widen, $w:ident, $len:ident, Rm) => {
        body!($o, $m, V, $w, $len, Rm)
    };
    ($o:ident, $m:literal, Narrow, $w:ident, $len:ident, Rm) => {
        body!($o, $m, V, $w, $len, Rm)
    };
    ($o:ident, $m:literal, Shift, $w:ident, $len:ident, Rm) => {
        body!($o, $m, VV, $w, $len, Rm)
    };
    ($o:ident, $m:literal, V, $w:ident, $len:ident, $form:ident) => {{
        let d: __m128i;
        plain!(concat!($m, " {a}, {d}"), a = in(xmm_reg) xmm($o.a), d = lateout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VV, $w:ident, $len:ident, $form:ident) => {{
        let mut d = xmm($o.a);
        plain!(concat!($m, " {b}, {d}"), b = in(xmm_reg) xmm($o.b), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VVV, $w:ident, $len:ident, $form:ident) => {{
        let mut d = xmm($o.a);
        plain!(
            concat!($m, " %xmm0, {b}, {d}"),
            b = in(xmm_reg) xmm($o.b),
            d = inout(xmm_reg) d,
            in("xmm0") xmm($o.c),
        );
        value(d)
    }};
    ($o:ident, $m:literal, VImm, $w:ident, $len:ident, Rm) => {{
        let d: __m128i;
        with_imm!($o, concat!($m, " $.Lcontrol, {a}, {d}"),
            a = in(xmm_reg) xmm($o.a), d = lateout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VImm, $w:ident, $len:ident, Digit) => {{
        let mut d = xmm($o.a);
        with_imm!($o, concat!($m, " $.Lcontrol, {d}"), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VVImm, $w:ident, $len:ident, $form:ident) => {{
        let mut d = xmm($o.a);
        with_imm!($o, concat!($m, " $.Lcontrol, {b}, {d}"),
            b = in(xmm_reg) xmm($o.b), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, ToInt, W0, $len:ident, $form:ident) => {{
        let d: u32;
        plain!(concat!($m, " {a}, {d:e}"), a = in(xmm_reg) xmm($o.a), d = lateout(reg) d,);
        Value::from_u64(u64::from(d))
    }};
    ($o:ident, $m:literal, ToInt, W1, $len:ident, $form:ident) => {{
        let d: u64;
        plain!(concat!($m, " {a}, {d}"), a = in(xmm_reg) xmm($o.a), d = lateout(reg) d,);
        Value::from_u64(d)
    }};
    ($o:ident, $m:literal, ToInt, ByType, $len:ident, $form:ident) => {
        if $o.ty == Ty::I64 {
            body!($o, $m, ToInt, W1, $len, $form)
        } else {
            body!($o, $m, ToInt, W0, $len, $form)
        }
    };
    ($o:ident, $m:literal, ToIntImm, W0, $len:ident, $form:ident) => {{
        let d: u32;
        with_imm!($o, concat!($m, " $.Lcontrol, {a}, {d:e}"),
            a = in(xmm_reg) xmm($o.a), d = lateout(reg) d,);
        Value::from_u64(u64::from(d))
    }};
    ($o:ident, $m:literal, ToIntImm, W1, $len:ident, $form:ident) => {{
        let d: u64;
        with_imm!($o, concat!($m, " $.Lcontrol, {a}, {d}"),
            a = in(xmm_reg) xmm($o.a), d = lateout(reg) d,);
        Value::from_u64(d)
    }};
    ($o:ident, $m:literal, VInt, W0, $len:ident, $form:ident) => {{
        let mut d = xmm($o.a);
        plain!(concat!($m, "l {b:e}, {d}"), b = in(reg) $o.b.u64(), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VInt, W1, $len:ident, $form:ident) => {{
        let mut d = xmm($o.a);
        plain!(concat!($m, "q {b}, {d}"), b = in(reg) $o.b.u64(), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VIntImm, W0, $len:ident, $form:ident) => {{
        let mut d = xmm($o.a);
        with_imm!($o, concat!($m, " $.Lcontrol, {b:e}, {d}"),
            b = in(reg) $o.b.u64(), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, VIntImm, W1, $len:ident, $form:ident) => {{
        let mut d = xmm($o.a);
        with_imm!($o, concat!($m, " $.Lcontrol, {b}, {d}"),
            b = in(reg) $o.b.u64(), d = inout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, FromInt, W0, $len:ident, $form:ident) => {{
        let d: __m128i;
        plain!(concat!($m, " {a:e}, {d}"), a = in(reg) $o.a.u64(), d = lateout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, FromInt, W1, $len:ident, $form:ident) => {{
        let d: __m128i;
        plain!(concat!($m, " {a}, {d}"), a = in(reg) $o.a.u64(), d = lateout(xmm_reg) d,);
        value(d)
    }};
    ($o:ident, $m:literal, Flags, $w:ident, $len:ident, $form:ident) => {{
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
       $prefix:literal $map:ident $opcode:literal $w:ident $len:ident $form:ident $(($digit:literal))?;)*) => {
        /// The functions, by op number.
        pub(super) static EVAL: [EvalFn; VecOp::ALL.len()] = [$(|a, b, c, imm, ty| {
            let o = Operands { a, b, c, imm, ty };
            body!(o, $mnemonic, $sig, $w, $len, $form)
        }),*];
    };
}

emu_ir::for_each_vec_op!(eval_table);
