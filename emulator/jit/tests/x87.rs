//! Sequences of x87, MMX and integer instructions: both tiers, with and without the passes, agree,
//! whether tier 1 has the guest's x87 state in the host's unit or calls the helpers.

mod common;

use common::{Bench, DATA, DATA_LEN, Rng};
use emu_cpu::{CodeSource, GuestArch, LiftOptions};
use emu_ir::Block;
use emu_jit::JitExit;
use emu_x86::fxsave::write_fxsave;
use emu_x86::{I386, X86_64, X86Cpu};

const PC: u64 = 0x10_0000;

struct Bytes<'a>(&'a [u8]);

impl CodeSource for Bytes<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get(pc.wrapping_sub(PC) as usize..).unwrap_or(&[])
    }
}

/// Where the control words of random FLDCWs are, relative to rsi.
const CONTROLS: u8 = 0x60;

/// What sequences are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mix {
    /// x87 instructions alone: those that stay in the host's unit.
    X87,
    /// MMX and integer instructions among them.
    All,
}

/// One instruction; memory operands are at [rsi + disp8], or at [rdi + disp8], which is the end of
/// the guest's memory.
fn instruction(rng: &mut Rng, mix: Mix, code: &mut Vec<u8>) {
    let disp = rng.below(64) as u8;
    let kinds = if mix == Mix::All { 18 } else { 15 };
    match rng.below(kinds) {
        12 => {
            // fldcw
            code.extend([0xd9, 0x6e, CONTROLS + 2 * rng.below(16) as u8]);
        }
        13 => {
            let esc = 0xd8 + rng.below(8) as u8;
            code.extend([
                esc,
                0x47 | (rng.below(8) as u8) << 3,
                (rng.below(12) as u8).wrapping_neg(),
            ]);
        }
        // fcomi st, st(i) or fucomip st, st(i); jc to the next instruction; adc ecx, 0
        14 => {
            let op = [[0xdb, 0xf0], [0xdf, 0xe8]][rng.below(2) as usize];
            code.extend([op[0], op[1] | rng.below(8) as u8, 0x72, 0, 0x83, 0xd1, 0]);
        }
        0..=4 => {
            let esc = 0xd8 + rng.below(8) as u8;
            code.extend([esc, 0xc0 + rng.below(64) as u8]);
        }
        5..=8 => {
            let esc = 0xd8 + rng.below(8) as u8;
            code.extend([esc, 0x46 | (rng.below(8) as u8) << 3, disp]);
        }
        // fnstsw ax; add eax, ecx; movq mm0, [rsi + disp]; paddb mm1, mm0; movd ecx, mm1; emms
        9 | 15 => code.extend([0xdf, 0xe0, 0x01, 0xc8]),
        10 | 16 if mix == Mix::All => {
            code.extend([0x0f, 0x6f, 0x46, disp, 0x0f, 0xfc, 0xc8, 0x0f, 0x7e, 0xc9])
        }
        11 | 17 if mix == Mix::All => code.extend([0x0f, 0x77]),
        // fcmovne st, st(i); fnclex; fwait
        _ => code.extend([0xdb, 0xc8 | rng.below(8) as u8, 0xdb, 0xe2, 0x9b]),
    }
}

/// A register's content: ordinary numbers more often than not.
fn register(rng: &mut Rng) -> (u64, u16) {
    let sign = (rng.below(2) as u16) << 15;
    let normal = 1 << 63 | rng.next();
    match rng.below(12) {
        0 => (0, sign),
        // Denormal, infinity, quiet and signalling NaN, unsupported.
        1 => (rng.next() >> 1, sign),
        2 => (1 << 63, sign | 0x7fff),
        3 => (3 << 62 | rng.next(), sign | 0x7fff),
        4 => (2 << 62 | 1 | rng.next() >> 2, sign | 0x7fff),
        5 => (rng.next() >> 1, sign | (1 + rng.below(0x7fff) as u16)),
        6 => (normal, sign | (1 + rng.below(0x7ffe) as u16)),
        _ => (normal, sign | (0x3ff0 + rng.below(32) as u16)),
    }
}

/// The same x87 state for both tiers. `masked`: percentage with all exceptions masked.
fn randomize(rng: &mut Rng, cpus: [&mut X86Cpu; 2], masked: u64) {
    let seed = rng.next();
    for cpu in cpus {
        let mut rng = Rng(seed);
        for st in &mut cpu.x87.st {
            let (mantissa, exponent) = register(&mut rng);
            st.0[..8].copy_from_slice(&mantissa.to_le_bytes());
            st.0[8..10].copy_from_slice(&exponent.to_le_bytes());
        }
        let masks = if rng.chance(masked) { 0x3f } else { rng.below(64) };
        let rounding_and_precision = if rng.chance(50) { 0x300 } else { rng.below(16) << 8 };
        cpu.x87.set_control((rounding_and_precision | masks) as u16);
        let top = if rng.chance(50) { 0 } else { 0x3800 };
        cpu.x87.set_status_word(rng.next() as u16 & (cpu.x87.control | 0x4700) | top);
        cpu.x87.valid = match rng.below(4) {
            0 => 0xff,
            1 => rng.next() as u8,
            _ => 0x1f,
        };
        cpu.x87.last_ip = rng.below(1 << 32);
        cpu.x87.last_dp = rng.below(1 << 32);
        cpu.x87.last_opcode = rng.below(1 << 11) as u16;
        cpu.gpr[6] = DATA + 128;
        cpu.gpr[7] = DATA + DATA_LEN as u64;
    }
}

