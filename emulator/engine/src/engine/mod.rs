//! The run loop.

mod reuse;
mod tiers;
mod translate;
mod written;

use std::rc::Rc;

use emu_cpu::{CpuHeader, GuestArch, LiftOptions, MemWatch, Trap};
use emu_interp::{Interp, MXCSR_ALL_MASKED};
use emu_ir::pass::Optimizer;
use emu_ir::{Block, HookKind, TrapKind};
use emu_jit::{Jit, Store};
use emu_mem::access;
use plugin_api::abi::{self, block_exit};

use crate::attention;
use crate::blocks::{BlockMap, Code, Entry, Trust};
use crate::code::KnownPages;
use crate::counters::CounterKind;
use crate::events;
use crate::heat::Heat;
use crate::instrument::{Omit, Owed, Plan, covers, owed};
use crate::shared::Shared;
use crate::stats::{CallbackCount, Stats};
use crate::verdicts::Verdicts;
use tiers::{Answers, Left, Link, new_jit};
use translate::Translated;

/// Most guest instructions in a block.
const MAX_INSNS: usize = 64;

/// Which tier executes blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tier {
    /// Tier 0 at first, tier 1 for what runs often.
    #[default]
    Auto,
    /// Tier 0 only.
    Interp,
    /// Tier 1 at once, wherever it can.
    Jit,
}

/// Settings of an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineConfig {
    /// Which tier executes blocks.
    pub tier: Tier,
    /// Stop after this many guest instructions.
    pub max_instructions: Option<u64>,
    /// Count the calls of every callback.
    pub count_callbacks: bool,
    /// Measure the time that translation takes.
    pub measure: bool,
}

/// How long [`Engine::run`] runs, in instructions, if nothing stops it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slice {
    /// Exactly so many.
    Exactly(u64),
    /// So many at most, up to the end of a block: a slice that ends in the middle of one has the rest of it
    /// translated as a block of its own.
    About(u64),
}

/// Why [`Engine::run`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A system call, a fault or another trap that concerns the personality. The pc in the header
    /// is as [`TrapKind`] says.
    Trap(Trap),
    /// The slice is used up.
    Budget,
    /// The limit of [`EngineConfig::max_instructions`] is reached.
    Limit,
    /// Somebody called [`crate::request_interrupt`]: look for signals and stop requests, then run
    /// again.
    Interrupted,
}

/// One instruction (or a few) to run outside the block map.
#[derive(Clone, Copy, Debug)]
struct Step {
    insns: usize,
    hypercalls: bool,
    omit: Omit,
}

/// Runs guest CPUs.
#[derive(Debug)]
pub struct Engine {
    shared: Rc<Shared>,
    arch: &'static dyn GuestArch,
    config: EngineConfig,
    interp: Interp,
    /// `None` when tier 1 is not wanted, or there is no memory for its code.
    jit: Option<Jit>,
    /// By tier 1's block number: the pc of the block.
    compiled_pcs: Vec<u64>,
    /// Machine code of all processes of the run, once there are several.
    store: Option<Rc<Store>>,
    /// Blocks are those of the process this one is a copy of.
    inherited: bool,
    optimizer: Optimizer,
    blocks: BlockMap,
    plan: Rc<Plan>,
    /// Its fingerprint.
    plan_print: u64,
    /// What helpers do about their accesses under that plan.
    watch: Option<Box<MemWatch>>,
    /// What insn_translate said, per page and pc, in the present epoch.
    verdicts: Verdicts,
    /// How insn_translate was answered in the present epoch.
    answers: Answers,
    /// The guest has had a SIMD exception unmasked.
    simd_traps: bool,
    /// The guest has had an x87 exception unmasked.
    x87_unmasked: bool,
    /// How often pages with translated code are written.
    heat: Heat,
    /// Unsupported instructions already logged, by text.
    reported: Vec<String>,
    pages: KnownPages,
    /// The block lifted last; its memory is used again for the next.
    lifted: Block,
    /// The block instrumented or optimised last, likewise.
    scratch: Block,
    stats: Stats,
}

impl Engine {
    /// An engine for guests of `arch`. Installs the host fault handler on the calling thread,
    /// which becomes the run thread.
    pub fn new(arch: &'static dyn GuestArch, config: EngineConfig) -> Engine {
        emu_mem::host_fault::install();
        Engine {
            shared: Shared::new(arch),
            arch,
            config,
            interp: Interp::new(arch.helpers(), events::call_hook),
            jit: new_jit(arch, config.tier),
            compiled_pcs: Vec::new(),
            store: None,
            inherited: false,
            optimizer: Optimizer::default(),
            blocks: BlockMap::new(),
            plan: Rc::default(),
            plan_print: 0,
            watch: None,
            verdicts: Verdicts::default(),
            answers: Answers::default(),
            simd_traps: false,
            x87_unmasked: false,
            heat: Heat::default(),
            reported: Vec::new(),
            pages: KnownPages::default(),
            lifted: Block::default(),
            scratch: Block::default(),
            stats: Stats::default(),
        }
    }

