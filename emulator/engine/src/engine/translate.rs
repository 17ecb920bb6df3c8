//! From guest code to an instrumented block.

use std::time::{Duration, Instant};

use emu_cpu::{CpuHeader, LiftOptions};
use emu_mem::access;
use plugin_api::abi::{self, BlockInfo, kind};

use super::tiers::WARM;
use super::{Engine, MAX_INSNS, Step};
use crate::blocks::{Code, Entry};
use crate::code::GuestCode;
use crate::instrument::{Omit, Verdict, instrument, whole_basic_blocks};
use crate::verdicts::InsnBytes;

/// A block just translated.
pub(super) enum Translated {
    /// In the map, which does not move it until the next block is added.
    Kept(*mut Entry),
    /// For a single execution.
    Once(Entry),
}

impl Engine {
    /// Translates the block at `pc`, and keeps it if there is code to watch.
    pub(super) fn translate(&mut self, cpu: *mut CpuHeader, pc: u64) -> Translated {
        if let Some(entry) = self.find_stored(cpu, pc) {
            return Translated::Kept(self.blocks.insert(entry));
        }
        let options = self.lift_options();
        let mut entry = self.make_entry(cpu, pc, options, Omit::default());
        if entry.pages().any(|p| self.heat.is_hot(p)) {
            entry = self.make_compared(cpu, entry);
        } else if self.shared.space.borrow().find(pc).is_none() {
            entry.set_code(Code::Once);
            return Translated::Once(entry);
        } else {
            self.watch(&mut entry);
        }
        if self.is_common(pc) {
            entry.runs = WARM;
        }
        Translated::Kept(self.blocks.insert(entry))
    }

    /// Translates a few instructions for a single use.
    pub(super) fn translate_step(&mut self, cpu: *mut CpuHeader, pc: u64, step: Step) -> Entry {
        let options = LiftOptions {
            max_insns: step.insns.clamp(1, MAX_INSNS),
            hypercalls: step.hypercalls,
            ..self.lift_options()
        };
        let mut entry = self.make_entry(cpu, pc, options, step.omit);
        entry.set_code(Code::Once);
        entry
    }

    pub(super) fn lift_options(&self) -> LiftOptions {
        LiftOptions {
            max_insns: MAX_INSNS,
            basic_blocks: self.plan.basic_blocks(),
            hypercalls: self.plan.hypercalls,
        }
    }

    pub(super) fn make_entry(
        &mut self,
        cpu: *mut CpuHeader,
        pc: u64,
        options: LiftOptions,
        omit: Omit,
    ) -> Entry {
        let shared = self.shared.clone();
        // SAFETY: the function type belongs to the kind.
        shared.notify(kind::BEFORE_BLOCK_TRANSLATE, cpu, |f, user, cpu| unsafe {
            let f: abi::PcFn = core::mem::transmute(f);
            f(user, cpu, pc);
        });
        let start = self.config.measure.then(Instant::now);
        self.lift(pc, &options);
        let (insns, size) = (self.lifted.insns.len() as u32, self.lifted.guest_len());
        self.stats.blocks_translated += 1;
        self.stats.instructions_translated += u64::from(insns);
        let mut described = BlockInfo { struct_size: BlockInfo::SIZE, insn_count: insns, pc, size };
        let mut asking = Duration::ZERO;
        let mut entry = if self.plan.is_empty() {
            Entry::new(&self.lifted)
        } else {
            let lifted = core::mem::take(&mut self.lifted);
            let asked = start.map(|_| Instant::now());
            let verdicts = self.verdicts(cpu, lifted.insns.iter().map(|i| (i.pc, i.len)));
            self.answers.add(&verdicts);
            self.expect_callbacks();
            asking = asked.map_or(Duration::ZERO, |asked| asked.elapsed());
            let info = self.plan.basic_blocks().then(|| Box::new(described));
            let mut entry = if self.plan.leaves(&verdicts) {
                Entry::new(&lifted)
            } else {
                let address = info.as_deref().map_or(0, |i| &raw const *i as usize);
                let out = core::mem::take(&mut self.scratch);
                self.scratch = instrument(&lifted, &self.plan, &verdicts, address, omit, out);
                Entry::new(&self.scratch)
            };
            self.lifted = lifted;
            if let Some(info) = info {
                entry.set_info(info);
            }
            entry.set_verdicts(&verdicts);
            entry
        };
        if self.jit.is_none() {
            self.optimize(&mut entry);
        }
        if let Some(start) = start {
            self.stats.translation += start.elapsed().saturating_sub(asking);
        }
        // SAFETY: the function type belongs to the kind; the description is alive.
        shared.notify(kind::AFTER_BLOCK_TRANSLATE, cpu, |f, user, cpu| unsafe {
            let f: abi::BlockFn = core::mem::transmute(f);
            f(user, cpu, &raw mut described);
        });
        entry
    }

