//! The x86 guest: i386 and x86-64.

pub mod state;

pub use state::X86Cpu;
