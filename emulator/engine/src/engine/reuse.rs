//! Machine code that other processes of the run have made.
//!
//! A block is found when its guest code is the same, byte for byte, and the same plugins want the same
//! instructions of it. What instrumentation names, the cells of subscriptions and counters, was there
//! before the processes parted, or has other addresses and so is not found; only the description of
//! a block is each process's own.

use std::rc::Rc;

use emu_cpu::{CpuHeader, LiftOptions};
use emu_jit::{CompiledBlock, JitError, Origin, Piece, Store, Stored};
use emu_mem::{PAGE, access};
use plugin_api::abi::{BlockInfo, kind};

use super::Engine;
use crate::blocks::{Code, Entry, Trust};

/// Processes that have translated a block when it is worth sharing: many a program runs once.
const SHARED: u8 = 2;

/// Processes that have translated a block before it is compiled at once.
const COMMON: u8 = 2;

impl Engine {
    /// The store, if code may come from there: not while somebody follows each translation.
    fn open_store(&self) -> Option<Rc<Store>> {
        let translation = (kind::BEFORE_BLOCK_TRANSLATE, kind::AFTER_BLOCK_TRANSLATE);
        self.store.clone().filter(|_| !self.shared.wants_either(translation.0, translation.1))
    }

    /// What a block's code depends on besides the guest's and who wants which instruction.
    fn circumstances(&self) -> Option<u64> {
        let LiftOptions { max_insns, basic_blocks, hypercalls } = self.lift_options();
        let options =
            (max_insns as u64) << 2 | u64::from(basic_blocks) << 1 | u64::from(hypercalls);
        Some(self.jit.as_ref()?.circumstances() ^ options ^ self.plan_print)
    }

    /// A new entry for the block at `pc`, if another process has compiled it.
    pub(super) fn find_stored(&mut self, cpu: *mut CpuHeader, pc: u64) -> Option<Entry> {
        if !self.store.as_ref()?.may_have(pc) {
            return None;
        }
        let store = self.open_store()?;
        let mut found = self.find_in(&store, pc, |_| true)?;
        let mut verdicts = Vec::new();
        if !self.plan.translate.is_empty() {
            let before = self.circumstances();
            verdicts = self.verdicts(cpu, insns(&found.origin));
            self.answers.add(&verdicts);
            self.expect_callbacks();
            let wanted = self.plan.wanted(&verdicts);
            if found.verdicts != wanted || self.circumstances() != before {
                let lens = found.origin.insns;
                let fits = |b: &Stored<'_>| b.verdicts == wanted && b.origin.insns == lens;
                found = self.find_in(&store, pc, fits)?;
            }
        }
        let mut entry = Entry::compiled(pc, insns(&found.origin));
        entry.set_verdicts(&verdicts);
        if self.plan.basic_blocks() {
            let size = found.origin.bytes.len() as u64;
            let insn_count = u32::from(entry.insns);
            let info = BlockInfo { struct_size: BlockInfo::SIZE, insn_count, pc, size };
            entry.set_info(Box::new(info));
        }
        self.adopt(&mut entry, &found)?;
        self.watch(&mut entry);
        Some(entry)
    }

