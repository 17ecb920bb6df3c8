//! Every encoding form of the integer opcode maps.

use std::collections::HashMap;

use emu_x86_oracle::{Bits, Rng};
use iced_x86::{
    CpuidFeature, Decoder, DecoderError, DecoderOptions, EncodingKind, FlowControl, Instruction,
    Mnemonic, OpKind, Register,
};

/// One instruction to try.
pub struct Form {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it decodes to.
    pub insn: Instruction,
}

/// Prefix combinations tried with every opcode; the last byte may be a REX prefix (64-bit only).
const PREFIXES: [&[u8]; 17] = [
    &[],
    &[0x66],
    &[0x67],
    &[0xf2],
    &[0xf3],
    &[0xf0],
    &[0xf0, 0x66],
    &[0x66, 0xf3],
    &[0x66, 0x67],
    &[0x67, 0xf3],
    &[0x48],
    &[0x40],
    &[0x45],
    &[0xf0, 0x48],
    &[0xf3, 0x48],
    &[0xf2, 0x48],
    &[0x66, 0x48],
];

/// ModRM, SIB and displacement variants for a /reg field: registers, [rbx], [rsi-0x21],
/// [rsp+0x44], [rdi+0x123].
fn operands(reg: u8) -> [Vec<u8>; 8] {
    let r = reg << 3;
    [
        vec![0xc0 | r],
        vec![0xc3 | r],
        vec![0xc0 | r | (reg ^ 5)],
        vec![0xc0 | r | reg],
        vec![r | 3],
        vec![0x40 | r | 6, 0xdf],
        vec![0x44 | r, 0x24, 0x44],
        vec![0x80 | r | 7, 0x23, 1, 0, 0],
    ]
}

/// Instructions whose effect depends on the host's system state, or that end the test.
fn excluded(i: &Instruction) -> bool {
    use Mnemonic as M;
    let segment = (0..i.op_count())
        .any(|n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_segment_register());
    let far =
        i.is_jmp_far() || i.is_jmp_far_indirect() || i.is_call_far() || i.is_call_far_indirect();
    // 16-bit branches go to the first 64 KiB.
    segment
        || far
        || i.op0_kind() == OpKind::NearBranch16
        || matches!(
            i.mnemonic(),
            M::Int
                | M::Int3
                | M::Syscall
                | M::Sysenter
                | M::Sysexit
                | M::Sysret
                | M::Sysexitq
                | M::Sysretq
                | M::Cpuid
                | M::Rdtsc
                | M::Rdtscp
                | M::Rdpmc
                | M::Rdmsr
                | M::Wrmsr
                | M::Retf
                | M::Iret
                | M::Iretd
                | M::Iretq
                | M::Popf
                | M::Popfd
                | M::Popfq
                | M::Lds
                | M::Les
                | M::Lss
                | M::Lfs
                | M::Lgs
                | M::Lar
                | M::Lsl
                | M::Verr
                | M::Verw
                | M::Sgdt
                | M::Sidt
                | M::Sldt
                | M::Str
                | M::Smsw
                | M::Ret
                | M::Rsm
                | M::Ud0
        )
        || matches!(i.flow_control(), FlowControl::IndirectBranch | FlowControl::IndirectCall)
}

/// Forms that processors of different makers execute differently, each as its manual says or where
/// the manuals say nothing.
fn differs_by_maker(bits: Bits, bytes: &[u8], i: &Instruction) -> bool {
    let looping = i.is_loop() || i.is_loopcc() || i.is_jcx_short();
    let repeated = i.has_rep_prefix() || i.has_repne_prefix();
    let prefixed = |p: u8| bytes.iter().take(3).take_while(|b| **b != 0x0f).any(|&b| b == p);
    let branch = i.op0_kind() == OpKind::NearBranch64;
    let shift = matches!(i.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd);
    // Repeat prefixes of loops, operand sizes of branches in 64-bit code.
    looping && repeated
        || bits == Bits::B64 && branch && prefixed(0x66)
        // The upper half of rcx when the count ecx is 0.
        || bits == Bits::B64 && repeated && prefixed(0x67) && i.is_string_instruction()
        // The register form of prefetchw; how a debugger's trap looks under a hypervisor.
        || bytes.windows(2).any(|w| w == [0x0f, 0x0d]) && i.op0_kind() == OpKind::Register
        || i.mnemonic() == Mnemonic::Int1
        // A double shift of 16 bits by more than 16.
        || shift
            && i.op1_register().size() == 2
            && (i.op2_kind() != OpKind::Immediate8 || i.immediate8() & 31 > 16)
}

