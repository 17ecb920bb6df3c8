//! What the guest has mapped.
//!
//! [`AddressSpace`] is the guest's view: ranges with the protection the *guest* asked for. The
//! host mapping may be stricter: guest code is never executed in place, so the host mapping is
//! never executable, and a writable page that holds translated code is read-only until somebody
//! writes to it.

use core::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{AddressSet, PAGE};

/// Protection bits, valued as Linux's `PROT_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Prot(pub u8);

impl Prot {
    /// No access.
    pub const NONE: Prot = Prot(0);
    /// Readable.
    pub const READ: Prot = Prot(1);
    /// Writable.
    pub const WRITE: Prot = Prot(2);
    /// Executable.
    pub const EXEC: Prot = Prot(4);
    /// Readable and writable.
    pub const RW: Prot = Prot(3);

    /// Whether all bits of `p` are set.
    pub const fn has(self, p: Prot) -> bool {
        self.0 & p.0 == p.0
    }

    /// The protection of the host mapping: what x86 grants the guest, without execution.
    pub const fn host(self) -> i32 {
        let any = self.0 & 7 != 0;
        (if any { libc::PROT_READ } else { 0 }) | if self.0 & 2 != 0 { libc::PROT_WRITE } else { 0 }
    }
}

/// One range the guest has mapped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Protection as the guest asked for it.
    pub prot: Prot,
    /// MAP_SHARED.
    pub shared: bool,
    /// Path of the mapped file, or a bracketed kernel name such as `[stack]`; empty when anonymous.
    pub name: Arc<str>,
    /// File offset of the range's first byte (0 when anonymous).
    pub offset: u64,
    /// Device of the file (0 when anonymous).
    pub dev: u64,
    /// Inode of the file (0 when anonymous).
    pub inode: u64,
    /// Grows down on faults below it (stacks).
    pub grows_down: bool,
}

impl Mapping {
    /// An anonymous private mapping.
    pub fn anonymous(prot: Prot, name: &str) -> Mapping {
        Mapping {
            prot,
            shared: false,
            name: name.into(),
            offset: 0,
            dev: 0,
            inode: 0,
            grows_down: false,
        }
    }
}

/// A change of host protection that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("the host refused to change the protection of guest page {page:#x}: {source}")]
pub struct MapError {
    /// First page.
    pub page: u64,
    /// The kernel's reason.
    pub source: std::io::Error,
}

/// The guest's mappings and the pages with translated code.
#[derive(Debug, Default)]
pub struct AddressSpace {
    /// start → (end, mapping); ranges are page-aligned and disjoint.
    ranges: BTreeMap<u64, (u64, Mapping)>,
    /// Pages that hold translated code, or are mapped elsewhere and do there, and are
    /// write-protected because of it.
    code: AddressSet,
    /// Grows with every change.
    changes: u64,
    /// What was found last.
    last: Cell<Found>,
}

/// A range and its protection, as they were at a number of changes.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    start: u64,
    end: u64,
    prot: Prot,
    changes: u64,
}

impl AddressSpace {
    /// An empty space.
    pub fn new() -> AddressSpace {
        AddressSpace::default()
    }

    /// Another number after every change of mappings or protections and after every
    /// [`AddressSpace::release_code`].
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The mapping that contains `addr`: (start, end, mapping).
    pub fn find(&self, addr: u64) -> Option<(u64, u64, &Mapping)> {
        let (&start, (end, m)) = self.ranges.range(..=addr).next_back()?;
        (addr < *end).then_some((start, *end, m))
    }

