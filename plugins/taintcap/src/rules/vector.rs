//! Vector and MMX registers: moves, and operations that keep to their lanes.

use super::Builder;
use crate::recipe::{Place, Shift, Value};
use crate::registers::Bytes;
use crate::run::shifted;

/// Adds what the instruction does; false for a name that is not known here.
pub fn rule(b: &mut Builder<'_>, name: &str) -> bool {
    match name {
        "movaps" | "movups" | "movapd" | "movupd" | "movdqa" | "movdqu" | "lddqu" | "movntdq"
        | "movntps" | "movntpd" | "movntdqa" | "movntq" => {
            let from = b.operands([1]);
            b.set(0, Value::Copy(from[0]));
        }
        "movd" | "movq" | "movq2dq" | "movdq2q" => {
            let len = if name == "movd" { 4 } else { 8 };
            if let Some(from) = b.operand(1) {
                b.set(0, Value::Copy(from.low(len)));
            }
        }
        "movss" => scalar_move(b, 4),
        "movsd" => scalar_move(b, 8),
        _ if zeroes(b, name) => b.set(0, Value::Clean),
        // Comparisons: their masks are like flags.
        "cmpss" => scalar(b, 4, Value::Clean),
        "cmpsd" => scalar(b, 8, Value::Clean),
        "cmpps" | "cmppd" => b.set(0, Value::Clean),
        "ptest" | "testps" | "testpd" | "comiss" | "comisd" | "ucomiss" | "ucomisd" => {}
        "pcmpistri" | "pcmpestri" => b.set_general(1, 4, Value::Clean),
        "pcmpistrm" | "pcmpestrm" => {
            let to = crate::registers::vector_bytes(0);
            let to = if b.vex { to } else { Bytes { len: 16, ..to } };
            b.set_place(Place::Register(to), 16, Value::Clean);
        }
        _ if name.starts_with("pcmp") => b.set(0, Value::Clean),
        _ if name.contains("gather") => {
            // Elements whose mask is not set stay; the mask becomes 0.
            let from = b.operands([1]);
            b.set(0, Value::Copy(from[0]));
            if let Some(target) = b.assigns.last_mut() {
                target.keep = true;
            }
            b.set(2, Value::Clean);
        }
        _ if shift(b, name) => {}
        _ => return lanes(b, name) || fused(b, name),
    }
    true
}

/// Whether it is a way to write 0: the same register twice.
fn zeroes(b: &Builder<'_>, name: &str) -> bool {
    let [x, y] = b.inputs();
    let kind = matches!(
        name,
        "pxor"
            | "xorps"
            | "xorpd"
            | "pandn"
            | "andnps"
            | "andnpd"
            | "psubb"
            | "psubw"
            | "psubd"
            | "psubq"
            | "psubsb"
            | "psubsw"
            | "psubusb"
            | "psubusw"
    );
    kind && b.same(x, y)
}

fn scalar_move(b: &mut Builder<'_>, len: u16) {
    if b.i.op_count() == 3 {
        let from = b.operands([2]);
        return scalar(b, len, Value::Copy(from[0]));
    }
    let from = b.operands([0, 1]);
    match from[..] {
        [Place::Register(to), from @ Place::Register(_)] => {
            let to = Place::Register(Bytes { len, ..to });
            b.set_place(to, len, Value::Copy(from));
        }
        [_, from] => b.set(0, Value::Copy(from.low(len))),
        _ => {}
    }
}

/// A result in the lowest element; the others are those of the first source.
fn scalar(b: &mut Builder<'_>, len: u16, value: Value) {
    let Some(Place::Register(to)) = b.operand(0) else { return };
    b.set_place(Place::Register(Bytes { len, ..to }), len, value);
    if b.vex {
        let Some(Place::Register(from)) = b.operand(1) else { return };
        let rest = |bytes: Bytes, whole: u16| {
            Place::Register(Bytes { at: bytes.at + len, len: whole - len })
        };
        b.set_place(rest(to, 32), 16 - len, Value::Copy(rest(from, 16)));
    }
}

/// Packed shifts by an immediate.
fn shift(b: &mut Builder<'_>, name: &str) -> bool {
    let (how, lane) = match name {
        "psllw" => (Shift::Left, 2),
        "pslld" => (Shift::Left, 4),
        "psllq" => (Shift::Left, 8),
        "psrlw" => (Shift::Right, 2),
        "psrld" => (Shift::Right, 4),
        "psrlq" => (Shift::Right, 8),
        "psraw" => (Shift::Arithmetic, 2),
        "psrad" => (Shift::Arithmetic, 4),
        _ => return false,
    };
    let Some(bits) = b.immediate() else { return false };
    let from = b.operands([if b.vex { 1 } else { 0 }]);
    let routes = shifted(how, lane, bits as u32);
    b.route(from, |n| {
        let base = (n / lane * lane) as u8;
        routes[usize::from(n % lane)].map(|r| r.map(|(s, byte)| (s, base + byte)))
    });
    true
}