    /// The part that callbacks reach.
    pub fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// The guest architecture.
    pub fn arch(&self) -> &'static dyn GuestArch {
        self.arch
    }

    /// Switches to an architecture, the present one or another; every translation is dropped.
    pub fn set_arch(&mut self, arch: &'static dyn GuestArch) {
        self.drop_all();
        if arch.name() == self.arch.name() {
            return;
        }
        self.arch = arch;
        self.shared.arch.set(arch);
        self.interp = Interp::new(arch.helpers(), events::call_hook);
        self.jit = new_jit(arch, self.config.tier);
        self.simd_traps = false;
        self.optimizer.set_vector_traps(false);
    }

    /// Call before a fork: from now on processes share the machine code of what they run.
    pub fn before_fork(&mut self) {
        if self.store.is_none() && self.jit.is_some() {
            // Without memory for it each goes on alone.
            self.store = Store::new().ok().map(Rc::new);
        }
    }

    /// Call in the child after a fork: machine code moves to memory of its own.
    pub fn after_fork(&mut self) {
        self.inherited = true;
        if let Some(jit) = &mut self.jit
            && let Err(e) = jit.after_fork()
        {
            tracing::warn!("{e}; going on with the interpreter");
            self.jit = None;
        }
    }

    /// Forgets every translation of `start..end`, at once.
    pub fn invalidate(&mut self, start: u64, end: u64) {
        let jit = &mut self.jit;
        let dropped = self.blocks.invalidate(start, end, |entry| {
            if let (Code::Compiled(generation, code), Some(jit)) = (entry.code(), &mut *jit)
                && generation == jit.generation() as u32
            {
                jit.invalidate(code.id);
            }
        });
        self.stats.blocks_dropped += dropped as u64;
        self.verdicts.forget(start, end);
    }

    /// Makes watched code pages in `start..end` writable and forgets their translations.
    pub fn release_code(&mut self, start: u64, end: u64) {
        self.shared.release_code(start, end);
        self.drop_stale();
    }

    /// The block at `pc` as text, for debugging: each guest instruction, its IR, and the machine
    /// code of the whole block.
    pub fn explain(&mut self, pc: u64) -> Option<String> {
        use std::fmt::Write;
        let entry: *mut Entry = self.blocks.get(pc)?;
        // SAFETY: nothing adds blocks to the map here.
        let entry = unsafe { &mut *entry };
        self.restore_ops(entry);
        if !self.optimized(entry) {
            return None;
        }
        let ir = &self.scratch;
        let mut out = String::new();
        for insn in &ir.insns {
            let mut bytes = [0; 15];
            let len = usize::from(insn.len).min(15);
            let text = match access::read(insn.pc, &mut bytes[..len]) {
                Ok(()) => self.arch.describe(insn.pc, &bytes[..len]).0,
                Err(_) => "(not readable)".to_owned(),
            };
            let _ = writeln!(out, "{:#x}  {text}", insn.pc);
        }
        let _ = write!(out, "\n{}", emu_ir::text::print(ir, self.arch));
        match (entry.code(), &self.jit) {
            (Code::Compiled(generation, code), Some(jit))
                if generation == jit.generation() as u32 =>
            {
                let _ = write!(out, "\n{}", jit.disassemble(code.id));
                for version in jit.versions(code.id) {
                    let _ = write!(
                        out,
                        "\nentered with its flags unstored:\n{}",
                        jit.disassemble(version)
                    );
                }
            }
            (Code::Never, _) => out.push_str("\nnot compiled: tier 1 cannot\n"),
            _ => out.push_str("\nnot compiled\n"),
        }
        Some(out)
    }

    /// Totals so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.instructions = self.shared.retired();
        if let Some(jit) = &self.jit {
            let j = jit.stats();
            stats.blocks_compiled = j.blocks;
            stats.block_versions = j.versions;
            stats.code_bytes = j.code_bytes;
            stats.compilation = std::time::Duration::from_nanos(j.nanos);
        }
        stats.callbacks = self
            .shared
            .registry
            .borrow()
            .iter()
            .map(|s| CallbackCount { owner: s.owner, kind: s.kind, calls: s.cell.calls.get() })
            .collect();
        stats
    }

    /// Runs `cpu` for a slice.
    ///
    /// # Safety
    /// `cpu` is the header of a live CPU structure of the engine's architecture, used by nobody
    /// else until this returns, except by callbacks through the functions made for it.
    pub unsafe fn run(&mut self, cpu: *mut CpuHeader, slice: Slice) -> Stop {
        self.refresh();
        let retired = self.shared.retired();
        let limit = self.config.max_instructions.map_or(u64::MAX, |m| m.saturating_sub(retired));
        if limit == 0 {
            return Stop::Limit;
        }
        if self.shared.stop.borrow().is_some() {
            attention::take();
            return Stop::Interrupted;
        }
        let (slice, exact) = match slice {
            Slice::Exactly(n) => (n, true),
            Slice::About(n) => (n, n >= limit),
        };
        let budget = slice.min(limit).min(i64::MAX as u64 / 4) as i64;
        // SAFETY: the caller's promise; the pointer to the shared part stays valid because self
        // owns it.
        unsafe {
            (*cpu).engine = Rc::as_ptr(&self.shared) as *mut _;
            (*cpu).budget = budget;
            (*cpu).retire_base = retired.wrapping_add(budget as u64) as i64;
            (*cpu).retire_adjust = 0;
            // It changes between runs only.
            (*cpu).mem_hook = self.watch.as_deref().map(|w| &*core::ptr::from_ref(w));
            self.shared.running.set(cpu);
            self.shared.plan.set(Rc::as_ptr(&self.plan));
            self.shared.settled.set(retired);
            self.arch.fp_enter(cpu);
            attention::enter(cpu);
            let stop = self.dispatch(cpu, exact);
            (*cpu).mem_hook = None;
            attention::leave(cpu);
            self.arch.fp_leave(cpu);
            self.shared.settle_counters();
            self.shared.running.set(core::ptr::null_mut());
            self.shared.retired.set((*cpu).retired());
            if stop == Stop::Budget && self.config.max_instructions == Some(self.shared.retired()) {
                return Stop::Limit;
            }
            stop
        }
    }

    /// The loop proper.
    ///
    /// # Safety
    /// As [`Engine::run`], which has prepared the header.
    unsafe fn dispatch(&mut self, cpu: *mut CpuHeader, exact: bool) -> Stop {
        // SAFETY: the CPU is alive for the whole run.
        let whole = unsafe { (*cpu).budget };
        let mut step: Option<Step> = None;
        let mut link = Link::None;
        loop {
            // SAFETY: the CPU is alive for the whole run; nothing else uses it here.
            let (pc, budget) = unsafe { ((*cpu).pc, (*cpu).budget) };
            if budget <= 0 {
                if attention::pending() {
                    attention::take();
                    return Stop::Interrupted;
                }
                return Stop::Budget;
            }
            let mut temporary;
            let entry: &mut Entry = match step.take() {
                Some(s) => {
                    temporary = self.translate_step(cpu, pc, s);
                    &mut temporary
                }
                None => {
                    let found: *mut Entry = match self.blocks.get(pc) {
                        Some(e) => e,
                        None => match self.translate(cpu, pc) {
                            Translated::Kept(e) => e,
                            Translated::Once(e) => {
                                temporary = e;
                                &raw mut temporary
                            }
                        },
                    };
                    // SAFETY: the map, or `temporary`, keeps the entry until the end of this
                    // iteration: nothing changes the map while a block runs.
                    let e = unsafe { &mut *found };
                    if e.trust != Trust::Watched && !self.is_current(e) {
                        self.drop_changed(e);
                        continue;
                    }
                    e
                }
            };
            let insns = i64::from(entry.insns);
            if budget < insns {
                // Some of it has run, or the block is longer than a slice.
                if !exact && budget < whole {
                    return Stop::Budget;
                }
                step = Some(self.plain_step(budget as usize));
                continue;
            }
            // SAFETY: the architecture promises a u32 at that slot.
            let masks = self.arch.mxcsr_slot().map_or(MXCSR_ALL_MASKED, |slot| unsafe {
                cpu.cast::<u8>().add(slot as usize).cast::<u32>().read()
            });
            if masks & MXCSR_ALL_MASKED != MXCSR_ALL_MASKED && !self.simd_traps {
                self.trap_simd();
                continue;
            }
            let left = match self.code_of(entry) {
                Some(code) => {
                    if entry.trust != Trust::Watched {
                        // Nothing may lead to it but this loop.
                        link = Link::None;
                    }
                    // SAFETY: the caller's promise; the code is of the present generation.
                    unsafe { self.run_code(cpu, code, &mut link) }
                }
                None => {
                    link = Link::None;
                    // SAFETY: the caller's promise; lifters make only blocks that verify.
                    unsafe { self.interpret(cpu, entry, masks) }
                }
            };
            // SAFETY: as above.
            let hdr = unsafe { &mut *cpu };
            hdr.retire_adjust = 0;
            let (block, completed, trap) = match left {
                Left::Jump => continue,
                Left::Trap { block, completed } => match hdr.take_trap() {
                    Some(trap) => (block, completed, Some(trap)),
                    None => continue,
                },
                Left::Declined { block, completed } => (block, completed, None),
            };
            let pc = hdr.pc;
            let early = trap.is_none_or(|t| !t.kind.retires() && t.kind != TrapKind::Hypercall);
            if early && !self.plan.is_empty() {
                let faulted: Option<*mut Entry> = match block {
                    None => Some(entry),
                    Some(pc) => self.blocks.get(pc).map(|e| &raw mut *e),
                };
                if let Some(entry) = faulted {
                    // SAFETY: as of the entry that runs; nothing here adds blocks to the map.
                    let entry = unsafe { &mut *entry };
                    self.restore_ops(entry);
                    left_early(&self.plan, cpu, entry, completed);
                }
            }
            let Some(trap) = trap else { continue };
            match trap.kind {
                TrapKind::PageFault if trap.write && self.code_write(trap.addr) => {
                    // The store goes on with its page writable; on its own, so that the very next
                    // instruction is translated afresh.
                    step = Some(self.plain_step(1));
                }
                TrapKind::Hypercall => {
                    hdr.insn_pc = pc;
                    if self.shared.hypercall(cpu) {
                        let single =
                            LiftOptions { max_insns: 1, basic_blocks: true, hypercalls: true };
                        self.lift(pc, &single);
                        let len = self.lifted.guest_len();
                        // SAFETY: the CPU is alive.
                        unsafe {
                            (*cpu).pc = pc.wrapping_add(len);
                            (*cpu).budget -= 1;
                        }
                    } else {
                        let omit = Omit { first_insn_exec: true };
                        step = Some(Step { insns: 1, hypercalls: false, omit });
                    }
                }
                TrapKind::InvalidOpcode => {
                    self.report_invalid(pc);
                    return Stop::Trap(trap);
                }
                _ => return Stop::Trap(trap),
            }
        }
    }

    fn plain_step(&self, insns: usize) -> Step {
        Step { insns, hypercalls: self.plan.hypercalls, omit: Omit::default() }
    }

    /// Brings plan and blocks up to date with subscriptions and requests.
    fn refresh(&mut self) {
        self.drop_stale();
        let registry = self.shared.registry.borrow();
        if registry.epoch() == self.plan.epoch {
            return;
        }
        let mut plan = Plan::new(&registry, self.config.count_callbacks);
        let counters = self.shared.counters.borrow();
        plan.insns = counters.of(CounterKind::Insns);
        plan.blocks = counters.of(CounterKind::Blocks);
        plan.loads = counters.of(CounterKind::Loads);
        plan.stores = counters.of(CounterKind::Stores);
        drop((registry, counters));
        // Blocks name cells that the old plan keeps alive.
        self.drop_all();
        self.watch = events::watch(&plan);
        self.plan_print = plan.fingerprint();
        self.plan = Rc::new(plan);
        self.answers = Answers::default();
        self.expect_callbacks();
    }

    #[inline]
    fn drop_stale(&mut self) {
        if self.shared.stale.borrow().is_empty() {
            return;
        }
        let stale = self.shared.stale.take();
        for (start, end) in stale {
            self.invalidate(start, end);
        }
    }

    fn drop_all(&mut self) {
        self.verdicts.clear();
        self.drop_blocks();
    }

    /// Drops all blocks; what insn_translate said about their instructions holds.
    fn drop_blocks(&mut self) {
        self.stats.blocks_dropped += self.blocks.len() as u64;
        self.compiled_pcs.clear();
        if core::mem::take(&mut self.inherited) {
            // Freeing what the process before the fork had made would copy all of that memory here.
            core::mem::forget(core::mem::replace(&mut self.blocks, BlockMap::new()));
        }
        self.blocks.clear();
        if let Some(jit) = &mut self.jit {
            jit.flush();
        }
    }
}

/// A fault ended the block before its last op: settles counters and block hooks.
fn left_early(plan: &Plan, cpu: *mut CpuHeader, entry: &Entry, completed: usize) {
    plan.add(entry.ops().map_or(Owed::default(), |ops| owed(ops.insts, completed)));
    let Some(info) = entry.info() else { return };
    for sub in plan.hook(HookKind::AfterBlock).iter().filter(|s| s.enabled()) {
        if !covers(sub, entry.pc) || !sub.due(entry.pc, 1) {
            continue;
        }
        // SAFETY: the function type belongs to the kind.
        unsafe {
            let f: abi::AfterBlockExecFn = core::mem::transmute(sub.cell.func.get());
            f(sub.cell.user.get() as *mut _, sub.lend(cpu), info, block_exit::FAULT);
        }
    }
}
