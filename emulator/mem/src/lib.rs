//! Guest memory in user mode.
//!
//! Guest memory is host memory at the guest's own addresses, so a guest access is one host access.
//! What makes that safe:
//!
//! * [`access`] — loads, stores, atomics and copies that return a [`MemFault`] instead of dying
//!   when the address is bad;
//! * [`bulk`] — repeated string moves;
//! * [`hash`] — maps and sets of addresses;
//! * [`host_fault`] — the signal handler behind them, which generated code registers with too;
//! * [`space`] — the map of what the guest has mapped, which every address the guest hands to a
//!   system call and every plugin access is checked against, and which write-protects pages that
//!   hold translated code.
//!
//! **Invariant: only the run thread touches guest memory through this crate, except where a
//! function says otherwise.**
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("emu-mem supports x86-64 Linux hosts only");

pub mod access;
mod alias;
pub mod bulk;
pub mod hash;
pub mod host_fault;
pub mod space;

pub use access::{FaultKind, MemFault};
pub use hash::{AddressMap, AddressSet};
pub use space::{AddressSpace, MapError, Mapping, Prot};

/// Page size of guest and host.
pub const PAGE: u64 = 4096;