    /// All mappings in address order: (start, end, mapping).
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, &Mapping)> {
        self.ranges.iter().map(|(&s, (e, m))| (s, *e, m))
    }

    /// The mappings that overlap `start..end`, clipped to it.
    pub fn overlapping(&self, start: u64, end: u64) -> Vec<(u64, u64, Mapping)> {
        let first = self.find(start).map_or(start, |(s, _, _)| s);
        self.ranges
            .range(first..end)
            .filter(|&(_, &(e, _))| e > start)
            .map(|(&s, (e, m))| {
                let (cs, ce) = (s.max(start), (*e).min(end));
                let mut m = m.clone();
                if !m.name.is_empty() && m.inode != 0 {
                    m.offset += cs - s;
                }
                (cs, ce, m)
            })
            .collect()
    }

    /// Records that `start..end` is now `mapping`, replacing what was there. Page-aligned.
    pub fn insert(&mut self, start: u64, end: u64, mapping: Mapping) {
        debug_assert!(start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE) && start < end);
        self.remove(start, end);
        self.ranges.insert(start, (end, mapping));
        self.merge_at(start);
        self.merge_at(end);
    }

    /// Joins the ranges that meet at `at` if they are one to the kernel as well.
    fn merge_at(&mut self, at: u64) {
        let Some((&start, (left_end, left))) = self.ranges.range(..at).next_back() else { return };
        let Some((right_end, right)) = self.ranges.get(&at) else { return };
        if *left_end != at || !continues(left, at - start, right) {
            return;
        }
        let end = *right_end;
        self.ranges.remove(&at);
        if let Some((left_end, _)) = self.ranges.get_mut(&start) {
            *left_end = end;
        }
    }

    /// Records that nothing is mapped at `start..end` any more. Page-aligned.
    pub fn remove(&mut self, start: u64, end: u64) {
        self.changes += 1;
        self.code.retain(|&p| p + PAGE <= start || p >= end);
        self.split_at(start);
        self.split_at(end);
        let gone: Vec<u64> = self.ranges.range(start..end).map(|(&s, _)| s).collect();
        for s in gone {
            self.ranges.remove(&s);
        }
    }

    /// Records a change of protection. Page-aligned; parts not mapped are skipped.
    pub fn protect(&mut self, start: u64, end: u64, prot: Prot) {
        self.changes += 1;
        self.code.retain(|&p| p + PAGE <= start || p >= end);
        self.split_at(start);
        self.split_at(end);
        let mut borders = vec![end];
        for (&at, (_, m)) in self.ranges.range_mut(start..end) {
            m.prot = prot;
            borders.push(at);
        }
        for at in borders {
            self.merge_at(at);
        }
    }

    fn split_at(&mut self, at: u64) {
        let Some((&s, (e, _))) = self.ranges.range(..at).next_back() else { return };
        if *e <= at {
            return;
        }
        let Some((end, left)) = self.ranges.remove(&s) else { return };
        let mut right = left.clone();
        if right.inode != 0 {
            right.offset += at - s;
        }
        self.ranges.insert(s, (at, left));
        self.ranges.insert(at, (end, right));
    }

    /// Whether every byte of `addr..addr+len` is mapped with at least `prot`.
    pub fn check(&self, addr: u64, len: u64, prot: Prot) -> bool {
        if len == 0 {
            return true;
        }
        let Some(end) = addr.checked_add(len) else { return false };
        let last = self.last.get();
        if last.changes == self.changes && last.start <= addr && end <= last.end {
            return last.prot.has(prot);
        }
        let mut at = addr;
        while at < end {
            let Some((start, e, m)) = self.find(at) else { return false };
            self.last.set(Found { start, end: e, prot: m.prot, changes: self.changes });
            if !m.prot.has(prot) {
                return false;
            }
            at = e;
        }
        true
    }

    /// The highest free range of `len` bytes within `low..high` (page-aligned), top down as Linux.
    pub fn find_free(&self, len: u64, low: u64, high: u64) -> Option<u64> {
        let mut top = high;
        for (&s, (e, _)) in self.ranges.range(..high).rev() {
            if *e <= top && top - *e >= len && top - len >= low {
                return Some(top - len);
            }
            top = top.min(s);
            if top < low {
                return None;
            }
        }
        (top >= low && top - low >= len).then(|| top - len)
    }

    /// Whether nothing is mapped in `start..end`.
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.find(start).is_none() && self.ranges.range(start..end).next().is_none()
    }

    /// Whether `page` is write-protected because of translated code.
    pub fn is_code(&self, page: u64) -> bool {
        self.code.contains(&page)
    }

    /// Notes that `page` holds translated code; where the guest may write to it, there or where it
    /// is mapped as well, it is write-protected, so that the next write is seen. Returns whether
    /// the page is watched (false: the guest cannot write to it anyway).
    pub fn protect_code(&mut self, page: u64) -> Result<bool, MapError> {
        let mut watched = false;
        let own = self.find(page).map(|(_, _, m)| (page, m.prot));
        for (page, prot) in own.into_iter().chain(self.alias_pages(page)) {
            if prot.has(Prot::WRITE) {
                watched = true;
                if !self.code.contains(&page) {
                    host_protect(page, PAGE, libc::PROT_READ)?;
                    self.code.insert(page);
                }
            }
        }
        Ok(watched)
    }

    /// Undoes [`AddressSpace::protect_code`] for a watched page, everywhere it is mapped. Returns
    /// the pages whose blocks the caller is to drop: all of them; none if the page is not watched.
    pub fn release_code(&mut self, page: u64) -> Result<Vec<u64>, MapError> {
        self.changes += 1;
        if !self.code.contains(&page) {
            return Ok(Vec::new());
        }
        let own = self.find(page).map(|(_, _, m)| (page, m.prot));
        let all: Vec<_> = own.into_iter().chain(self.alias_pages(page)).collect();
        for &(page, prot) in &all {
            if self.code.remove(&page) {
                host_protect(page, PAGE, prot.host())?;
            }
        }
        Ok(all.into_iter().map(|(page, _)| page).collect())
    }

    /// The watched pages that overlap `start..end`.
    pub fn code_pages(&self, start: u64, end: u64) -> Vec<u64> {
        if self.code.is_empty() {
            return Vec::new();
        }
        let first = start & !(PAGE - 1);
        if end.saturating_sub(first) / PAGE <= self.code.len() as u64 {
            // A call's buffer: few pages, in a program with much code.
            let pages = (first..end).step_by(PAGE as usize);
            return pages.filter(|p| self.code.contains(p)).collect();
        }
        self.code.iter().copied().filter(|&p| p < end && p + PAGE > start).collect()
    }
}

