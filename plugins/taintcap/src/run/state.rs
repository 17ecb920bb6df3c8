//! Storing and loading all x87 and vector registers.

use super::{Machine, x87_register};
use crate::labels::Set;
use crate::registers::{Bytes, vector_bytes};

impl Machine<'_, '_> {
    /// Moves x87 and vector registers to or from the area of `fxsave` and `xsave` (Intel SDM volume 1, 13.4).
    pub(super) fn state(&mut self, area: u64, extended: bool, save: bool) {
        const X87: u64 = 1;
        const SSE: u64 = 2;
        const AVX: u64 = 4;
        let wanted = if extended { self.values.general(self.cpu, 0) } else { X87 | SSE };
        let mut present = [0xff; 8];
        if extended && !save {
            // Where it cannot be read the instruction faults.
            let _ = self.cpu.read_mem(area.wrapping_add(512), &mut present);
        }
        let present = u64::from_le_bytes(present);
        let vectors = if self.cpu.word_size() == 8 { 16 } else { 8 };
        let top = self.values.x87_top(self.cpu);
        let stack = (0..8).map(|n| (X87, 32 + 16 * n, x87_register(top, n as i8)));
        let low = (0..vectors)
            .map(|n| (SSE, 160 + 16 * u64::from(n), Bytes { len: 16, ..vector_bytes(n) }));
        let high = (0..vectors).map(|n| {
            (AVX, 576 + 16 * u64::from(n), Bytes { at: vector_bytes(n).at + 16, len: 16 })
        });
        for (component, offset, bytes) in stack.chain(low).chain(high) {
            let at = area.wrapping_add(offset);
            if wanted & component == 0 {
                continue;
            }
            if save {
                self.memory.write(at, self.registers.get(bytes));
            } else if present & component == 0 {
                self.registers.clear(bytes);
            } else {
                let mut sets = [Set::CLEAN; 16];
                let sets = &mut sets[..usize::from(bytes.len)];
                self.memory.read(at, sets);
                self.registers.set(bytes.at, sets);
            }
        }
    }
}
