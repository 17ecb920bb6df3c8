//! Which tier executes a block, and the way into and out of machine code.

use emu_cpu::{CpuHeader, GuestArch};
use emu_interp::ExitKind;
use emu_ir::HookKind;
use emu_jit::{CompiledBlock, Density, Jit, JitError, JitExit};

use super::{Engine, Tier};
use crate::blocks::{Code, Entry, Trust};
use crate::instrument::Verdict;

/// Executions of a block by tier 0 before it is compiled.
pub(super) const WARM: u16 = 16;

/// The same for a block that is compared each time.
const WARM_IF_COMPARED: u16 = 256;

/// How a block, or a chain of linked blocks, was left.
pub(super) enum Left {
    /// By a jump, or because the budget does not cover the next block.
    Jump,
    /// By a trap: in the block at that pc (`None`: the one that was entered), of which so many
    /// instructions completed.
    Trap { block: Option<u64>, completed: usize },
    /// Before an instruction that machine code could not execute any more, in the block at that pc,
    /// of which so many instructions completed.
    Declined { block: Option<u64>, completed: usize },
}

/// The way from one block's machine code to the next, to be made direct.
pub(super) enum Link {
    None,
    /// An exit of that generation of code.
    Exit(u64, emu_jit::ExitId),
    /// A computed jump.
    Indirect,
}

/// Instructions that insn_translate was asked about, and how many of them somebody wants.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Answers {
    asked: u64,
    yes: u64,
}

impl Answers {
    /// Adds those for a block.
    pub(super) fn add(&mut self, verdicts: &[Verdict]) {
        self.asked += verdicts.len() as u64;
        self.yes += verdicts.iter().filter(|&&v| v != 0).count() as u64;
    }

    /// Whether callbacks on instructions are many, after enough of them to tell.
    fn many(&self) -> bool {
        self.asked >= 256 && self.yes * 8 > self.asked
    }
}

impl Engine {
    /// Tells tier 1 how many callbacks to expect, by subscriptions and answers so far.
    pub(super) fn expect_callbacks(&mut self) {
        // Where helpers may call back they say where the guest's MXCSR is, which takes looking.
        let everywhere = self.plan.hooks_memory()
            || self.plan.calls_often(HookKind::BeforeBlock)
            || self.plan.calls_often(HookKind::AfterBlock)
            || self.answers.many()
                && (self.plan.calls_often(HookKind::InsnExec)
                    || self.plan.calls_often(HookKind::AfterInsnExec));
        if let Some(jit) = &mut self.jit {
            jit.set_density(if everywhere { Density::Dense } else { Density::Sparse });
            // Helpers report their accesses; the host's x87 instructions do not.
            jit.use_x87(!self.x87_unmasked && !self.plan.watches_memory());
        }
    }

    /// From now on the guest may have SIMD exceptions unmasked.
    pub(super) fn trap_simd(&mut self) {
        self.simd_traps = true;
        self.optimizer.set_vector_traps(true);
        if let Some(jit) = &mut self.jit {
            jit.trap_simd();
        }
        self.drop_blocks();
    }

    /// Executes a block by tier 0.
    ///
    /// # Safety
    /// As [`Engine::run`].
    pub(super) unsafe fn interpret(
        &mut self,
        cpu: *mut CpuHeader,
        entry: &mut Entry,
        masks: u32,
    ) -> Left {
        self.stats.blocks_interpreted += 1;
        entry.runs = entry.runs.saturating_add(1);
        self.restore_ops(entry);
        let Some(ir) = entry.ops() else { return Left::Jump };
        // SAFETY: the caller's promise; lifters make only blocks that verify.
        let exit = unsafe { self.interp.run(cpu, ir, masks) };
        // SAFETY: the CPU is alive.
        unsafe { (*cpu).budget = (*cpu).budget.wrapping_sub(i64::from(exit.retired)) };
        match exit.kind {
            ExitKind::Trap => Left::Trap { block: None, completed: exit.retired as usize },
            _ => Left::Jump,
        }
    }

    /// The block's machine code, if it is to run as such.
    #[inline]
    pub(super) fn code_of(&mut self, entry: &mut Entry) -> Option<CompiledBlock> {
        let jit = self.jit.as_ref()?;
        // Code that is written all the time is worth less.
        if entry.trust != Trust::Watched && entry.runs < WARM_IF_COMPARED {
            return None;
        }
        match entry.code() {
            Code::Compiled(generation, code) if generation == jit.generation() as u32 => Some(code),
            Code::Never | Code::Once => None,
            _ if self.config.tier == Tier::Auto && entry.runs < WARM => None,
            _ => self.compile(entry),
        }
    }

