//! Inserts hook and counter ops into a lifted block.
//!
//! Hooks of an instruction stand where the event is certain: `insn_exec` right after the
//! instruction's start; reports of loads behind the instruction's last op that may fault, so that
//! an instruction that faults and is restarted reports nothing twice; `before_write` before its
//! store, behind a probe that proves the store will succeed; `after_insn_exec` before the branch
//! that ends the instruction, or at its end.
//!
//! Counters are merged: the events since the last payment are added by one op before the next hook, and
//! by the way out of the block that is taken, so counters are exact wherever somebody can look. When a
//! fault leaves a block between two payments, [`owed`] says what is missing.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use emu_ir::{
    Addr, Block, Builder, CounterSite, HookKind, HookSite, Inst, JumpKind, Op, TrapKind, Ty, Val,
    When,
};
use plugin_api::abi::{block_exit, kind};

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
    fn owners(&self, verdict: Verdict) -> Option<Rc<[OwnerId]>> {
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
    fn counts(&self, pc: u64, events: Owed) -> impl Iterator<Item = (usize, u64)> {
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

    /// Whether blocks stay as they were lifted.
    pub fn is_empty(&self) -> bool {
        self.translate.is_empty()
            && (self.tallies() || self.insns.is_empty())
            && self.blocks.is_empty()
            && !self.basic_blocks()
            && !self.watches_memory()
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

/// Which hooks to leave out of a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Omit {
    /// No `insn_exec` for the first instruction: it was already reported.
    pub first_insn_exec: bool,
}

/// The instrumented form of `block`. `verdicts[i]` is the verdict on instruction i; `info` is the
/// address of the block description passed to block callbacks. The memory of `out` is used again.
pub fn instrument(
    block: &Block,
    plan: &Plan,
    verdicts: &[Verdict],
    info: usize,
    omit: Omit,
    mut out: Block,
) -> Block {
    let (mut hooks, mut counters) =
        (core::mem::take(&mut out.hooks), core::mem::take(&mut out.counters));
    hooks.clear();
    counters.clear();
    let mut w = Writer {
        plan,
        out: Builder::reusing(out, block.pc),
        hooks,
        counters,
        map: Vec::with_capacity(block.insts.len()),
        pc: block.pc,
        start: block.pc,
        info,
        owed: Owed::default(),
        edge: Edge::default(),
    };
    for (n, insn) in block.insns.iter().enumerate() {
        let first = usize::from(insn.first);
        let end = block.insns.get(n + 1).map_or(block.insts.len(), |i| usize::from(i.first));
        let verdict = verdicts.get(n).copied().unwrap_or(0);
        w.pc = insn.pc;
        w.insn(&block.insts[first..end], n == 0, verdict, omit.first_insn_exec && n == 0);
    }
    let Writer { out, hooks, counters, .. } = w;
    let mut done = out.finish();
    done.hooks = hooks;
    done.counters = counters;
    done
}

/// Whether a subscription to instructions or blocks wants to know of the one at `pc`.
pub(crate) fn covers(sub: &Subscription, pc: u64) -> bool {
    sub.when().within.is_none_or(|w| w.touches(pc, 1))
}

/// Events counted but not yet added to their counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Retired instructions.
    pub insns: u64,
    /// Blocks entered.
    pub blocks: u64,
    /// Loads.
    pub loads: u64,
    /// Stores.
    pub stores: u64,
}

/// What the counters lack when instruction number `fault` of an instrumented block did not
/// complete: the events of the instructions before it and behind the last op that paid.
pub fn owed(insts: &[Inst], fault: usize) -> Owed {
    let mut owed = Owed::default();
    let mut insn = 0;
    let mut counted = true;
    for i in insts {
        match i.op {
            Op::InsnStart => {
                insn = usize::from(i.sub);
                if insn > fault {
                    break;
                }
                owed.insns += u64::from(!counted);
                counted = false;
                owed.blocks += u64::from(i.leads());
            }
            Op::Counter => owed = Owed::default(),
            Op::Hook if i.sub == HookKind::AfterInsnExec as u16 => counted = true,
            _ if insn < fault => {
                let (l, s) = accesses(i);
                owed.loads += l;
                owed.stores += s;
            }
            // What is paid in an instruction is paid ahead of, or behind, all that may fault in it.
            _ if fallible(i) => break,
            _ => {}
        }
    }
    owed
}

/// Finds where basic blocks begin in a block.
#[derive(Debug, Default)]
struct Edge {
    /// Where the previous instruction ends, unless it is a branch.
    falls_to: Option<u64>,
}

impl Edge {
    /// Whether the instruction of this mark begins a basic block.
    fn begins(&mut self, start: &Inst) -> bool {
        let end = start.imm.wrapping_add(u64::from(start.a.0));
        self.falls_to.replace(end) != Some(start.imm)
    }

    /// The instruction is a branch.
    fn branch(&mut self) {
        self.falls_to = None;
    }
}

/// How many instructions of a block to keep, so that each of its basic blocks ends where it would without
/// the ones before it.
pub fn whole_basic_blocks(block: &Block) -> usize {
    let (mut edge, mut last, mut branch) = (Edge::default(), 0, true);
    for i in &block.insts {
        match i.op {
            Op::InsnStart => {
                branch = false;
                if edge.begins(i) {
                    last = usize::from(i.sub);
                }
            }
            Op::ExitIf => {
                branch = true;
                edge.branch();
            }
            Op::Jump => {
                branch |= i.jump_kind() != JumpKind::Jump || edge.falls_to != Some(i.imm);
            }
            Op::JumpInd | Op::Trap => branch = true,
            _ => {}
        }
    }
    if branch || last == 0 { block.insns.len() } else { last }
}

/// Loads and stores of an op.
fn accesses(i: &Inst) -> (u64, u64) {
    match i.op {
        Op::Load => (1, 0),
        Op::Store => (0, 1),
        Op::AtomicRmw | Op::AtomicCas => (1, 1),
        _ => (0, 0),
    }
}

/// Whether the op can keep its instruction from completing.
fn fallible(i: &Inst) -> bool {
    i.op.may_fault() || i.op == Op::Call
}

/// Report of an access that waits for the instruction's last fallible op.
struct Report {
    kinds: &'static [HookKind],
    ty: Ty,
    addr: Val,
    value: Val,
}

/// Where an instruction goes on.
enum Next {
    Pc(u64),
    Value(Val),
    /// (condition, pc if it holds, pc if not)
    Either(Val, u64, u64),
}

impl Next {
    /// From the ops that leave an instruction whose end is at `fall_through`.
    fn of(exits: &[Inst], fall_through: u64) -> Next {
        match exits {
            [i, ..] if i.op == Op::JumpInd => Next::Value(i.a),
            [side, end, ..] if side.op == Op::ExitIf && end.op == Op::Jump => {
                Next::Either(side.a, side.imm, end.imm)
            }
            [i, ..] if i.op == Op::ExitIf => Next::Either(i.a, i.imm, fall_through),
            [i, ..] => Next::Pc(i.imm),
            [] => Next::Pc(0),
        }
    }
}

struct Writer<'a> {
    plan: &'a Plan,
    out: Builder,
    hooks: Vec<HookSite>,
    counters: Vec<CounterSite>,
    /// Old value → new value.
    map: Vec<Val>,
    pc: u64,
    /// The pc of the block.
    start: u64,
    info: usize,
    owed: Owed,
    edge: Edge,
}

