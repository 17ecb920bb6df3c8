//! The block map: translated blocks by guest pc, and by the pages they came from.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use emu_ir::Block;
use emu_jit::CompiledBlock;
use emu_mem::PAGE;
use plugin_api::abi::BlockInfo;

use crate::registry::Subscription;

/// A translated block with what must live as long as it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The instrumented IR.
    pub block: Block,
    /// What block callbacks get; hook sites hold its address.
    pub info: Box<BlockInfo>,
    /// The subscriptions whose cells the block names.
    #[expect(dead_code, reason = "kept alive for the hook sites, never read")]
    pub subscriptions: Vec<Rc<Subscription>>,
    /// For blocks on pages that are written too often to be watched: the code bytes, compared
    /// before every execution.
    pub snapshot: Option<Vec<(u64, Box<[u8]>)>>,
    /// Executions by tier 0 so far.
    pub runs: Cell<u32>,
    /// The block's machine code.
    pub code: Cell<Code>,
}

/// What tier 1 has made of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Code {
    /// Nothing yet.
    None,
    /// Tier 1 cannot compile it.
    Never,
    /// This, in this generation of the code cache.
    Compiled(u64, CompiledBlock),
}

/// Index of a block in the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockId(u32);

/// Multiplicative hasher for guest addresses.
#[derive(Default)]
pub(crate) struct PcHasher(u64);

impl Hasher for PcHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(u64::from(b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        let x = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = x ^ x >> 32;
    }
}

pub(crate) type PcMap<V> = HashMap<u64, V, BuildHasherDefault<PcHasher>>;

const CACHE: usize = 1 << 12;

/// All blocks.
#[derive(Debug)]
pub(crate) struct BlockMap {
    by_pc: PcMap<BlockId>,
    entries: Vec<Option<Rc<Entry>>>,
    free: Vec<BlockId>,
    by_page: PcMap<Vec<BlockId>>,
    /// Direct-mapped front of `by_pc`.
    cache: Box<[Option<Rc<Entry>>]>,
}

impl BlockMap {
    pub fn new() -> BlockMap {
        BlockMap {
            by_pc: PcMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            by_page: PcMap::default(),
            cache: vec![None; CACHE].into_boxed_slice(),
        }
    }

    fn slot(pc: u64) -> usize {
        (pc ^ pc >> 12) as usize & (CACHE - 1)
    }

    /// The block at `pc`.
    #[inline(always)]
    pub fn get(&mut self, pc: u64) -> Option<&Rc<Entry>> {
        let slot = Self::slot(pc);
        let hit = matches!(&self.cache[slot], Some(e) if e.block.pc == pc);
        if !hit {
            let id = *self.by_pc.get(&pc)?;
            self.cache[slot] = self.entries[id.0 as usize].clone();
        }
        self.cache[slot].as_ref()
    }

    /// The block at `pc`, for a look.
    pub fn peek(&self, pc: u64) -> Option<&Entry> {
        self.entries[self.by_pc.get(&pc)?.0 as usize].as_deref()
    }

    /// Adds a block.
    pub fn insert(&mut self, entry: Entry) -> Rc<Entry> {
        let pc = entry.block.pc;
        let pages = pages_of(&entry.block);
        let entry = Rc::new(entry);
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id.0 as usize] = Some(entry.clone());
                id
            }
            None => {
                self.entries.push(Some(entry.clone()));
                BlockId(self.entries.len() as u32 - 1)
            }
        };
        if let Some(old) = self.by_pc.insert(pc, id) {
            self.entries[old.0 as usize] = None;
            self.unlist(old);
            self.free.push(old);
        }
        self.cache[Self::slot(pc)] = Some(entry.clone());
        for page in pages {
            self.by_page.entry(page).or_default().push(id);
        }
        entry
    }

    fn unlist(&mut self, id: BlockId) {
        for ids in self.by_page.values_mut() {
            ids.retain(|&i| i != id);
        }
    }

    /// Drops every block with code in `start..end`, telling `gone` of each; how many.
    pub fn invalidate(&mut self, start: u64, end: u64, mut gone: impl FnMut(&Entry)) -> usize {
        let first = start & !(PAGE - 1);
        let mut pages: Vec<u64> = if (end - first) / PAGE <= self.by_page.len() as u64 {
            (first..end).step_by(PAGE as usize).filter(|p| self.by_page.contains_key(p)).collect()
        } else {
            self.by_page.keys().copied().filter(|&p| p >= first && p < end).collect()
        };
        pages.sort_unstable();
        let mut dropped = 0;
        for page in pages {
            for id in self.by_page.remove(&page).unwrap_or_default() {
                let Some(entry) = self.entries[id.0 as usize].take() else { continue };
                gone(&entry);
                let pc = entry.block.pc;
                self.by_pc.remove(&pc);
                let slot = Self::slot(pc);
                if matches!(&self.cache[slot], Some(e) if e.block.pc == pc) {
                    self.cache[slot] = None;
                }
                for other in pages_of(&entry.block) {
                    if let Some(ids) = self.by_page.get_mut(&other) {
                        ids.retain(|&i| i != id);
                    }
                }
                self.free.push(id);
                dropped += 1;
            }
        }
        dropped
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.by_pc.clear();
        self.entries.clear();
        self.free.clear();
        self.by_page.clear();
        self.cache.fill(None);
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.by_pc.len()
    }
}

/// The pages a block's code lies on, each once.
pub(crate) fn pages_of(block: &Block) -> Vec<u64> {
    let mut pages = Vec::with_capacity(2);
    let mut note = |addr: u64| {
        let page = addr & !(PAGE - 1);
        if !pages.contains(&page) {
            pages.push(page);
        }
    };
    note(block.pc);
    for i in &block.insns {
        note(i.pc);
        note(i.pc + u64::from(i.len.max(1)) - 1);
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pcs: &[(u64, u8)]) -> Entry {
        let mut b = emu_ir::Builder::new(pcs[0].0);
        for &(pc, len) in pcs {
            b.insn_start(pc, len);
        }
        let info = Box::new(BlockInfo { struct_size: 0, insn_count: 0, pc: 0, size: 0 });
        Entry {
            block: b.finish(),
            info,
            subscriptions: Vec::new(),
            snapshot: None,
            runs: Cell::new(0),
            code: Cell::new(Code::None),
        }
    }

    #[test]
    fn invalidation_finds_blocks_that_straddle_pages() {
        let mut m = BlockMap::new();
        m.insert(entry(&[(0x1ffe, 4)]));
        m.insert(entry(&[(0x5000, 4)]));
        assert!(m.get(0x1ffe).is_some());
        assert_eq!(m.invalidate(0x2000, 0x2001, |_| ()), 1);
        assert!(m.get(0x1ffe).is_none());
        assert!(m.get(0x5000).is_some());
        assert_eq!(m.invalidate(0, u64::MAX, |_| ()), 1);
        assert_eq!(m.len(), 0);
    }

    #[test]
    fn a_new_block_replaces_the_old_one() {
        let mut m = BlockMap::new();
        m.insert(entry(&[(0x1000, 4)]));
        m.insert(entry(&[(0x1000, 2)]));
        assert_eq!(m.len(), 1);
        assert_eq!(m.get(0x1000).map(|e| e.block.insns[0].len), Some(2));
        assert_eq!(m.invalidate(0x1000, 0x2000, |_| ()), 1);
    }
}