    /// Compiles a block.
    fn compile(&mut self, entry: &mut Entry) -> Option<CompiledBlock> {
        if let Some(code) = self.stored_code(entry) {
            return Some(code);
        }
        self.restore_ops(entry);
        if !self.optimized(entry) {
            return None;
        }
        let (jit, ir) = (self.jit.as_mut()?, &self.scratch);
        let mut result = jit.compile(ir);
        if matches!(result, Err(JitError::Full)) {
            jit.flush();
            self.compiled_pcs.clear();
            result = jit.compile(ir);
        }
        match result {
            Ok(code) => {
                self.note_code(entry, code);
                self.share(entry);
                // What instrumentation owes when a fault leaves the block is read from its ops.
                if self.plan.leaves(entry.verdicts()) {
                    entry.insts = None;
                } else if !entry.optimized {
                    entry.insts = Some(self.scratch.insts.as_slice().into());
                    entry.optimized = true;
                }
                Some(code)
            }
            Err(e) => {
                tracing::debug!("block {:#x} stays with the interpreter: {e}", entry.pc);
                entry.set_code(Code::Never);
                None
            }
        }
    }

    /// Notes the machine code a block has got.
    pub(super) fn note_code(&mut self, entry: &mut Entry, code: CompiledBlock) {
        let Some(jit) = &self.jit else { return };
        entry.set_code(Code::Compiled(jit.generation() as u32, code));
        self.compiled_pcs.resize(code.id.0 as usize, 0);
        self.compiled_pcs.push(entry.pc);
    }

    /// Makes the block at `pc`, where a slice ended, faster for those that jump to it: slices end
    /// where time is spent.
    fn improve(&mut self, pc: u64) {
        let (Some(jit), Some(entry)) = (self.jit.as_ref(), self.blocks.get(pc)) else { return };
        let Code::Compiled(generation, code) = entry.code() else { return };
        if generation != jit.generation() as u32 {
            return;
        }
        let Some(wish) = jit.wish(code.id) else { return };
        let entry: *mut Entry = entry;
        // SAFETY: nothing below changes the map, which keeps the entry.
        let entry = unsafe { &mut *entry };
        let lacked_ops = entry.insts.is_none();
        self.restore_ops(entry);
        if self.optimized(entry)
            && let Some(jit) = self.jit.as_mut()
            && let Ok(version) = jit.compile_version(&self.scratch, code.id, wish)
        {
            self.compiled_pcs.resize(version.id.0 as usize, 0);
            self.compiled_pcs.push(pc);
        }
        if lacked_ops {
            entry.insts = None;
        }
    }

    /// Enters machine code, after linking the exit that led here to it.
    ///
    /// # Safety
    /// As [`Engine::run`]; `code` is of the present generation.
    pub(super) unsafe fn run_code(
        &mut self,
        cpu: *mut CpuHeader,
        code: CompiledBlock,
        link: &mut Link,
    ) -> Left {
        let Some(jit) = self.jit.as_mut() else { return Left::Jump };
        match core::mem::replace(link, Link::None) {
            Link::Exit(generation, exit) if generation == jit.generation() => {
                jit.link(exit, code.id);
            }
            Link::Indirect => jit.remember_indirect(code.id),
            _ => {}
        }
        self.stats.code_entries += 1;
        // SAFETY: the caller's promise; the entries of all reachable blocks are in the map, which
        // does not change meanwhile, and keep hooks and counters alive.
        match unsafe { jit.enter(cpu, code.entry) } {
            JitExit::Direct(exit) => *link = Link::Exit(jit.generation(), exit),
            JitExit::Indirect => *link = Link::Indirect,
            // SAFETY: the CPU is alive.
            JitExit::Budget => unsafe { self.improve((*cpu).pc) },
            JitExit::Unmasked { block, completed } => {
                let block = self.compiled_pcs.get(block.0 as usize).copied();
                // From now on such instructions are the helpers'.
                self.x87_unmasked = true;
                self.expect_callbacks();
                return Left::Declined { block, completed: completed as usize };
            }
            JitExit::Trap { block, completed } => {
                let pc = self.compiled_pcs.get(block.0 as usize).copied();
                return Left::Trap { block: pc, completed: completed as usize };
            }
        }
        Left::Jump
    }
}

/// Tier 1, unless it is not wanted or there is no memory for it.
pub(super) fn new_jit(arch: &'static dyn GuestArch, tier: Tier) -> Option<Jit> {
    if tier == Tier::Interp {
        return None;
    }
    match Jit::new(arch, emu_jit::Config::default()) {
        Ok(jit) => Some(jit),
        Err(e) => {
            tracing::warn!("{e}; going on with the interpreter");
            None
        }
    }
}
