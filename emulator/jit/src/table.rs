//! The table of indirect branch targets, which generated code reads.

use crate::JitError;

/// Guest pc, host address.
type TableEntry = [u64; 2];

/// The bits of a pc that choose its place begin here: two targets are seldom closer, and a table that is
/// used densely takes fewer pages.
pub const SHIFT: u8 = 2;

/// The table: direct-mapped, by the pc's low bits. Memory of its own, so that it is emptied without being
/// touched.
#[derive(Debug)]
pub struct Table {
    at: *mut TableEntry,
    entries: usize,
}

/// An empty entry for place `n`: with a pc that is never looked up there. All zero wherever that
/// serves.
fn empty(n: usize) -> TableEntry {
    [u64::from(n == 0) << SHIFT, 0]
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped.
        unsafe { libc::munmap(self.at.cast(), self.bytes()) };
    }
}

impl Table {
    /// An empty table of so many entries, a power of two.
    pub fn new(entries: usize) -> Result<Table, JitError> {
        // SAFETY: new memory at a place of the kernel's choice, unmapped in Drop.
        let at = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                entries * size_of::<TableEntry>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(JitError::Arena(std::io::Error::last_os_error()));
        }
        let mut table = Table { at: at.cast(), entries };
        table.entries()[0] = empty(0);
        Ok(table)
    }

    fn bytes(&self) -> usize {
        self.entries * size_of::<TableEntry>()
    }

    fn entries(&mut self) -> &mut [TableEntry] {
        // SAFETY: the mapping is this table's; generated code, which reads it, does not run now.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.entries) }
    }

    /// Where it begins.
    pub fn address(&self) -> u64 {
        self.at as u64
    }

    /// The bits of a pc that choose its place. Multiplied by 4 they are its entry's offset.
    pub fn mask(&self) -> u32 {
        const { assert!(size_of::<TableEntry>() == 4 << SHIFT) };
        ((self.entries - 1) << SHIFT) as u32
    }

    fn place(&self, pc: u64) -> usize {
        (pc >> SHIFT) as usize & (self.entries - 1)
    }

    /// Leads branches to `pc` to the code at `host`.
    pub fn set(&mut self, pc: u64, host: u64) {
        let n = self.place(pc);
        self.entries()[n] = [pc, host];
    }

    /// Undoes that.
    pub fn remove(&mut self, pc: u64, host: u64) {
        let n = self.place(pc);
        if self.entries()[n][1] == host {
            self.entries()[n] = empty(n);
        }
    }

    /// Empties it.
    pub fn clear(&mut self) {
        // SAFETY: the whole of a private anonymous mapping of our own: it reads as zeros afterwards.
        let r = unsafe { libc::madvise(self.at.cast(), self.bytes(), libc::MADV_DONTNEED) };
        if r != 0 {
            self.entries().fill([0; 2]);
        }
        self.entries()[0] = empty(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_place_is_found_by_no_pc() {
        let mut table = Table::new(1 << 12).unwrap();
        let found = |t: &mut Table, pc: u64| {
            let n = t.place(pc);
            t.entries()[n][0] == pc
        };
        table.set(0x5001, 7);
        assert!(found(&mut table, 0x5001));
        table.remove(0x5001, 8);
        assert!(found(&mut table, 0x5001));
        table.remove(0x5001, 7);
        assert!(!found(&mut table, 0x5001));
        table.set(0, 7);
        table.set(0x3001, 7);
        table.clear();
        for pc in [0, 1, 3, 4, 0x3001, 1 << 14] {
            assert!(!found(&mut table, pc), "{pc:#x}");
        }
    }
}
