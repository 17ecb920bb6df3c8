//! The code cache: compiled blocks, their exits, and how they are linked.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use emu_cpu::{CpuHeader, GuestArch, slots};
use emu_ir::{Block, TrapKind};

use crate::alloc::{BUDGET, cpu_mem};
use crate::arena::Arena;
use crate::asm::{Asm, Mem, R10, RAX, RBP, RSI, RSP, Rm};
use crate::compile::{Buffers, Compiler, Host};
use crate::exits::{Exit, ExitKind, LEAVE_FAULT, LEAVE_INDIRECT, Target};
use crate::faults::{self, FaultMap};
use crate::mxcsr::{self, Density};
use crate::pins::{Pins, VectorPins, Vectors};
use crate::recipes::FlagRecipe;
use crate::state::FRAME;
use crate::store::Store;
use crate::table::Table;
use crate::x87::Movers;
use crate::{JitError, Unsupported};

/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes reserved for code.
    pub code_bytes: usize,
    /// Entries of the indirect branch table, a power of two.
    pub table_entries: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { code_bytes: 64 << 20, table_entries: 1 << 16 }
    }
}

/// A compiled block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlockId(pub u32);

/// Where to enter a block. Valid until the next flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry(pub(crate) u64);

impl Entry {
    /// No place at all; not to be entered.
    pub const NOWHERE: Entry = Entry(0);
}

/// An exit that can be linked to a block. Valid until the next flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitId(pub(crate) u32);

/// The result of a compilation.
#[derive(Clone, Copy, Debug)]
pub struct CompiledBlock {
    /// Its number.
    pub id: BlockId,
    /// Where to enter.
    pub entry: Entry,
}

/// How control came back. The guest pc is in the header; for traps, the trap too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JitExit {
    /// To a pc known at translation; linking the exit to the block there avoids the next return.
    Direct(ExitId),
    /// To a computed pc that is not in the table.
    Indirect,
    /// The budget does not cover the block at pc; nothing of it was executed.
    Budget,
    /// A trap in that block, of which so many instructions completed.
    Trap {
        /// The block.
        block: BlockId,
        /// Its instructions that retired.
        completed: u32,
    },
    /// The guest has, or is about to have, an x87 exception unmasked in that block, of which so
    /// many instructions completed: go on with [`Jit::use_x87`] off.
    Unmasked {
        /// The block.
        block: BlockId,
        /// Its instructions that retired.
        completed: u32,
    },
}

/// Figures.
#[derive(Clone, Copy, Default, Debug)]
pub struct JitStats {
    /// Blocks compiled.
    pub blocks: u64,
    /// Blocks compiled once more, for flags left unstored.
    pub versions: u64,
    /// Guest instructions compiled.
    pub insns: u64,
    /// Bytes of code written.
    pub code_bytes: u64,
    /// Blocks left to the interpreter.
    pub unsupported: u64,
    /// Full flushes.
    pub flushes: u64,
    /// Nanoseconds spent compiling.
    pub nanos: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeBlock {
    pub off: u32,
    pub len: u32,
    /// Where links enter: behind the loads of `wants`.
    pub head: u32,
    /// Vector slots that must be in their registers there.
    pub wants: Vectors,
    pub exits: (u32, u32),
    /// First of the exits linked to this block, a list through [`ExitRec::next`].
    pub incoming: u32,
    pub pc: u64,
    pub insns: u32,
    pub valid: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ExitRec {
    pub exit: Exit,
    pub block: u32,
    /// Block it is linked to.
    pub to: u32,
    /// It is so without storing the flags.
    pub short: bool,
    pub next: u32,
    pub prev: u32,
}

pub(crate) const NIL: u32 = u32::MAX;

/// The translator and its code.
pub struct Jit {
    arch: &'static dyn GuestArch,
    pub(crate) host: Host,
    pub(crate) arena: Arena,
    pub(crate) buffers: Buffers,
    /// The recipes of the block compiled last.
    pub(crate) recipes_of_block: Vec<FlagRecipe>,
    pub(crate) blocks: Vec<CodeBlock>,
    pub(crate) exits: Vec<ExitRec>,
    /// What exits leave behind that can leave the flags unstored.
    pub(crate) recipes: Vec<FlagRecipe>,
    /// Versions of blocks for such flags, by block.
    pub(crate) versions: HashMap<u32, Vec<(FlagRecipe, BlockId)>>,
    table: Table,
    pub(crate) map: Box<FaultMap>,
    /// What `map` points into.
    pub(crate) stores: Vec<Rc<Store>>,
    pins: Pins,
    pub(crate) vectors: VectorPins,
    prologue: usize,
    enter_at: u64,
    leave: u32,
    leave_pinned: u32,
    config: Config,
    density: Density,
    /// What moves the x87 state, if the guest has a unit.
    movers: Option<Movers>,
    /// Whether x87 instructions become the host's.
    x87: bool,
    /// Whether SIMD exceptions may be unmasked.
    simd_traps: bool,
    generation: u64,
    /// See [`Jit::circumstances`].
    circumstances: u64,
    stats: JitStats,
}

impl core::fmt::Debug for Jit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Jit").field("blocks", &self.blocks.len()).finish_non_exhaustive()
    }
}

