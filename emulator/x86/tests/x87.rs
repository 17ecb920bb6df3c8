//! Every x87 instruction against the processor this runs on.
//!
//! Each form is executed by lifter and interpreter and natively, from the same generated states:
//! all kinds of 80-bit values, rounding and precision modes, masked and unmasked exceptions, full
//! and empty stacks. Registers, tags, control and status word, memory and flags must be equal.

use std::collections::BTreeSet;

use emu_cpu::{CodeSource, CpuHeader, GuestArch, LiftOptions};
use emu_interp::{Interp, MXCSR_ALL_MASKED};
use emu_ir::{Block, HookSite, Op, TrapKind};
use emu_x86::fxsave::{FxLayout, write_fxsave_as};
use emu_x86::{I386, Mode, X86_64, X86Cpu, lift_block};
use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions};

/// A guest pc nothing is mapped at; code comes from [`Bytes`].
const PC: u64 = 0x10_0000;
/// Bytes of the test's memory operand.
const OPERAND: usize = 128;

struct Bytes<'a>(&'a [u8]);

impl CodeSource for Bytes<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get(pc.wrapping_sub(PC) as usize..).unwrap_or(&[])
    }
}

unsafe fn no_hook(_: *mut CpuHeader, _: &HookSite, _: u64, _: u64, _: *const u8) {}

fn lift(mode: Mode, code: &[u8]) -> Block {
    let mut padded = code.to_vec();
    padded.resize(16, 0x90);
    let options = LiftOptions { max_insns: 1, basic_blocks: false, hypercalls: false };
    lift_block(mode, PC, &mut Bytes(&padded), &options)
}

fn is_unsupported(block: &Block) -> bool {
    block.insts.iter().any(|i| i.op == Op::Trap && i.trap_kind() == TrapKind::InvalidOpcode)
}

/// xorshift64*: the same states in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// An 80-bit value: mantissa, sign and exponent.
fn value80(r: &mut Random) -> (u64, u16) {
    const TOP: u64 = 1 << 63;
    let sign = (r.below(2) as u16) << 15;
    let (m, e) = match r.below(22) {
        0 => (0, 0),
        1 => (TOP, 0x3fff),
        2 => (r.next() >> 1, 0),                          // denormal
        3 => (TOP | r.next(), 0),                         // pseudo-denormal
        4 => (r.next() >> 1, r.below(0x7ffe) as u16 + 1), // unnormal
        5 => (TOP, 0x7fff),                               // infinity
        6 => (0, 0x7fff),                                 // pseudo-infinity
        7 => (3 << 62 | r.next(), 0x7fff),                // quiet NaN
        8 => (TOP | (r.next() >> 2) | 1, 0x7fff),         // signalling NaN
        9 => (r.next() >> 1, 0x7fff),                     // pseudo-NaN
        10 => (TOP | r.next(), 0x7ffe),                   // largest
        11 => (TOP | r.next(), 1),                        // smallest
        12 => (TOP | r.next() << 40, 0x3fff + r.below(64) as u16), // integers and halves
        13 => (TOP | r.next() << 11, 0x3c01 + r.below(3) as u16), // around the smallest double
        14 => (u64::MAX, 0x43fe),                         // around the largest double
        15 => (TOP | r.next(), 0x3f81 - r.below(30) as u16), // around the smallest floats
        16 => (TOP | r.next() << 50, 0x3fff + r.below(70) as u16),
        17 => (TOP | r.next(), r.below(0x7fff) as u16),
        _ => (TOP | r.next(), 0x3ff0 + r.below(32) as u16),
    };
    (m, sign | e)
}

fn set_st(cpu: &mut X86Cpu, n: usize, (m, se): (u64, u16)) {
    let st = &mut cpu.x87.st[n].0;
    st[..8].copy_from_slice(&m.to_le_bytes());
    st[8..10].copy_from_slice(&se.to_le_bytes());
}

