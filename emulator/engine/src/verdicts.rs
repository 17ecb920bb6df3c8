//! What insn_translate has said.

use emu_mem::{AddressMap, PAGE, access};

use crate::instrument::Verdict;

/// The verdicts of the present epoch, by instruction.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pages: AddressMap<Page>,
}

/// Those of a page. Nearly all of them are that nobody wants the instruction.
#[derive(Debug)]
struct Page {
    /// Where instructions have been asked about, a bit a byte of the page.
    asked: [u64; PAGE as usize / 64],
    /// Verdicts other than 0.
    wanted: AddressMap<Verdict>,
}

impl Default for Page {
    fn default() -> Page {
        Page { asked: [0; PAGE as usize / 64], wanted: AddressMap::default() }
    }
}

fn page_of(pc: u64) -> u64 {
    pc & !(PAGE - 1)
}

/// Word and bit of an instruction.
fn place(pc: u64) -> (usize, u64) {
    let offset = pc % PAGE;
    ((offset / 64) as usize, 1 << (offset % 64))
}

impl Verdicts {
    /// The verdict on the instruction at `pc`, if it has been asked about.
    pub fn get(&self, pc: u64) -> Option<Verdict> {
        let page = self.pages.get(&page_of(pc))?;
        let (word, bit) = place(pc);
        if page.asked[word] & bit == 0 {
            return None;
        }
        if page.wanted.is_empty() {
            return Some(0);
        }
        Some(page.wanted.get(&pc).copied().unwrap_or(0))
    }

    /// Remembers one.
    pub fn set(&mut self, pc: u64, verdict: Verdict) {
        let page = self.pages.entry(page_of(pc)).or_default();
        let (word, bit) = place(pc);
        page.asked[word] |= bit;
        if verdict != 0 {
            page.wanted.insert(pc, verdict);
        }
    }

    /// Forgets those of the page.
    pub fn forget_page(&mut self, page: u64) {
        self.pages.remove(&page);
    }

    /// Forgets those of all pages that `start..end` overlaps.
    pub fn forget(&mut self, start: u64, end: u64) {
        if !self.pages.is_empty() {
            self.pages.retain(|&page, _| page + PAGE <= start || page >= end);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.pages.clear();
    }
}

/// The bytes of instructions that mostly follow each other.
pub(crate) struct InsnBytes {
    piece: [u8; PIECE],
    start: u64,
    len: usize,
}

const PIECE: usize = 128;

/// Bytes of the longest instruction.
const LONGEST: usize = 15;

impl InsnBytes {
    pub fn new() -> InsnBytes {
        InsnBytes { piece: [0; PIECE], start: 0, len: 0 }
    }

    /// Those of the instruction of `len` bytes at `pc`, as many as can be read: all or none. At least sixteen
    /// bytes are at the address.
    pub fn of(&mut self, pc: u64, len: usize) -> Option<&[u8]> {
        let len = len.min(LONGEST);
        let at = pc.wrapping_sub(self.start);
        if at >= self.len as u64 || len > self.len - at as usize {
            // To the end of the page: the next one may not be readable.
            let rest = (PAGE - pc % PAGE).min((PIECE - LONGEST - 1) as u64) as usize;
            (self.start, self.len) = (pc, rest.max(len));
            if access::read(pc, &mut self.piece[..self.len]).is_err() {
                self.len = 0;
                return None;
            }
        }
        let at = pc.wrapping_sub(self.start) as usize;
        Some(&self.piece[at..at + len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_by_instruction_and_go_with_their_page() {
        let mut v = Verdicts::default();
        for (pc, verdict) in [(0x1000, 0), (0x1fff, 2), (0x2000, 0), (0x2001, 1)] {
            assert_eq!(v.get(pc), None);
            v.set(pc, verdict);
            assert_eq!(v.get(pc), Some(verdict));
        }
        assert_eq!(v.get(0x1001), None);
        v.forget(0x2ff0, 0x3000);
        assert_eq!((v.get(0x2001), v.get(0x1fff)), (None, Some(2)));
        v.set(0x2001, 0);
        assert_eq!(v.get(0x2001), Some(0));
        v.forget_page(0x1000);
        assert_eq!(v.get(0x1000), None);
    }
}
