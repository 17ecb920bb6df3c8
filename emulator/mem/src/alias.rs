//! Memory that the guest has mapped more than once: a store in one place changes the others.
//!
//! Programs that generate code map it twice, to write it in one place and to run it in another.
//! What is found here is what one process maps of a file, or of memory that is one (`memfd_create`).

use crate::{AddressSpace, Mapping, PAGE, Prot};

/// Whether others may see a store into the mapping, by the file it is of.
fn is_seen(m: &Mapping) -> bool {
    m.shared && m.inode != 0
}

impl AddressSpace {
    /// Where else the bytes of `start..end` are mapped, and with which protection: for shared
    /// mappings of files.
    pub fn aliases(&self, start: u64, end: u64) -> Vec<(u64, u64, Prot)> {
        let mut found = Vec::new();
        for (start, end, m) in self.overlapping(start, end).iter().filter(|(_, _, m)| is_seen(m)) {
            let others =
                self.iter().filter(|(_, _, o)| is_seen(o) && (o.inode, o.dev) == (m.inode, m.dev));
            let last = m.offset + (end - start);
            found.extend(others.filter_map(|(s, e, o)| {
                let (from, to) = (m.offset.max(o.offset), last.min(o.offset + (e - s)));
                let at = s + from.saturating_sub(o.offset);
                (from < to && at != start + (from - m.offset))
                    .then(|| (at, at + (to - from), o.prot))
            }));
        }
        found
    }

    /// The other pages that are the same as `page`, and their protection.
    pub(crate) fn alias_pages(&self, page: u64) -> Vec<(u64, Prot)> {
        match self.find(page) {
            Some((_, _, m)) if is_seen(m) => {
                self.aliases(page, page + PAGE).iter().map(|&(at, _, prot)| (at, prot)).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64, offset: u64, prot: Prot) -> Mapping {
        Mapping { shared: true, inode, offset, ..Mapping::anonymous(prot, "/memfd:code") }
    }

    #[test]
    fn the_same_bytes_elsewhere() {
        let mut s = AddressSpace::new();
        s.insert(0x10000, 0x14000, file(7, 0x1000, Prot::READ));
        s.insert(0x20000, 0x24000, file(7, 0x2000, Prot::RW));
        s.insert(0x30000, 0x34000, file(8, 0x2000, Prot::RW));
        let private = Mapping { shared: false, ..file(7, 0, Prot::RW) };
        s.insert(0x40000, 0x48000, private);
        assert_eq!(s.aliases(0x10000, 0x14000), [(0x20000, 0x23000, Prot::RW)]);
        assert_eq!(s.aliases(0x10000, 0x11000), []);
        assert_eq!(s.aliases(0x12000, 0x13000), [(0x21000, 0x22000, Prot::RW)]);
        assert_eq!(s.aliases(0x23000, 0x24000), []);
        assert_eq!(s.aliases(0x22000, 0x24000), [(0x13000, 0x14000, Prot::READ)]);
        assert_eq!(s.aliases(0x30000, 0x48000), []);
        assert_eq!(s.alias_pages(0x11000), [(0x20000, Prot::RW)]);
    }
}
