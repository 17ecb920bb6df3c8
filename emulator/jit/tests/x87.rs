//! Sequences of x87, MMX and integer instructions: both tiers, with and without the passes, agree.

mod common;

use common::{Bench, DATA, Rng};
use emu_cpu::{CodeSource, GuestArch, LiftOptions};
use emu_x86::fxsave::write_fxsave;
use emu_x86::{I386, X86_64, X86Cpu};

const PC: u64 = 0x10_0000;

struct Bytes<'a>(&'a [u8]);

impl CodeSource for Bytes<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get(pc.wrapping_sub(PC) as usize..).unwrap_or(&[])
    }
}

/// One instruction; memory operands are at [rsi + disp8].
fn instruction(rng: &mut Rng, code: &mut Vec<u8>) {
    let disp = rng.below(64) as u8;
    match rng.below(12) {
        0..=4 => {
            let esc = 0xd8 + rng.below(8) as u8;
            code.extend([esc, 0xc0 + rng.below(64) as u8]);
        }
        5..=8 => {
            let esc = 0xd8 + rng.below(8) as u8;
            code.extend([esc, 0x46 | (rng.below(8) as u8) << 3, disp]);
        }
        // fnstsw ax; add eax, ecx; movq mm0, [rsi + disp]; paddb mm1, mm0; movd ecx, mm1; emms
        9 => code.extend([0xdf, 0xe0, 0x01, 0xc8]),
        10 => code.extend([0x0f, 0x6f, 0x46, disp, 0x0f, 0xfc, 0xc8, 0x0f, 0x7e, 0xc9]),
        _ => code.extend([0x0f, 0x77]),
    }
}

/// The same x87 state for both tiers.
fn randomize(rng: &mut Rng, cpus: [&mut X86Cpu; 2]) {
    let seed = rng.next();
    for cpu in cpus {
        let mut rng = Rng(seed);
        for st in &mut cpu.x87.st {
            let exponent = (0x3ff0 + rng.below(32) as u16) | ((rng.below(2) as u16) << 15);
            st.0[..8].copy_from_slice(&((1 << 63) | rng.next()).to_le_bytes());
            st.0[8..10].copy_from_slice(&exponent.to_le_bytes());
        }
        let masks = if rng.chance(80) { 0x3f } else { rng.below(64) };
        cpu.x87.set_control((0x300 | masks) as u16);
        cpu.x87.set_status_word(rng.next() as u16 & cpu.x87.control | 0x3800);
        cpu.x87.valid = if rng.chance(50) { 0x0f } else { rng.next() as u8 };
        cpu.x87.last_ip = rng.below(1 << 32);
        cpu.x87.last_dp = rng.below(1 << 32);
        cpu.x87.last_opcode = rng.below(1 << 11) as u16;
        cpu.gpr[6] = DATA + 128;
    }
}

fn image(cpu: &X86Cpu) -> [u8; 512] {
    let mut image = [0; 512];
    write_fxsave(cpu, &mut image);
    image
}

#[test]
fn both_tiers_and_the_passes_agree_on_x87_and_mmx() {
    for (arch, seed) in [(&X86_64, 11), (&I386, 12)] {
        let mut bench = Bench::new(arch);
        let mut rng = Rng(seed);
        for n in 0..4000 {
            let mut code = Vec::new();
            for _ in 0..1 + rng.below(10) {
                instruction(&mut rng, &mut code);
            }
            code.resize(code.len() + 16, 0xcc);
            let options = LiftOptions { max_insns: 40, basic_blocks: false, hypercalls: false };
            let plain = arch.lift(PC, &mut Bytes(&code), &options);
            let mut optimized = plain.clone();
            emu_ir::pass::optimize(&mut optimized, arch as &dyn GuestArch);
            let start = rng.0;
            let images = [plain, optimized].map(|block| {
                rng.0 = start;
                bench.randomize(&mut rng);
                // SAFETY: both structures are live and not otherwise borrowed.
                let cpus = unsafe { [&mut *bench.interp_cpu, &mut *bench.jit_cpu] };
                randomize(&mut rng, cpus);
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
    }
}
