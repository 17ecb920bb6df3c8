//! Tier 1: compiles IR blocks to x86-64 machine code in one pass.
//!
//! Start at [`Jit`]. A block is analysed once backwards (`analyze`: uses, dead definitions, what
//! can observe the state) and emitted once forwards (`compile` and the modules of its operations).
//! Guest registers stay in host registers across the block (`state`, `alloc`, `slots`); at exits
//! (`exits`) the dirty ones are written back. Accesses that can fault record where the state is
//! instead of writing it (`faults`).
//!
//! At block boundaries the most used guest registers are in host registers (`pins`).
//!
//! In generated code rbp points behind the CPU header, rsp to a frame with spill slots, and
//! everything else is allocated.
#![allow(unsafe_code, reason = "generated code, its memory and its faults")]

mod alloc;
mod analyze;
mod arena;
mod asm;
mod calls;
mod compile;
mod exits;
mod faults;
mod flags;
mod hooks;
mod int;
mod jit;
mod links;
mod memops;
mod mxcsr;
mod object;
mod pins;
mod place;
mod recipes;
mod slots;
mod state;
mod store;
mod table;
mod vec;
mod vec_op;
mod x87;

use emu_ir::{Op, VecOp};

pub use faults::withdraw;
pub use jit::{BlockId, CompiledBlock, Config, Entry, ExitId, Jit, JitExit, JitStats, reason};
pub use links::Wish;
pub use mxcsr::Density;
pub use store::{Origin, Piece, Store, Stored};

/// Why a block is left to the interpreter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsupported {
    /// An operation, or a form of it, without a translation.
    #[error("no translation for {0:?}")]
    Op(Op),
    /// A vector operation without a translation.
    #[error("no translation for the vector operation {}", .0.name())]
    Vec(VecOp),
    /// It needs more registers or spill slots than there are.
    #[error("too many live values")]
    Registers,
    /// It has too many operations.
    #[error("block too large")]
    TooLarge,
    /// It breaks the rules of the IR.
    #[error("malformed block")]
    Malformed,
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum JitError {
    /// The operating system refused memory for code.
    #[error("no memory for generated code")]
    Arena(#[source] std::io::Error),
    /// The code memory is full: flush and compile again.
    #[error("code memory is full")]
    Full,
    /// The block cannot be compiled.
    #[error("block cannot be compiled: {0}")]
    Unsupported(Unsupported),
}
