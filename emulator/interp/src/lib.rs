//! Tier 0: the IR interpreter, the reference semantics and the exact stepper.
//!
//! Start at [`Interp::run`].

mod exec;
mod memory;
mod simd;
mod value;
pub mod vec;

pub use exec::{Exit, ExitKind, HookFn, Interp, MXCSR_ALL_MASKED};
pub use value::Value;
