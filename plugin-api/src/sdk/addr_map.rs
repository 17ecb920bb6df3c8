//! Maps by guest address.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys are made of guest addresses or ids. Quick, and the guest could make it slow: for
/// plugins that look something up at every memory access.
pub type AddrMap<K, V> = HashMap<K, V, BuildHasherDefault<AddrHasher>>;

/// The hasher of [`AddrMap`]: multiply and fold.
#[derive(Clone, Copy, Default, Debug)]
pub struct AddrHasher(u64);

impl Hasher for AddrHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        let product = u128::from(self.0 ^ n) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        // Addition keeps the order of the parts of a key significant.
        self.0 = (product as u64 ^ (product >> 64) as u64).wrapping_add(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_keys_spread_over_high_and_low_bits() {
        let mut low = [0u32; 128];
        let mut high = [0u32; 128];
        for i in 0..12_800u64 {
            let mut hasher = AddrHasher::default();
            hasher.write_u64(0x5400_0000_0000 + i * 4);
            hasher.write_u64(0);
            low[(hasher.finish() & 127) as usize] += 1;
            high[(hasher.finish() >> 57) as usize] += 1;
        }
        assert!(low.iter().chain(&high).all(|n| (40..=250).contains(n)), "{low:?} {high:?}");
    }
}
