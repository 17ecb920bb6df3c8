//! Every form of every SIMD instruction up to x86-64-v3, and of SHA, from the decoder's own tables.

use emu_x86_oracle::{Bits, CODE, Rng};
use iced_x86::{
    Code, CpuidFeature, Encoder, EncodingKind, Instruction, Mnemonic, OpCodeOperandKind, OpKind,
    Register,
};

use super::values::pick;

const FEATURES: &[CpuidFeature] = &[
    CpuidFeature::MMX,
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::SSE3,
    CpuidFeature::SSSE3,
    CpuidFeature::SSE4_1,
    CpuidFeature::SSE4_2,
    CpuidFeature::AES,
    CpuidFeature::PCLMULQDQ,
    CpuidFeature::SHA,
    CpuidFeature::AVX,
    CpuidFeature::AVX2,
    CpuidFeature::FMA,
    CpuidFeature::F16C,
];

/// Instructions that came with those features but work on integer or x87 state.
const OTHERS: &[Mnemonic] = &[
    Mnemonic::Crc32,
    Mnemonic::Fisttp,
    Mnemonic::Lfence,
    Mnemonic::Mfence,
    Mnemonic::Movnti,
    Mnemonic::Pause,
    Mnemonic::Prefetchnta,
    Mnemonic::Prefetcht0,
    Mnemonic::Prefetcht1,
    Mnemonic::Prefetcht2,
    Mnemonic::Sfence,
];

/// An instruction with a choice between register and memory made.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub code: Code,
    pub memory: bool,
    pub bits: Bits,
}

fn is_simd(code: Code) -> bool {
    let features = code.cpuid_features();
    matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
        && !features.is_empty()
        && features.iter().all(|f| FEATURES.contains(f))
        && !OTHERS.contains(&code.mnemonic())
}

fn may_be_memory(k: OpCodeOperandKind) -> bool {
    use OpCodeOperandKind as K;
    matches!(
        k,
        K::mem
            | K::mm_or_mem
            | K::xmm_or_mem
            | K::ymm_or_mem
            | K::r32_or_mem
            | K::r64_or_mem
            | K::mem_vsib32x
            | K::mem_vsib32y
            | K::mem_vsib64x
            | K::mem_vsib64y
    )
}

/// The index register of a gather's memory operand.
fn vsib(k: OpCodeOperandKind) -> Option<Register> {
    use OpCodeOperandKind as K;
    match k {
        K::mem_vsib32x | K::mem_vsib64x => Some(Register::XMM0 + INDICES as u32),
        K::mem_vsib32y | K::mem_vsib64y => Some(Register::YMM0 + INDICES as u32),
        _ => None,
    }
}

/// The vector register of a gather's indices.
pub const INDICES: usize = 2;

fn may_be_register(k: OpCodeOperandKind) -> bool {
    k != OpCodeOperandKind::mem && vsib(k).is_none()
}

/// All forms.
pub fn all() -> Vec<Form> {
    let mut forms = Vec::new();
    for code in Code::values().filter(|c| is_simd(*c)) {
        let info = code.op_code();
        for (bits, has) in [(Bits::B64, info.mode64()), (Bits::B32, info.mode32())] {
            for memory in [false, true] {
                let kinds = info.op_kinds();
                let possible = if memory {
                    kinds.iter().any(|k| may_be_memory(*k))
                } else {
                    kinds.iter().all(|k| may_be_register(*k))
                };
                if has && possible {
                    forms.push(Form { code, memory, bits });
                }
            }
        }
    }
    forms
}

impl Form {
    /// Whether the instruction has a control byte.
    pub fn has_imm(self) -> bool {
        self.code.op_code().op_kinds().contains(&OpCodeOperandKind::imm8)
    }

    /// Bytes of the indices, if the instruction is a gather.
    pub fn index_bytes(self) -> Option<usize> {
        use OpCodeOperandKind as K;
        self.code.op_code().op_kinds().iter().find_map(|k| match k {
            K::mem_vsib32x | K::mem_vsib32y => Some(4),
            K::mem_vsib64x | K::mem_vsib64y => Some(8),
            _ => None,
        })
    }

