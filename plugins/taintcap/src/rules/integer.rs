//! General registers: moves, arithmetic, logic, shifts, the stack.

use iced_x86::{OpKind, Register};

use super::{Builder, one};
use crate::recipe::{Place, Route, Shift, Value};
use crate::run::shifted;

const A: u16 = 0;
const D: u16 = 2;
const SP: u16 = 4;
const BP: u16 = 5;

/// Adds what the instruction does; false for a name that is not known here.
pub fn rule(b: &mut Builder<'_>, name: &str) -> bool {
    if b.vex {
        return vex(b, name);
    }
    match name {
        "mov" | "movzx" | "movnti" => copy(b, 1),
        "movsx" | "movsxd" => {
            if let Some(from) = b.operand(1) {
                b.set(0, Value::Extend(from));
            }
        }
        "cbw" => extend(b, 1),
        "cwde" => extend(b, 2),
        "cdqe" => extend(b, 4),
        "cwd" => sign(b, 2),
        "cdq" => sign(b, 4),
        "cqo" => sign(b, 8),
        "lea" => {
            let registers = [b.i.memory_base(), b.i.memory_index()];
            let from = registers.into_iter().filter_map(crate::registers::bytes_of);
            b.set(0, Value::Upward(from.map(Place::Register).collect(), 8));
        }
        "xchg" => {
            copy(b, 1);
            if let Some(from) = b.operand(0) {
                b.set(1, Value::Copy(from));
            }
        }
        "xadd" => {
            let from = b.operands([0, 1]);
            b.set(1, Value::Copy(from[0]));
            b.set(0, Value::Upward(from, 8));
        }
        "cmpxchg" => {
            // Which of the two is written depends on a comparison.
            let from = b.operands([0, 1]);
            let len = from[0].len();
            let old = vec![b.general(A, len), from[0]];
            b.set(0, Value::Lanes(from, 1));
            b.set_general(A, len, Value::Lanes(old, 1));
        }
        "sub" | "sbb" | "xor" if b.same(0, 1) => b.set(0, Value::Clean),
        "add" | "adc" | "sub" | "sbb" | "inc" | "dec" | "neg" | "adcx" | "adox" => {
            let from = if b.i.op_count() == 1 { b.operands([0]) } else { b.operands([0, 1]) };
            b.set(0, Value::Upward(from, 8));
        }
        "and" => masked(b, 0),
        "or" => masked(b, 0xff),
        "xor" => {
            let from = b.operands([0, 1]);
            b.set(0, Value::Lanes(from, 1));
        }
        // One bit of the operand changes, or none.
        "not" | "bt" | "bts" | "btr" | "btc" => {}
        "imul" if b.i.op_count() == 3 => {
            let from = b.operands([1]);
            b.set(0, Value::Upward(from, 8));
        }
        "imul" if b.i.op_count() == 2 => {
            let from = b.operands([0, 1]);
            b.set(0, Value::Upward(from, 8));
        }
        "imul" | "mul" => multiply(b),
        "div" | "idiv" => divide(b),
        "shl" | "sal" => return shift(b, Shift::Left, 0, 1),
        "shr" => return shift(b, Shift::Right, 0, 1),
        "sar" => return shift(b, Shift::Arithmetic, 0, 1),
        "rol" => return shift(b, Shift::RotateLeft, 0, 1),
        "ror" => return shift(b, Shift::RotateRight, 0, 1),
        "shld" => return double_shift(b, true),
        "shrd" => return double_shift(b, false),
        "bswap" => {
            let from = b.operands([0]);
            let len = from[0].len();
            b.route(from, |n| one(0, len - 1 - n));
        }
        "movbe" => {
            let from = b.operands([1]);
            let len = from[0].len();
            b.route(from, |n| one(0, len - 1 - n));
        }
        "xlatb" => {
            let from = b.memory(1);
            let to = b.general(A, 1);
            b.set_place(to, 1, Value::Copy(from));
        }
        // A small number.
        "popcnt" | "lzcnt" | "tzcnt" => {
            let from = b.operands([1]);
            b.set_low(0, 1, Value::All(from));
        }
        "push" => {
            let value = b.operand(0).map_or(Value::Clean, Value::Copy);
            pushed(b, value);
        }
        "pushf" | "pushfd" | "pushfq" | "call" => pushed(b, Value::Clean),
        "pop" => {
            let size = b.i.stack_pointer_increment() as u16;
            let to = b.operand(0);
            if matches!(b.i.memory_base(), Register::RSP | Register::ESP) {
                // The address counts from behind what is popped.
                b.addresses[0].displacement =
                    b.addresses[0].displacement.wrapping_add(u64::from(size));
            }
            let from = b.stack(0, size);
            if let Some(to) = to {
                let len = to.len();
                b.set_place(b.widened(0, to), len, Value::Copy(from));
            }
        }
        "leave" => {
            let (base, size) = if b.wide { (Register::RBP, 8) } else { (Register::EBP, 4) };
            let none = Register::None;
            let from = b.address(Register::SS, base, none, 1, 0, super::mask_of(base), size);
            let frame = b.general(BP, 8);
            b.set_general(SP, 8, Value::Copy(frame));
            b.set_general(BP, 8, Value::Copy(from));
        }
        // Only flags and the place of execution change; or, with `cpuid`, the hypercall's callback knows more; or the
        // return of a system call is an event of its own.
        "ret" | "retf" | "iret" | "iretd" | "iretq" | "cmp" | "test" | "jmp" | "nop" | "cpuid"
        | "syscall" | "sysenter" | "int" => {}
        _ if b.i.is_string_instruction() => {}
        _ if name.starts_with("cmov") => {
            let (Some(yes), Some(no)) = (b.operand(1), b.operand(0)) else { return true };
            b.set(0, Value::Choose(b.i.condition_code(), yes, no));
        }
        _ => return false,
    }
    true
}

