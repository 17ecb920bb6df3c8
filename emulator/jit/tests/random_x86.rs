//! Both tiers on random x86 code.

mod common;

use common::{Bench, Rng, Shortest};
use emu_cpu::{CodeSource, GuestArch, LiftOptions};
use emu_ir::Op;
use emu_x86::Level;

struct Code(Vec<u8>);

const PC: u64 = 0x2000_0000;

impl CodeSource for Code {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get(pc.wrapping_sub(PC) as usize..).unwrap_or(&[])
    }
}

/// Opcodes that programs are made of, so that random blocks get long.
const COMMON: &[u8] = &[
    0x01, 0x03, 0x09, 0x0b, 0x11, 0x13, 0x19, 0x1b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x39, 0x3b,
    0x00, 0x02, 0x28, 0x2a, 0x38, 0x3a, 0x63, 0x69, 0x6b, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87,
    0x88, 0x89, 0x8a, 0x8b, 0x8d, 0x98, 0x99, 0xc0, 0xc1, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3, 0xf6,
    0xf7, 0xfe, 0xff, 0x50, 0x58, 0x70, 0x74, 0x7c, 0xb0, 0xb8, 0xa8, 0xa9,
];

/// Second bytes of two-byte opcodes.
const COMMON_0F: &[u8] = &[
    0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x28, 0x29, 0x2a, 0x2c, 0x2d, 0x2e, 0x2f, 0x40, 0x44, 0x4c,
    0x51, 0x54, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x62, 0x63, 0x64,
    0x6c, 0x6e, 0x6f, 0x70, 0x72, 0x73, 0x74, 0x7e, 0x7f, 0x84, 0x8c, 0x90, 0x94, 0xa3, 0xa4, 0xa5,
    0xab, 0xac, 0xaf, 0xb0, 0xb1, 0xb6, 0xb7, 0xba, 0xbc, 0xbd, 0xbe, 0xbf, 0xc0, 0xc1, 0xc6, 0xc8,
    0xd4, 0xd6, 0xe6, 0xef, 0xfa, 0xfe,
];

/// Opcodes of VEX-encoded instructions in the maps 0F, 0F 38 and 0F 3A.
const VEX: [&[u8]; 3] = [
    &[
        0x10, 0x11, 0x12, 0x14, 0x16, 0x28, 0x29, 0x2a, 0x2d, 0x2e, 0x50, 0x51, 0x54, 0x57, 0x58,
        0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x62, 0x64, 0x67, 0x6c, 0x6e, 0x6f, 0x70,
        0x72, 0x73, 0x74, 0x76, 0x77, 0x7c, 0x7e, 0x7f, 0xc2, 0xc4, 0xc5, 0xc6, 0xd0, 0xd3, 0xd4,
        0xd6, 0xd7, 0xda, 0xdb, 0xdf, 0xe6, 0xe7, 0xeb, 0xef, 0xf2, 0xf6, 0xfa, 0xfe,
    ],
    &[
        0x00, 0x01, 0x04, 0x08, 0x0c, 0x0e, 0x13, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1c, 0x20, 0x25,
        0x29, 0x2b, 0x2c, 0x2e, 0x30, 0x35, 0x36, 0x37, 0x39, 0x3d, 0x40, 0x45, 0x46, 0x47, 0x58,
        0x59, 0x5a, 0x78, 0x79, 0x8c, 0x8e, 0x90, 0x92, 0x93, 0x96, 0x98, 0x99, 0x9a, 0xa8, 0xa9,
        0xac, 0xb6, 0xb8, 0xb9, 0xbd, 0xdc, 0xde, 0xf2, 0xf3, 0xf5, 0xf6, 0xf7,
    ],
    &[
        0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x14, 0x16, 0x18,
        0x19, 0x1d, 0x20, 0x21, 0x22, 0x38, 0x39, 0x40, 0x42, 0x44, 0x46, 0x4a, 0x4b, 0x4c, 0x63,
        0xf0,
    ],
];

/// Begins a VEX-encoded instruction: up to its opcode.
fn random_vex(rng: &mut Rng, code: &mut Vec<u8>) {
    let map = [0, 0, 1, 1, 2][rng.below(5) as usize];
    // In 32-bit code other values of the upper bits are LES and LDS, or make no sense.
    let high = if rng.chance(70) { 0xe0 } else { rng.next() as u8 & 0xe0 };
    // 66 is the commonest prefix.
    let pp = if map > 0 || rng.chance(60) { 1 } else { rng.below(4) as u8 };
    let vvvv = if rng.chance(30) { 15 } else { rng.below(16) as u8 | 8 };
    let w = if rng.chance(30) { 0x80 } else { 0 };
    let l = (rng.below(2) as u8) << 2;
    code.extend([0xc4, high | (map as u8 + 1), w | vvvv << 3 | l | pp]);
    code.push(VEX[map][rng.below(VEX[map].len() as u64) as usize]);
}

/// Second bytes of the opcodes of floating point.
const FLOAT: &[u8] = &[
    0x2a, 0x2c, 0x2d, 0x2e, 0x2f, 0x51, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0xc2, 0xe6,
];