/// A state; `pending` allows pending unmasked exceptions.
fn state(r: &mut Random, pending: bool) -> X86Cpu {
    let mut cpu = X86Cpu::default();
    for n in 0..8 {
        let v = value80(r);
        set_st(&mut cpu, n, v);
    }
    let control = if r.one_in(3) {
        0x37f
    } else {
        let masks = if r.one_in(2) { 0x3f } else { r.below(64) };
        (r.below(32) << 8 | masks) as u16
    };
    cpu.x87.set_control(control);
    let mut status = r.next() as u16;
    if r.one_in(2) {
        status &= !0x7f;
    }
    if !pending {
        status &= !0x3f | cpu.x87.control;
    }
    cpu.x87.set_status_word(status);
    cpu.x87.valid = match r.below(6) {
        0 => r.next() as u8,
        1 => 0xff,
        2 => 0,
        // The usual case: a stack of a few values.
        _ => (0..r.below(8) as u8).fold(0, |v, i| v | 1 << cpu.x87.phys(i)),
    };
    cpu.x87.last_dp = r.below(1 << 46);
    cpu.hdr.set_flags(r.next() as u16);
    cpu.gpr[0] = r.next() & 0xffff_ffff;
    cpu
}

/// Memory operands: interesting floats and integers of each width.
fn operand(r: &mut Random) -> [u8; OPERAND] {
    let mut m = [0; OPERAND];
    for b in &mut m {
        *b = r.next() as u8;
    }
    let f: u64 = match r.below(10) {
        0 => 1.5f64.to_bits(),
        1 => f64::NAN.to_bits() | r.below(1 << 50),
        2 => 0x7ff0_0000_0000_0001 | r.below(1 << 50),
        3 => r.below(1 << 52),
        4 => f64::NEG_INFINITY.to_bits(),
        5 => 0,
        6 => 1 << 63,
        _ => r.next(),
    };
    let g: u64 = match r.below(8) {
        0 => u64::from(0x7f80_0001 | r.below(1 << 22) as u32),
        1 => u64::from(f32::NAN.to_bits()),
        2 => r.below(1 << 23),
        3 => u64::from(f32::INFINITY.to_bits()),
        4 => r.below(40000).wrapping_neg(),
        _ => r.next(),
    };
    match r.below(4) {
        0 => m[..8].copy_from_slice(&f.to_le_bytes()),
        1 => m[..4].copy_from_slice(&(g as u32).to_le_bytes()),
        2 => {
            let (a, b) = value80(r);
            m[..8].copy_from_slice(&a.to_le_bytes());
            m[8..10].copy_from_slice(&b.to_le_bytes());
        }
        _ => {
            // Packed decimal.
            for b in &mut m[..9] {
                *b = (r.below(10) << 4 | r.below(10)) as u8;
            }
            m[9] = (r.below(2) << 7) as u8;
        }
    }
    m
}

/// An anonymous mapping below 4 GiB.
struct Pages(*mut u8, usize);

impl Pages {
    fn new(len: usize, prot: i32) -> Pages {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        // SAFETY: a fresh mapping.
        let p = unsafe { libc::mmap(core::ptr::null_mut(), len, prot, flags, -1, 0) };
        assert_ne!(p, libc::MAP_FAILED);
        Pages(p.cast(), len)
    }

    fn addr(&self) -> u64 {
        self.0 as u64
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.0.cast(), self.1) };
    }
}

#[repr(C, align(64))]
struct Image([u8; 512]);

/// Runs single instructions natively.
struct Native {
    code: Pages,
}

/// What a native run gave.
struct After {
    image: Image,
    flags: u16,
    rax: u64,
}

impl Native {
    fn new() -> Native {
        let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        Native { code: Pages::new(4096, prot) }
    }

    fn run(&self, insn: &[u8], before: &Image, memory: u64, flags: u16, rax: u64) -> After {
        let mut code: Vec<u8> = Vec::new();
        code.extend([0x48, 0x0f, 0xae, 0x01]); // fxsave64 [rcx]
        code.extend([0x48, 0x0f, 0xae, 0x0f]); // fxrstor64 [rdi]
        code.extend([0x41, 0x50, 0x9d]); // push r8; popfq
        code.extend([0x4c, 0x89, 0xc8]); // mov rax, r9
        code.extend(insn);
        code.extend([0x49, 0x89, 0xc1]); // mov r9, rax
        code.extend([0x9c, 0x58]); // pushfq; pop rax
        code.extend([0x48, 0x0f, 0xae, 0x02]); // fxsave64 [rdx]
        code.extend([0x48, 0x0f, 0xae, 0x09]); // fxrstor64 [rcx]
        code.push(0xc3);
        let mut image = Image([0; 512]);
        let mut host = Image([0; 512]);
        let (flags, rax): (u64, u64) = {
            let (mut f, mut a) = (0u64, rax);
            // SAFETY: the code page is ours and large enough; the code keeps the convention the
            // asm block states and restores the host's floating-point state.
            unsafe {
                core::ptr::copy_nonoverlapping(code.as_ptr(), self.code.0, code.len());
                core::arch::asm!("call {c}", c = in(reg) self.code.0,
                    in("rdi") before, in("rsi") memory, in("rdx") &mut image, in("rcx") &mut host,
                    in("r8") u64::from(flags) | 0x202, inout("r9") a, inout("rax") f,
                    clobber_abi("C"));
            }
            a &= u64::MAX;
            (f, a)
        };
        f_mask(After { image, flags: flags as u16, rax })
    }
}

