//! The block map: translated blocks by guest pc, and by the pages they came from.

use emu_ir::{Block, CounterSite, HookSite, Inst, Ops};
use emu_jit::CompiledBlock;
use emu_mem::{AddressMap, PAGE};
use plugin_api::abi::BlockInfo;

use crate::instrument::Verdict;

/// A translated block. What the run loop looks at fills one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Entry {
    /// Guest pc of the first instruction.
    pub pc: u64,
    /// The block's machine code, in this generation of the code cache.
    machine: (emu_jit::Entry, emu_jit::BlockId, u32),
    /// What tier 1 has made of the block.
    state: State,
    /// Whether the guest's memory still holds its code.
    pub trust: Trust,
    /// Stores into its page since it ran last, while it is [`Trust::Parked`].
    parked: u8,
    /// The passes have run over the ops.
    pub optimized: bool,
    /// Number of guest instructions.
    pub insns: u16,
    /// Executions by tier 0 so far.
    pub runs: u16,
    /// The instrumented ops, unless machine code has taken their place.
    pub insts: Option<Box<[Inst]>>,
    /// The second page the code lies on; the page of `pc` if there is none.
    second_page: u64,
    /// What few blocks have.
    rare: Option<Box<Rare>>,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// What few blocks have.
#[derive(Debug, Default)]
struct Rare {
    /// Further pages.
    pages: Vec<u64>,
    hooks: Box<[HookSite]>,
    counters: Box<[CounterSite]>,
    info: Option<Box<BlockInfo>>,
    /// Who wants the instructions, where machine code was there before the ops.
    verdicts: Box<[Verdict]>,
    snapshot: Option<Snapshot>,
    cut: bool,
}

/// The code bytes of a block, by address.
pub(crate) type Snapshot = Vec<(u64, Box<[u8]>)>;

/// Whether the guest's memory still holds a block's code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trust {
    /// It does: a change would be noticed.
    Watched,
    /// It did until a store into its page. Nothing leads to it but the run loop, which compares.
    Parked,
    /// To be compared each time, and nothing but the run loop leads to it. It ends with the first
    /// instruction that may store.
    Compared,
}

/// Stores into its page that a block survives without being run.
const PARKED: u8 = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    None,
    Never,
    Once,
    Compiled,
    /// There is no block: its place in the map is free.
    Vacant,
}

/// What tier 1 has made of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Code {
    /// Nothing yet.
    None,
    /// Tier 1 cannot compile it.
    Never,
    /// It is not to be compiled: made for a single execution.
    Once,
    /// This, in this generation of the code cache.
    Compiled(u32, CompiledBlock),
}

impl Entry {
    /// An entry for `block`.
    pub fn new(block: &Block) -> Entry {
        let insns = block.insns.iter().map(|i| (i.pc, i.len));
        let mut entry = Entry::compiled(block.pc, insns);
        entry.set_ops(block);
        entry
    }

    /// Gives it its instrumented ops.
    pub fn set_ops(&mut self, block: &Block) {
        self.insts = Some(block.insts.as_slice().into());
        if !block.hooks.is_empty() || !block.counters.is_empty() {
            let rare = self.rare.get_or_insert_default();
            rare.hooks = block.hooks.as_slice().into();
            rare.counters = block.counters.as_slice().into();
        }
    }

    /// An entry for a block without ops, of these instructions: pc and length of each.
    pub fn compiled(pc: u64, insns: impl ExactSizeIterator<Item = (u64, u8)>) -> Entry {
        let mut entry = Entry::empty(pc, insns.len());
        for (pc, len) in insns {
            entry.note_page(pc);
            entry.note_page(pc + u64::from(len.max(1)) - 1);
        }
        entry
    }

    fn empty(pc: u64, insns: usize) -> Entry {
        Entry {
            pc,
            machine: (emu_jit::Entry::NOWHERE, emu_jit::BlockId(0), 0),
            state: State::None,
            trust: Trust::Watched,
            parked: 0,
            optimized: false,
            insns: insns as u16,
            runs: 0,
            insts: None,
            second_page: pc & !(PAGE - 1),
            rare: None,
        }
    }

    fn note_page(&mut self, addr: u64) {
        let first = self.pc & !(PAGE - 1);
        let page = addr & !(PAGE - 1);
        if page == first || page == self.second_page {
            return;
        }
        if self.second_page == first {
            self.second_page = page;
            return;
        }
        let pages = &mut self.rare.get_or_insert_default().pages;
        if !pages.contains(&page) {
            pages.push(page);
        }
    }

    /// The pages the code lies on, each once.
    pub fn pages(&self) -> impl Iterator<Item = u64> {
        let first = self.pc & !(PAGE - 1);
        let second = (self.second_page != first).then_some(self.second_page);
        let more = self.rare.as_deref().map_or(&[][..], |r| &r.pages);
        [first].into_iter().chain(second).chain(more.iter().copied())
    }

    /// Notes that the block ends where it does only because its last instruction may store into
    /// code that would follow.
    pub fn set_cut(&mut self) {
        self.rare.get_or_insert_default().cut = true;
    }

