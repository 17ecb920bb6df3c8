//! Vector instructions that move bytes to other positions.

use super::{Builder, one};
use crate::recipe::{Place, Route, Value};

/// Adds what the instruction does; false for a name that is not known here.
pub fn rule(b: &mut Builder<'_>, name: &str) -> bool {
    match name {
        "pshufb" => {
            let [from, by] = b.inputs();
            let places = b.operands([from, by]);
            let register = b.i.op_register(by);
            b.set(0, Value::Shuffle { from: places[0], by: places[1], register });
            true
        }
        "pmovmskb" => mask(b, 1),
        "movmskps" => mask(b, 4),
        "movmskpd" => mask(b, 8),
        "movhps" | "movhpd" | "movlps" | "movlpd" => half(b, name.as_bytes()[3] == b'h'),
        "pextrb" => extract(b, 1),
        "pextrw" => extract(b, 2),
        "pextrd" | "extractps" => extract(b, 4),
        "pextrq" => extract(b, 8),
        "extractf128" | "extracti128" => extract(b, 16),
        _ => two(b, name) || single(b, name),
    }
}

/// Shuffles of two sources, or of the target and a source.
fn two(b: &mut Builder<'_>, name: &str) -> bool {
    let imm = b.immediate().unwrap_or(0);
    let Some(to) = b.operand(0) else { return false };
    let lane = to.len().min(16);
    // Offset of a byte's lane, and the byte in the lane.
    let split = |n: u16| (n / lane * lane, n % lane);
    let unpack = |element: u16, high: bool| {
        move |n: u16| {
            let (base, n) = (n / lane * lane, n % lane);
            let k = n / element;
            let start = if high { lane / 2 } else { 0 };
            one((k % 2) as u8, base + start + k / 2 * element + n % element)
        }
    };
    // Element k of the result is element k of source 1 where a bit of the immediate is set.
    let blend = |element: u16| move |n: u16| one((imm >> (n / element % 8) & 1) as u8, n);
    // One element of source 0 replaced by the lowest of source 1.
    let insert = |element: u16| {
        move |n: u16| {
            let k = imm as u16 % (to.len().max(element) / element);
            if n / element == k { one(1, n % element) } else { one(0, n) }
        }
    };
    let from: Box<dyn Fn(u16) -> Route> = match name {
        "punpcklbw" => Box::new(unpack(1, false)),
        "punpcklwd" => Box::new(unpack(2, false)),
        "punpckldq" | "unpcklps" => Box::new(unpack(4, false)),
        "punpcklqdq" | "unpcklpd" => Box::new(unpack(8, false)),
        "punpckhbw" => Box::new(unpack(1, true)),
        "punpckhwd" => Box::new(unpack(2, true)),
        "punpckhdq" | "unpckhps" => Box::new(unpack(4, true)),
        "punpckhqdq" | "unpckhpd" => Box::new(unpack(8, true)),
        "movhlps" => Box::new(|n| if n < 8 { one(1, n + 8) } else { one(0, n) }),
        "movlhps" => Box::new(|n| if n < 8 { one(0, n) } else { one(1, n - 8) }),
        "shufps" => Box::new(move |n| {
            let (base, n) = split(n);
            let k = n / 4;
            one((k / 2) as u8, base + (imm >> (2 * k) & 3) as u16 * 4 + n % 4)
        }),
        "shufpd" => Box::new(move |n| {
            let (base, within) = split(n);
            one((within / 8) as u8, base + (imm >> (n / 8) & 1) as u16 * 8 + n % 8)
        }),
        "palignr" => Box::new(move |n| {
            let (base, n) = split(n);
            let at = n + (imm as u16 & 0xff);
            match at / lane {
                0 => one(1, base + at),
                1 => one(0, base + at - lane),
                _ => [None; 4],
            }
        }),
        "pblendw" => Box::new(blend(2)),
        "blendps" | "pblendd" => Box::new(blend(4)),
        "blendpd" => Box::new(blend(8)),
        "pinsrb" => Box::new(insert(1)),
        "pinsrw" => Box::new(insert(2)),
        "pinsrd" => Box::new(insert(4)),
        "pinsrq" => Box::new(insert(8)),
        "insertf128" | "inserti128" => Box::new(insert(16)),
        "perm2f128" | "perm2i128" => Box::new(move |n| {
            let how = imm >> (n / 16 * 4) & 15;
            let from = one((how >> 1 & 1) as u8, (how & 1) as u16 * 16 + n % 16);
            if how & 8 != 0 { [None; 4] } else { from }
        }),
        // Saturation looks at all bytes of an element.
        "packsswb" | "packuswb" => Box::new(pack(lane, 2)),
        "packssdw" | "packusdw" => Box::new(pack(lane, 4)),
        _ => return false,
    };
    let inputs = b.inputs();
    let sources = b.operands(inputs);
    b.route(sources, from);
    true
}

/// Elements of `element` bytes made half as long: those of source 0 in the lower half of a lane.
fn pack(lane: u16, element: u16) -> impl Fn(u16) -> Route {
    move |n| {
        let (base, n) = (n / lane * lane, n % lane);
        let (source, k) = ((n / (lane / 2)) as u8, n % (lane / 2) / (element / 2));
        core::array::from_fn(|byte| {
            let byte = byte as u16;
            (byte < element).then_some((source, (base + k * element + byte) as u8))
        })
    }
}