impl Drop for Jit {
    fn drop(&mut self) {
        faults::deactivate(&raw mut *self.map);
    }
}

impl Jit {
    /// An empty translator for `arch`.
    pub fn new(arch: &'static dyn GuestArch, config: Config) -> Result<Jit, JitError> {
        let entries = config.table_entries.next_power_of_two().clamp(16, 1 << 20);
        let config = Config { table_entries: entries, ..config };
        let mut jit = Jit {
            arch,
            host: Host::detect(),
            arena: Arena::new(config.code_bytes)?,
            buffers: Buffers::default(),
            recipes_of_block: Vec::new(),
            blocks: Vec::new(),
            exits: Vec::new(),
            recipes: Vec::new(),
            versions: HashMap::new(),
            table: Table::new(entries)?,
            map: Box::default(),
            stores: Vec::new(),
            pins: Pins::new(arch),
            vectors: VectorPins::new(arch),
            prologue: 0,
            enter_at: 0,
            leave: 0,
            leave_pinned: 0,
            config,
            density: Density::default(),
            movers: None,
            x87: true,
            simd_traps: false,
            generation: 0,
            circumstances: 0,
            stats: JitStats::default(),
        };
        jit.map.pins = Some(jit.pins);
        jit.write_prologue()?;
        Ok(jit)
    }

    /// Writes the way in and the way out.
    fn write_prologue(&mut self) -> Result<(), JitError> {
        let mut asm = Asm::default();
        let base = self.arena.used() as u32;
        let avx = self.host.avx;
        self.movers = self.arch.x87_unit().map(|unit| Movers::write(&mut asm, base, unit, avx));
        let start = asm.len();
        const SAVED: [u8; 6] = [5, 3, 12, 13, 14, 15];
        for r in SAVED {
            if r >= 8 {
                asm.byte(0x41);
            }
            asm.byte(0x50 | (r & 7));
        }
        asm.alu_imm(crate::asm::Alu::Sub, emu_ir::Ty::I64, Rm::R(RSP), FRAME);
        asm.mov64(RBP, 7);
        asm.mov64(R10, RSI);
        mxcsr::unmask(&mut asm);
        for (unit, reg) in self.pins.iter() {
            asm.load_zx(8, reg, cpu_mem(unit as u32 * 8));
        }
        let budget = cpu_mem(slots::BUDGET);
        asm.load_zx(8, BUDGET, budget);
        asm.op(0xff, false, 4, Rm::R(R10), 0);
        let leave_pinned = asm.len();
        for (unit, reg) in self.pins.iter() {
            asm.store(emu_ir::Ty::I64, cpu_mem(unit as u32 * 8), reg);
        }
        let leave = asm.len();
        if let Some(movers) = self.movers {
            movers.write_leave(&mut asm, base);
        }
        asm.store(emu_ir::Ty::I64, budget, BUDGET);
        asm.mov64(RAX, R10);
        mxcsr::test(&mut asm);
        let live = asm.jcc(4);
        mxcsr::unpark(&mut asm);
        let here = asm.len();
        asm.patch(live, here);
        mxcsr::mask(&mut asm);
        if self.host.avx {
            // vzeroupper
            for b in [0xc5, 0xf8, 0x77] {
                asm.byte(b);
            }
        }
        asm.lea(emu_ir::Ty::I64, RSP, Mem::at(RSP, FRAME));
        for r in SAVED.iter().rev() {
            if *r >= 8 {
                asm.byte(0x41);
            }
            asm.byte(0x58 | (r & 7));
        }
        asm.byte(0xc3);
        let off = self.arena.push(&asm.buf).ok_or(JitError::Full)?;
        self.enter_at = self.arena.addr(off + start as u32);
        self.leave = off + leave as u32;
        self.leave_pinned = off + leave_pinned as u32;
        self.prologue = self.arena.used();
        self.update_map();
        self.note_circumstances();
        Ok(())
    }

