//! Whatever bytes a guest jumps to, lifting neither panics nor makes a block the verifier refuses.

use emu_cpu::{CodeSource, GuestArch, LiftOptions};
use emu_ir::{Block, TrapKind};
use emu_x86::{I386, X86_64};
use proptest::prelude::*;

const BASE: u64 = 0x40_0000;

/// Bytes at [`BASE`]; nothing is readable behind them.
struct Bytes(Vec<u8>);

impl CodeSource for Bytes {
    fn window(&mut self, pc: u64) -> &[u8] {
        let at = usize::try_from(pc.wrapping_sub(BASE)).unwrap_or(usize::MAX);
        self.0.get(at..).unwrap_or(&[])
    }
}

const ALL: LiftOptions = LiftOptions { max_insns: 64, basic_blocks: false, hypercalls: true };

fn lift(arch: &dyn GuestArch, bytes: &[u8], options: &LiftOptions) -> Block {
    let block = arch.lift(BASE, &mut Bytes(bytes.to_vec()), options);
    if let Err(e) = emu_ir::verify(&block, arch) {
        panic!("{e}: {bytes:02x?}\n{}", emu_ir::text::print(&block, arch));
    }
    block
}

/// Opcode-like bytes: prefixes and the two-byte escape more often than chance would have them.
fn code_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => any::<u8>(),
        1 => prop::sample::select(&[0x0f, 0x66, 0xf2, 0xf3, 0x67, 0x48, 0xf0, 0x38, 0x3a, 0xc4][..]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_lift_to_a_valid_block(
        bytes in prop::collection::vec(code_byte(), 0..80),
        max_insns in 1usize..70,
        basic_blocks in any::<bool>(),
    ) {
        let options = LiftOptions { max_insns, basic_blocks, hypercalls: false };
        for arch in [&X86_64 as &dyn GuestArch, &I386] {
            let block = lift(arch, &bytes, &options);
            prop_assert!(block.insns.len() <= max_insns);
            prop_assert_eq!(block.pc, BASE);
        }
    }
}

#[test]
fn nothing_to_fetch_is_a_fetch_fault() {
    for arch in [&X86_64 as &dyn GuestArch, &I386] {
        // Empty, and the first byte of a longer instruction at the end of what can be read.
        for bytes in [&[][..], &[0x0f], &[0xb8, 1, 2]] {
            let block = lift(arch, bytes, &ALL);
            let last = block.insts[block.insts.len() - 1];
            assert_eq!(last.trap_kind(), TrapKind::FetchFault);
            assert_eq!(block.insns.len(), 1);
            assert_eq!(block.insns[0].len, 0);
        }
    }
}

#[test]
fn a_block_stops_before_what_cannot_be_fetched() {
    let block = lift(&X86_64, &[0x90, 0x90, 0x0f], &ALL);
    assert_eq!(block.insns.len(), 2);
    let last = block.insts[block.insts.len() - 1];
    assert_eq!((last.op, last.imm), (emu_ir::Op::Jump, BASE + 2));
}

#[test]
fn a_jump_is_followed_once() {
    // jmp +1; nop (skipped); nop; jmp back to the first nop.
    let block = lift(&X86_64, &[0xeb, 0x01, 0x90, 0x90, 0xeb, 0xfc], &ALL);
    let pcs: Vec<u64> = block.insns.iter().map(|i| i.pc - BASE).collect();
    // The second jump reaches a nop that is new; falling through from it meets the block again.
    assert_eq!(pcs, [0, 3, 4, 2]);
    let last = block.insts[block.insts.len() - 1];
    assert_eq!((last.op, last.imm), (emu_ir::Op::Jump, BASE + 3));
}

#[test]
fn a_forward_branch_continues_and_a_backward_one_ends_the_block() {
    // je +2; nop; je -3; nop
    let code = [0x74, 0x02, 0x90, 0x74, 0xfd, 0x90];
    let block = lift(&X86_64, &code, &ALL);
    assert_eq!(block.insns.len(), 3);
    let basic = lift(&X86_64, &code, &LiftOptions { basic_blocks: true, ..ALL });
    assert_eq!(basic.insns.len(), 1);
}

#[test]
fn cpuid_is_a_hypercall_only_when_asked() {
    let traps = |hypercalls| {
        let block = lift(&X86_64, &[0x0f, 0xa2], &LiftOptions { hypercalls, ..ALL });
        block.insts.iter().any(|i| i.op == emu_ir::Op::Trap && i.trap_kind() == TrapKind::Hypercall)
    };
    assert!(traps(true));
    assert!(!traps(false));
}

#[test]
fn unknown_instructions_trap_at_their_own_pc() {
    // nop; ud2; and an EVEX instruction, which is part of no model.
    for tail in [&[0x0f, 0x0b][..], &[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1]] {
        let block = lift(&X86_64, &[&[0x90], tail].concat(), &ALL);
        let last = block.insts[block.insts.len() - 1];
        assert_eq!((last.trap_kind(), last.imm), (TrapKind::InvalidOpcode, BASE + 1));
    }
}

#[test]
fn an_instruction_of_more_than_15_bytes_is_a_protection_fault() {
    for arch in [&X86_64 as &dyn GuestArch, &I386] {
        let code = [&[0x90][..], &[0x66; 15], &[0x90; 8]].concat();
        let block = lift(arch, &code, &ALL);
        let last = block.insts[block.insts.len() - 1];
        assert_eq!((last.trap_kind(), last.imm), (TrapKind::Protection, BASE + 1));
        let code = [&[0x66; 14][..], &[0x90; 8]].concat();
        assert_eq!(lift(arch, &code, &ALL).insns[0].len, 15);
    }
}