/// Shuffles of the last operand before the immediate.
fn single(b: &mut Builder<'_>, name: &str) -> bool {
    let imm = b.immediate().unwrap_or(0);
    let Some(to) = b.operand(0) else { return false };
    let lane = to.len().min(16);
    // Elements chosen by two bits each, within a lane.
    let choose = |element: u16| {
        move |n: u16| {
            let (base, n) = (n / lane * lane, n % lane);
            one(0, base + (imm >> (2 * (n / element)) & 3) as u16 * element + n % element)
        }
    };
    let words = |start: u16| {
        move |n: u16| {
            let (base, within) = (n / lane * lane, n % lane);
            match within.checked_sub(start) {
                Some(n) if n < 8 => {
                    one(0, base + start + (imm >> (2 * (n / 2)) & 3) as u16 * 2 + n % 2)
                }
                _ => one(0, n),
            }
        }
    };
    let repeat = |element: u16| move |n: u16| one(0, n % element);
    let widen = |from: u16, to: u16, signed: bool| {
        move |n: u16| {
            let (k, n) = (n / to, n % to);
            match n < from {
                true => one(0, k * from + n),
                false if signed => one(0, k * from + from - 1),
                false => [None; 4],
            }
        }
    };
    let signed = name.starts_with("pmovsx");
    let from: Box<dyn Fn(u16) -> Route> = match name {
        "pshufd" => Box::new(choose(4)),
        "pshufw" => Box::new(choose(2)),
        "permilps" if b.immediate().is_some() => Box::new(choose(4)),
        "permq" | "permpd" if b.immediate().is_some() => {
            Box::new(move |n| one(0, (imm >> (2 * (n / 8)) & 3) as u16 * 8 + n % 8))
        }
        "permilpd" if b.immediate().is_some() => {
            Box::new(move |n| one(0, n / lane * lane + (imm >> (n / 8) & 1) as u16 * 8 + n % 8))
        }
        "pshuflw" => Box::new(words(0)),
        "pshufhw" => Box::new(words(8)),
        "pslldq" => Box::new(move |n| match (n % 16).checked_sub(imm as u16) {
            Some(at) => one(0, n / 16 * 16 + at),
            None => [None; 4],
        }),
        "psrldq" => Box::new(move |n| match n % 16 + (imm as u16 & 0xff) {
            at if at < 16 => one(0, n / 16 * 16 + at),
            _ => [None; 4],
        }),
        "movddup" => Box::new(|n| one(0, n / 16 * 16 + n % 8)),
        "movsldup" => Box::new(|n| one(0, n / 8 * 8 + n % 4)),
        "movshdup" => Box::new(|n| one(0, n / 8 * 8 + 4 + n % 4)),
        "pbroadcastb" => Box::new(repeat(1)),
        "pbroadcastw" => Box::new(repeat(2)),
        "pbroadcastd" | "broadcastss" => Box::new(repeat(4)),
        "pbroadcastq" | "broadcastsd" => Box::new(repeat(8)),
        "broadcastf128" | "broadcasti128" => Box::new(repeat(16)),
        "pmovzxbw" | "pmovsxbw" => Box::new(widen(1, 2, signed)),
        "pmovzxbd" | "pmovsxbd" => Box::new(widen(1, 4, signed)),
        "pmovzxbq" | "pmovsxbq" => Box::new(widen(1, 8, signed)),
        "pmovzxwd" | "pmovsxwd" => Box::new(widen(2, 4, signed)),
        "pmovzxwq" | "pmovsxwq" => Box::new(widen(2, 8, signed)),
        "pmovzxdq" | "pmovsxdq" => Box::new(widen(4, 8, signed)),
        _ => return false,
    };
    // The shifts' only register operand is source and target.
    let source = if b.i.op_count() == 2 && b.immediate().is_some() { 0 } else { 1 };
    let sources = b.operands([source]);
    b.route(sources, from);
    true
}

/// One bit for each element.
fn mask(b: &mut Builder<'_>, element: u16) -> bool {
    let from = b.operands([1]);
    let bits = from[0].len() / element;
    b.set_low(0, bits.div_ceil(8), Value::All(from));
    true
}

/// `movhps` and its relatives: one half of a register and memory.
fn half(b: &mut Builder<'_>, high: bool) -> bool {
    let start = if high { 8 } else { 0 };
    if b.i.op_count() == 2 && b.i.op_kind(0) == iced_x86::OpKind::Memory {
        let from = b.operands([1]);
        b.route(from, |n| one(0, start + n));
        return true;
    }
    let inputs = b.inputs();
    let sources = b.operands(inputs);
    b.route(sources, |n| match n.checked_sub(start) {
        Some(at) if at < 8 => one(1, at),
        _ if n < 16 => one(0, n),
        _ => [None; 4],
    });
    true
}

/// An element to a general register or memory.
fn extract(b: &mut Builder<'_>, element: u16) -> bool {
    let imm = b.immediate().unwrap_or(0) as u16;
    let from = b.operands([1]);
    let k = imm % (from[0].len() / element).max(1);
    let Some(to) = b.operand(0) else { return true };
    let routes = (0..element.min(to.len())).map(|n| one(0, k * element + n)).collect();
    b.set_low(0, element, Value::Route(from, routes));
    if let Place::Memory { index, .. } = to {
        // The memory operand of a wider form is no longer than the element.
        b.addresses[usize::from(index)].len = element;
    }
    true
}