    pub(crate) fn update_map(&mut self) {
        self.map.start = self.arena.addr(0);
        self.map.len = self.arena.used() as u64;
        self.map.entry_len = self.prologue as u64;
        self.map.leave = self.arena.addr(self.leave);
    }

    /// Changes with every flush: entries, block and exit numbers of older generations are void.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Figures so far.
    pub fn stats(&self) -> JitStats {
        self.stats
    }

    /// Bytes of code in use.
    pub fn code_bytes(&self) -> usize {
        self.arena.used()
    }

    /// Says how many callbacks to expect; a change drops all code.
    pub fn set_density(&mut self, density: Density) {
        if self.density != density {
            self.density = density;
            self.flush();
        }
    }

    /// Says whether x87 instructions become the host's, as they do at first, or helper calls. They
    /// must not while somebody watches memory accesses, or when the guest unmasks x87 exceptions.
    /// A change drops all code.
    pub fn use_x87(&mut self, on: bool) {
        if self.x87 != on {
            self.x87 = on;
            self.flush();
        }
    }

    /// From now on the guest may have SIMD exceptions unmasked ([`CpuHeader::simd_unmasked`]): the
    /// ops that raise them trap. Before, code must not be entered so. The first call drops all code.
    pub fn trap_simd(&mut self) {
        if !self.simd_traps {
            self.simd_traps = true;
            self.flush();
        }
    }

    /// Drops all code.
    pub fn flush(&mut self) {
        self.arena.reset(self.prologue);
        if !self.blocks.is_empty() {
            self.clear_indirect();
        }
        self.blocks.clear();
        self.exits.clear();
        self.recipes.clear();
        self.versions.clear();
        self.map.clear();
        self.update_map();
        self.note_circumstances();
        self.generation += 1;
        self.stats.flushes += 1;
    }

    /// Call in the child after a fork: drops all code and moves to memory of its own, since the
    /// arena is shared with the parent.
    pub fn after_fork(&mut self) -> Result<(), JitError> {
        self.arena = Arena::new(self.config.code_bytes)?;
        self.flush();
        self.arena.reset(0);
        self.write_prologue()
    }

    /// Compiles a block. [`JitError::Unsupported`] leaves the block to the interpreter;
    /// [`JitError::Full`] asks for a [`Jit::flush`].
    pub fn compile(&mut self, block: &Block) -> Result<CompiledBlock, JitError> {
        self.compile_for(block, None)
    }

    /// Compiles a block, for being entered with these flags if some are given.
    pub(crate) fn compile_for(
        &mut self,
        block: &Block,
        flags: Option<&FlagRecipe>,
    ) -> Result<CompiledBlock, JitError> {
        let started = std::time::Instant::now();
        let target = self.target();
        let mut c = Compiler::new(
            self.arch,
            self.host,
            block,
            (&self.pins, &self.vectors),
            &mut self.buffers,
            target,
            self.density,
        );
        let done = c.run(flags);
        if let Err(e) = done {
            self.stats.unsupported += 1;
            return Err(JitError::Unsupported(e));
        }
        self.recipes_of_block.clear();
        self.recipes_of_block.extend(self.buffers.exit_flags.iter().map(|f| f.recipe));
        let placed = self.place_new(block)?;
        self.stats.blocks += u64::from(flags.is_none());
        self.stats.versions += u64::from(flags.is_some());
        self.stats.insns += block.insns.len() as u64;
        self.stats.code_bytes += self.buffers.asm.len() as u64;
        self.stats.nanos += started.elapsed().as_nanos() as u64;
        Ok(placed)
    }

    /// What blocks are compiled for now.
    fn target(&self) -> Target {
        Target {
            leave: self.leave,
            leave_pinned: self.leave_pinned,
            table: self.table.address(),
            mask: self.table.mask(),
            x87: self.movers.filter(|_| self.x87),
            simd_traps: self.simd_traps,
        }
    }

    /// Equal numbers for equal code of equal blocks, in this process and those that are copies of it.
    pub fn circumstances(&self) -> u64 {
        self.circumstances
    }

    fn note_circumstances(&mut self) {
        let mut hasher = std::hash::DefaultHasher::new();
        (self.target(), self.density, self.arch.name()).hash(&mut hasher);
        self.circumstances = hasher.finish();
    }

