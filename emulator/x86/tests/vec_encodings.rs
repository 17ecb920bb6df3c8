//! The encodings in the vector op table, read back by the decoder.

use emu_ir::{Ty, VecForm, VecMap, VecOp, VecSig, VecWidth};
use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

/// The legacy encoding of `op` on registers 1 (reg field) and 2 (r/m field), as its row says.
fn assemble_legacy(op: VecOp) -> Vec<u8> {
    let e = op.encoding();
    let mut bytes = Vec::new();
    if e.prefix != 0 {
        bytes.push(e.prefix);
    }
    if e.w != VecWidth::W0 {
        bytes.push(0x48);
    }
    bytes.push(0x0f);
    match e.map {
        VecMap::Of => {}
        VecMap::Of38 => bytes.push(0x38),
        VecMap::Of3A => bytes.push(0x3a),
    }
    let reg = match e.form {
        VecForm::Digit(digit) => digit,
        _ => 1,
    };
    bytes.extend([e.opcode, 0xc0 | reg << 3 | 2]);
    if op.sig().has_imm() {
        bytes.push(0x55);
    }
    bytes
}

/// The VEX encoding of `op` for vectors of type `ty` on registers 1 (reg field), 2 (r/m field) and,
/// if there is a second vector operand, 3 (vvvv).
fn assemble_vex(op: VecOp, ty: Ty) -> Vec<u8> {
    let e = op.encoding();
    let pp = match e.prefix {
        0x66 => 1,
        0xf3 => 2,
        0xf2 => 3,
        _ => 0,
    };
    let vvvv = if has_vvvv(op) { !3 & 15 } else { 15 };
    let (w, l) = (u8::from(e.w == VecWidth::W1), u8::from(ty == Ty::V256));
    let mut bytes = vec![0xc4, 0xe0 | e.map as u8, w << 7 | vvvv << 3 | l << 2 | pp];
    bytes.extend([e.opcode, 0xc0 | 1 << 3 | 2]);
    if op.sig().has_imm() {
        bytes.push(0x55);
    }
    bytes
}

fn has_vvvv(op: VecOp) -> bool {
    matches!(op.sig(), VecSig::VV | VecSig::VVV | VecSig::VVImm | VecSig::Insert)
}

#[test]
fn vex_encodings_are_the_instructions_they_name() {
    for &op in VecOp::ALL.iter().filter(|o| o.is_vex()) {
        for ty in [Ty::V128, Ty::V256].into_iter().filter(|t| op.len().admits(*t)) {
            let bytes = assemble_vex(op, ty);
            let insn: Instruction = Decoder::new(64, &bytes, DecoderOptions::NONE).decode();
            let name = op.name();
            assert_eq!(insn.len(), bytes.len(), "{name}: {bytes:02x?}");
            assert_eq!(format!("{:?}", insn.mnemonic()).to_lowercase(), op.mnemonic(), "{name}");
            let numbers: Vec<usize> = (0..insn.op_count())
                .filter(|n| insn.op_kind(*n) == OpKind::Register)
                .map(|n| insn.op_register(n).number())
                .collect();
            let want = match op.encoding().form {
                VecForm::VexMr => vec![2, 1],
                _ if has_vvvv(op) => vec![1, 3, 2],
                _ => vec![1, 2],
            };
            assert_eq!(numbers, want, "{name}");
            let wide = (0..insn.op_count()).any(|n| insn.op_register(n).is_ymm());
            assert_eq!(wide, ty == Ty::V256, "{name}");
        }
    }
}

#[test]
fn encodings_are_the_instructions_they_name() {
    for &op in VecOp::ALL.iter().filter(|o| !o.is_vex()) {
        let bytes = assemble_legacy(op);
        let insn: Instruction = Decoder::new(64, &bytes, DecoderOptions::NONE).decode();
        let name = op.name();
        assert_eq!(insn.len(), bytes.len(), "{name}: {bytes:02x?}");
        assert_eq!(format!("{:?}", insn.mnemonic()).to_lowercase(), op.mnemonic(), "{name}");
        let vector = |n: u32| Register::XMM0 + n;
        let int = |n: u32| match op.encoding().w {
            VecWidth::W0 => Register::EAX + n,
            _ => Register::RAX + n,
        };
        let operands = match (op.sig(), op.encoding().form) {
            (VecSig::ToInt | VecSig::ToIntImm, VecForm::Mr) => (int(2), vector(1)),
            (VecSig::ToInt | VecSig::ToIntImm, _) => (int(1), vector(2)),
            (VecSig::VInt | VecSig::VIntImm | VecSig::FromInt, _) => (vector(1), int(2)),
            (_, VecForm::Digit(_)) => (vector(2), Register::None),
            _ => (vector(1), vector(2)),
        };
        assert_eq!((insn.op0_register(), insn.op1_register()), operands, "{name}");
        let has_imm = insn.op_kinds().any(|k| k == OpKind::Immediate8);
        assert_eq!(has_imm, op.sig().has_imm(), "{name}");
    }
}
