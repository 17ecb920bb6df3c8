//! The x86 guest: i386 and x86-64.
//!
//! [`lift`] turns guest bytes into IR, [`helper`] holds the functions that IR calls for what is too
//! complex for ops, [`state`] is the register file both work on. [`arch`] presents all of it to the
//! engine; [`cpuid`] says what processor the guest sees.

pub mod arch;
pub mod cpuid;
pub mod fxsave;
pub mod helper;
pub mod level;
pub mod lift;
pub mod mxcsr;
pub mod regs;
pub mod state;
pub mod xsave;

pub use arch::{I386, X86_64, X86Arch};
pub use level::Level;
pub use lift::{Mode, lift_block, lift_block_into};
pub use state::X86Cpu;