/// Those with a VEX encoding.
fn vex(b: &mut Builder<'_>, name: &str) -> bool {
    match name {
        "andn" => {
            let from = b.operands([1, 2]);
            b.set(0, Value::Lanes(from, 1));
        }
        "blsr" | "blsi" | "blsmsk" => {
            let from = b.operands([1]);
            b.set(0, Value::Upward(from, 8));
        }
        "shlx" => return shift(b, Shift::Left, 1, 2),
        "shrx" => return shift(b, Shift::Right, 1, 2),
        "sarx" => return shift(b, Shift::Arithmetic, 1, 2),
        "rorx" => return shift(b, Shift::RotateRight, 1, 2),
        _ => return false,
    }
    true
}

fn copy(b: &mut Builder<'_>, from: u32) {
    let value = b.operand(from).map_or(Value::Clean, Value::Copy);
    b.set(0, value);
}

/// `cbw` and its relatives: the accumulator's low `from` bytes extended to twice as many.
fn extend(b: &mut Builder<'_>, from: u16) {
    let value = Value::Extend(b.general(A, from));
    b.set_general(A, 2 * from, value);
}

/// `cwd` and its relatives: the accumulator's sign in all bits of the data register.
fn sign(b: &mut Builder<'_>, len: u16) {
    let routes = vec![one(0, len - 1); usize::from(len)];
    let value = Value::Route(vec![b.general(A, len)], routes.into());
    b.set_general(D, len, value);
}

/// `and` and `or`: where the immediate's byte is `known`, the result does not depend on the operand.
fn masked(b: &mut Builder<'_>, known: u8) {
    let from = b.operands([0, 1]);
    match b.immediate() {
        Some(mask) => {
            b.route(from, |n| if (mask >> (8 * n)) as u8 == known { [None; 4] } else { one(0, n) })
        }
        None => b.set(0, Value::Lanes(from, 1)),
    }
}

fn multiply(b: &mut Builder<'_>) {
    let Some(factor) = b.operand(0) else { return };
    let len = factor.len();
    let from = vec![b.general(A, len), factor];
    if len == 1 {
        return b.set_general(A, 2, Value::All(from));
    }
    b.set_general(A, len, Value::Upward(from.clone(), 8));
    b.set_general(D, len, Value::All(from));
}

fn divide(b: &mut Builder<'_>) {
    let Some(divisor) = b.operand(0) else { return };
    let len = divisor.len();
    if len == 1 {
        let from = vec![b.general(A, 2), divisor];
        return b.set_general(A, 2, Value::All(from));
    }
    let from = vec![b.general(A, len), b.general(D, len), divisor];
    b.set_general(A, len, Value::All(from.clone()));
    b.set_general(D, len, Value::All(from));
}

/// Operand 0 becomes operand `from` shifted by operand `count`, an immediate or a register.
fn shift(b: &mut Builder<'_>, how: Shift, from: u32, count: u32) -> bool {
    let Some(place) = b.operand(from) else { return false };
    match b.i.op_kind(count) {
        OpKind::Immediate8 => {
            let bits = b.i.immediate8() & if place.len() == 8 { 63 } else { 31 };
            let routes = shifted(how, place.len(), u32::from(bits));
            b.set(0, Value::Route(vec![place], routes.into()));
        }
        OpKind::Register => {
            let count = b.i.op_register(count);
            b.set(0, Value::Shift { from: place, how, count });
        }
        _ => return false,
    }
    true
}

/// `shld` and `shrd` by an immediate: bits of two operands side by side.
fn double_shift(b: &mut Builder<'_>, left: bool) -> bool {
    let from = b.operands([0, 1]);
    let (Some(bits), [to, _]) = (b.immediate(), &from[..]) else { return false };
    let len = to.len();
    let bits = bits as u32 & if len == 8 { 63 } else { 31 };
    let how = if left { Shift::Left } else { Shift::Right };
    // Source 0 is the target: the upper half when shifting left, the lower one otherwise.
    let split = |byte: (u8, u8)| {
        let upper = u16::from(byte.1) >= len;
        (u8::from(upper == left) ^ 1, (u16::from(byte.1) % len) as u8)
    };
    let both: Vec<Route> = shifted(how, 2 * len, bits);
    let half = if left { &both[usize::from(len)..] } else { &both[..usize::from(len)] };
    let routes = half.iter().map(|r| r.map(|byte| byte.map(split))).collect();
    b.set(0, Value::Route(from, routes));
    true
}

fn pushed(b: &mut Builder<'_>, value: Value) {
    let size = -b.i.stack_pointer_increment();
    let to = b.stack(-i64::from(size), size as u16);
    b.set_place(to, size as u16, value);
}