/// Random code, so many percent of it VEX-encoded and so many floating point.
fn random_code(rng: &mut Rng, vex: u64, float: u64) -> Code {
    let mut code = Vec::new();
    for _ in 0..1 + rng.below(24) {
        if rng.chance(float) {
            code.extend([None, Some(0x66), Some(0xf2), Some(0xf3)][rng.below(4) as usize]);
            code.extend([0x0f, FLOAT[rng.below(FLOAT.len() as u64) as usize]]);
            code.push(if rng.chance(70) {
                0xc0 | rng.next() as u8
            } else {
                0x40 | rng.next() as u8 & 0x3f
            });
            // A displacement or an immediate operand, or another instruction.
            code.extend((0..rng.below(2)).map(|_| rng.below(8) as u8));
            continue;
        }
        if rng.chance(vex) {
            random_vex(rng, &mut code);
            if rng.chance(70) {
                code.push(0xc0 | rng.next() as u8);
            } else {
                code.push(0x40 | (rng.next() as u8 & 0x3f));
                code.push(rng.below(32) as u8);
            }
            if rng.chance(30) {
                code.push(rng.next() as u8);
            }
            continue;
        }
        if rng.chance(5) {
            code.push(rng.next() as u8);
            continue;
        }
        if rng.chance(15) {
            code.push([0x66, 0xf2, 0xf3, 0xf0, 0x67][rng.below(5) as usize]);
        }
        if rng.chance(40) {
            code.push(0x40 | rng.below(16) as u8);
        }
        if rng.chance(60) {
            let n = rng.below(COMMON.len() as u64) as usize;
            let low =
                if matches!(COMMON[n], 0x50..0x80 | 0xb0..0xc0) { rng.below(8) as u8 } else { 0 };
            code.push(COMMON[n] | low);
        } else {
            code.push(0x0f);
            code.push(COMMON_0F[rng.below(COMMON_0F.len() as u64) as usize]);
        }
        // ModRM: registers often, else a base register with a small displacement.
        if rng.chance(50) {
            code.push(0xc0 | rng.next() as u8);
        } else {
            code.push(0x40 | (rng.next() as u8 & 0x3f));
            code.push(rng.below(32) as u8);
        }
        for _ in 0..rng.below(4) {
            code.push(rng.below(40) as u8);
        }
    }
    code.resize(code.len() + 32, 0xcc);
    Code(code)
}

/// Whether the guest has SIMD exceptions unmasked.
#[derive(Clone, Copy, PartialEq)]
enum Exceptions {
    Masked,
    Unmasked,
}

fn run(arch: &'static dyn GuestArch, vex: u64, exceptions: Exceptions) {
    let mut bench = Bench::new(arch);
    if exceptions == Exceptions::Unmasked {
        bench.jit.trap_simd();
    }
    let count = std::env::var("BLOCKS").ok().and_then(|s| s.parse().ok()).unwrap_or(10_000u64);
    let first = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1u64);
    let mut failures = Shortest::default();
    for seed in first..first + count {
        let mut rng = Rng(seed.wrapping_mul(0x1234_5678_9abc_def1));
        let float = if exceptions == Exceptions::Unmasked { 40 } else { 0 };
        let mut code = random_code(&mut rng, vex, float);
        let max_insns = 1 + rng.below(16) as usize;
        let options = LiftOptions { max_insns, basic_blocks: false, hypercalls: false };
        let block = arch.lift(PC, &mut code, &options);
        bench.randomize(&mut rng);
        if exceptions == Exceptions::Unmasked {
            bench.mxcsr = random_mxcsr(&mut rng);
        }
        let clock = block.insts.iter().any(|i| {
            i.op == Op::Call && {
                let name = arch.helpers()[usize::from(i.sub)].name;
                name.contains("rdtsc") || name.contains("rdrand") || name.contains("rdseed")
            }
        });
        // Atomics across a cache line are slowed down to a crawl by the kernel.
        let atomic = block.insts.iter().any(|i| matches!(i.op, Op::AtomicRmw | Op::AtomicCas));
        if clock || atomic {
            continue;
        }
        let result = bench.check(&block);
        failures.note(block.insts.len(), result, || {
            format!("seed {seed}: {:02x?}", &code.0[..block.guest_len().min(200) as usize])
        });
    }
    failures.assert_none();
    println!("{} compiled, {} declined: {:?}", bench.compiled, bench.unsupported, bench.reasons);
    assert!(bench.compiled > count / 2, "{} compiled", bench.compiled);
    assert!(bench.faults > count / 100, "{} faults", bench.faults);
    let enough = if exceptions == Exceptions::Unmasked { count / 50 } else { 0 };
    assert!(bench.simd >= enough, "{} SIMD exceptions", bench.simd);
}

/// Exceptions unmasked, some of their flags set, and other controls now and then.
fn random_mxcsr(rng: &mut Rng) -> u32 {
    const PRECISION: u32 = 1 << 12;
    const CONTROLS: u32 = 0xe040;
    let masks = rng.next() as u32 & 0x1f80;
    // Most results are inexact.
    let masks = if rng.chance(70) { masks | PRECISION } else { masks };
    let controls = if rng.chance(20) { rng.next() as u32 & CONTROLS } else { 0 };
    masks | controls | rng.next() as u32 & 0x3f
}

#[test]
fn random_x86_64_code_does_the_same_in_both_tiers() {
    run(&emu_x86::X86_64, 0, Exceptions::Masked);
}

#[test]
fn random_avx_code_does_the_same_in_both_tiers() {
    if let Some(feature) = Level::V3.missing() {
        println!("skipped: this processor has no {feature}");
        return;
    }
    run(&emu_x86::X86_64, 70, Exceptions::Masked);
    run(&emu_x86::I386, 70, Exceptions::Masked);
}

#[test]
fn random_i386_code_does_the_same_in_both_tiers() {
    run(&emu_x86::I386, 0, Exceptions::Masked);
}

#[test]
fn exceptions_are_precise_in_both_tiers() {
    run(&emu_x86::X86_64, 0, Exceptions::Unmasked);
    run(&emu_x86::I386, 0, Exceptions::Unmasked);
    if Level::V3.missing().is_none() {
        run(&emu_x86::X86_64, 70, Exceptions::Unmasked);
    }
}
