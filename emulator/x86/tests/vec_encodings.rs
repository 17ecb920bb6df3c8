//! The encodings in the vector op table, read back by the decoder.

use emu_ir::{VecForm, VecMap, VecOp, VecSig, VecWidth};
use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

/// `op` on registers 1 (reg field) and 2 (r/m field), as its row says.
fn assemble(op: VecOp) -> Vec<u8> {
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

#[test]
fn encodings_are_the_instructions_they_name() {
    for &op in VecOp::ALL {
        let bytes = assemble(op);
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
