//! The x87 stack. A result has all labels of its sources in all its bytes, except that 80-bit loads and stores keep bytes
//! in their places.

use iced_x86::Register;

use super::Builder;
use crate::recipe::{Place, Value};

/// Adds what the instruction does; false for a name that is not known here.
pub fn rule(b: &mut Builder<'_>, name: &str) -> bool {
    if !name.starts_with('f') || b.vex {
        return false;
    }
    b.x87 = true;
    let top = Place::X87(0);
    match name {
        "fld" | "fild" | "fbld" => {
            let from = stack(b, 0).or_else(|| b.operand(0));
            b.set_place(Place::X87(-1), 10, moved(from));
        }
        "fldz" | "fld1" | "fldpi" | "fldl2e" | "fldl2t" | "fldlg2" | "fldln2" => {
            b.set_place(Place::X87(-1), 10, Value::Clean);
        }
        "fst" | "fstp" | "fist" | "fistp" | "fisttp" | "fbstp" => match stack(b, 0) {
            Some(to) => b.set_place(to, 10, Value::Copy(top)),
            None => {
                if let Some(to) = b.operand(0) {
                    let value =
                        if to.len() == 10 { Value::Copy(top) } else { Value::All(vec![top]) };
                    b.set_place(to, to.len(), value);
                }
            }
        },
        "fxch" => {
            let other = stack(b, 1).or_else(|| stack(b, 0)).unwrap_or(Place::X87(1));
            b.set_place(top, 10, Value::Copy(other));
            b.set_place(other, 10, Value::Copy(top));
        }
        "fadd" | "faddp" | "fiadd" | "fsub" | "fsubp" | "fisub" | "fsubr" | "fsubrp" | "fisubr"
        | "fmul" | "fmulp" | "fimul" | "fdiv" | "fdivp" | "fidiv" | "fdivr" | "fdivrp"
        | "fidivr" => {
            let to = stack(b, 0).unwrap_or(top);
            let other = stack(b, 1).or_else(|| b.operand(0)).unwrap_or(top);
            b.set_place(to, 10, Value::All(vec![to, other]));
        }
        "fyl2x" | "fyl2xp1" | "fpatan" => {
            b.set_place(Place::X87(1), 10, Value::All(vec![top, Place::X87(1)]));
        }
        "fprem" | "fprem1" | "fscale" => {
            b.set_place(top, 10, Value::All(vec![top, Place::X87(1)]));
        }
        "fsincos" | "fxtract" => b.set_place(Place::X87(-1), 10, Value::All(vec![top])),
        "fptan" => b.set_place(Place::X87(-1), 10, Value::Clean),
        "fabs" | "fchs" | "frndint" | "fsqrt" | "f2xm1" | "fsin" | "fcos" => {
            b.set_place(top, 10, Value::All(vec![top]));
        }
        // Comparisons, and what moves the top or forgets registers.
        "fcom" | "fcomp" | "fcompp" | "fucom" | "fucomp" | "fucompp" | "fcomi" | "fcomip"
        | "fucomi" | "fucomip" | "ficom" | "ficomp" | "ftst" | "fxam" | "fnop" | "ffree"
        | "fincstp" | "fdecstp" | "fninit" | "fnclex" | "fldcw" => {}
        _ if name.starts_with("fcmov") => {
            // Which one is left depends on flags.
            if let Some(from) = stack(b, 1) {
                b.set_place(top, 10, Value::Lanes(vec![top, from], 1));
            }
        }
        _ => {
            b.x87 = false;
            return false;
        }
    }
    true
}

/// An operand that is a stack register.
fn stack(b: &Builder<'_>, n: u32) -> Option<Place> {
    if n >= b.i.op_count() {
        return None;
    }
    let register = b.i.op_register(n);
    (Register::ST0..=Register::ST7).contains(&register).then(|| Place::X87(register.number() as i8))
}

fn moved(from: Option<Place>) -> Value {
    match from {
        Some(from) if from.len() == 10 => Value::Copy(from),
        Some(from) => Value::All(vec![from]),
        None => Value::Clean,
    }
}