/// Whether `right` is what a range `left` of `len` bytes would be if it went on.
fn continues(left: &Mapping, len: u64, right: &Mapping) -> bool {
    if left.inode == 0 {
        // Shared anonymous ranges are objects of their own.
        return !left.shared && left == right;
    }
    let moved = Mapping { offset: right.offset.wrapping_sub(len), ..right.clone() };
    *left == moved
}

fn host_protect(page: u64, len: u64, prot: i32) -> Result<(), MapError> {
    // SAFETY: the range belongs to the guest's space, never to host memory.
    let r = unsafe { libc::mprotect(page as *mut libc::c_void, len as usize, prot) };
    if r == 0 { Ok(()) } else { Err(MapError { page, source: std::io::Error::last_os_error() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rw(name: &str) -> Mapping {
        Mapping::anonymous(Prot::RW, name)
    }

    #[test]
    fn insert_splits_and_merges() {
        let mut s = AddressSpace::new();
        s.insert(0x1000, 0x5000, rw("a"));
        s.insert(0x2000, 0x3000, rw("b"));
        let got: Vec<_> = s.iter().map(|(s, e, m)| (s, e, m.name.to_string())).collect();
        assert_eq!(
            got,
            [
                (0x1000, 0x2000, "a".to_string()),
                (0x2000, 0x3000, "b".to_string()),
                (0x3000, 0x5000, "a".to_string())
            ]
        );
        s.insert(0x5000, 0x6000, rw("a"));
        assert_eq!(s.find(0x5fff).map(|(s, e, _)| (s, e)), Some((0x3000, 0x6000)));
    }

    #[test]
    fn neighbours_that_match_again_are_joined() {
        let mut s = AddressSpace::new();
        s.insert(0x1000, 0x5000, rw(""));
        s.insert(0x2000, 0x3000, rw(""));
        assert_eq!(s.iter().count(), 1, "replacing a part by its like");
        s.protect(0x2000, 0x3000, Prot::READ);
        assert_eq!(s.iter().count(), 3);
        s.protect(0x2000, 0x3000, Prot::RW);
        assert_eq!(s.iter().count(), 1);
        let file = |offset| Mapping { inode: 7, offset, ..rw("/lib") };
        s.insert(0x8000, 0x9000, file(0x4000));
        s.insert(0x9000, 0xa000, file(0x5000));
        s.insert(0xa000, 0xb000, file(0));
        assert_eq!(s.find(0x9fff).map(|(s, e, _)| (s, e)), Some((0x8000, 0xa000)));
        let shared = Mapping { shared: true, ..rw("") };
        s.insert(0x10000, 0x11000, shared.clone());
        s.insert(0x11000, 0x12000, shared);
        assert_eq!(s.find(0x10000).map(|(s, e, _)| (s, e)), Some((0x10000, 0x11000)));
    }

    #[test]
    fn split_keeps_file_offsets() {
        let mut s = AddressSpace::new();
        let mut m = rw("/lib");
        m.inode = 7;
        m.offset = 0x10000;
        s.insert(0x1000, 0x5000, m);
        s.protect(0x3000, 0x4000, Prot::READ);
        assert_eq!(s.find(0x3000).map(|(_, _, m)| m.offset), Some(0x12000));
        assert_eq!(s.find(0x4000).map(|(_, _, m)| m.offset), Some(0x13000));
        assert_eq!(s.overlapping(0x3800, 0x4800).len(), 2);
    }

    #[test]
    fn check_needs_every_byte() {
        let mut s = AddressSpace::new();
        s.insert(0x1000, 0x2000, rw(""));
        s.insert(0x2000, 0x3000, Mapping::anonymous(Prot::READ, ""));
        assert!(s.check(0x1ff0, 0x20, Prot::READ));
        assert!(!s.check(0x1ff0, 0x20, Prot::WRITE));
        assert!(!s.check(0x2ff0, 0x20, Prot::READ));
        assert!(!s.check(u64::MAX, 2, Prot::READ));
    }

    #[test]
    fn check_follows_changes() {
        let mut s = AddressSpace::new();
        assert!(!s.check(0, 8, Prot::READ));
        s.insert(0x1000, 0x3000, rw(""));
        assert!(s.check(0x1ff8, 8, Prot::WRITE));
        s.protect(0x1000, 0x2000, Prot::READ);
        assert!(s.check(0x1ff8, 8, Prot::READ) && !s.check(0x1ff8, 8, Prot::WRITE));
        assert!(s.check(0x2000, 8, Prot::WRITE));
        s.remove(0x2000, 0x3000);
        assert!(!s.check(0x2000, 8, Prot::READ) && !s.check(0x1ffc, 8, Prot::READ));
        s.insert(0x2000, 0x3000, rw(""));
        assert!(s.check(0x1ffc, 8, Prot::READ) && !s.check(0x1ffc, 8, Prot::WRITE));
    }

    #[test]
    fn find_free_is_top_down() {
        let mut s = AddressSpace::new();
        assert_eq!(s.find_free(0x1000, 0x1000, 0x10000), Some(0xf000));
        s.insert(0xf000, 0x10000, rw(""));
        assert_eq!(s.find_free(0x2000, 0x1000, 0x10000), Some(0xd000));
        s.insert(0x1000, 0xe000, rw("x"));
        assert_eq!(s.find_free(0x1000, 0x1000, 0x10000), Some(0xe000));
        assert_eq!(s.find_free(0x2000, 0x1000, 0x10000), None);
    }
}
