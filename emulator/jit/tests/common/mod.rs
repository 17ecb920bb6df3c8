//! Runs a block in the interpreter and in the translator and compares everything a guest sees.
#![allow(dead_code, reason = "each test file uses its part")]

use emu_cpu::{CpuHeader, GuestArch};
use emu_interp::{ExitKind, Interp, MXCSR_ALL_MASKED};
use emu_ir::{Block, HookSite, Op, VecOp};
use emu_jit::{CompiledBlock, Config, Jit, JitError, JitExit};
use emu_x86::X86Cpu;

/// A small generator of random numbers, so that failures can be repeated by seed.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number that is interesting more often than not.
    pub fn value(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(3),
            1 => u64::MAX - self.below(3),
            2 => 1 << self.below(64),
            3 => (1u64 << self.below(64)).wrapping_sub(1),
            4 => self.next() as u32 as u64,
            _ => self.next(),
        }
    }
}

/// Guest memory for the tests: two pages, the page after them inaccessible.
pub const DATA: u64 = 0x1000_0000;
pub const DATA_LEN: usize = 2 * 4096;

/// More instructions than any block has.
const BUDGET: i64 = 1_000_000;

/// One bench at a time: they share the guest memory and the process's fault handler.
static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

pub struct Bench {
    _one: std::sync::MutexGuard<'static, ()>,
    pub arch: &'static dyn GuestArch,
    pub jit: Jit,
    interp: Interp,
    pub interp_cpu: *mut X86Cpu,
    pub jit_cpu: *mut X86Cpu,
    initial: Vec<u8>,
    pub compiled: u64,
    pub unsupported: u64,
    /// Why blocks were declined.
    pub reasons: std::collections::BTreeSet<String>,
    pub faults: u64,
    /// Blocks that could not keep the guest's x87 state in the host's unit.
    pub unmasked: u64,
    /// The guest's MXCSR, before each block.
    pub mxcsr: u32,
    /// SIMD exceptions.
    pub simd: u64,
}

unsafe fn no_hook(_: *mut CpuHeader, _: &HookSite, _: u64, _: u64, _: *const u8) {}