    /// Whether [`Self::set_cut`] was called.
    pub fn is_cut(&self) -> bool {
        self.rare.as_deref().is_some_and(|r| r.cut)
    }

    /// The ops and their sites, if the block still has them.
    #[inline]
    pub fn ops(&self) -> Option<Ops<'_>> {
        let insts = self.insts.as_deref()?;
        let (hooks, counters) =
            self.rare.as_deref().map_or((&[][..], &[][..]), |r| (&*r.hooks, &*r.counters));
        Some(Ops { pc: self.pc, insts, hooks, counters })
    }

    /// What tier 1 has made of the block.
    #[inline]
    pub fn code(&self) -> Code {
        match self.state {
            State::None => Code::None,
            State::Never | State::Vacant => Code::Never,
            State::Once => Code::Once,
            State::Compiled => {
                let (entry, id, generation) = self.machine;
                Code::Compiled(generation, CompiledBlock { id, entry })
            }
        }
    }

    /// Notes what tier 1 has made of the block.
    pub fn set_code(&mut self, code: Code) {
        self.state = match code {
            Code::None => State::None,
            Code::Never => State::Never,
            Code::Once => State::Once,
            Code::Compiled(generation, c) => {
                self.machine = (c.entry, c.id, generation);
                State::Compiled
            }
        };
    }

    /// What block callbacks get; hook sites hold its address. Where somebody watches blocks.
    pub fn info(&self) -> Option<&BlockInfo> {
        self.rare.as_deref()?.info.as_deref()
    }

    /// Keeps the description of the block with it.
    pub fn set_info(&mut self, info: Box<BlockInfo>) {
        self.rare.get_or_insert_default().info = Some(info);
    }

    /// Keeps what is needed to instrument the block again.
    pub fn set_verdicts(&mut self, verdicts: &[Verdict]) {
        if verdicts.iter().any(|&v| v != 0) {
            self.rare.get_or_insert_default().verdicts = verdicts.into();
        }
    }

    /// Who wants its instructions; nobody, if there is none.
    pub fn verdicts(&self) -> &[Verdict] {
        self.rare.as_deref().map_or(&[], |r| &r.verdicts)
    }

    /// For blocks on pages that may be written: what they were made of.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.rare.as_deref()?.snapshot.as_ref()
    }

    /// Keeps the block's code with it.
    pub fn set_snapshot(&mut self, snapshot: Snapshot) {
        self.rare.get_or_insert_default().snapshot = Some(snapshot);
    }
}

/// Index of a block in the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct BlockId(u32);

const CACHE: usize = 1 << 13;

/// All blocks.
#[derive(Debug)]
pub(crate) struct BlockMap {
    by_pc: AddressMap<BlockId>,
    /// Those in `free` are vacant.
    entries: Vec<Entry>,
    free: Vec<BlockId>,
    by_page: AddressMap<Vec<BlockId>>,
    /// Direct-mapped front of `by_pc`: block numbers, to be checked against the block's pc. Small, since
    /// a short run touches all of it.
    cache: Box<[BlockId]>,
}

impl BlockMap {
    pub fn new() -> BlockMap {
        BlockMap {
            by_pc: AddressMap::default(),
            // Room for those of a short run, which costs nothing until it is used.
            entries: Vec::with_capacity(1 << 12),
            free: Vec::new(),
            by_page: AddressMap::default(),
            // Zeroed memory fresh from the system.
            cache: vec![BlockId(0); CACHE].into_boxed_slice(),
        }
    }

    fn slot(pc: u64) -> usize {
        (pc ^ pc >> 13) as usize & (CACHE - 1)
    }

    /// The block at `pc`.
    #[inline(always)]
    pub fn get(&mut self, pc: u64) -> Option<&mut Entry> {
        let place = &mut self.cache[Self::slot(pc)];
        let found = self.entries.get(place.0 as usize);
        if !found.is_some_and(|e| e.pc == pc && e.state != State::Vacant) {
            *place = *self.by_pc.get(&pc)?;
        }
        self.entries.get_mut(place.0 as usize)
    }

    /// Adds a block, in the place of one at the same pc.
    pub fn insert(&mut self, entry: Entry) -> &mut Entry {
        let pc = entry.pc;
        if let Some(old) = self.by_pc.remove(&pc) {
            self.unlist(old);
            self.vacate(old);
        }
        let id = self.free.pop().unwrap_or(BlockId(self.entries.len() as u32));
        for page in entry.pages() {
            self.by_page.entry(page).or_default().push(id);
        }
        self.by_pc.insert(pc, id);
        self.cache[Self::slot(pc)] = id;
        let at = id.0 as usize;
        if at == self.entries.len() {
            self.entries.push(entry);
        } else {
            self.entries[at] = entry;
        }
        &mut self.entries[at]
    }

    /// Takes a block from the lists of its pages.
    fn unlist(&mut self, id: BlockId) {
        for page in self.entries[id.0 as usize].pages() {
            if let Some(ids) = self.by_page.get_mut(&page) {
                ids.retain(|&i| i != id);
            }
        }
    }