    /// Whether it stores the lanes a mask chooses.
    pub fn is_masked_store(self) -> bool {
        use Mnemonic::*;
        matches!(self.code.mnemonic(), Vmaskmovps | Vmaskmovpd | Vpmaskmovd | Vpmaskmovq)
            && self.code.op_code().op0_kind() == OpCodeOperandKind::mem
    }

    /// The features the processor must have that not every x86-64 one has.
    pub fn features(self) -> &'static [CpuidFeature] {
        self.code.cpuid_features()
    }

    /// Whether it stores an MMX register. (When such a store faults some processors have already
    /// reset TOP; the emulated one has not.)
    pub fn stores_mmx(self) -> bool {
        use Code::*;
        self.memory
            && matches!(self.code, Movd_rm32_mm | Movq_rm64_mm | Movq_mmm64_mm | Movntq_m64_mm)
    }

    /// The instruction with generated registers; memory operands are at [rsi].
    pub fn instruction(self, r: &mut Rng, imm: u8) -> Instruction {
        use OpCodeOperandKind as K;
        let long = self.bits == Bits::B64;
        let mut i = Instruction::default();
        i.set_code(self.code);
        let vectors = if long { 16u64 } else { 8 };
        let same = (r.below(8) == 0).then(|| r.below(vectors) as u32);
        for (n, &kind) in self.code.op_code().op_kinds().iter().enumerate() {
            let n = n as u32;
            if self.memory && may_be_memory(kind) {
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_base(if long { Register::RSI } else { Register::ESI });
                if let Some(index) = vsib(kind) {
                    i.set_memory_index(index);
                    i.set_memory_index_scale(1 << r.below(4));
                }
                continue;
            }
            // The registers of a gather are different ones.
            let gather = self.index_bytes().map(|_| [1, 0, 3][n as usize]);
            let vector =
                |r: &mut Rng, count| gather.or(same).unwrap_or_else(|| r.below(count) as u32);
            let register = match kind {
                K::xmm_reg | K::xmm_rm | K::xmm_or_mem | K::xmm_vvvv | K::xmm_is4 => {
                    Register::XMM0 + vector(r, vectors)
                }
                K::ymm_reg | K::ymm_rm | K::ymm_or_mem | K::ymm_vvvv | K::ymm_is4 => {
                    Register::YMM0 + vector(r, vectors)
                }
                K::mm_reg | K::mm_rm | K::mm_or_mem => Register::MM0 + (vector(r, 8) & 7),
                K::r32_reg | K::r32_rm | K::r32_or_mem => {
                    let legacy = [Register::EAX, Register::ECX, Register::EDX, Register::EBX];
                    if long { pick(r, &[Register::EAX, Register::R9D]) } else { pick(r, &legacy) }
                }
                K::r64_reg | K::r64_rm | K::r64_or_mem => {
                    pick(r, &[Register::RAX, Register::RBX, Register::R11])
                }
                K::imm8 => {
                    i.set_op_kind(n, OpKind::Immediate8);
                    i.set_immediate8(imm);
                    continue;
                }
                K::seg_rDI => {
                    i.set_op_kind(
                        n,
                        if long { OpKind::MemorySegRDI } else { OpKind::MemorySegEDI },
                    );
                    continue;
                }
                other => panic!("{:?}: operand kind {other:?}", self.code),
            };
            i.set_op_kind(n, OpKind::Register);
            i.set_op_register(n, register);
        }
        i
    }

    /// Encodes an instruction of this form.
    pub fn encode(self, i: &Instruction) -> Vec<u8> {
        let mut encoder = Encoder::new(if self.bits == Bits::B64 { 64 } else { 32 });
        if let Err(e) = encoder.encode(i, CODE) {
            panic!("{:?}: {e}", self.code);
        }
        encoder.take_buffer()
    }
}
