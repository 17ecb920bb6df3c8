//! Instructions that read a place and write it back.
//!
//! The processor asks for write access when such an instruction reads, so its page fault says "write"
//! although nothing has been stored yet. The lifter makes a load and a store of it.

use emu_cpu::{CodeSource, LiftOptions};
use emu_ir::Op;

use crate::Abi;

/// Guest code, for one instruction.
struct Code {
    buf: [u8; 16],
}

impl CodeSource for Code {
    fn window(&mut self, pc: u64) -> &[u8] {
        let len = match emu_mem::access::read(pc, &mut self.buf) {
            Ok(()) => self.buf.len(),
            Err(fault) => fault.addr.saturating_sub(pc) as usize,
        };
        self.buf.get(..len).unwrap_or(&[])
    }
}

/// Whether the instruction at `pc` writes where it reads.
pub fn modifies(abi: Abi, pc: u64) -> bool {
    let options = LiftOptions { max_insns: 1, basic_blocks: false, hypercalls: false };
    let block = abi.arch().lift(pc, &mut Code { buf: [0; 16] }, &options);
    let places = |op| block.insts.iter().filter(move |i| i.op == op).map(|i| (i.mem(), i.ty));
    places(Op::Load).any(|place| places(Op::Store).any(|other| other == place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &[u8], expected: bool) {
        let mut bytes = code.to_vec();
        bytes.resize(16, 0x90);
        for abi in [Abi::X86_64, Abi::I386] {
            assert_eq!(modifies(abi, bytes.as_ptr() as u64), expected, "{code:x?} {abi:?}");
        }
    }

    #[test]
    fn reads_and_writes_of_one_place_count() {
        check(&[0x83, 0x00, 0x01], true); // add dword [eax], 1
        check(&[0xff, 0x40, 0x08], true); // inc dword [eax+8]
        check(&[0xf6, 0x10], true); // not byte [eax]
        check(&[0xd1, 0x20], true); // shl dword [eax], 1
        check(&[0xd3, 0x20], true); // shl dword [eax], cl
        check(&[0x0f, 0xab, 0x08], true); // bts [eax], ecx
        check(&[0x0f, 0xb1, 0x08], true); // cmpxchg [eax], ecx
        check(&[0x0f, 0xc1, 0x08], true); // xadd [eax], ecx
    }

    #[test]
    fn others_do_not() {
        check(&[0x8b, 0x00], false); // mov eax, [eax]
        check(&[0x89, 0x00], false); // mov [eax], eax
        check(&[0x83, 0x38, 0x01], false); // cmp dword [eax], 1
        check(&[0xff, 0x30], false); // push [eax]
        check(&[0x8f, 0x00], false); // pop [eax]
        check(&[0xa5], false); // movsd
        check(&[0x0f, 0xa3, 0x08], false); // bt [eax], ecx
        check(&[0x0f, 0x0b], false); // ud2
    }
}
