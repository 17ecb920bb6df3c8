//! What the processor models execute: one test, because the model is the process's.

use emu_cpu::{CodeSource, GuestArch, LiftOptions};
use emu_ir::{Op, TrapKind};
use emu_x86::{Level, X86_64};

struct Bytes<'a>(&'a [u8]);

impl CodeSource for Bytes<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get(pc as usize..).unwrap_or(&[])
    }
}

/// The IR of one instruction, as text; `None` when it is an undefined opcode.
fn lift(bytes: &[u8]) -> Option<String> {
    let options = LiftOptions { max_insns: 1, basic_blocks: false, hypercalls: false };
    let block = X86_64.lift(0, &mut Bytes(bytes), &options);
    let undefined = |i: &emu_ir::Inst| i.op == Op::Trap && i.trap_kind() == TrapKind::InvalidOpcode;
    let arch: &dyn GuestArch = &X86_64;
    (!block.insts.iter().any(undefined)).then(|| emu_ir::text::print(&block, arch).to_string())
}

#[test]
fn a_model_executes_what_it_has_and_nothing_newer() {
    let since: [(&str, &[u8], Level); 18] = [
        ("paddb xmm0,xmm1", &[0x66, 0x0f, 0xfc, 0xc1], Level::V1),
        ("lahf", &[0x9f], Level::V2),
        ("popcnt eax,ecx", &[0xf3, 0x0f, 0xb8, 0xc1], Level::V2),
        ("pshufb xmm0,xmm1", &[0x66, 0x0f, 0x38, 0x00, 0xc1], Level::V2),
        ("pcmpeqq xmm0,xmm1", &[0x66, 0x0f, 0x38, 0x29, 0xc1], Level::V2),
        ("crc32 eax,cl", &[0xf2, 0x0f, 0x38, 0xf0, 0xc1], Level::V2),
        ("cmpxchg16b [rcx]", &[0x48, 0x0f, 0xc7, 0x09], Level::V2),
        ("vaddps xmm0,xmm0,xmm1", &[0xc5, 0xf8, 0x58, 0xc1], Level::V3),
        ("vpaddb ymm0,ymm0,ymm1", &[0xc5, 0xfd, 0xfc, 0xc1], Level::V3),
        ("vaesenc xmm0,xmm0,xmm1", &[0xc4, 0xe2, 0x79, 0xdc, 0xc1], Level::V3),
        ("vfmadd132ps xmm0,xmm0,xmm1", &[0xc4, 0xe2, 0x79, 0x98, 0xc1], Level::V3),
        ("andn eax,eax,ecx", &[0xc4, 0xe2, 0x78, 0xf2, 0xc1], Level::V3),
        ("shlx eax,ecx,eax", &[0xc4, 0xe2, 0x79, 0xf7, 0xc1], Level::V3),
        ("adcx eax,ecx", &[0x66, 0x0f, 0x38, 0xf6, 0xc1], Level::V3),
        ("xgetbv", &[0x0f, 0x01, 0xd0], Level::V3),
        ("xsave [rcx]", &[0x0f, 0xae, 0x21], Level::V3),
        ("xsavec [rcx]", &[0x0f, 0xc7, 0x21], Level::V3),
        ("rdfsbase eax", &[0xf3, 0x0f, 0xae, 0xc0], Level::V3),
    ];
    for level in Level::ALL {
        if let Err(e) = level.select() {
            println!("{level:?}: skipped, {e}");
            continue;
        }
        assert_eq!(Level::current(), level);
        for (name, bytes, since) in since {
            assert_eq!(lift(bytes).is_some(), level >= since, "{name} in {level:?}");
        }
        // Without the feature the prefix of tzcnt means nothing, and it is bsf.
        let tzcnt = lift(&[0xf3, 0x0f, 0xbc, 0xc1]);
        let bsf = lift(&[0x0f, 0xbc, 0xc1]);
        let ops = |t: Option<String>| t.map(|t| t.lines().skip(2).collect::<Vec<_>>().join("\n"));
        let same = ops(tzcnt).map(|t| t.replace("0x4", "0x3")) == ops(bsf);
        assert_eq!(same, level < Level::V3, "tzcnt in {level:?}");
        // 256-bit AES came later.
        assert_eq!(lift(&[0xc4, 0xe2, 0x7d, 0xdc, 0xc1]), None);
    }
}
