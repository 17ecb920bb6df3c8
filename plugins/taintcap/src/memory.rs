//! The labels of guest memory, byte by byte.

use core::ops::Range;

use plugin_api::AddrMap;

use crate::labels::Set;

const PAGE: u64 = 4096;

/// Which bytes of memory have labels. What is not said is clean.
#[derive(Default, Debug)]
pub struct Memory {
    pages: AddrMap<u64, Page>,
}

#[derive(Debug)]
struct Page {
    sets: Box<[Set; PAGE as usize]>,
    /// How many of them are not clean; never 0.
    tainted: u32,
}

impl Memory {
    /// Whether no byte has a label.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Whether an access cannot concern a byte with a label: quick, and may say no for clean bytes.
    pub fn is_far(&self, addr: u64, len: u64) -> bool {
        let last = addr.wrapping_add(len.saturating_sub(1));
        let page = addr / PAGE;
        !self.pages.contains_key(&page)
            && (last / PAGE == page || (!self.pages.contains_key(&(last / PAGE)) && len <= PAGE))
    }

    /// The labels of `addr` and what follows.
    pub fn read(&self, addr: u64, out: &mut [Set]) {
        for (page, within, part) in parts(addr, out.len() as u64) {
            match self.pages.get(&page) {
                Some(p) => out[part].copy_from_slice(&p.sets[within]),
                None => out[part].fill(Set::CLEAN),
            }
        }
    }

    /// Sets the labels of `addr` and what follows.
    pub fn write(&mut self, addr: u64, sets: &[Set]) {
        for (page, within, part) in parts(addr, sets.len() as u64) {
            self.write_page(page, within, &sets[part]);
        }
    }

    /// Makes `len` bytes clean.
    pub fn clear(&mut self, addr: u64, len: u64) {
        if len / PAGE > self.pages.len() as u64 {
            // Whole mappings, of which little has labels.
            let pages: Vec<u64> = self.pages.keys().copied().collect();
            let end = addr.saturating_add(len);
            for page in pages {
                let start = addr.max(page * PAGE);
                let end = end.min((page + 1) * PAGE);
                if start < end {
                    self.clear(start, end - start);
                }
            }
            return;
        }
        const CLEAN: [Set; PAGE as usize] = [Set::CLEAN; PAGE as usize];
        for (page, within, _) in parts(addr, len) {
            self.write_page(page, within.clone(), &CLEAN[within]);
        }
    }

    /// Copies the labels of `len` bytes from lower to higher addresses, in pieces of at most `step` bytes.
    pub fn copy(&mut self, from: u64, to: u64, len: u64, step: u64) {
        let mut buffer = [Set::CLEAN; 256];
        let step = step.clamp(1, buffer.len() as u64);
        let mut done = 0;
        while done < len {
            let n = step.min(len - done);
            let piece = &mut buffer[..n as usize];
            self.read(from.wrapping_add(done), piece);
            self.write(to.wrapping_add(done), piece);
            done += n;
        }
    }

    /// The runs of bytes with the same labels, clean ones left out: (address, length, set).
    pub fn runs(&self, addr: u64, len: u64) -> Vec<(u64, u64, Set)> {
        let mut runs: Vec<(u64, u64, Set)> = Vec::new();
        for (page, within, part) in parts(addr, len) {
            let Some(p) = self.pages.get(&page) else { continue };
            for (at, set) in (addr + part.start as u64..).zip(&p.sets[within]) {
                match runs.last_mut() {
                    _ if set.is_clean() => {}
                    Some(run) if run.0 + run.1 == at && run.2 == *set => run.1 += 1,
                    _ => runs.push((at, 1, *set)),
                }
            }
        }
        runs
    }

    fn write_page(&mut self, page: u64, within: Range<usize>, sets: &[Set]) {
        let tainted = |sets: &[Set]| sets.iter().filter(|s| !s.is_clean()).count() as u32;
        let new = tainted(sets);
        let Some(p) = self.pages.get_mut(&page) else {
            if new > 0 {
                let mut p = Page { sets: Box::new([Set::CLEAN; PAGE as usize]), tainted: new };
                p.sets[within].copy_from_slice(sets);
                self.pages.insert(page, p);
            }
            return;
        };
        let target = &mut p.sets[within];
        p.tainted = p.tainted - tainted(target) + new;
        target.copy_from_slice(sets);
        if p.tainted == 0 {
            self.pages.remove(&page);
        }
    }
}

/// Cuts a range of addresses at pages: (page, offsets in the page, offsets in the range).
fn parts(addr: u64, len: u64) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = addr.wrapping_add(done);
        let within = (at % PAGE) as usize;
        let n = (PAGE as usize - within).min((len - done) as usize);
        let part = done as usize..done as usize + n;
        done += n as u64;
        Some((at / PAGE, within..within + n, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Labels;

    #[test]
    fn bytes_keep_their_labels_across_pages_until_cleared() {
        let one = Labels::default().single(1);
        let mut memory = Memory::default();
        memory.write(0x1ffe, &[one; 4]);
        let mut out = [one; 6];
        memory.read(0x1ffd, &mut out);
        let c = Set::CLEAN;
        assert_eq!(out, [c, one, one, one, one, c]);
        assert!(!memory.is_far(0x0fff, 2), "the page of a byte with labels is near");
        assert!(memory.is_far(0x3000, 8));
        memory.clear(0x1fff, 2);
        assert_eq!(memory.runs(0x1000, 0x2000), [(0x1ffe, 1, one), (0x2001, 1, one)]);
        memory.clear(0, u64::MAX);
        assert!(memory.is_empty());
    }

    #[test]
    fn overwriting_with_clean_bytes_frees_pages() {
        let one = Labels::default().single(1);
        let mut memory = Memory::default();
        memory.write(8, &[one, Set::CLEAN, one]);
        memory.write(8, &[Set::CLEAN; 2]);
        assert!(!memory.is_empty());
        memory.write(10, &[Set::CLEAN]);
        assert!(memory.is_empty());
        memory.write(10, &[Set::CLEAN; 100]);
        assert!(memory.is_empty(), "clean bytes take no room");
    }

    #[test]
    fn an_overlapping_copy_repeats_its_beginning() {
        let mut labels = Labels::default();
        let (one, two) = (labels.single(1), labels.single(2));
        let mut memory = Memory::default();
        memory.write(0x100, &[one, two]);
        memory.copy(0x100, 0x102, 4, 2);
        let mut out = [Set::CLEAN; 6];
        memory.read(0x100, &mut out);
        assert_eq!(out, [one, two, one, two, one, two]);
    }
}