fn f_mask(mut a: After) -> After {
    a.flags &= emu_ir::flags::ALL;
    a
}

fn image_of(cpu: &X86Cpu) -> Image {
    let mut image = Image([0; 512]);
    write_fxsave_as(cpu, &mut image.0, FxLayout::Long64);
    image
}

/// Instructions that do not look at pending exceptions.
fn does_not_wait(code: Code) -> bool {
    matches!(
        code,
        Code::Fneni
            | Code::Fndisi
            | Code::Fnsetpm
            | Code::Fnclex
            | Code::Fninit
            | Code::Fnstcw_m2byte
            | Code::Fnstsw_m2byte
            | Code::Fnstsw_AX
            | Code::Fnstenv_m14byte
            | Code::Fnstenv_m28byte
            | Code::Fnsave_m94byte
            | Code::Fnsave_m108byte
    )
}

/// Instructions after which an exception may be pending that they did not raise themselves.
fn loads_state(code: Code) -> bool {
    matches!(
        code,
        Code::Fldcw_m2byte
            | Code::Fldenv_m14byte
            | Code::Fldenv_m28byte
            | Code::Frstor_m94byte
            | Code::Frstor_m108byte
    )
}

/// Bytes of the memory operand that hold instruction and data pointers: those are host addresses
/// in the native run.
fn pointer_bytes(code: Code) -> std::ops::Range<usize> {
    match code {
        Code::Fnstenv_m28byte | Code::Fnsave_m108byte => 12..24,
        Code::Fnstenv_m14byte | Code::Fnsave_m94byte => 6..14,
        _ => 0..0,
    }
}

fn decode(mode: Mode, bytes: &[u8]) -> iced_x86::Instruction {
    let bits = if mode == Mode::Bits64 { 64 } else { 32 };
    Decoder::with_ip(bits, bytes, PC, DecoderOptions::NONE).decode()
}

/// All x87 encodings: register forms and memory forms with the operand at [rsi].
fn encodings() -> Vec<Vec<u8>> {
    let mut all = vec![vec![0x9b]];
    for esc in 0xd8..=0xdfu8 {
        for modrm in (0..8).map(|reg| reg << 3 | 6).chain(0xc0..=0xff) {
            all.push(vec![esc, modrm]);
            if modrm < 0xc0 {
                all.push(vec![0x66, esc, modrm]);
            }
        }
    }
    all
}

