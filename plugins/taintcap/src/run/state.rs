//! Storing and loading all x87 and vector registers.

use super::{Machine, x87_register};
use crate::labels::Set;
use crate::registers::{Bytes, vector_bytes};

impl Machine<'_, '_> {
    /// Moves labels of x87 and vector registers to or from the area of `fxsave` and `xsave` (Intel SDM volume 1, 13.4).
    ///
    /// What the area's header says is left aside: registers that all are 0 are not stored, and their labels are.
    pub(super) fn state(&mut self, area: u64, extended: bool, save: bool) {
        const X87: u64 = 1;
        const SSE: u64 = 2;
        const AVX: u64 = 4;
        let wanted = if extended { self.values.general(self.cpu, 0) } else { X87 | SSE };
        let vectors = if self.cpu.word_size() == 8 { 16 } else { 8 };
        let mut top = self.values.x87_top(self.cpu);
        let mut status = [0; 2];
        if !save && self.cpu.read_mem(area.wrapping_add(2), &mut status).is_ok() {
            // The registers are in the order of the stack whose top is loaded with them.
            top = (u16::from_le_bytes(status) >> 11 & 7) as u8;
        }
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
            } else {
                let mut sets = [Set::CLEAN; 16];
                let sets = &mut sets[..usize::from(bytes.len)];
                self.memory.read(at, sets);
                self.registers.set(bytes.at, sets);
            }
        }
    }
}
