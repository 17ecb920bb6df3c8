//! What blocks are instrumented for.

use core::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use emu_ir::{HookKind, When};
use plugin_api::abi::kind;

use super::Owed;
use crate::registry::{OwnerId, Registry, Subscription};

/// Whether subscriptions of this kind live in translated code (as opposed to events the engine
/// reports itself).
pub fn is_compiled_in(kind: u32) -> bool {
    matches!(
        kind,
        kind::INSN_TRANSLATE
            | kind::INSN_EXEC
            | kind::AFTER_INSN_EXEC
            | kind::BEFORE_BLOCK_EXEC
            | kind::AFTER_BLOCK_EXEC
            | kind::VIRT_MEM_BEFORE_READ
            | kind::VIRT_MEM_AFTER_READ
            | kind::VIRT_MEM_BEFORE_WRITE
            | kind::VIRT_MEM_AFTER_WRITE
            | kind::GUEST_HYPERCALL
    )
}

/// An instruction's verdict: 0 when nobody asked for it, otherwise the number of the set of plugins that did
/// ([`Plan::verdict`]). Any number of plugins may ask.
pub type Verdict = u32;

/// The subscriptions a block is instrumented for: a snapshot of the registry, grouped by hook.
#[derive(Debug, Default)]
pub struct Plan {
    /// Epoch of the registry the plan was made from.
    pub epoch: u64,
    /// insn_translate subscriptions, in order.
    pub translate: Vec<Rc<Subscription>>,
    /// Who asked, by verdict less one. A run has few different sets.
    asked: RefCell<Vec<Rc<[OwnerId]>>>,
    hooks: [Vec<Rc<Subscription>>; 8],
    /// Counters of retired instructions: (address of the u64, what to add per event).
    pub insns: Vec<(usize, u64)>,
    /// Counters of blocks.
    pub blocks: Vec<(usize, u64)>,
    /// Counters of loads.
    pub loads: Vec<(usize, u64)>,
    /// Counters of stores.
    pub stores: Vec<(usize, u64)>,
    /// What blocks have counted for the others.
    pub tally: Tally,
    /// Count the calls of every hook (statistics).
    pub count_calls: bool,
    /// The hypercall instruction traps.
    pub hypercalls: bool,
}

/// The hooks by [`HookKind`] number.
const HOOK_KINDS: [u32; 8] = [
    kind::INSN_EXEC,
    kind::AFTER_INSN_EXEC,
    kind::BEFORE_BLOCK_EXEC,
    kind::AFTER_BLOCK_EXEC,
    kind::VIRT_MEM_BEFORE_READ,
    kind::VIRT_MEM_AFTER_READ,
    kind::VIRT_MEM_BEFORE_WRITE,
    kind::VIRT_MEM_AFTER_WRITE,
];

impl Plan {
    /// The plan for the registry's present subscriptions. Counter cells are filled in by the
    /// caller.
    pub fn new(registry: &Registry, count_calls: bool) -> Plan {
        let enabled = |kind| -> Vec<_> {
            registry.list(kind).iter().filter(|s| s.enabled()).cloned().collect()
        };
        Plan {
            epoch: registry.epoch(),
            translate: enabled(kind::INSN_TRANSLATE),
            hooks: HOOK_KINDS.map(enabled),
            count_calls,
            hypercalls: registry.wants(kind::GUEST_HYPERCALL),
            ..Plan::default()
        }
    }

    /// The subscriptions of a hook.
    pub fn hook(&self, kind: HookKind) -> &[Rc<Subscription>] {
        &self.hooks[kind as usize]
    }

    /// Whether somebody's callback on that hook is always due.
    pub fn calls_often(&self, kind: HookKind) -> bool {
        self.hook(kind).iter().any(|s| s.when() == When::ALWAYS)
    }

    /// The verdict on an instruction that these plugins asked for.
    pub fn verdict(&self, owners: &[OwnerId]) -> Verdict {
        if owners.is_empty() {
            return 0;
        }
        let mut asked = self.asked.borrow_mut();
        let known = asked.iter().position(|set| **set == *owners);
        let at = known.unwrap_or_else(|| {
            asked.push(owners.into());
            asked.len() - 1
        });
        at as Verdict + 1
    }

    /// The plugins behind a verdict; `None` for 0.
    pub(super) fn owners(&self, verdict: Verdict) -> Option<Rc<[OwnerId]>> {
        let at = (verdict as usize).checked_sub(1)?;
        self.asked.borrow().get(at).cloned()
    }

    /// Whether blocks must be basic blocks: somebody watches their boundaries.
    pub fn basic_blocks(&self) -> bool {
        !self.hook(HookKind::BeforeBlock).is_empty() || !self.hook(HookKind::AfterBlock).is_empty()
    }

    /// Whether every data access must be reported, by helpers too.
    pub fn watches_memory(&self) -> bool {
        !self.loads.is_empty() || !self.stores.is_empty() || self.hooks_memory()
    }

    /// Whether somebody wants to know more of data accesses than their number.
    pub fn hooks_memory(&self) -> bool {
        self.hooks[HookKind::BeforeRead as usize..].iter().any(|l| !l.is_empty())
    }

