//! Memory for generated code.
//!
//! One memfd is mapped twice: writable at one address, executable at another, so no page is ever
//! both. Space is handed out front to back and given back all at once.

use crate::JitError;

/// The place for a jump that is not made yet: a 5-byte nop.
pub const NO_JUMP: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];

/// Where code begins: a loop then takes as few cache lines as it can, and its speed does not hang on what was
/// compiled before it.
const ALIGN: usize = 64;

/// Pages are made for so many bytes at a time.
const FETCH: usize = 32 << 10;

/// The arena.
#[derive(Debug)]
pub struct Arena {
    rw: *mut u8,
    rx: *const u8,
    size: usize,
    used: usize,
    /// Bytes from the start whose pages are there.
    present: usize,
}

// SAFETY: the arena owns both mappings; all access goes through &self or &mut self.
unsafe impl Send for Arena {}

impl Arena {
    /// Reserves `size` bytes (rounded up to pages); pages are committed when first written.
    pub fn new(size: usize) -> Result<Arena, JitError> {
        let size = size.next_multiple_of(4096).clamp(1 << 16, 1 << 30);
        // SAFETY: plain system calls on a file descriptor this function owns; the mappings are
        // placed by the kernel and unmapped in Drop.
        unsafe {
            let fd = libc::memfd_create(c"emu-jit".as_ptr(), libc::MFD_CLOEXEC);
            if fd < 0 {
                return Err(JitError::Arena(std::io::Error::last_os_error()));
            }
            let fail = |fd| {
                let e = std::io::Error::last_os_error();
                libc::close(fd);
                Err(JitError::Arena(e))
            };
            if libc::ftruncate(fd, size as libc::off_t) != 0 {
                return fail(fd);
            }
            let map = |prot| libc::mmap(core::ptr::null_mut(), size, prot, libc::MAP_SHARED, fd, 0);
            let rw = map(libc::PROT_READ | libc::PROT_WRITE);
            if rw == libc::MAP_FAILED {
                return fail(fd);
            }
            let rx = map(libc::PROT_READ | libc::PROT_EXEC);
            if rx == libc::MAP_FAILED {
                libc::munmap(rw, size);
                return fail(fd);
            }
            libc::close(fd);
            Ok(Arena { rw: rw.cast(), rx: rx.cast(), size, used: 0, present: 0 })
        }
    }

    /// Bytes handed out.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether `len` more bytes fit.
    pub fn fits(&self, len: usize) -> bool {
        len <= self.size - self.used
    }

    /// Executable address of offset `off`.
    pub fn addr(&self, off: u32) -> u64 {
        self.rx as u64 + u64::from(off)
    }

    /// Copies `code` in; its offset. `None` when it does not fit.
    pub fn push(&mut self, code: &[u8]) -> Option<u32> {
        if !self.fits(code.len()) {
            return None;
        }
        let off = self.used;
        if off + code.len() > self.present {
            self.fetch(off + code.len());
        }
        // SAFETY: the range off..off+len is inside the writable mapping, nobody else writes it.
        unsafe { core::ptr::copy_nonoverlapping(code.as_ptr(), self.rw.add(off), code.len()) };
        self.used = (off + code.len()).next_multiple_of(ALIGN).min(self.size);
        Some(off as u32)
    }

    /// Has the pages up to `end` made, several at a time: one by one they would cost two faults each.
    #[cold]
    fn fetch(&mut self, end: usize) {
        let from = self.present;
        self.present = end.next_multiple_of(FETCH).min(self.size);
        let len = self.present - from;
        // SAFETY: inside the two mappings; contents stay. Where the kernel does not know the request, pages
        // are made by faults.
        unsafe {
            libc::madvise(self.rw.add(from).cast(), len, libc::MADV_POPULATE_WRITE);
            libc::madvise(self.rx.add(from).cast_mut().cast(), len, libc::MADV_POPULATE_READ);
        }
    }

    /// Overwrites the 32-bit displacement at `at` so that the branch goes to offset `target`.
    pub fn patch(&mut self, at: u32, target: u32) {
        assert!((at as usize) + 4 <= self.used);
        let rel = target.wrapping_sub(at.wrapping_add(4));
        // SAFETY: in bounds as asserted; the thread that patches is the one that runs the code.
        unsafe { self.rw.add(at as usize).cast::<u32>().write_unaligned(rel) };
    }

    /// Adds to the 32-bit number at `at`.
    pub fn add(&mut self, at: u32, amount: u32) {
        assert!((at as usize) + 4 <= self.used);
        // SAFETY: in bounds as asserted; nothing runs the code yet.
        unsafe {
            let at = self.rw.add(at as usize).cast::<u32>();
            at.write_unaligned(at.read_unaligned().wrapping_add(amount));
        }
    }

    /// Overwrites the 64-bit number at `at`.
    pub fn set(&mut self, at: u32, number: u64) {
        assert!((at as usize) + 8 <= self.used);
        // SAFETY: in bounds as asserted; nothing runs the code yet.
        unsafe { self.rw.add(at as usize).cast::<u64>().write_unaligned(number) };
    }

    /// Puts a jump to offset `target` in the place of [`NO_JUMP`] at `at`.
    pub fn set_jump(&mut self, at: u32, target: u32) {
        assert!((at as usize) + NO_JUMP.len() <= self.used);
        // SAFETY: in bounds as asserted; the thread that patches is the one that runs the code.
        unsafe { *self.rw.add(at as usize) = 0xe9 };
        self.patch(at + 1, target);
    }

    /// Takes that jump away.
    pub fn clear_jump(&mut self, at: u32) {
        assert!((at as usize) + NO_JUMP.len() <= self.used);
        // SAFETY: in bounds as asserted; the thread that patches is the one that runs the code.
        unsafe {
            let to = self.rw.add(at as usize);
            core::ptr::copy_nonoverlapping(NO_JUMP.as_ptr(), to, NO_JUMP.len());
        }
    }

    /// The code at `off..off + len`.
    pub fn code(&self, off: u32, len: usize) -> &[u8] {
        let end = (off as usize + len).min(self.used);
        let off = (off as usize).min(end);
        // SAFETY: in bounds of the readable mapping; written only through &mut self.
        unsafe { core::slice::from_raw_parts(self.rw.add(off), end - off) }
    }

    /// Gives back everything from offset `keep` on.
    pub fn reset(&mut self, keep: usize) {
        self.used = keep.min(self.used);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `new` mapped.
        unsafe {
            libc::munmap(self.rw.cast(), self.size);
            libc::munmap(self.rx.cast_mut().cast(), self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_of_code_begins_a_cache_line() {
        let mut arena = Arena::new(1 << 16).unwrap();
        let mut end = 0;
        for len in [1, 63, 64, 65, 200, 0, 7] {
            let off = arena.push(&vec![0xcc; len]).unwrap();
            assert!(off as usize >= end && (off as usize) < end + ALIGN, "{len}");
            assert_eq!(arena.addr(off) % ALIGN as u64, 0, "{len}");
            end = off as usize + len;
        }
        // The last piece may end where the arena ends.
        let left = (1 << 16) - arena.used();
        assert!(arena.push(&vec![0xcc; left + 1]).is_none());
        assert!(arena.push(&vec![0xcc; left]).is_some());
        assert!(arena.push(&[0xcc]).is_none());
    }
}