    /// Frees what a block that is in no list any more holds.
    fn vacate(&mut self, id: BlockId) {
        let entry = &mut self.entries[id.0 as usize];
        (entry.insts, entry.rare, entry.state) = (None, None, State::Vacant);
        self.free.push(id);
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
                gone(&self.entries[id.0 as usize]);
                self.drop_block(id);
                dropped += 1;
            }
        }
        dropped
    }

    fn drop_block(&mut self, id: BlockId) {
        self.by_pc.remove(&self.entries[id.0 as usize].pc);
        self.unlist(id);
        self.vacate(id);
    }

    /// Drops the block at `pc`, if there is one.
    pub fn remove(&mut self, pc: u64) {
        if let Some(&id) = self.by_pc.get(&pc) {
            self.drop_block(id);
        }
    }

    /// Parks the blocks with code on `page`, telling `parked` of those that were watched. Drops
    /// those whose code is not known, and those parked for long, telling `gone`; how many.
    pub fn park(
        &mut self,
        page: u64,
        mut parked: impl FnMut(&Entry),
        mut gone: impl FnMut(&Entry),
    ) -> usize {
        let mut dropped = 0;
        let Some(ids) = self.by_page.get_mut(&page) else { return 0 };
        for id in core::mem::take(ids) {
            let entry = &mut self.entries[id.0 as usize];
            let keep = match entry.trust {
                Trust::Watched => entry.snapshot().is_some(),
                Trust::Parked => entry.parked < PARKED,
                Trust::Compared => true,
            };
            if !keep {
                gone(entry);
                self.drop_block(id);
                dropped += 1;
                continue;
            }
            match entry.trust {
                Trust::Watched => {
                    entry.trust = Trust::Parked;
                    entry.parked = 1;
                    parked(entry);
                }
                Trust::Parked => entry.parked += 1,
                Trust::Compared => {}
            }
            if let Some(ids) = self.by_page.get_mut(&page) {
                ids.push(id);
            }
        }
        dropped
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        self.by_pc.clear();
        self.entries.clear();
        self.free.clear();
        self.by_page.clear();
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.by_pc.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pcs: &[(u64, u8)]) -> Entry {
        let mut b = emu_ir::Builder::new(pcs[0].0);
        for &(pc, len) in pcs {
            b.insn_start(pc, len);
        }
        Entry::new(&b.finish())
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
        assert_eq!(m.get(0x1000).and_then(|e| Some(e.ops()?.insns().next()?.len)), Some(2));
        assert_eq!(m.invalidate(0x1000, 0x2000, |_| ()), 1);
    }

    #[test]
    fn a_free_place_is_no_block() {
        let mut m = BlockMap::new();
        m.insert(entry(&[(0x5000, 1)]));
        for pc in [0, 1, u64::MAX, 0x5001] {
            assert!(m.get(pc).is_none(), "{pc:#x}");
        }
        m.invalidate(0x5000, 0x6000, |_| ());
        for pc in [0, 1, 0x5000] {
            assert!(m.get(pc).is_none(), "{pc:#x}");
        }
        m.clear();
        assert!(m.get(0).is_none());
    }

    #[test]
    fn a_parked_block_that_never_runs_goes() {
        let mut m = BlockMap::new();
        m.insert(entry(&[(0x1000, 4)])).set_snapshot(Vec::new());
        m.insert(entry(&[(0x1100, 4)])).set_snapshot(Vec::new());
        m.insert(entry(&[(0x1200, 4)]));
        let mut parked = Vec::new();
        assert_eq!(m.park(0x1000, |e| parked.push(e.pc), |_| ()), 1);
        assert_eq!(parked, [0x1000, 0x1100]);
        assert!(m.get(0x1200).is_none(), "its code is not known");
        for n in 1..PARKED {
            assert_eq!(m.park(0x1000, |_| panic!("{n}"), |_| ()), 0);
            m.get(0x1000).unwrap().trust = Trust::Compared;
        }
        assert_eq!(m.park(0x1000, |_| (), |e| assert_eq!(e.pc, 0x1100)), 1);
        assert!(m.get(0x1000).is_some());
        m.remove(0x1000);
        assert_eq!((m.len(), m.invalidate(0, u64::MAX, |_| ())), (0, 0));
    }

    #[test]
    fn a_block_that_jumps_about_is_on_all_its_pages() {
        let jumpy = entry(&[(0x1ffe, 4), (0x7000, 1), (0x9fff, 2), (0x1000, 1)]);
        assert_eq!(jumpy.pages().collect::<Vec<_>>(), [0x1000, 0x2000, 0x7000, 0x9000, 0xa000]);
        let mut m = BlockMap::new();
        for page in jumpy.pages() {
            m.insert(entry(&[(0x1ffe, 4), (0x7000, 1), (0x9fff, 2), (0x1000, 1)]));
            assert_eq!(m.invalidate(page, page + 1, |_| ()), 1, "{page:#x}");
            assert_eq!(m.len(), 0);
        }
    }
}
