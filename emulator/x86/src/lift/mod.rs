//! Guest bytes to IR.
//!
//! [`lift_block`] decodes with iced-x86 and hands each instruction to the families in turn: a
//! family is a module with `lift(&mut Lifter, &Instruction) -> bool`, true when it knew the
//! instruction. Operand access common to all families is in [`operand`](self::operand).
//!
//! **Invariant: within one instruction all ops that may fault come before the first op that
//! changes state.**

mod arith;
mod atomic;
mod avx;
mod bcd;
mod bits;
mod bmi;
mod control;
mod data;
mod int;
mod logic;
mod mmx;
mod muldiv;
mod operand;
mod place;
mod shift;
mod sse;
mod stack;
mod string;
mod system;
mod x87;

use emu_cpu::{CodeSource, LiftOptions};
use emu_ir::{Block, Builder, JumpKind, TrapKind, Ty, Val};
use iced_x86::{Code, Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic};

use crate::Level;
use crate::helper::Helper;

/// Most guest instructions in a block.
const MAX_INSNS: usize = 64;
/// A block with this many ops takes no further instruction.
const MAX_OPS: usize = 1500;

/// Longest instruction of the architecture.
const MAX_INSN_BYTES: usize = 15;

/// Whether the guest is i386 or x86-64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// 32-bit protected mode, flat segments.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

impl Mode {
    /// Width of addresses and of the stack pointer.
    pub const fn word(self) -> Ty {
        match self {
            Mode::Bits32 => Ty::I32,
            Mode::Bits64 => Ty::I64,
        }
    }

    const fn bitness(self) -> u32 {
        self.word().bits()
    }
}

/// Where control goes after the instruction just lifted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    /// To the next instruction, which may join the block.
    Next,
    /// To the next instruction, which must begin a new block.
    EndAfter,
    /// To this pc, which may join the block.
    Follow(u64),
    /// A terminator was emitted.
    Done,
}

/// Lifts one block.
#[derive(Debug)]
pub struct Lifter {
    /// The ops so far.
    pub b: Builder,
    /// Mode of the guest.
    pub mode: Mode,
    options: LiftOptions,
    pc: u64,
    next: u64,
    flow: Flow,
    /// A jump was followed, so the block is not contiguous.
    jumped: bool,
}

/// Lifts the block at `pc`. Never fails: an instruction that cannot be fetched, decoded or lifted
/// becomes a trap.
pub fn lift_block(mode: Mode, pc: u64, code: &mut dyn CodeSource, options: &LiftOptions) -> Block {
    let mut block = Block::default();
    lift_block_into(mode, pc, code, options, &mut block);
    block
}

/// [`lift_block`] into a block whose memory is used again; what it held is replaced.
pub fn lift_block_into(
    mode: Mode,
    pc: u64,
    code: &mut dyn CodeSource,
    options: &LiftOptions,
    block: &mut Block,
) {
    let mut l = Lifter {
        b: Builder::reusing(core::mem::take(block), pc),
        mode,
        options: *options,
        pc,
        next: pc,
        flow: Flow::Next,
        jumped: false,
    };
    l.run(code);
    *block = l.b.finish();
}

impl Lifter {
    fn run(&mut self, code: &mut dyn CodeSource) {
        let mut insn = Instruction::default();
        loop {
            let start = self.pc;
            let window = code.window(start);
            let mut decoder =
                Decoder::with_ip(self.mode.bitness(), window, start, DecoderOptions::NONE);
            loop {
                if self.is_full() {
                    self.b.jump(JumpKind::Jump, self.pc);
                    return;
                }
                decoder.decode_out(&mut insn);
                if insn.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes {
                    if self.pc != start {
                        break; // a fresh window may reach further
                    }
                    self.unfetchable(start.wrapping_add(window.len() as u64));
                    return;
                }
                self.next = insn.next_ip() & self.mode.word().mask();
                self.flow = Flow::Next;
                self.b.insn_start(self.pc, insn.len() as u8);
                self.lift_insn(&insn);
                self.pc = match self.flow {
                    Flow::Next => self.next,
                    Flow::EndAfter => {
                        self.b.jump(JumpKind::Jump, self.next);
                        return;
                    }
                    Flow::Follow(target) => {
                        self.jumped = true;
                        target
                    }
                    Flow::Done => return,
                };
                if self.jumped && self.b.has_insn(self.pc) {
                    self.b.jump(JumpKind::Jump, self.pc);
                    return;
                }
                if let Flow::Follow(target) = self.flow {
                    let at = target.wrapping_sub(start) as usize;
                    if at >= window.len() || decoder.set_position(at).is_err() {
                        break;
                    }
                    decoder.set_ip(target);
                }
            }
        }
    }

    fn is_full(&self) -> bool {
        self.b.insn_count() >= self.options.max_insns.clamp(1, MAX_INSNS) || self.b.len() >= MAX_OPS
    }

    /// The instruction at `self.pc` cannot be fetched: `addr` is the first unreadable byte.
    fn unfetchable(&mut self, addr: u64) {
        if self.b.insn_count() > 0 {
            self.b.jump(JumpKind::Jump, self.pc);
            return;
        }
        self.b.insn_start(self.pc, 0);
        let addr = self.b.iconst(Ty::I64, addr);
        self.helper(Ty::I64, Helper::FetchFault, &[addr]);
        self.b.trap(TrapKind::FetchFault, self.pc);
    }

    /// Lifts one decoded instruction; one that no family knows raises an invalid-opcode trap.
    pub fn lift_insn(&mut self, i: &Instruction) {
        let known = i.code() != Code::INVALID
            && (Level::current().has(i)
                || matches!(i.mnemonic(), Mnemonic::Lzcnt | Mnemonic::Tzcnt));
        let handled = known
            && (int::lift(self, i)
                || sse::lift(self, i)
                || avx::lift(self, i)
                || mmx::lift(self, i)
                || x87::lift(self, i));
        if !handled {
            // Too many prefixes are not an undefined opcode.
            let too_long = i.code() == Code::INVALID && i.len() == MAX_INSN_BYTES;
            self.trap(if too_long { TrapKind::Protection } else { TrapKind::InvalidOpcode });
        }
    }

    /// Address of the instruction being lifted.
    pub fn pc(&self) -> u64 {
        self.pc
    }

    /// Address of the instruction after it.
    pub fn next_pc(&self) -> u64 {
        self.next
    }

    /// Ends the block with a trap of this instruction, reporting its own pc or the next one as the
    /// kind wants.
    pub fn trap(&mut self, kind: TrapKind) {
        let pc = if kind.retires() { self.next } else { self.pc };
        self.b.trap(kind, pc);
        self.flow = Flow::Done;
    }

    /// Makes this instruction the last of the block: it changed something translation depends on.
    pub fn end_block_after(&mut self) {
        self.flow = Flow::EndAfter;
    }

    /// Calls a helper; `ty` is the type of its result.
    pub fn helper(&mut self, ty: Ty, helper: Helper, args: &[Val]) -> Val {
        self.b.call(ty, helper as u16, args)
    }
}
