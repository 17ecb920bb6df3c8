//! Code that the guest writes: which blocks a store concerns, and whether they are what they were.
//!
//! Pages with blocks are write-protected. A store into one faults, and parks the page's blocks:
//! they are compared with the guest's memory when they are due again, and go on as they are if they
//! have not changed. A page that has many such faults is left writable while it is hot (see
//! [`crate::heat`]), and its blocks are compared each time.

use emu_cpu::{CpuHeader, LiftOptions};
use emu_ir::{Op, Ops};
use emu_jit::Jit;
use emu_mem::{PAGE, access};

use super::Engine;
use super::reuse::holds;
use crate::blocks::{Code, Entry, Snapshot, Trust};
use crate::instrument::Omit;

impl Engine {
    /// If `addr` lies on a watched code page: makes it writable, parks its blocks, true.
    pub(super) fn code_write(&mut self, addr: u64) -> bool {
        let page = addr & !(PAGE - 1);
        if !self.shared.space.borrow().is_code(page) {
            return false;
        }
        self.stats.code_writes += 1;
        let released = self.shared.space.borrow_mut().release_code(page);
        match released {
            Ok(pages) => {
                for page in pages {
                    self.heat.written(page, self.shared.retired());
                    self.park(page);
                }
                true
            }
            Err(e) => {
                tracing::error!("{e}");
                false
            }
        }
    }

    /// Has the blocks of `page` compared before they run again.
    fn park(&mut self, page: u64) {
        let jit = &core::cell::RefCell::new(self.jit.as_mut());
        let on = |entry: &Entry, f: fn(&mut Jit, emu_jit::BlockId)| {
            if let (Code::Compiled(generation, code), Some(jit)) =
                (entry.code(), jit.borrow_mut().as_mut())
                && generation == jit.generation() as u32
            {
                f(jit, code.id);
            }
        };
        let dropped = self.blocks.park(page, |e| on(e, Jit::isolate), |e| on(e, Jit::invalidate));
        self.stats.blocks_dropped += dropped as u64;
        self.verdicts.forget_page(page);
    }

    /// Whether a block that a store may have changed can run, as it is.
    pub(super) fn is_current(&mut self, entry: &mut Entry) -> bool {
        if !entry.snapshot().is_some_and(unchanged) {
            return false;
        }
        let now = self.shared.retired();
        // Each page counts.
        let hot = entry.pages().filter(|&p| self.heat.compared(p, now)).count() != 0;
        match (hot, entry.trust) {
            // It may outrun its own stores.
            (true, Trust::Parked) => false,
            (true, _) => true,
            (false, Trust::Compared) if entry.is_cut() => false,
            (false, _) => {
                self.watch(entry);
                true
            }
        }
    }

    /// Drops the block at `pc`, whose code has changed.
    pub(super) fn drop_changed(&mut self, entry: &Entry) {
        if let (Code::Compiled(generation, code), Some(jit)) = (entry.code(), &mut self.jit)
            && generation == jit.generation() as u32
        {
            jit.invalidate(code.id);
        }
        for page in entry.pages() {
            self.verdicts.forget_page(page);
        }
        self.blocks.remove(entry.pc);
        self.stats.blocks_dropped += 1;
    }

    /// Has stores into the code of a block noticed.
    pub(super) fn watch(&mut self, entry: &mut Entry) {
        let mut space = self.shared.space.borrow_mut();
        let rewritable = entry.pages().filter(|&p| self.pages.watch(&mut space, p)).count() != 0;
        entry.trust = Trust::Watched;
        if rewritable
            && entry.snapshot().is_none()
            && let Some(code) = entry.ops().map(snapshot)
        {
            entry.set_snapshot(code);
        }
    }

    /// A block just translated of which a page is hot, made so that it can be compared each time
    /// before it runs: it must not outrun its own stores.
    pub(super) fn make_compared(&mut self, cpu: *mut CpuHeader, mut entry: Entry) -> Entry {
        if let Some(n) = entry.ops().and_then(first_store)
            && n + 1 < usize::from(entry.insns)
        {
            let options = LiftOptions { max_insns: n + 1, ..self.lift_options() };
            entry = self.make_entry(cpu, entry.pc, options, Omit::default());
            entry.set_cut();
            if !entry.pages().any(|p| self.heat.is_hot(p)) {
                // What is hot has been cut off.
                self.watch(&mut entry);
                return entry;
            }
        }
        let code = entry.ops().map(snapshot).unwrap_or_default();
        entry.set_snapshot(code);
        entry.trust = Trust::Compared;
        entry
    }
}

/// The number of the first instruction that may store.
fn first_store(block: Ops<'_>) -> Option<usize> {
    let stores = |op| matches!(op, Op::Store | Op::AtomicRmw | Op::AtomicCas | Op::Call);
    let at = block.insts.iter().position(|i| stores(i.op))?;
    let starts = block.insts[..at].iter().filter(|i| i.op == Op::InsnStart).count();
    starts.checked_sub(1)
}

/// The code bytes of a block, adjoining instructions together.
fn snapshot(block: Ops<'_>) -> Snapshot {
    let mut ranges: Vec<(u64, usize)> = Vec::new();
    for i in block.insns() {
        match ranges.last_mut() {
            Some((start, len)) if *start + *len as u64 == i.pc => *len += usize::from(i.len),
            _ => ranges.push((i.pc, usize::from(i.len))),
        }
    }
    let read = |(pc, len)| {
        let mut bytes = vec![0; len].into_boxed_slice();
        access::read(pc, &mut bytes).ok().map(|()| (pc, bytes))
    };
    ranges.into_iter().filter_map(read).collect()
}

/// Whether guest memory still holds the code of a snapshot.
fn unchanged(snapshot: &Snapshot) -> bool {
    snapshot.iter().all(|(pc, bytes)| holds(*pc, bytes))
}