/// How an operation's result depends on its sources.
enum Kind {
    /// On the bytes of its lane.
    Lanes(u16),
    /// On those at and below its position in the lane.
    Upward(u16),
    /// The same as lanes, of one source.
    Unary(u16),
    /// Only the lowest element is computed.
    Scalar(u16),
    /// Only the lowest element is computed, of one source.
    ScalarUnary(u16),
}

fn lanes(b: &mut Builder<'_>, name: &str) -> bool {
    let kind = match name {
        "pand" | "pandn" | "por" | "pxor" | "andps" | "andnps" | "orps" | "xorps" | "andpd"
        | "andnpd" | "orpd" | "xorpd" | "paddb" | "psubb" | "paddusb" | "paddsb" | "psubusb"
        | "psubsb" | "pmaxub" | "pminub" | "pmaxsb" | "pminsb" | "pavgb" | "psignb" => {
            Kind::Lanes(1)
        }
        "paddusw" | "paddsw" | "psubusw" | "psubsw" | "pmaxsw" | "pminsw" | "pmaxuw" | "pminuw"
        | "pavgw" | "pmulhw" | "pmulhuw" | "pmulhrsw" | "psignw" | "pmaddubsw" => Kind::Lanes(2),
        "pmaxsd" | "pminsd" | "pmaxud" | "pminud" | "psignd" | "pmaddwd" | "addps" | "subps"
        | "mulps" | "divps" | "minps" | "maxps" | "psllvd" | "psrlvd" | "psravd" => Kind::Lanes(4),
        "pmuludq" | "pmuldq" | "psadbw" | "addpd" | "subpd" | "mulpd" | "divpd" | "minpd"
        | "maxpd" | "psllvq" | "psrlvq" => Kind::Lanes(8),
        "paddw" | "psubw" | "pmullw" => Kind::Upward(2),
        "paddd" | "psubd" | "pmulld" => Kind::Upward(4),
        "paddq" | "psubq" => Kind::Upward(8),
        "pabsb" => Kind::Unary(1),
        "pabsw" => Kind::Unary(2),
        "pabsd" | "sqrtps" | "rcpps" | "rsqrtps" | "roundps" | "cvtdq2ps" | "cvtps2dq"
        | "cvttps2dq" => Kind::Unary(4),
        "sqrtpd" | "roundpd" => Kind::Unary(8),
        "addss" | "subss" | "mulss" | "divss" | "minss" | "maxss" => Kind::Scalar(4),
        "addsd" | "subsd" | "mulsd" | "divsd" | "minsd" | "maxsd" => Kind::Scalar(8),
        "sqrtss" | "rcpss" | "rsqrtss" | "roundss" | "cvtsi2ss" | "cvtsd2ss" => {
            Kind::ScalarUnary(4)
        }
        "sqrtsd" | "roundsd" | "cvtsi2sd" | "cvtss2sd" => Kind::ScalarUnary(8),
        "blendvps" | "blendvpd" | "pblendvb" => Kind::Lanes(1),
        _ => return false,
    };
    let inputs = b.inputs();
    let last = inputs[1];
    match kind {
        Kind::Lanes(lane) => {
            let from = b.operands(inputs);
            b.set(0, Value::Lanes(from, lane));
        }
        Kind::Upward(lane) => {
            let from = b.operands(inputs);
            b.set(0, Value::Upward(from, lane));
        }
        Kind::Unary(lane) => {
            let from = b.operands([1]);
            b.set(0, Value::Lanes(from, lane));
        }
        Kind::Scalar(len) => {
            let from = b.operands(inputs).into_iter().map(|p| p.low(len)).collect();
            scalar(b, len, Value::All(from));
        }
        Kind::ScalarUnary(len) => {
            // cvtsd2ss reads more than it writes.
            let read = match name {
                "cvtsd2ss" => 8,
                "cvtss2sd" => 4,
                _ if name.starts_with("cvt") => 8,
                _ => len,
            };
            let from = b.operands([last]).into_iter().map(|p| p.low(read)).collect();
            scalar(b, len, Value::All(from));
        }
    }
    true
}

/// Fused multiplication and addition: `fmadd213ps` and its relatives.
fn fused(b: &mut Builder<'_>, name: &str) -> bool {
    if !b.vex || !["fmadd", "fmsub", "fnmadd", "fnmsub"].iter().any(|f| name.starts_with(f)) {
        return false;
    }
    let from = b.operands([0, 1, 2]);
    let len = if name.ends_with('d') { 8 } else { 4 };
    if name.ends_with("ps") || name.ends_with("pd") {
        b.set(0, Value::Lanes(from, len));
        return true;
    }
    let low = from.iter().map(|p| p.low(len)).collect();
    let Place::Register(to) = from[0] else { return false };
    // The other elements stay; the upper half becomes 0.
    let rest = (16 - len, Place::Register(Bytes { at: to.at + len, len: 16 - len }));
    b.set_place(from[0].low(len), len, Value::All(low));
    b.set_place(
        Place::Register(Bytes { at: to.at + len, len: 32 - len }),
        rest.0,
        Value::Copy(rest.1),
    );
    true
}
