//! CPUID and the lifter agree: every instruction of every advertised feature is lifted.

use std::collections::{BTreeMap, BTreeSet};

use emu_cpu::{CodeSource, LiftOptions};
use emu_ir::{Op, TrapKind};
use emu_x86::{Mode, cpuid, lift_block};
use iced_x86::{Code, CpuidFeature as F, Decoder, DecoderOptions, Instruction};

const PC: u64 = 0x10_0000;

struct Bytes<'a>(&'a [u8]);

impl CodeSource for Bytes<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get(pc.wrapping_sub(PC) as usize..).unwrap_or(&[])
    }
}

/// The names in the CPUID table of the decoder's features; the base architecture has none.
fn name_of(feature: F) -> Option<&'static str> {
    Some(match feature {
        F::INTEL8086 | F::INTEL186 | F::INTEL286 | F::INTEL386 | F::INTEL486 => "",
        F::PAUSE | F::MULTIBYTENOP | F::CPUID | F::CET_IBT => "",
        F::X64 => "lm",
        F::FPU | F::FPU287 | F::FPU387 => "fpu",
        F::TSC => "tsc",
        F::CX8 => "cx8",
        F::SEP => "sep",
        F::CMOV => "cmov",
        F::CLFSH => "clflush",
        F::MMX => "mmx",
        F::FXSR => "fxsr",
        F::SSE => "sse",
        F::SSE2 => "sse2",
        F::SSE3 => "pni",
        F::PCLMULQDQ => "pclmulqdq",
        F::SSSE3 => "ssse3",
        F::CMPXCHG16B => "cx16",
        F::SSE4_1 => "sse4_1",
        F::SSE4_2 => "sse4_2",
        F::MOVBE => "movbe",
        F::POPCNT => "popcnt",
        F::AES => "aes",
        F::SYSCALL => "syscall",
        F::RDTSCP => "rdtscp",
        _ => return None,
    })
}

fn is_advertised(code: Code, mode: Mode) -> bool {
    code.cpuid_features().iter().all(|&f| match name_of(f) {
        Some("") => true,
        Some(name) => {
            cpuid::FEATURES.iter().any(|f| f.name == name && f.modes.include(mode == Mode::Bits64))
        }
        None => false,
    })
}

/// Encodings that reach every opcode of the legacy maps in register and memory form.
fn encodings() -> Vec<Vec<u8>> {
    let prefixes: [&[u8]; 9] = [
        &[],
        &[0x66],
        &[0xf2],
        &[0xf3],
        &[0x48],
        &[0x66, 0x48],
        &[0xf2, 0x48],
        &[0xf3, 0x48],
        &[0xf0],
    ];
    let maps: [&[u8]; 4] = [&[], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]];
    let mut all = Vec::new();
    for prefix in prefixes {
        for map in maps {
            for opcode in 0..=255u8 {
                // [rsi], [rsi + 1], register forms.
                for modrm in (0..8).flat_map(|reg| [reg << 3 | 6, 0xc0 | reg << 3 | 1]) {
                    let mut e = prefix.to_vec();
                    e.extend(map);
                    e.extend([opcode, modrm]);
                    e.resize(15, 1);
                    all.push(e);
                }
                if opcode == 0x01 && map == [0x0f] {
                    for modrm in 0xc0..=0xff {
                        let mut e = prefix.to_vec();
                        e.extend(map);
                        e.extend([opcode, modrm]);
                        e.resize(15, 1);
                        all.push(e);
                    }
                }
            }
        }
    }
    all
}

fn decode(mode: Mode, bytes: &[u8]) -> Instruction {
    let bits = if mode == Mode::Bits64 { 64 } else { 32 };
    Decoder::with_ip(bits, bytes, PC, DecoderOptions::NONE).decode()
}

/// Instructions of the base architecture that raise undefined opcode by definition, or may in
/// user mode.
fn undefined_by_definition(insn: &Instruction) -> bool {
    let name = format!("{:?}", insn.mnemonic());
    ["Ud0", "Ud1", "Ud2"].contains(&name.as_str())
}

#[test]
fn every_instruction_of_an_advertised_feature_is_lifted() {
    let mut missing: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut lifted = BTreeSet::new();
    let options = LiftOptions { max_insns: 1, basic_blocks: false, hypercalls: false };
    for mode in [Mode::Bits64, Mode::Bits32] {
        for bytes in encodings() {
            let insn = decode(mode, &bytes);
            if insn.is_invalid()
                || !is_advertised(insn.code(), mode)
                || undefined_by_definition(&insn)
            {
                continue;
            }
            let block = lift_block(mode, PC, &mut Bytes(&bytes), &options);
            let refused = block
                .insts
                .iter()
                .any(|i| i.op == Op::Trap && i.trap_kind() == TrapKind::InvalidOpcode);
            if refused {
                let form = format!("{:?} {:02x?}", insn.code(), &bytes[..insn.len()]);
                let mode = if mode == Mode::Bits64 { "x86_64" } else { "i386" };
                missing.entry(form).or_default().insert(mode);
            } else {
                lifted.insert(format!("{:?}", insn.code()));
            }
        }
    }
    assert!(lifted.len() > 1000, "only {} instructions were tried", lifted.len());
    assert!(missing.is_empty(), "{} not lifted: {missing:#?}", missing.len());
}
