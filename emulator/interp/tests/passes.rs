//! Passes change nothing that can be observed: random blocks run before and after.

mod common;

use common::{Cpu, Pages, no_hook, reg};
use emu_cpu::{CpuHeader, HelperDesc, X87Use};
use emu_interp::{Exit, Interp, MXCSR_ALL_MASKED};
use emu_ir::pass::{Optimizer, Pass};
use emu_ir::testing::{Recipe, Rng};
use emu_ir::{Block, Effects, PlainTarget, TrapKind, VecOp, text, verify};
use libc::{PROT_NONE, PROT_READ, PROT_WRITE};

unsafe extern "C" fn sum(_: *mut CpuHeader, a: u64, b: u64, c: u64, d: u64) -> u64 {
    a ^ b.rotate_left(7) ^ c.rotate_left(19) ^ d.rotate_left(33)
}

/// Exchanges a register with a function of flags and arguments, and redefines the flags.
unsafe extern "C" fn state(cpu: *mut CpuHeader, a: u64, b: u64, _: u64, _: u64) -> u64 {
    // SAFETY: called with a live test CPU.
    let cpu = unsafe { &mut *cpu.cast::<Cpu>() };
    let flags = u64::from(cpu.hdr.flags());
    cpu.hdr.set_flags((a ^ flags) as u16 & emu_ir::flags::ALL);
    core::mem::replace(&mut cpu.regs[(b % 8) as usize], a.wrapping_mul(3) ^ flags)
}

unsafe extern "C" fn full(cpu: *mut CpuHeader, a: u64, b: u64, c: u64, d: u64) -> u64 {
    if a & 7 == 7 {
        // SAFETY: called with a live CPU.
        unsafe { (*cpu).raise(TrapKind::Protection) };
        return 0;
    }
    // SAFETY: as this function.
    unsafe { state(cpu, a, b, c, d) }
}

unsafe extern "C" fn reads(cpu: *mut CpuHeader, a: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: called with a live test CPU.
    let cpu = unsafe { &*cpu.cast::<Cpu>() };
    cpu.regs.iter().fold(a ^ u64::from(cpu.hdr.flags()), |x, r| x.rotate_left(5) ^ r)
}

static HELPERS: [HelperDesc; 4] = [
    HelperDesc { name: "sum", func: sum, effects: Effects::PURE, x87: X87Use::Nothing },
    HelperDesc { name: "state", func: state, effects: Effects::STATE, x87: X87Use::Nothing },
    HelperDesc { name: "full", func: full, effects: Effects::FULL, x87: X87Use::Nothing },
    HelperDesc { name: "reads", func: reads, effects: Effects::READS, x87: X87Use::Nothing },
];

static TARGET: PlainTarget = PlainTarget {
    helpers: &[
        ("sum", Effects::PURE),
        ("state", Effects::STATE),
        ("full", Effects::FULL),
        ("reads", Effects::READS),
    ],
};

const SIZE: u64 = 0x2000;

/// Everything a guest can observe of a run.
#[derive(PartialEq, Debug)]
struct Outcome {
    regs: [u64; 16],
    flags: u16,
    pc: u64,
    trap: Option<emu_cpu::Trap>,
    exit: (emu_interp::ExitKind, u32),
    memory: Vec<u8>,
    counters: [u64; 2],
}

struct Machine {
    interp: Interp,
    pages: Pages,
    cells: Box<[u64; 2]>,
}

impl Machine {
    fn new() -> Machine {
        emu_mem::host_fault::install();
        let rw = PROT_READ | PROT_WRITE;
        Machine {
            interp: Interp::new(&HELPERS, no_hook),
            pages: Pages::new(&[rw, rw, PROT_NONE]),
            cells: Box::new([0; 2]),
        }
    }

    fn recipe(&self) -> Recipe {
        let cell = self.cells.as_ptr();
        Recipe {
            vectors: vec![reg(8), reg(12)],
            memory: Some((self.pages.0, SIZE)),
            faults: true,
            odd_slots: true,
            v256: true,
            vec_ops: VecOp::ALL.iter().copied().filter(|o| !o.uses_mxcsr()).collect(),
            helpers: vec![0, 1, 2, 3],
            counters: vec![cell as usize, cell as usize + 8],
            // Some registers lie inside the vectors.
            ..Recipe::integer((0..12).map(reg).collect())
        }
    }

    /// Runs `block` from a state that `seed` determines.
    fn run(&mut self, block: &Block, seed: u64) -> Outcome {
        let mut rng = Rng(seed);
        let mut cpu = Cpu { regs: core::array::from_fn(|_| rng.value()), ..Cpu::default() };
        if rng.one_in(2) {
            // Bases for the accesses that use any register as an address.
            cpu.regs[rng.below(8) as usize] = self.pages.0 + rng.below(SIZE + 64);
        }
        cpu.hdr.set_flags(rng.bits() as u16);
        let memory: Vec<u8> = (0..SIZE / 8).flat_map(|_| rng.bits().to_le_bytes()).collect();
        self.pages.write(self.pages.0, &memory);
        let cells: *mut u64 = self.cells.as_mut_ptr();
        // SAFETY: the CPU and the cells are live, the block passed the verifier.
        let exit: Exit = unsafe {
            cells.write(0);
            cells.add(1).write(0);
            self.interp.run(&raw mut cpu.hdr, block, MXCSR_ALL_MASKED)
        };
        let mut memory = vec![0; SIZE as usize];
        emu_mem::access::read(self.pages.0, &mut memory).expect("test pages");
        Outcome {
            regs: cpu.regs,
            flags: cpu.hdr.flags(),
            pc: cpu.hdr.pc,
            trap: cpu.hdr.take_trap(),
            exit: (exit.kind, exit.retired),
            memory,
            // SAFETY: the cells are live.
            counters: unsafe { [cells.read(), cells.add(1).read()] },
        }
    }
}

#[test]
fn passes_preserve_every_outcome() {
    let mut machine = Machine::new();
    let rich = machine.recipe();
    let mut optimizer = Optimizer::default();
    let mut traps = 0;
    for seed in 0..2500u64 {
        let mut recipe = rich.clone();
        recipe.faults = seed % 2 == 0;
        if seed % 5 == 0 {
            recipe = Recipe::integer(recipe.ints);
        }
        let before = recipe.block(&mut Rng(seed), &TARGET);
        verify(&before, &TARGET).expect("random blocks are valid");
        let wants: Vec<Outcome> = (0..2).map(|n| machine.run(&before, seed * 2 + n)).collect();
        traps += wants.iter().filter(|w| w.trap.is_some()).count();
        for pass in [Pass::Forward, Pass::Dead, Pass::All] {
            let mut after = before.clone();
            optimizer.run_pass(pass, &mut after, &TARGET);
            verify(&after, &TARGET).expect("optimised blocks are valid");
            for (n, want) in wants.iter().enumerate() {
                let got = machine.run(&after, seed * 2 + n as u64);
                assert_eq!(
                    got,
                    *want,
                    "seed {seed}, state {n}, pass {}\n{}{}",
                    pass.name(),
                    text::print(&before, &TARGET),
                    text::print(&after, &TARGET)
                );
            }
        }
    }
    assert!(traps > 200, "{traps} runs trapped");
}