    /// Whether counters are brought up to date by the engine whenever it runs callbacks: those of
    /// instructions from the number of those retired, the others from [`Tally`]. Not where blocks call
    /// back: there, whoever looks finds what generated code has added.
    pub fn tallies(&self) -> bool {
        self.hooks.iter().all(Vec::is_empty)
    }

    /// The counters that the block at `pc` adds to for `events`: those to add to, and what each gets.
    pub(super) fn counts(&self, pc: u64, events: Owed) -> impl Iterator<Item = (usize, u64)> {
        let tallied = move |list: &[(usize, u64)], n: usize, events: u64| {
            let used = self.tallies() && !list.is_empty();
            used.then(|| (self.tally.address(n, pc), events))
        };
        let Owed { insns, blocks, loads, stores } = events;
        let direct = if self.tallies() { [0; 4] } else { [insns, blocks, loads, stores] };
        let lists = [&self.insns, &self.blocks, &self.loads, &self.stores];
        let direct = lists.into_iter().zip(direct);
        let direct =
            direct.flat_map(|(l, n)| l.iter().map(move |&(c, by)| (c, by.wrapping_mul(n))));
        let tallied = [
            tallied(&self.blocks, 0, blocks),
            tallied(&self.loads, 1, loads),
            tallied(&self.stores, 2, stores),
        ];
        direct.chain(tallied.into_iter().flatten()).filter(|&(_, n)| n != 0)
    }

    /// Adds what blocks have counted to the counters of blocks, loads and stores.
    pub fn settle(&self) {
        if self.blocks.is_empty() && self.loads.is_empty() && self.stores.is_empty() {
            return;
        }
        let [blocks, loads, stores] = self.tally.take();
        self.add(Owed { insns: 0, blocks, loads, stores });
    }

    /// Adds events to the counters; those of instructions only where blocks count them.
    pub fn add(&self, events: Owed) {
        let Owed { insns, blocks, loads, stores } = events;
        let insns = if self.tallies() { 0 } else { insns };
        count(&self.insns, insns);
        count(&self.blocks, blocks);
        count(&self.loads, loads);
        count(&self.stores, stores);
    }

    /// Whether all blocks stay as they were lifted.
    pub fn is_empty(&self) -> bool {
        self.translate.is_empty() && self.leaves(&[])
    }

    /// Whether a block with these verdicts on its instructions stays as it was lifted.
    pub fn leaves(&self, verdicts: &[Verdict]) -> bool {
        (self.tallies() || self.insns.is_empty())
            && self.blocks.is_empty()
            && !self.basic_blocks()
            && !self.watches_memory()
            && verdicts.iter().all(|&v| v == 0)
    }
}

impl Plan {
    /// Equal numbers for plans that instrument equally, with the very same cells.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for list in &self.hooks {
            list.len().hash(&mut hasher);
            for sub in list {
                let when = sub.when();
                let within = when.within.map(|w| (w.from, w.to));
                let cell = core::ptr::from_ref(&sub.cell).addr();
                (cell, sub.owner, sub.flags, within, when.countdown).hash(&mut hasher);
            }
        }
        (&self.insns, &self.blocks, &self.loads, &self.stores).hash(&mut hasher);
        (self.tally.0.as_ptr().addr(), self.count_calls, self.hypercalls).hash(&mut hasher);
        hasher.finish()
    }

    /// Equal numbers for blocks that equal sets of plugins want equal instructions of; 0 when nobody
    /// wants any.
    pub fn wanted(&self, verdicts: &[Verdict]) -> u64 {
        if verdicts.iter().all(|&v| v == 0) {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        for (n, owners) in verdicts.iter().map(|&v| self.owners(v)).enumerate() {
            owners.map(|o| (n, o)).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Blocks, loads and stores that blocks have counted: cells next to each other, however many plugins count
/// them. There are several sets of cells, because the processor takes longer to add to one twice in a
/// row than to execute a small block.
#[derive(Debug, Default)]
pub struct Tally(Box<[[Cell<u64>; 4]; Tally::SETS as usize]>);

impl Tally {
    const SETS: u64 = 16;

    /// The cell of a kind for the block at `pc`.
    fn address(&self, kind: usize, pc: u64) -> usize {
        let set = pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & (Tally::SETS - 1);
        self.0[set as usize][kind].as_ptr() as usize
    }

    fn take(&self) -> [u64; 3] {
        let kinds = [0, 1, 2];
        kinds.map(|kind| self.0.iter().fold(0, |sum, set| set[kind].take().wrapping_add(sum)))
    }
}

/// Adds `events` to counters.
pub(crate) fn count(counters: &[(usize, u64)], events: u64) {
    for &(cell, amount) in counters {
        // SAFETY: the counter's owner keeps the u64 alive.
        unsafe {
            let cell = cell as *mut u64;
            *cell = (*cell).wrapping_add(amount.wrapping_mul(events));
        }
    }
}

/// Whether a subscription to instructions or blocks wants to know of the one at `pc`.
pub(crate) fn covers(sub: &Subscription, pc: u64) -> bool {
    sub.when().within.is_none_or(|w| w.touches(pc, 1))
}
