//! The container of one IR value.

/// One IR value: 32 bytes, little end first.
///
/// **Invariant: an integer narrower than 64 bits is zero-extended to the first word; the other
/// words of an integer are meaningless. The upper half of a `v128` is zero.**
#[repr(C, align(32))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Value(pub [u64; 4]);

impl Value {
    /// All zero.
    pub const ZERO: Value = Value([0; 4]);

    /// An integer.
    #[inline(always)]
    pub const fn from_u64(x: u64) -> Value {
        Value([x, 0, 0, 0])
    }

    /// A 128-bit vector.
    #[inline(always)]
    pub const fn from_u128(x: u128) -> Value {
        Value([x as u64, (x >> 64) as u64, 0, 0])
    }

    /// A vector whose lower and upper half are given.
    #[inline(always)]
    pub const fn from_halves(low: u128, high: u128) -> Value {
        Value([low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64])
    }

    /// A vector given by its bytes.
    #[inline(always)]
    pub fn from_bytes(b: [u8; 32]) -> Value {
        let mut w = [0; 4];
        for (w, b) in w.iter_mut().zip(b.as_chunks::<8>().0) {
            *w = u64::from_le_bytes(*b);
        }
        Value(w)
    }

    /// The first word: an integer.
    #[inline(always)]
    pub const fn u64(self) -> u64 {
        self.0[0]
    }

    /// The lower half.
    #[inline(always)]
    pub const fn u128(self) -> u128 {
        self.0[0] as u128 | (self.0[1] as u128) << 64
    }

    /// The upper half.
    #[inline(always)]
    pub const fn high(self) -> u128 {
        self.0[2] as u128 | (self.0[3] as u128) << 64
    }

    /// All bytes.
    #[inline(always)]
    pub fn bytes(self) -> [u8; 32] {
        let mut b = [0; 32];
        for (b, w) in b.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *b = w.to_le_bytes();
        }
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_agree() {
        let bytes: [u8; 32] = core::array::from_fn(|n| n as u8 + 1);
        let v = Value::from_bytes(bytes);
        assert_eq!(v.bytes(), bytes);
        assert_eq!(v.u64(), 0x0807_0605_0403_0201);
        assert_eq!(v.u128() >> 64, 0x100f_0e0d_0c0b_0a09);
        assert_eq!(Value::from_halves(v.u128(), v.high()), v);
        assert_eq!(Value::from_u128(v.u128()).high(), 0);
    }
}