    /// Runs the passes over a block that is worth it: one that only the interpreter will ever
    /// execute, or whose text is wanted.
    pub(super) fn optimize(&mut self, entry: &mut Entry) {
        if self.optimized(entry) && !entry.optimized {
            entry.insts = Some(self.scratch.insts.as_slice().into());
            entry.optimized = true;
        }
    }

    /// Leaves the optimised block in `self.scratch`; false if it has lost its ops.
    pub(super) fn optimized(&mut self, entry: &Entry) -> bool {
        let Some(ops) = entry.ops() else { return false };
        self.scratch.copy_from(ops);
        if !entry.optimized {
            self.optimizer.run(&mut self.scratch, self.arch);
        }
        true
    }

    /// Makes the ops of a block again that machine code has taken the place of; its guest code is still
    /// what it was.
    pub(super) fn restore_ops(&mut self, entry: &mut Entry) {
        if entry.insts.is_some() {
            return;
        }
        let mut options = self.lift_options();
        if entry.is_cut() {
            options.max_insns = usize::from(entry.insns);
        }
        self.lift(entry.pc, &options);
        if self.plan.leaves(entry.verdicts()) {
            entry.insts = Some(self.lifted.insts.as_slice().into());
        } else {
            let info = entry.info().map_or(0, |i| core::ptr::from_ref(i).addr());
            let out = core::mem::take(&mut self.scratch);
            let (plan, verdicts) = (&self.plan, entry.verdicts());
            self.scratch = instrument(&self.lifted, plan, verdicts, info, Omit::default(), out);
            entry.set_ops(&self.scratch);
        }
        entry.optimized = false;
    }

    /// Lifts the block at `pc` into `self.lifted`.
    pub(super) fn lift(&mut self, pc: u64, options: &LiftOptions) {
        let space = self.shared.space.borrow();
        let mut code = GuestCode::new(&space, &mut self.pages);
        self.arch.lift_into(pc, &mut code, options, &mut self.lifted);
        if !self.plan.blocks.is_empty() && !options.basic_blocks {
            let max_insns = whole_basic_blocks(&self.lifted);
            if max_insns < self.lifted.insns.len() {
                let options = LiftOptions { max_insns, ..*options };
                self.arch.lift_into(pc, &mut code, &options, &mut self.lifted);
            }
        }
    }

    /// Asks insn_translate about every instruction not asked about in this epoch.
    pub(super) fn verdicts(
        &mut self,
        cpu: *mut CpuHeader,
        insns: impl ExactSizeIterator<Item = (u64, u8)>,
    ) -> Vec<Verdict> {
        if self.plan.translate.is_empty() {
            return Vec::new();
        }
        self.shared.settle_counters();
        let mut all = Vec::with_capacity(insns.len());
        let mut code = InsnBytes::new();
        let mut owners = Vec::new();
        for (pc, len) in insns {
            if let Some(v) = self.verdicts.get(pc) {
                all.push(v);
                continue;
            }
            let Some(bytes) = code.of(pc, len.into()) else {
                all.push(0);
                continue;
            };
            owners.clear();
            for sub in &self.plan.translate {
                if !sub.enabled() {
                    continue;
                }
                sub.cell.calls.set(sub.cell.calls.get() + 1);
                // SAFETY: the function type belongs to the kind; the bytes are alive.
                let yes = unsafe {
                    let f: abi::InsnTranslateFn = core::mem::transmute(sub.cell.func.get());
                    let user = sub.cell.user.get() as *mut _;
                    f(user, sub.lend(cpu), pc, bytes.as_ptr(), bytes.len() as u32)
                };
                if yes != 0 && owners.last() != Some(&sub.owner) {
                    owners.push(sub.owner);
                }
            }
            let verdict = self.plan.verdict(&owners);
            self.verdicts.set(pc, verdict);
            all.push(verdict);
        }
        all
    }

    /// Names an instruction the lifter does not know, once.
    pub(super) fn report_invalid(&mut self, pc: u64) {
        let mut bytes = [0; 15];
        let mut len = 15;
        if let Err(fault) = access::read(pc, &mut bytes) {
            len = (fault.addr.saturating_sub(pc) as usize).min(15);
        }
        let (text, defined) = self.arch.describe(pc, &bytes[..len]);
        if !defined || self.reported.contains(&text) {
            return;
        }
        tracing::warn!(
            "instruction not supported: `{text}` at {pc:#x} ({:02x?}); the guest gets SIGILL",
            &bytes[..len]
        );
        self.reported.push(text);
    }
}