/// Compares `runs` states per encoding.
fn compare(mode: Mode, seed: u64, runs: usize) {
    emu_mem::host_fault::install();
    let arch = if mode == Mode::Bits64 { &X86_64 } else { &I386 };
    let mut interp = Interp::new(arch.helpers(), no_hook);
    let native = Native::new();
    let memory = Pages::new(4096, libc::PROT_READ | libc::PROT_WRITE);
    let mut r = Random(seed);
    let mut forms = 0;
    for bytes in encodings() {
        let insn = decode(mode, &bytes);
        if insn.is_invalid() || insn.code() == Code::Frstpm {
            continue;
        }
        let block = lift(mode, &bytes);
        assert!(!is_unsupported(&block), "{bytes:02x?} ({:?}) is not lifted", insn.code());
        forms += 1;
        for run in 0..runs {
            let pending_allowed = r.one_in(8);
            let mut cpu = state(&mut r, pending_allowed);
            cpu.gpr[6] = memory.addr();
            let mut data = operand(&mut r);
            // SAFETY: the page is ours.
            let bytes_at = unsafe { &mut *memory.0.cast::<[u8; OPERAND]>() };
            *bytes_at = data;
            let before = image_of(&cpu);
            let (flags, rax, status) = (cpu.hdr.flags(), cpu.gpr[0], cpu.x87.status_word());
            // SAFETY: the structure is live and of the block's architecture.
            unsafe { interp.run(&raw mut cpu.hdr, &block, MXCSR_ALL_MASKED) };
            let trap = cpu.hdr.take_trap();
            let ours = *bytes_at;
            let what = || {
                format!(
                    "{bytes:02x?} ({:?}) run {run} control {:#x} status {status:#x} tags {:#x}",
                    insn.code(),
                    u16::from_le_bytes([before.0[0], before.0[1]]),
                    before.0[4]
                )
            };
            if status & 0x80 != 0 && !does_not_wait(insn.code()) {
                assert_eq!(trap.map(|t| t.kind), Some(TrapKind::X87), "{}", what());
                assert_eq!(image_of(&cpu).0, before.0, "{}", what());
                assert_eq!(ours, data, "{}", what());
                continue;
            }
            assert_eq!(trap, None, "{}", what());
            let image = image_of(&cpu);
            let raised = status & 0x80 == 0 && cpu.x87.status_word() & 0x80 != 0;
            let points = raised && !loads_state(insn.code());
            // An AMD processor that another process has used meanwhile comes back without the pointers of the
            // state that was loaded (APM 2, FXSAVE): then once more.
            let mut again = 10;
            let after = loop {
                *bytes_at = data;
                let after = native.run(&bytes, &before, memory.addr(), flags, rax);
                let seen = |i: &Image| (i.0[6..8].to_vec(), i.0[16..24].to_vec());
                let lost = points && seen(&after.image) != seen(&image);
                if !lost || again == 0 {
                    break after;
                }
                again -= 1;
            };
            data = *bytes_at;
            for i in 0..8 {
                let at = 32 + 16 * i..42 + 16 * i;
                assert_eq!(
                    image.0[at.clone()],
                    after.image.0[at],
                    "ST({i}) after {}\n{:02x?}\n{:02x?}",
                    what(),
                    &before.0[32..42],
                    &before.0[48..58]
                );
            }
            assert_eq!(image.0[..2], after.image.0[..2], "control word after {}", what());
            assert_eq!(
                format!("{:02x?}", &image.0[2..5]),
                format!("{:02x?}", &after.image.0[2..5]),
                "status word and tags after {}",
                what()
            );
            if points {
                assert_eq!(image.0[6..8], after.image.0[6..8], "opcode after {}", what());
                assert_eq!(image.0[16..24], after.image.0[16..24], "data pointer after {}", what());
            }
            assert_eq!(cpu.hdr.flags(), after.flags, "flags after {}", what());
            assert_eq!(cpu.gpr[0], after.rax, "rax after {}", what());
            let mut ours = ours;
            ours[pointer_bytes(insn.code())].fill(0);
            data[pointer_bytes(insn.code())].fill(0);
            assert_eq!(ours, data, "memory after {}", what());
        }
    }
    assert!(forms > 450, "only {forms} forms were tried");
}

#[test]
fn equals_the_processor_in_64_bit_mode() {
    compare(Mode::Bits64, 0x1234_5678_9abc_def1, 300);
}

#[test]
fn equals_the_processor_in_32_bit_mode() {
    compare(Mode::Bits32, 0xfeed_5678_9abc_0001, 100);
}

#[test]
fn every_instruction_the_decoder_knows_is_lifted() {
    let mut decoded = BTreeSet::new();
    for bytes in encodings() {
        for mode in [Mode::Bits32, Mode::Bits64] {
            let insn = decode(mode, &bytes);
            if !insn.is_invalid() {
                decoded.insert(format!("{:?}", insn.code()));
            }
        }
    }
    let fpu = [
        CpuidFeature::FPU,
        CpuidFeature::FPU287,
        CpuidFeature::FPU387,
        CpuidFeature::FPU287XL_ONLY,
        CpuidFeature::FPU387SL_ONLY,
    ];
    for code in Code::values() {
        if !code.cpuid_features().iter().any(|f| fpu.contains(f)) {
            continue;
        }
        let name = format!("{code:?}");
        // FSTCW and its kind are FWAIT and FNSTCW to the decoder; the last four exist on one
        // obsolete coprocessor only.
        let alias =
            ["Fstcw", "Fstsw", "Fstenv", "Fsave", "Fclex", "Finit", "Feni", "Fdisi", "Fsetpm"]
                .iter()
                .any(|a| name == *a || name.starts_with(&format!("{a}_")));
        let obsolete =
            ["Fstdw_AX", "Fstsg_AX", "Fnstdw_AX", "Fnstsg_AX", "Frstpm"].contains(&&*name);
        assert!(alias || obsolete || decoded.contains(&name), "{name} is never tried");
    }
}
