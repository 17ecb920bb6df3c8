//! The x86 guest: i386 and x86-64.
//!
//! [`lift`] turns guest bytes into IR, [`helper`] holds the functions that IR calls for what is too
//! complex for ops, [`state`] is the register file both work on.

pub mod helper;
pub mod lift;
pub mod state;

pub use lift::{Mode, lift_block};
pub use state::X86Cpu;