    /// The machine code of a block that this process has no code of, if another one has compiled it.
    pub(super) fn stored_code(&mut self, entry: &mut Entry) -> Option<CompiledBlock> {
        let store = self.open_store().filter(|_| entry.trust == Trust::Watched)?;
        let wanted = self.plan.wanted(entry.verdicts());
        let fits = |b: &Stored<'_>| {
            b.verdicts == wanted && b.origin.insns.len() == usize::from(entry.insns)
        };
        let Some(found) = self.find_in(&store, entry.pc, fits) else {
            if matches!(entry.code(), Code::Compiled(..)) {
                // The code was left behind in the process before the fork.
                store.note(entry.pc);
            }
            return None;
        };
        let code = self.adopt(entry, &found)?;
        if self.plan.is_empty() {
            entry.insts = None;
        }
        Some(code)
    }

    /// A block at `pc` that fits, in the store.
    fn find_in<'s>(
        &mut self,
        store: &'s Rc<Store>,
        pc: u64,
        fits: impl Fn(&Stored<'_>) -> bool,
    ) -> Option<Stored<'s>> {
        let circumstances = self.circumstances()?;
        let (space, pages) = (&self.shared.space.borrow(), &mut self.pages);
        let heat = &self.heat;
        store.find(circumstances, pc).find(|block| {
            fits(block)
                && pages_of(&block.origin).all(|p| pages.is_executable(space, p) && !heat.is_hot(p))
                && is_in_memory(&block.origin)
        })
    }

    /// Puts a block of the store into this process's code cache.
    fn adopt(&mut self, entry: &mut Entry, block: &Stored<'_>) -> Option<CompiledBlock> {
        let info = entry.info().map_or(0, |i| core::ptr::from_ref(i).addr() as u64);
        let jit = self.jit.as_mut()?;
        let mut result = jit.adopt(block, info);
        if matches!(result, Err(JitError::Full)) {
            jit.flush();
            self.compiled_pcs.clear();
            result = jit.adopt(block, info);
        }
        let code = result.ok()?;
        self.stats.blocks_reused += 1;
        self.note_code(entry, code);
        Some(code)
    }

    /// Lets the other processes have the block compiled last, which is in `self.scratch`.
    pub(super) fn share(&mut self, entry: &Entry) {
        let (Some(store), Some(jit), Some(circumstances)) =
            (self.open_store(), &self.jit, self.circumstances())
        else {
            return;
        };
        if entry.trust != Trust::Watched
            || entry.snapshot().is_some()
            || entry.is_cut()
            || store.seen(entry.pc) < SHARED
        {
            return;
        }
        let wanted = self.plan.wanted(entry.verdicts());
        let (mut pieces, mut bytes) = (Vec::<Piece>::new(), Vec::new());
        for i in &self.scratch.insns {
            match pieces.last_mut() {
                Some(p) if p.pc + u64::from(p.len) == i.pc => p.len += u32::from(i.len),
                _ => pieces.push(Piece { pc: i.pc, len: u32::from(i.len) }),
            }
        }
        for p in &pieces {
            let from = bytes.len();
            bytes.resize(from + p.len as usize, 0);
            if access::read(p.pc, &mut bytes[from..]).is_err() {
                return;
            }
        }
        let insns: Vec<u8> = self.scratch.insns.iter().map(|i| i.len).collect();
        let origin = Origin { pieces: &pieces, bytes: &bytes, insns: &insns };
        if !jit.share(&self.scratch, &store, circumstances, wanted, &origin) {
            tracing::debug!("no more room for machine code that processes share");
        }
    }

    /// Whether so many processes translate the block at `pc` that it is worth compiling at once.
    pub(super) fn is_common(&self, pc: u64) -> bool {
        self.store.as_ref().is_some_and(|s| s.note(pc) >= COMMON)
    }
}

/// The instructions: pc and length of each.
fn insns<'a>(origin: &Origin<'a>) -> impl ExactSizeIterator<Item = (u64, u8)> + use<'a> {
    let Origin { pieces, insns, .. } = *origin;
    let mut pieces = pieces.iter();
    let (mut pc, mut left) = (0, 0);
    insns.iter().map(move |&len| {
        if left == 0
            && let Some(p) = pieces.next()
        {
            (pc, left) = (p.pc, p.len);
        }
        let at = pc;
        pc += u64::from(len);
        left = left.saturating_sub(u32::from(len));
        (at, len)
    })
}

fn pages_of<'a>(origin: &Origin<'a>) -> impl Iterator<Item = u64> + use<'a> {
    let page = |addr: u64| addr & !(PAGE - 1);
    origin.pieces.iter().flat_map(move |p| {
        (page(p.pc)..=page(p.pc + u64::from(p.len.max(1)) - 1)).step_by(PAGE as usize)
    })
}

/// Whether guest memory holds that code.
fn is_in_memory(origin: &Origin<'_>) -> bool {
    let mut bytes = origin.bytes;
    origin.pieces.iter().all(|p| {
        let Some((piece, rest)) = bytes.split_at_checked(p.len as usize) else { return false };
        bytes = rest;
        holds(p.pc, piece)
    })
}

/// Whether guest memory holds these bytes from `pc` on.
pub(super) fn holds(pc: u64, bytes: &[u8]) -> bool {
    let mut now = [0; 64];
    let mut pieces = (pc..).step_by(now.len()).zip(bytes.chunks(now.len()));
    pieces.all(|(pc, bytes)| {
        let now = &mut now[..bytes.len()];
        access::read(pc, now).is_ok() && now == bytes
    })
}
