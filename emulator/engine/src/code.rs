//! Guest code as the lifter reads it.

use emu_cpu::CodeSource;
use emu_mem::{AddressSpace, PAGE, Prot, access};

/// What was asked about pages before, as long as the guest's mappings stay as they are.
#[derive(Debug)]
pub(crate) struct KnownPages {
    changes: u64,
    /// Direct-mapped: pages the guest may execute.
    executable: [u64; KnownPages::SIZE],
    /// Direct-mapped: pages to whose blocks no store leads unnoticed, [`REWRITABLE`] added to
    /// some.
    watched: [u64; KnownPages::SIZE],
}

/// The guest may write to the page, or is likely to make it so that it may.
const REWRITABLE: u64 = 1;

impl Default for KnownPages {
    fn default() -> KnownPages {
        let none = [u64::MAX; KnownPages::SIZE];
        KnownPages { changes: 0, executable: none, watched: none }
    }
}

impl KnownPages {
    const SIZE: usize = 64;

    fn place(&mut self, space: &AddressSpace, page: u64) -> usize {
        if self.changes != space.changes() {
            *self = KnownPages { changes: space.changes(), ..KnownPages::default() };
        }
        (page / PAGE) as usize % KnownPages::SIZE
    }

    /// Whether the guest may execute `page`.
    pub fn is_executable(&mut self, space: &AddressSpace, page: u64) -> bool {
        let n = self.place(space, page);
        if self.executable[n] == page {
            return true;
        }
        let yes = space.find(page).is_some_and(|(_, _, m)| m.prot.has(Prot::EXEC));
        if yes {
            self.executable[n] = page;
        }
        yes
    }

    /// Sees to it that a store to `page` is noticed. Whether there may well be one: the guest may
    /// write to the page, or it is of no file, as pages are that code is generated on.
    pub fn watch(&mut self, space: &mut AddressSpace, page: u64) -> bool {
        let n = self.place(space, page);
        if self.watched[n] & !REWRITABLE == page {
            return self.watched[n] != page;
        }
        let rewritable = match space.protect_code(page) {
            Ok(writable) => writable || space.find(page).is_some_and(|(_, _, m)| m.inode == 0),
            Err(e) => {
                tracing::error!("{e}");
                return true;
            }
        };
        self.watched[n] = page | if rewritable { REWRITABLE } else { 0 };
        rewritable
    }
}

/// Copies code out of guest memory, a piece at a time.
pub(crate) struct GuestCode<'a> {
    space: &'a AddressSpace,
    pages: &'a mut KnownPages,
    buf: [u8; PIECE],
    /// Guest address of `buf[0]`.
    start: u64,
    len: usize,
}

/// An ordinary block and somewhat more.
const PIECE: usize = 112;

/// Enough for the longest instruction.
const LONGEST: usize = 16;

impl<'a> GuestCode<'a> {
    pub fn new(space: &'a AddressSpace, pages: &'a mut KnownPages) -> GuestCode<'a> {
        GuestCode { space, pages, buf: [0; PIECE], start: 1, len: 0 }
    }

    fn fill(&mut self, pc: u64) {
        let page = pc & !(PAGE - 1);
        (self.start, self.len) = (pc, 0);
        if !self.pages.is_executable(self.space, page) {
            return;
        }
        let next = page + PAGE;
        let mut len = PIECE.min((next - pc) as usize);
        if len < LONGEST && self.pages.is_executable(self.space, next) {
            len = LONGEST;
        }
        self.len = match access::read(pc, &mut self.buf[..len]) {
            Ok(()) => len,
            Err(fault) => (fault.addr.saturating_sub(pc) as usize).min(len),
        };
    }
}

impl CodeSource for GuestCode<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        let have = pc.wrapping_sub(self.start);
        if have >= self.len as u64 || self.len - have as usize <= LONGEST {
            self.fill(pc);
            return &self.buf[..self.len];
        }
        &self.buf[have as usize..self.len]
    }
}