impl Bench {
    pub fn new(arch: &'static dyn GuestArch) -> Bench {
        let one = ONE.lock().unwrap_or_else(|e| e.into_inner());
        emu_mem::host_fault::install();
        emu_mem::host_fault::set_crash_handler(|fault, pc| {
            eprintln!("{fault:?} at host pc {pc:#x}");
            std::process::abort();
        });
        // SAFETY: a fixed range that nothing else in the test process uses.
        let p = unsafe {
            libc::mmap(
                DATA as *mut _,
                DATA_LEN,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        assert_eq!(p as u64, DATA);
        Bench {
            _one: one,
            arch,
            jit: Jit::new(arch, Config { code_bytes: 8 << 20, ..Config::default() }).unwrap(),
            interp: Interp::new(arch.helpers(), no_hook),
            interp_cpu: arch.new_cpu().cast(),
            jit_cpu: arch.new_cpu().cast(),
            initial: vec![0; DATA_LEN],
            compiled: 0,
            unsupported: 0,
            reasons: Default::default(),
            faults: 0,
            unmasked: 0,
            mxcsr: MXCSR_ALL_MASKED,
            simd: 0,
        }
    }

    pub fn memory(&mut self) -> &mut [u8] {
        // SAFETY: mapped in `new`; one bench at a time per test process and thread.
        unsafe { std::slice::from_raw_parts_mut(DATA as *mut u8, DATA_LEN) }
    }

    /// Random registers and memory.
    pub fn randomize(&mut self, rng: &mut Rng) {
        let wide = self.arch.word_bytes() == 8;
        // SAFETY: both structures are live.
        let (a, b) = unsafe { (&mut *self.interp_cpu, &mut *self.jit_cpu) };
        for n in 0..16 {
            let v = if rng.chance(60) {
                DATA + 64 + rng.below(DATA_LEN as u64 - 32)
            } else {
                rng.value()
            };
            let v = if wide { v } else { v as u32 as u64 };
            let v = if !wide && n >= 8 { 0 } else { v };
            a.gpr[n] = v;
            b.gpr[n] = v;
            for k in 0..32 {
                let x = rng.next() as u8;
                a.vec[n].0[k] = x;
                b.vec[n].0[k] = x;
            }
        }
        let flags = rng.next() as u16 & emu_ir::flags::ALL;
        a.hdr.set_flags(flags);
        b.hdr.set_flags(flags);
        let mut initial = std::mem::take(&mut self.initial);
        for c in initial.chunks_mut(8) {
            let v = if rng.chance(20) { DATA + rng.below(DATA_LEN as u64) } else { rng.value() };
            c.copy_from_slice(&v.to_le_bytes());
        }
        self.initial = initial;
    }

    /// Runs the block in both tiers; what differs, if anything does. `Ok(false)` when the
    /// translator declined the block.
    pub fn check(&mut self, block: &Block) -> Result<bool, String> {
        let mut compiled = match self.jit.compile(block) {
            Ok(c) => c,
            Err(JitError::Full) => {
                self.jit.flush();
                self.jit.compile(block).map_err(|e| e.to_string())?
            }
            Err(JitError::Unsupported(emu_jit::Unsupported::Malformed)) => {
                return Err(format!("refused as malformed\n{}", show(block)));
            }
            Err(e) => {
                self.unsupported += 1;
                self.reasons.insert(e.to_string());
                return Ok(false);
            }
        };
        self.compiled += 1;
        // SAFETY: both structures are live.
        let before = unsafe { self.arch.clone_cpu(self.jit_cpu.cast()) };
        let mut jit_exit = self.run_jit(compiled);
        if matches!(jit_exit, JitExit::Unmasked { .. }) {
            // As the engine does, but from the start.
            self.unmasked += 1;
            self.jit.use_x87(false);
            compiled = self.jit.compile(block).map_err(|e| e.to_string())?;
            // SAFETY: both are live structures of plain data.
            unsafe { core::ptr::copy_nonoverlapping(before.cast(), self.jit_cpu, 1) };
            jit_exit = self.run_jit(compiled);
        }
        // SAFETY: made above.
        unsafe { self.arch.free_cpu(before) };
        let result = self.compare(block, jit_exit);
        let text = result.map_err(|e| format!("{e}{}", self.jit.disassemble(compiled.id)));
        self.jit.use_x87(true);
        text.map(|()| true)
    }

    /// The memory that runs begin with.
    pub fn initial(&mut self) -> &mut [u8] {
        &mut self.initial
    }

    fn reset_memory(&mut self) {
        let initial = std::mem::take(&mut self.initial);
        self.memory().copy_from_slice(&initial);
        self.initial = initial;
    }

    /// Runs a block in the translator.
    pub fn run_jit(&mut self, code: CompiledBlock) -> JitExit {
        self.reset_memory();
        // SAFETY: the structure is live; the entry is of the current generation.
        unsafe {
            (*self.jit_cpu).hdr.trap = 0;
            (*self.jit_cpu).hdr.budget = BUDGET;
            (*self.jit_cpu).mxcsr = self.mxcsr;
            self.arch.fp_enter(self.jit_cpu.cast());
            let exit = self.jit.enter(self.jit_cpu.cast(), code.entry);
            self.arch.fp_leave(self.jit_cpu.cast());
            exit
        }
    }

    /// Runs the block in the interpreter; what differs from the translator's run, which ended so.
    pub fn compare(&mut self, block: &Block, jit_exit: JitExit) -> Result<(), String> {
        let memory = self.memory().to_vec();
        self.reset_memory();
        // SAFETY: the structures are live, the block is well formed.
        let exit = unsafe {
            (*self.interp_cpu).hdr.trap = 0;
            (*self.interp_cpu).mxcsr = self.mxcsr;
            self.arch.fp_enter(self.interp_cpu.cast());
            let exit = self.interp.run(self.interp_cpu.cast(), block, self.mxcsr);
            self.arch.fp_leave(self.interp_cpu.cast());
            exit
        };
        // SAFETY: both structures are live.
        let (a, b) = unsafe { (&*self.interp_cpu, &*self.jit_cpu) };
        let mut wrong = String::new();
        let mut differ = |what: &str, x: String, y: String| {
            if x != y {
                wrong += &format!("{what}\n  interpreter {x}\n  translator  {y}\n");
            }
        };
        let kind = match exit.kind {
            ExitKind::Jump => "direct",
            ExitKind::Indirect(_) => "indirect",
            ExitKind::Trap => "trap",
        };
        let jit_kind = match jit_exit {
            // A computed target that turned out constant is a direct exit.
            JitExit::Direct(_) if kind == "indirect" => kind,
            JitExit::Direct(_) => "direct",
            JitExit::Indirect => "indirect",
            JitExit::Trap { .. } => "trap",
            JitExit::Budget => "budget",
            // The interpreter was given what precedes the instruction.
            JitExit::Unmasked { .. } => "direct",
        };
        let hex = |x: u64| format!("{x:#x}");
        differ("exit", kind.into(), jit_kind.into());
        differ("pc", hex(a.hdr.pc), hex(b.hdr.pc));
        differ("trap", a.hdr.trap.to_string(), b.hdr.trap.to_string());
        if a.hdr.trap == emu_ir::TrapKind::PageFault as u8 {
            self.faults += 1;
            differ("fault address", hex(a.hdr.trap_addr), hex(b.hdr.trap_addr));
            differ("fault access", a.hdr.trap_access.to_string(), b.hdr.trap_access.to_string());
        }
        self.simd += u64::from(a.hdr.trap == emu_ir::TrapKind::Simd as u8);
        differ("retired", exit.retired.to_string(), (BUDGET - b.hdr.budget).to_string());
        for n in 0..16 {
            differ(&format!("gpr {n}"), hex(a.gpr[n]), hex(b.gpr[n]));
            differ(&format!("vec {n}"), format!("{:?}", a.vec[n]), format!("{:?}", b.vec[n]));
        }
        differ("flags", format!("{:b}", a.hdr.flags()), format!("{:b}", b.hdr.flags()));
        differ("scratch", format!("{:?}", a.scratch), format!("{:?}", b.scratch));
        differ("x87", format!("{:?}", a.x87), format!("{:?}", b.x87));
        // Tier 0 does not know exactly whether a result is inexact that is out of range.
        const RANGE: u32 = 0x18;
        const PRECISION: u32 = 0x20;
        const FLAGS: u32 = 0x3f;
        let trapped = a.hdr.trap == emu_ir::TrapKind::Simd as u8;
        let vague = trapped && !(self.mxcsr >> 7) & a.mxcsr & RANGE != 0;
        // And it takes a sum of products, which raises exceptions step by step, for one step.
        let sums =
            |i: &emu_ir::Inst| i.op == Op::Vec && matches!(i.vec_op(), VecOp::Dpps | VecOp::Dppd);
        let ignored = match () {
            () if trapped && block.insts.iter().any(sums) => FLAGS,
            () if vague => PRECISION,
            () => 0,
        };
        let system = |c: &X86Cpu| {
            let mxcsr = c.mxcsr & !ignored;
            format!("{:?}", (c.sys_flags, mxcsr, c.selectors, c.fs_base, c.gs_base))
        };
        differ("system state", system(a), system(b));
        // Of ten bytes that lead into a missing page, Intel's processors store the first eight; tier 0 none.
        let ten = |i: &emu_ir::Inst| {
            i.op == Op::Call
                && ["x87.stp.f80", "x87.stp.bcd"]
                    .contains(&self.arch.helpers()[usize::from(i.sub)].name)
        };
        let split = a.hdr.trap == emu_ir::TrapKind::PageFault as u8
            && a.hdr.trap_access != 0
            && a.hdr.trap_addr == DATA + DATA_LEN as u64
            && block.insts.iter().any(ten);
        let compared = if split { DATA_LEN - 9 } else { DATA_LEN };
        if memory[..compared] != self.memory()[..compared] {
            let m = self.memory().to_vec();
            let at = (0..DATA_LEN).find(|&k| memory[k] != m[k]).unwrap_or(0);
            wrong += &format!("memory at {at:#x}: {:#x} {:#x}\n", m[at], memory[at]);
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong}{}", show(block))) }
    }
}

/// The ops of a block, one a line.
pub fn show(block: &Block) -> String {
    let mut out = String::new();
    for (n, i) in block.insts.iter().enumerate() {
        let name = |v: emu_ir::Val| if v.is_some() { format!("v{}", v.0) } else { "-".into() };
        out += &format!(
            "v{n:<4} {:?}.{} sub {:#x} {} {} imm {:#x}\n",
            i.op,
            i.ty.name(),
            i.sub,
            name(i.a),
            name(i.b),
            i.imm
        );
    }
    out
}

/// Remembers the shortest failure.
#[derive(Default)]
pub struct Shortest {
    failures: usize,
    best: Option<(usize, String)>,
}

impl Shortest {
    pub fn note(&mut self, ops: usize, result: Result<bool, String>, what: impl Fn() -> String) {
        if let Err(e) = result {
            self.failures += 1;
            if self.best.as_ref().is_none_or(|(n, _)| ops < *n) {
                self.best = Some((ops, format!("{}\n{e}", what())));
            }
        }
    }

    pub fn assert_none(&self) {
        if let Some((_, text)) = &self.best {
            panic!("{} failures; the shortest: {text}", self.failures);
        }
    }
}
