//! Value types.

/// The type of an IR value.
///
/// Booleans are [`Ty::I8`] holding 0 or 1. Integer values narrower than 64 bits are kept
/// zero-extended in their 64-bit container by every tier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum Ty {
    /// 8-bit integer; also a boolean.
    I8 = 0,
    /// 16-bit integer.
    I16 = 1,
    /// 32-bit integer.
    I32 = 2,
    /// 64-bit integer.
    I64 = 3,
    /// 128-bit vector, lanes decided by the op that uses it.
    V128 = 4,
    /// 256-bit vector.
    V256 = 5,
}

impl Ty {
    /// All types, narrowest first.
    pub const ALL: [Ty; 6] = [Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::V128, Ty::V256];

    /// Size in bytes.
    pub const fn bytes(self) -> u32 {
        1 << (self as u32)
    }

    /// Size in bits.
    pub const fn bits(self) -> u32 {
        self.bytes() * 8
    }

    /// Whether this is one of the four integer types.
    pub const fn is_int(self) -> bool {
        (self as u8) < 4
    }

    /// The bits a value of this integer type can have set (all 64 for vectors).
    pub const fn mask(self) -> u64 {
        match self {
            Ty::I8 => 0xff,
            Ty::I16 => 0xffff,
            Ty::I32 => 0xffff_ffff,
            _ => u64::MAX,
        }
    }

    /// The integer type of `bytes` bytes (1, 2, 4 or 8).
    pub const fn int(bytes: u32) -> Option<Ty> {
        match bytes {
            1 => Some(Ty::I8),
            2 => Some(Ty::I16),
            4 => Some(Ty::I32),
            8 => Some(Ty::I64),
            _ => None,
        }
    }

    /// The type with discriminant `n`.
    pub const fn from_u8(n: u8) -> Option<Ty> {
        if n < 6 { Some(Ty::ALL[n as usize]) } else { None }
    }

    /// Name in IR text: `i8` … `i64`, `v128`, `v256`.
    pub const fn name(self) -> &'static str {
        match self {
            Ty::I8 => "i8",
            Ty::I16 => "i16",
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::V128 => "v128",
            Ty::V256 => "v256",
        }
    }
}
