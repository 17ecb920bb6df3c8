//! Arithmetic flags, kept lazily.
//!
//! A flag-setting instruction records only a [`FlagKind`], a type and up to three operands; the
//! flags themselves are computed when something asks ([`evaluate`], [`condition`]). Flags the
//! manual calls undefined get the value most processors give.
//!
//! | kind | a | b | c |
//! |---|---|---|---|
//! | raw | the flags, in EFLAGS positions | – | – |
//! | add, sub | left | right | – |
//! | adc, sbb | left | right | carry in (0 or 1) |
//! | logic | result | – | – |
//! | inc, dec | result | – | CF to keep (0 or 1) |
//! | shl, shr, sar | value before | count (x86 masking applied; **0 leaves all flags as they were**) | – |
//! | rol, ror | result | count (0 leaves all flags as they were) | flags to keep (EFLAGS) |
//! | mulu, muls | low half of the product | high half | – |
//! | carry | bit 0 is the new CF | – | flags to keep (EFLAGS) |
//! | zero | ZF = (a == 0), the others clear | – | – |
//!
//! Because a shift or rotate by 0 changes nothing, a `flags.set` of those kinds with a count of 0
//! is *no definition*: tiers skip the write.
//!
//! An absent c is 0. Passes drop the c of a kind that keeps flags when nothing reads those.

use crate::{Cond, Ty};

/// A set of arithmetic flags in their EFLAGS positions.
pub type FlagMask = u16;

/// Carry.
pub const CF: FlagMask = 1 << 0;
/// Parity of the low byte.
pub const PF: FlagMask = 1 << 2;
/// Carry out of bit 3.
pub const AF: FlagMask = 1 << 4;
/// Zero.
pub const ZF: FlagMask = 1 << 6;
/// Sign.
pub const SF: FlagMask = 1 << 7;
/// Signed overflow.
pub const OF: FlagMask = 1 << 11;
/// All six.
pub const ALL: FlagMask = CF | PF | AF | ZF | SF | OF;

/// How a definition's operands determine the flags; see the table in the [module](self).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FlagKind {
    /// Given literally.
    Raw = 0,
    /// Addition.
    Add = 1,
    /// Subtraction, comparison.
    Sub = 2,
    /// Addition with carry.
    Adc = 3,
    /// Subtraction with borrow.
    Sbb = 4,
    /// And, or, xor, test: CF = OF = 0.
    Logic = 5,
    /// Increment: CF kept.
    Inc = 6,
    /// Decrement: CF kept.
    Dec = 7,
    /// Shift left.
    Shl = 8,
    /// Logical shift right.
    Shr = 9,
    /// Arithmetic shift right.
    Sar = 10,
    /// Rotate left: only CF and OF change.
    Rol = 11,
    /// Rotate right: only CF and OF change.
    Ror = 12,
    /// Unsigned multiplication.
    MulU = 13,
    /// Signed multiplication.
    MulS = 14,
    /// Only CF changes.
    Carry = 15,
    /// ZF from a; the others clear.
    Zero = 16,
}

impl FlagKind {
    /// All kinds, in numeric order.
    pub const ALL: [FlagKind; 17] = [
        FlagKind::Raw,
        FlagKind::Add,
        FlagKind::Sub,
        FlagKind::Adc,
        FlagKind::Sbb,
        FlagKind::Logic,
        FlagKind::Inc,
        FlagKind::Dec,
        FlagKind::Shl,
        FlagKind::Shr,
        FlagKind::Sar,
        FlagKind::Rol,
        FlagKind::Ror,
        FlagKind::MulU,
        FlagKind::MulS,
        FlagKind::Carry,
        FlagKind::Zero,
    ];

    /// The kind numbered `n`; [`FlagKind::Raw`] for numbers out of range.
    pub const fn from_u8(n: u8) -> FlagKind {
        if (n as usize) < FlagKind::ALL.len() { FlagKind::ALL[n as usize] } else { FlagKind::Raw }
    }

    /// Name in IR text.
    pub const fn name(self) -> &'static str {
        match self {
            FlagKind::Raw => "raw",
            FlagKind::Add => "add",
            FlagKind::Sub => "sub",
            FlagKind::Adc => "adc",
            FlagKind::Sbb => "sbb",
            FlagKind::Logic => "logic",
            FlagKind::Inc => "inc",
            FlagKind::Dec => "dec",
            FlagKind::Shl => "shl",
            FlagKind::Shr => "shr",
            FlagKind::Sar => "sar",
            FlagKind::Rol => "rol",
            FlagKind::Ror => "ror",
            FlagKind::MulU => "mulu",
            FlagKind::MulS => "muls",
            FlagKind::Carry => "carry",
            FlagKind::Zero => "zero",
        }
    }

    /// Whether a count operand of 0 makes the definition void.
    pub const fn void_if_zero_count(self) -> bool {
        matches!(
            self,
            FlagKind::Shl | FlagKind::Shr | FlagKind::Sar | FlagKind::Rol | FlagKind::Ror
        )
    }

    /// The flags whose old values the definition passes on through operand c (for inc and dec as
    /// a bare carry bit). When none of them is live afterwards, c may be dropped.
    pub const fn keeps(self) -> FlagMask {
        match self {
            FlagKind::Inc | FlagKind::Dec => CF,
            FlagKind::Rol | FlagKind::Ror => PF | AF | ZF | SF,
            FlagKind::Carry => PF | AF | ZF | SF | OF,
            _ => 0,
        }
    }
}

