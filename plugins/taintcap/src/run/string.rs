//! String instructions: `movs`, `stos` and `lods`, also repeated.

use plugin_api::prelude::*;

use super::Machine;
use crate::labels::Set;
use crate::recipe::StringOp;
use crate::registers::Bytes;

impl Machine<'_, '_> {
    pub(super) fn string(
        &mut self,
        op: StringOp,
        element: u64,
        repeats: bool,
        mask: u64,
        segment: Option<Reg>,
    ) {
        const ACCUMULATOR: u16 = 0;
        const COUNT: usize = 1;
        const SOURCE: usize = 6;
        const TARGET: usize = 7;
        let value = |n| self.values.general(self.cpu, n) & mask;
        let count = if repeats { value(COUNT) } else { 1 };
        if count == 0 {
            return;
        }
        let len = count.wrapping_mul(element);
        let down = self.values.flags(self.cpu) & 0x400 != 0;
        let base = segment.map_or(0, |s| self.cpu.reg(s).unwrap_or_default());
        // Downwards, the first element is the one with the highest address.
        let start = |at: u64| if down { at.wrapping_sub(len - element) } else { at };
        let source = base.wrapping_add(start(value(SOURCE)));
        let target = start(value(TARGET));
        let accumulator = Bytes { at: ACCUMULATOR * 8, len: element as u16 };
        match op {
            StringOp::Move => {
                let pointer = self.pointer(SOURCE);
                if pointer.is_clean()
                    && self.memory.is_far(source, len)
                    && self.memory.is_far(target, len)
                {
                    return;
                }
                self.copy(source, target, len, element, down);
                if !pointer.is_clean() {
                    self.taint(target, len, pointer);
                }
            }
            StringOp::Store => {
                let sets = self.registers.get(accumulator).to_vec();
                if sets.iter().all(|s| s.is_clean()) {
                    self.memory.clear(target, len);
                } else {
                    for n in 0..count {
                        self.memory.write(target.wrapping_add(n * element), &sets);
                    }
                }
            }
            StringOp::Load => {
                let pointer = self.pointer(SOURCE);
                let last = if down { source } else { source.wrapping_add(len - element) };
                let mut sets = vec![Set::CLEAN; element as usize];
                self.memory.read(last, &mut sets);
                for set in &mut sets {
                    *set = self.labels.union(*set, pointer);
                }
                if element == 4 {
                    // A 32-bit register's upper half becomes 0.
                    sets.resize(8, Set::CLEAN);
                }
                self.registers.set(accumulator.at, &sets);
            }
        }
    }

    /// The labels of an address in a general register, if they matter.
    fn pointer(&mut self, register: usize) -> Set {
        if !self.pointers || self.registers.is_clean() {
            return Set::CLEAN;
        }
        self.labels.all(self.registers.get(Bytes { at: register as u16 * 8, len: 8 }))
    }

    /// Copies as `rep movs` does, element by element; in larger pieces where that makes no difference.
    fn copy(&mut self, source: u64, target: u64, len: u64, element: u64, down: bool) {
        let distance = target.wrapping_sub(source);
        if !down {
            // Bytes written are read again when the target begins within the source.
            let step =
                if distance < len { (distance / element * element).max(element) } else { u64::MAX };
            return self.memory.copy(source, target, len, step);
        }
        let mut sets = vec![Set::CLEAN; element as usize];
        for at in (0..len / element).rev().map(|n| n * element) {
            self.memory.read(source.wrapping_add(at), &mut sets);
            self.memory.write(target.wrapping_add(at), &sets);
        }
    }

    fn taint(&mut self, addr: u64, len: u64, with: Set) {
        for at in (0..len).map(|n| addr.wrapping_add(n)) {
            let mut set = [Set::CLEAN];
            self.memory.read(at, &mut set);
            let set = self.labels.union(set[0], with);
            self.memory.write(at, &[set]);
        }
    }
}