impl Writer<'_> {
    fn insn(&mut self, ops: &[Inst], first: bool, verdict: Verdict, omit_exec: bool) {
        let plan = self.plan;
        let end = ops[0].imm.wrapping_add(u64::from(ops[0].a.0));
        let leads = self.edge.begins(&ops[0]);
        self.start_of(&ops[0], leads);
        if leads {
            self.owed.blocks += 1;
        }
        if first {
            self.block_hooks(HookKind::BeforeBlock, block_exit::END);
        }
        if !omit_exec {
            self.insn_hooks(HookKind::InsnExec, verdict);
        }
        let memory = plan.watches_memory();
        let accesses_memory = memory && ops.iter().any(|i| accesses(i) != (0, 0));
        let last_fallible = if accesses_memory { ops.iter().rposition(fallible) } else { None };
        if accesses_memory && self.announces() {
            // Behind an op that may fault, `owed` would not know whether that was paid.
            self.pay();
        }
        let mut reports: Vec<Report> = Vec::new();
        let mut retired = false;
        let mut left = false;
        for (n, i) in ops.iter().enumerate().skip(1) {
            if i.op.is_terminator() || i.op == Op::ExitIf {
                let trap = if i.op == Op::Trap { i.trap_kind() } else { TrapKind::None };
                let retires = trap == TrapKind::None || trap.retires();
                if retires && !retired {
                    retired = true;
                    self.retire(verdict, Next::of(&ops[n..], end));
                }
                // In a basic block the side exit is the first half of its one branch.
                if !left && (retires || trap == TrapKind::Hypercall) {
                    let exit = if retires && trap != TrapKind::None {
                        block_exit::SYSCALL
                    } else {
                        block_exit::END
                    };
                    self.block_hooks(HookKind::AfterBlock, exit);
                    left = true;
                }
                if i.op == Op::ExitIf {
                    self.edge.branch();
                } else {
                    self.pay();
                }
            }
            if i.op == Op::ExitIf {
                self.exit(i);
            } else if memory {
                self.access(i, &mut reports);
            } else {
                self.copy(i);
            }
            if last_fallible == Some(n) {
                for i in ops {
                    let (loads, stores) = accesses(i);
                    self.owed.loads += loads;
                    self.owed.stores += stores;
                }
                for r in reports.drain(..) {
                    for &k in r.kinds {
                        self.hook_all(k, r.ty, r.addr, r.value);
                    }
                }
            }
        }
        if !retired && ops.last().is_some_and(|i| !i.op.is_terminator()) {
            self.retire(verdict, Next::Pc(end));
        }
    }

    /// Whether somebody is told of accesses before they are made.
    fn announces(&self) -> bool {
        [HookKind::BeforeRead, HookKind::BeforeWrite].iter().any(|&k| !self.plan.hook(k).is_empty())
    }

    /// The instruction is complete and goes on at `next`.
    fn retire(&mut self, verdict: Verdict, next: Next) {
        self.owed.insns += 1;
        if verdict == 0 || self.plan.hook(HookKind::AfterInsnExec).is_empty() {
            return;
        }
        // Subscribers may look at the pc register: it names the next instruction by now.
        let pc = match next {
            Next::Pc(pc) => self.out.iconst(Ty::I64, pc),
            Next::Value(v) => self.map[v.index()],
            Next::Either(cond, taken, other) => {
                let taken = self.out.iconst(Ty::I64, taken);
                let other = self.out.iconst(Ty::I64, other);
                self.out.select(Ty::I64, self.map[cond.index()], taken, other)
            }
        };
        self.out.put(Ty::I64, emu_cpu::slots::PC, pc);
        self.insn_hooks(HookKind::AfterInsnExec, verdict);
    }

    /// Copies an instruction's start.
    fn start_of(&mut self, i: &Inst, leads: bool) {
        if leads {
            self.out.leading_insn_start(i.imm, i.a.0 as u8);
        } else {
            self.out.insn_start(i.imm, i.a.0 as u8);
        }
        self.map.push(Val(self.out.len() as u16 - 1));
    }

    /// Copies an op with its operands renamed.
    fn copy(&mut self, i: &Inst) -> Val {
        let mut copy = *i;
        copy.map_operands(|v| self.map[v.index()]);
        let v = self.out.push(copy);
        self.map.push(v);
        v
    }

    /// Copies a memory op with its counting and reports; other ops as they are.
    fn access(&mut self, i: &Inst, reports: &mut Vec<Report>) {
        let plan = self.plan;
        let (loads, stores) = accesses(i);
        if loads + stores == 0 {
            self.copy(i);
            return;
        }
        let wants = |k: HookKind| !plan.hook(k).is_empty();
        let before_write = stores > 0 && wants(HookKind::BeforeWrite);
        let anything = HookKind::ALL[4..].iter().any(|&k| wants(k));
        if !anything {
            self.copy(i);
            return;
        }
        let mut m = *i;
        m.map_operands(|v| self.map[v.index()]);
        let addr = if matches!(i.op, Op::Load | Op::Store) { self.address(m.mem()) } else { m.a };
        match i.op {
            Op::Load => {
                if wants(HookKind::BeforeRead) {
                    // The access must be known to succeed before it is announced.
                    let mut probe = *i;
                    probe.map_operands(|v| self.map[v.index()]);
                    self.out.push(probe);
                    self.hook_all(HookKind::BeforeRead, i.ty, addr, Val::NONE);
                }
                let value = self.copy(i);
                reports.push(Report { kinds: &[HookKind::AfterRead], ty: i.ty, addr, value });
            }
            Op::Store => {
                let value = m.c();
                if before_write {
                    self.out.probe_write(i.ty, m.mem());
                    self.hook_all(HookKind::BeforeWrite, i.ty, addr, value);
                }
                self.copy(i);
                reports.push(Report { kinds: &[HookKind::AfterWrite], ty: i.ty, addr, value });
            }
            _ => {
                // An atomic is announced once it is done: nothing may come between its halves.
                let old = self.copy(i);
                let new = self.new_value(&m, old);
                use HookKind::{AfterRead, AfterWrite, BeforeRead, BeforeWrite};
                let read: &[HookKind] = &[BeforeRead, AfterRead];
                let write: &[HookKind] = &[BeforeWrite, AfterWrite];
                reports.push(Report { kinds: read, ty: i.ty, addr, value: old });
                reports.push(Report { kinds: write, ty: i.ty, addr, value: new });
            }
        }
    }

    /// The value an atomic leaves in memory.
    fn new_value(&mut self, m: &Inst, old: Val) -> Val {
        use emu_ir::RmwKind;
        if m.op == Op::AtomicCas {
            let same = self.out.cmp(emu_ir::Cond::E, m.ty, old, m.b);
            return self.out.select(m.ty, same, m.c(), old);
        }
        let op = match m.rmw_kind() {
            RmwKind::Xchg => return m.b,
            RmwKind::Add => Op::Add,
            RmwKind::Sub => Op::Sub,
            RmwKind::And => Op::And,
            RmwKind::Or => Op::Or,
            RmwKind::Xor => Op::Xor,
        };
        self.out.bin(op, m.ty, old, m.b)
    }

    /// The address operand as an i64 value.
    fn address(&mut self, m: Addr) -> Val {
        if m.wrap32 {
            let v = self.out.lea(Ty::I32, m);
            return self.out.convert(Op::Zext, Ty::I32, Ty::I64, v);
        }
        if m.base.is_some() && !m.index.is_some() && m.disp == 0 {
            return m.base;
        }
        self.out.lea(Ty::I64, m)
    }

    /// Hooks of the plugins that asked for this instruction.
    fn insn_hooks(&mut self, kind: HookKind, verdict: Verdict) {
        let plan = self.plan;
        let Some(owners) = plan.owners(verdict) else { return };
        for sub in plan.hook(kind) {
            if owners.contains(&sub.owner) && covers(sub, self.pc) {
                self.hook(kind, sub, Ty::I64, Val::NONE, Val::NONE);
            }
        }
    }

    fn block_hooks(&mut self, kind: HookKind, detail: u32) {
        let (plan, start) = (self.plan, self.start);
        for sub in plan.hook(kind).iter().filter(|s| covers(s, start)) {
            self.hook(kind, sub, Ty::I64, Val::NONE, Val::NONE);
            if let Some(site) = self.hooks.last_mut() {
                site.detail = detail;
            }
        }
    }

    fn hook_all(&mut self, kind: HookKind, ty: Ty, addr: Val, value: Val) {
        let plan = self.plan;
        for sub in plan.hook(kind) {
            self.hook(kind, sub, ty, addr, value);
        }
    }

    fn hook(&mut self, kind: HookKind, sub: &Rc<Subscription>, ty: Ty, addr: Val, value: Val) {
        self.pay();
        let mut i = Inst::new(Op::Hook, ty);
        i.sub = kind as u16;
        i.a = addr;
        i.b = value;
        i.imm = self.hooks.len() as u64;
        self.hooks.push(HookSite {
            kind,
            cell: &raw const sub.cell as usize,
            pc: self.pc,
            info: self.info,
            detail: 0,
            reads_regs: sub.reads_regs(),
            writes_regs: sub.writes_regs(),
            counts_calls: self.plan.count_calls,
            // An instruction's address is known now.
            when: When { within: sub.when().within.filter(|_| addr.is_some()), ..sub.when() },
        });
        self.out.push(i);
    }

    /// Copies a side exit, which pays for what was counted up to it if it is taken.
    fn exit(&mut self, i: &Inst) {
        let first = self.counters.len();
        self.counters.extend(self.plan.counts(self.start, self.owed).map(site));
        let mut exit = *i;
        if !exit.set_exit_counts(first..self.counters.len()) {
            self.counters.truncate(first);
            self.pay();
        }
        self.copy(&exit);
    }

    /// Adds what was counted since the last payment.
    fn pay(&mut self) {
        for counter in self.plan.counts(self.start, core::mem::take(&mut self.owed)) {
            let mut i = Inst::new(Op::Counter, Ty::I64);
            i.imm = self.counters.len() as u64;
            self.counters.push(site(counter));
            self.out.push(i);
        }
    }
}

fn site((cell, amount): (usize, u64)) -> CounterSite {
    CounterSite { cell, amount }
}