/// Even parity of the low byte.
const fn parity(x: u64) -> u16 {
    if (x as u8).count_ones() & 1 == 0 { PF } else { 0 }
}

/// ZF, SF and PF of a result.
const fn zsp(ty: Ty, r: u64) -> u16 {
    let r = r & ty.mask();
    let z = if r == 0 { ZF } else { 0 };
    let s = if r >> (ty.bits() - 1) & 1 != 0 { SF } else { 0 };
    z | s | parity(r)
}

/// `flag` if bit `n` of `x` is set.
const fn bit(x: u64, n: u32, flag: u16) -> u16 {
    if x >> n & 1 != 0 { flag } else { 0 }
}

/// Sign-extends the low `ty` of `x`.
#[inline(always)]
pub const fn sext(ty: Ty, x: u64) -> i64 {
    let s = 64 - ty.bits();
    ((x << s) as i64) >> s
}

/// All six flags of a definition. `ty` is an integer type; operands may have any upper bits.
///
/// For the kinds that are [void](FlagKind::void_if_zero_count) at a count of 0, the count must not
/// be 0.
pub fn evaluate(kind: FlagKind, ty: Ty, a: u64, b: u64, c: u64) -> u16 {
    let m = ty.mask();
    let bits = ty.bits();
    let (a, b) = if matches!(kind, FlagKind::Raw) { (a, b) } else { (a & m, b & m) };
    let top = bits - 1;
    match kind {
        FlagKind::Raw => a as u16 & ALL,
        FlagKind::Add | FlagKind::Adc => {
            let carry = if matches!(kind, FlagKind::Adc) { c & 1 } else { 0 };
            let r = a.wrapping_add(b).wrapping_add(carry) & m;
            let carries = (a & b) | ((a | b) & !r);
            zsp(ty, r)
                | bit(carries, top, CF)
                | bit(a ^ b ^ r, 4, AF)
                | bit((a ^ r) & (b ^ r), top, OF)
        }
        FlagKind::Sub | FlagKind::Sbb => {
            let borrow = if matches!(kind, FlagKind::Sbb) { c & 1 } else { 0 };
            let r = a.wrapping_sub(b).wrapping_sub(borrow) & m;
            let borrows = (!a & b) | ((!a | b) & r);
            zsp(ty, r)
                | bit(borrows, top, CF)
                | bit(a ^ b ^ r, 4, AF)
                | bit((a ^ b) & (a ^ r), top, OF)
        }
        FlagKind::Logic => zsp(ty, a),
        FlagKind::Inc => {
            let of = if a == 1 << top { OF } else { 0 };
            let af = if a & 15 == 0 { AF } else { 0 };
            zsp(ty, a) | of | af | (c & 1) as u16
        }
        FlagKind::Dec => {
            let of = if a == (m >> 1) { OF } else { 0 };
            let af = if a & 15 == 15 { AF } else { 0 };
            zsp(ty, a) | of | af | (c & 1) as u16
        }
        FlagKind::Shl => {
            let n = b as u32;
            let r = if n >= bits { 0 } else { a << n & m };
            let cf = if n <= bits { bit(a, bits - n, CF) } else { 0 };
            let of = bit(r, top, OF) ^ if cf != 0 { OF } else { 0 };
            zsp(ty, r) | cf | of
        }
        FlagKind::Shr => {
            let n = b as u32;
            let r = if n >= bits { 0 } else { a >> n };
            let cf = if n <= bits { bit(a, n - 1, CF) } else { 0 };
            // OF is defined for a count of 1 only: the sign before. r's two top bits give it.
            let of = bit(r << 1 ^ r, top, OF);
            zsp(ty, r) | cf | of
        }
        FlagKind::Sar => {
            let n = b as u32;
            let s = sext(ty, a);
            let r = (s >> n.min(63)) as u64;
            let cf = bit((s >> (n - 1).min(63)) as u64, 0, CF);
            zsp(ty, r) | cf
        }
        FlagKind::Rol => {
            let cf = bit(a, 0, CF);
            let of = bit(a, top, OF) ^ if cf != 0 { OF } else { 0 };
            (c as u16 & (PF | AF | ZF | SF)) | cf | of
        }
        FlagKind::Ror => {
            let cf = bit(a, top, CF);
            let of = bit(a << 1 ^ a, top, OF);
            (c as u16 & (PF | AF | ZF | SF)) | cf | of
        }
        FlagKind::MulU => zsp(ty, a) | if b != 0 { CF | OF } else { 0 },
        FlagKind::MulS => {
            let fill = (sext(ty, a) >> 63) as u64 & m;
            zsp(ty, a) | if b != fill { CF | OF } else { 0 }
        }
        FlagKind::Carry => (c as u16 & (ALL & !CF)) | bit(a, 0, CF),
        FlagKind::Zero => {
            if a == 0 {
                ZF
            } else {
                0
            }
        }
    }
}

