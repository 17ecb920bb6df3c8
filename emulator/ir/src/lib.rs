//! The intermediate representation (IR) every tier executes.
//!
//! A guest block is lifted once into a [`Block`]: a flat list of fixed-size [`Inst`]s. The value an
//! op defines is named by the op's own index in the list ([`Val`]), is defined once and lives only
//! inside the block. State crosses blocks through [`Op::Get`] and [`Op::Put`] of *slots*: byte
//! offsets into the `repr(C)` CPU structure of the guest architecture.
//!
//! Start reading at [`Op`]; build blocks with [`Builder`].
//!
//! **Invariant: a block is straight-line.** Control leaves it at [`Op::ExitIf`] (side exit) or at
//! its last op (a terminator); nothing inside a block jumps inside the block.
//!
//! **Invariant: within one guest instruction every op that may fault comes before the first op
//! that changes state** (put, flags.set, store), so a fault leaves the state of the instruction's
//! start. Helper calls keep the same promise themselves. (The last fallible op, a store say, may
//! itself change memory.)
#![forbid(unsafe_code)]

mod block;
mod builder;
mod cond;
pub mod flags;
mod hook;
mod inst;
mod op;
pub mod pass;
pub mod scalar;
mod target;
pub mod testing;
pub mod text;
mod trap;
mod ty;
mod vec_op;
mod vec_table;
mod verify;

pub use block::{Block, CounterSite, GuestInsn, Ops};
pub use builder::{Addr, Builder};
pub use cond::Cond;
pub use flags::{FlagKind, FlagMask};
pub use hook::{HookCell, HookKind, HookSite, When, Within};
pub use inst::{Inst, Operand, Val};
pub use op::{JumpKind, Op, RmwKind};
pub use target::{Effects, PlainTarget, Target};
pub use trap::TrapKind;
pub use ty::Ty;
pub use vec_op::{VecEncoding, VecForm, VecLen, VecMap, VecOp, VecSig, VecWidth};
pub use verify::{Rule, VerifyError, verify};
