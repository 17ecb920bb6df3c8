//! Guest code as the lifter reads it.

use emu_cpu::CodeSource;
use emu_mem::{AddressSpace, PAGE, Prot, access};

/// Copies code out of guest memory, a page at a time.
pub(crate) struct GuestCode<'a> {
    space: &'a AddressSpace,
    buf: Vec<u8>,
    /// Guest address of `buf[0]`.
    start: u64,
}

/// Enough beyond the page for the longest instruction.
const OVERLAP: u64 = 16;

impl<'a> GuestCode<'a> {
    pub fn new(space: &'a AddressSpace, buf: Vec<u8>) -> GuestCode<'a> {
        GuestCode { space, buf, start: 1 }
    }

    /// Gives the buffer back for the next block.
    pub fn into_buf(self) -> Vec<u8> {
        self.buf
    }

    fn readable(&self, page: u64) -> bool {
        self.space.find(page).is_some_and(|(_, _, m)| m.prot.has(Prot::EXEC))
    }

    fn fill(&mut self, pc: u64) {
        let page = pc & !(PAGE - 1);
        self.buf.clear();
        self.start = pc;
        if !self.readable(page) {
            return;
        }
        let next = page + PAGE;
        let mut end = next;
        if next - pc < OVERLAP && self.readable(next) {
            end += OVERLAP;
        }
        self.buf.resize((end - pc) as usize, 0);
        if let Err(fault) = access::read(pc, &mut self.buf) {
            self.buf.truncate(fault.addr.saturating_sub(pc) as usize);
        }
    }
}

impl CodeSource for GuestCode<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        let have = pc.wrapping_sub(self.start);
        let left = (self.buf.len() as u64).saturating_sub(have);
        let page_end = (pc & !(PAGE - 1)) + PAGE;
        let enough = left >= OVERLAP || (left > 0 && self.start + self.buf.len() as u64 > page_end);
        if !enough {
            self.fill(pc);
            return &self.buf;
        }
        &self.buf[have as usize..]
    }
}