/// Whether the instruction belongs to the integer families.
fn integer(i: &Instruction) -> bool {
    use CpuidFeature as F;
    let has = [
        (F::LZCNT, std::arch::is_x86_feature_detected!("lzcnt")),
        (F::BMI1, std::arch::is_x86_feature_detected!("bmi1")),
        (F::BMI2, std::arch::is_x86_feature_detected!("bmi2")),
        (F::ADX, std::arch::is_x86_feature_detected!("adx")),
        (F::MOVBE, std::arch::is_x86_feature_detected!("movbe")),
    ];
    if let Some((feature, _)) =
        has.into_iter().find(|(f, has)| !has && i.cpuid_features().contains(f))
    {
        println!("{:?}: skipped, this processor has no {feature:?}", i.code());
        return false;
    }
    matches!(i.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
        && i.cpuid_features().iter().all(|f| {
            matches!(
                f,
                F::INTEL8086
                    | F::INTEL8086_ONLY
                    | F::INTEL186
                    | F::INTEL286
                    | F::INTEL386
                    | F::INTEL486
                    | F::X64
                    | F::CMOV
                    | F::CX8
                    | F::CMPXCHG16B
                    | F::POPCNT
                    | F::LZCNT
                    | F::BMI1
                    | F::BMI2
                    | F::ADX
                    | F::MOVBE
                    | F::MULTIBYTENOP
                    | F::PAUSE
                    | F::SSE4_2
            )
        })
        && !(i.cpuid_features().contains(&F::SSE4_2) && i.mnemonic() != Mnemonic::Crc32)
}

/// Bytes of `opcode` with every prefix and operand variant.
fn candidates(bits: Bits, opcode: &[u8], rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for prefix in PREFIXES {
        if bits == Bits::B32 && prefix.last().is_some_and(|p| p & 0xf0 == 0x40) {
            continue;
        }
        for reg in 0..8 {
            for operand in operands(reg) {
                let mut bytes = [prefix, opcode, &operand].concat();
                bytes.extend(rng.bits().to_le_bytes());
                out.push(bytes);
            }
        }
    }
    out
}

/// VEX-encoded instructions on general registers, with every operand variant.
fn vex_candidates(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for map in [2u8, 3] {
        for opcode in [0xf0u8, 0xf2, 0xf3, 0xf5, 0xf6, 0xf7] {
            for (pp, w) in (0..4u8).flat_map(|pp| [(pp, 0u8), (pp, 1)]) {
                for vvvv in [0u8, 1, 2] {
                    for operand in (0..8).flat_map(operands) {
                        let vex = [0xc4, 0xe0 | map, w << 7 | (!vvvv & 15) << 3 | pp, opcode];
                        let mut bytes = [&vex[..], &operand].concat();
                        bytes.extend(rng.bits().to_le_bytes());
                        out.push(bytes);
                    }
                }
            }
        }
    }
    out
}

/// Gives immediates and displacements of `bytes` values the test can live with.
fn tame(bytes: &mut [u8], i: &Instruction) {
    let n = bytes.len();
    if matches!(i.op0_kind(), OpKind::NearBranch32 | OpKind::NearBranch64) {
        let short = i.is_jcc_short()
            || i.is_jmp_short()
            || i.is_jcx_short()
            || i.is_loop()
            || i.is_loopcc();
        let displacement = if short { 1 } else { 4 };
        bytes[n - displacement..].fill(0);
        bytes[n - displacement] = 0x20;
    }
    if i.mnemonic() == Mnemonic::Enter {
        bytes[n - 3] &= 0x3f;
        bytes[n - 2] = 0;
        bytes[n - 1] &= 7;
    }
}

/// Whether the memory operand's address is far from the data (absolute, or relative to pc).
fn wild(i: &Instruction) -> bool {
    let memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
    memory && (i.memory_base() == Register::None || i.is_ip_rel_memory_operand())
}

/// All forms in a mode: a few encodings of every distinct instruction code, operand kind and set of
/// prefixes.
pub fn all(bits: Bits, seed: u64) -> Vec<Form> {
    const SAMPLES: usize = 2;
    let mut rng = Rng(seed);
    let bitness = if bits == Bits::B32 { 32 } else { 64 };
    let prefix = |o: u8| {
        matches!(o, 0x0f | 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
            || bits == Bits::B64 && o & 0xf0 == 0x40
    };
    let mut opcodes: Vec<Vec<u8>> = (0..=255).filter(|o| !prefix(*o)).map(|o| vec![o]).collect();
    // 38 and 3a begin further maps.
    opcodes.extend((0..=255).filter(|o| !matches!(o, 0x38 | 0x3a)).map(|o| vec![0x0f, o]));
    opcodes.extend([0xf0, 0xf1, 0xf6].map(|o| vec![0x0f, 0x38, o]));
    let mut seen: HashMap<_, usize> = HashMap::new();
    let mut forms = Vec::new();
    // An opcode of no bytes stands for those with VEX.
    opcodes.push(Vec::new());
    for opcode in opcodes {
        let candidates = match opcode.as_slice() {
            [] => vex_candidates(&mut rng),
            opcode => candidates(bits, opcode, &mut rng),
        };
        for mut bytes in candidates {
            let decode = |bytes: &[u8]| {
                let mut d =
                    Decoder::with_ip(bitness, bytes, emu_x86_oracle::CODE, DecoderOptions::NONE);
                let i = d.decode();
                (d.last_error() == DecoderError::None).then_some(i)
            };
            let Some(i) = decode(&bytes) else { continue };
            if !integer(&i) || excluded(&i) {
                continue;
            }
            let memory = i.op_kinds().any(|k| k == OpKind::Memory);
            if memory && wild(&i) && i.memory_displ_size() > 1 && opcode.len() == 1 {
                continue;
            }
            let prefixes =
                (i.has_lock_prefix(), i.has_rep_prefix(), i.has_repne_prefix(), bytes[0] == 0x67);
            let count = seen.entry((i.code(), memory, prefixes)).or_default();
            if *count == SAMPLES {
                continue;
            }
            *count += 1;
            bytes.truncate(i.len());
            tame(&mut bytes, &i);
            if let Some(insn) = decode(&bytes)
                && !differs_by_maker(bits, &bytes, &insn)
            {
                forms.push(Form { bytes, insn });
            }
        }
    }
    forms
}