/// Control words for FLDCW, most of which mask everything, and numbers in memory.
fn fill(bench: &mut Bench, rng: &mut Rng) {
    let at = 128 + usize::from(CONTROLS);
    let memory = bench.initial();
    for k in 0..16 {
        let masks = if rng.chance(90) { 0x3f } else { rng.below(64) };
        let word = (rng.next() & 0xffc0 | masks) as u16;
        memory[at + 2 * k..at + 2 * k + 2].copy_from_slice(&word.to_le_bytes());
    }
    for k in (128..128 + 80).step_by(8) {
        let bits = match rng.below(4) {
            0 => rng.next(),
            1 => rng.below(1 << 40).wrapping_sub(1 << 39),
            2 => {
                u64::from(((rng.below(1000) as f32 - 500.0) * 0.37).to_bits()) << 32 | rng.below(9)
            }
            _ => ((rng.below(100_000) as f64 - 50_000.0) * 0.01).to_bits(),
        };
        memory[k..k + 8].copy_from_slice(&bits.to_le_bytes());
    }
}

fn image(cpu: &X86Cpu) -> [u8; 512] {
    let mut image = [0; 512];
    write_fxsave(cpu, &mut image);
    image
}

fn sequence(rng: &mut Rng, mix: Mix, most: u64) -> Vec<u8> {
    let mut code = Vec::new();
    for _ in 0..1 + rng.below(most) {
        instruction(rng, mix, &mut code);
    }
    code.resize(code.len() + 16, 0xcc);
    code
}

fn lift(arch: &dyn GuestArch, code: &[u8], max_insns: usize) -> Block {
    let options = LiftOptions { max_insns, basic_blocks: false, hypercalls: false };
    arch.lift(PC, &mut Bytes(code), &options)
}

#[test]
fn both_tiers_and_the_passes_agree_on_x87_and_mmx() {
    for (arch, seed, mix, most, masked) in [
        (&X86_64, 11, Mix::All, 10, 80),
        (&I386, 12, Mix::All, 40, 95),
        (&X86_64, 13, Mix::X87, 40, 98),
        (&I386, 14, Mix::X87, 20, 98),
    ] {
        let mut bench = Bench::new(arch);
        let mut rng = Rng(seed);
        for n in 0..4000 {
            let code = sequence(&mut rng, mix, most);
            let plain = lift(arch, &code, 100);
            let mut optimized = plain.clone();
            emu_ir::pass::optimize(&mut optimized, arch as &dyn GuestArch);
            let start = rng.0;
            let images = [plain, optimized].map(|block| {
                rng.0 = start;
                bench.randomize(&mut rng);
                fill(&mut bench, &mut rng);
                // SAFETY: both structures are live and not otherwise borrowed.
                let cpus = unsafe { [&mut *bench.interp_cpu, &mut *bench.jit_cpu] };
                randomize(&mut rng, cpus, masked);
                let what = || format!("sequence {n} of {}: {code:02x?}", arch.name());
                let compiled = bench.check(&block).unwrap_or_else(|e| panic!("{}\n{e}", what()));
                assert!(compiled, "{} was not translated", what());
                // SAFETY: as above.
                let (a, b) = unsafe { (&*bench.interp_cpu, &*bench.jit_cpu) };
                assert_eq!(image(a), image(b), "{}", what());
                image(a)
            });
            assert_eq!(images[0], images[1], "the passes change {code:02x?}");
        }
        assert!(bench.faults > 50, "{} faults", bench.faults);
        assert!(bench.unmasked > 50 && bench.unmasked < 3000, "{} unmasked", bench.unmasked);
    }
}

#[test]
fn what_precedes_an_unmasked_exception_is_done() {
    let mut bench = Bench::new(&I386);
    let mut rng = Rng(21);
    let (mut at_once, mut later) = (0, 0);
    for _ in 0..4000 {
        let code = sequence(&mut rng, Mix::X87, 20);
        let block = lift(&I386, &code, 100);
        bench.randomize(&mut rng);
        fill(&mut bench, &mut rng);
        // SAFETY: both structures are live and not otherwise borrowed.
        let cpus = unsafe { [&mut *bench.interp_cpu, &mut *bench.jit_cpu] };
        randomize(&mut rng, cpus, 95);
        let Ok(code_of_block) = bench.jit.compile(&block) else {
            bench.jit.flush();
            continue;
        };
        let exit = bench.run_jit(code_of_block);
        let JitExit::Unmasked { completed, .. } = exit else { continue };
        if completed == 0 {
            at_once += 1;
            continue;
        }
        later += 1;
        let part = lift(&I386, &code, completed as usize);
        if let Err(e) = bench.compare(&part, exit) {
            panic!("{code:02x?} up to instruction {completed}\n{e}");
        }
    }
    assert!(at_once > 50 && later > 100, "{at_once} {later}");
}