/// The carry flag of a definition: what chains of additions, and `inc` and `dec`, ask for.
#[inline]
pub fn carry(kind: FlagKind, ty: Ty, a: u64, b: u64, c: u64) -> bool {
    let m = ty.mask();
    match kind {
        FlagKind::Raw | FlagKind::Carry => a & 1 != 0,
        FlagKind::Add => (a.wrapping_add(b) & m) < (a & m),
        FlagKind::Sub => (a & m) < (b & m),
        FlagKind::Logic | FlagKind::Zero => false,
        FlagKind::Inc | FlagKind::Dec => c & 1 != 0,
        _ => evaluate(kind, ty, a, b, c) & CF != 0,
    }
}

/// Whether `cond` holds for the given flags.
#[inline]
pub const fn condition_of(flags: u16, cond: Cond) -> bool {
    let sf_ne_of = (flags & SF != 0) != (flags & OF != 0);
    let positive = match Cond::from_u8(cond as u8 & !1) {
        Cond::O => flags & OF != 0,
        Cond::B => flags & CF != 0,
        Cond::E => flags & ZF != 0,
        Cond::Be => flags & (CF | ZF) != 0,
        Cond::S => flags & SF != 0,
        Cond::P => flags & PF != 0,
        Cond::L => sf_ne_of,
        _ => flags & ZF != 0 || sf_ne_of,
    };
    positive != (cond as u8 & 1 != 0)
}

/// Whether `cond` holds for a definition; the common comparisons need no flag at all.
#[inline]
pub fn condition(kind: FlagKind, ty: Ty, a: u64, b: u64, c: u64, cond: Cond) -> bool {
    match kind {
        FlagKind::Sub => {
            let (ua, ub) = (a & ty.mask(), b & ty.mask());
            let (sa, sb) = (sext(ty, a), sext(ty, b));
            match cond {
                Cond::B => ua < ub,
                Cond::Ae => ua >= ub,
                Cond::E => ua == ub,
                Cond::Ne => ua != ub,
                Cond::Be => ua <= ub,
                Cond::A => ua > ub,
                Cond::L => sa < sb,
                Cond::Ge => sa >= sb,
                Cond::Le => sa <= sb,
                Cond::G => sa > sb,
                _ => condition_of(evaluate(kind, ty, a, b, c), cond),
            }
        }
        FlagKind::Logic | FlagKind::Inc | FlagKind::Dec
            if matches!(cond, Cond::E | Cond::Ne | Cond::S | Cond::Ns) =>
        {
            let negate = cond as u8 & 1 != 0;
            if matches!(cond, Cond::E | Cond::Ne) {
                (a & ty.mask() == 0) != negate
            } else {
                (sext(ty, a) < 0) != negate
            }
        }
        _ if matches!(cond, Cond::B | Cond::Ae) => {
            carry(kind, ty, a, b, c) != matches!(cond, Cond::Ae)
        }
        _ => condition_of(evaluate(kind, ty, a, b, c), cond),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortcuts_agree_with_the_full_evaluation() {
        let values = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000];
        let values = values.into_iter().flat_map(|v: u64| [v, !v, v.wrapping_neg()]);
        let values: Vec<u64> = values.chain([1 << 63, u64::MAX >> 1]).collect();
        for kind in FlagKind::ALL {
            for ty in [Ty::I8, Ty::I16, Ty::I32, Ty::I64] {
                for &a in &values {
                    for &b in &values {
                        let b = if kind.void_if_zero_count() { 1 + b % 31 } else { b };
                        for c in [0, u64::from(ALL)] {
                            let flags = evaluate(kind, ty, a, b, c);
                            assert_eq!(
                                carry(kind, ty, a, b, c),
                                flags & CF != 0,
                                "{kind:?} {ty:?}"
                            );
                            for cond in Cond::ALL {
                                assert_eq!(
                                    condition(kind, ty, a, b, c, cond),
                                    condition_of(flags, cond),
                                    "{kind:?} {ty:?} {a:#x} {b:#x} {c} {cond:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