    /// Runs from `entry` until control comes back.
    ///
    /// # Safety
    /// `cpu` is a live CPU structure of this translator's architecture, not otherwise borrowed;
    /// `entry` is of the current generation and its block valid; the cells of the hooks and
    /// counters in all reachable blocks are alive; the thread has `emu_mem`'s handler installed.
    pub unsafe fn enter(&mut self, cpu: *mut CpuHeader, entry: Entry) -> JitExit {
        type Enter = unsafe extern "sysv64" fn(u64, u64) -> u64;
        // SAFETY: the map lives in a box and is changed only by &mut self methods, which cannot
        // run while generated code does, except from callbacks between its instructions.
        unsafe { faults::activate(&raw mut *self.map) };
        // SAFETY: the prologue was written by write_prologue and follows that signature.
        let code = unsafe {
            let enter = core::mem::transmute::<u64, Enter>(self.enter_at);
            enter(cpu as u64 + u64::from(slots::BIAS), entry.0)
        } as u32;
        // SAFETY: the caller's promise.
        let h = unsafe { &mut *cpu };
        match code {
            LEAVE_INDIRECT => return JitExit::Indirect,
            LEAVE_FAULT => {
                let p = self.map.last.get();
                let n = self.blocks.partition_point(|b| b.off <= p.0).saturating_sub(1);
                let completed = self.blocks[n].insns.saturating_sub(u32::from(p.1));
                return JitExit::Trap { block: BlockId(n as u32), completed };
            }
            _ => {}
        }
        let rec = &self.exits[code as usize];
        let total = i64::from(self.blocks[rec.block as usize].insns);
        let e = rec.exit;
        let done = i64::from(e.insn + 1);
        match e.kind {
            ExitKind::Direct => {
                h.pc = e.pc;
                JitExit::Direct(ExitId(code))
            }
            ExitKind::Budget => {
                h.pc = e.pc;
                JitExit::Budget
            }
            ExitKind::Trap(kind) => {
                // A fault-like trap that names another pc stands for the instruction there.
                let retires = kind.retires() || e.pc != e.insn_pc;
                h.raise(kind);
                h.pc = e.pc;
                h.insn_pc = e.insn_pc;
                let done = if retires { done } else { (done - 1).max(0) };
                h.budget += total - done;
                JitExit::Trap { block: BlockId(rec.block), completed: done as u32 }
            }
            ExitKind::Unmasked => {
                h.pc = e.insn_pc;
                JitExit::Unmasked { block: BlockId(rec.block), completed: e.insn.max(0) as u32 }
            }
            ExitKind::HelperTrap => {
                let retires = TrapKind::from_u8(h.trap).retires();
                h.pc = if retires { e.pc } else { e.insn_pc };
                let done = if retires { done } else { (done - 1).max(0) };
                h.budget += total - done;
                JitExit::Trap { block: BlockId(rec.block), completed: done as u32 }
            }
        }
    }

    /// Lets indirect branches to `pc` find `block`, which begins there.
    pub fn remember_indirect(&mut self, block: BlockId) {
        let Some(b) = self.blocks.get(block.0 as usize) else { return };
        if b.valid {
            self.table.set(b.pc, self.arena.addr(b.off));
        }
    }

    /// Keeps indirect branches from finding a block.
    pub(crate) fn forget_indirect(&mut self, b: &CodeBlock) {
        self.table.remove(b.pc, self.arena.addr(b.off));
    }

    /// Forgets all indirect branch targets.
    pub fn clear_indirect(&mut self) {
        self.table.clear();
    }

    /// The machine code of a block and its address.
    pub fn code(&self, block: BlockId) -> Option<(u64, &[u8])> {
        let b = self.blocks.get(block.0 as usize)?;
        Some((self.arena.addr(b.off), self.arena.code(b.off, b.len as usize)))
    }

    /// The machine code of a block as text, one instruction a line.
    pub fn disassemble(&self, block: BlockId) -> String {
        use core::fmt::Write;
        use iced_x86::{Decoder, DecoderOptions, FastFormatter, Instruction};
        let Some((addr, code)) = self.code(block) else { return String::new() };
        let mut out = String::new();
        let mut text = String::new();
        let mut formatter = FastFormatter::new();
        let mut decoder = Decoder::with_ip(64, code, addr, DecoderOptions::NONE);
        let mut insn = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut insn);
            text.clear();
            formatter.format(&insn, &mut text);
            let _ = writeln!(out, "{:8x}  {text}", insn.ip() - addr);
        }
        out
    }
}

/// Reports why a block was not compiled.
pub fn reason(e: &JitError) -> Option<Unsupported> {
    match e {
        JitError::Unsupported(u) => Some(*u),
        _ => None,
    }
}
