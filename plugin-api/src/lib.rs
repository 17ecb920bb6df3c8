//! The plugin contract: what a plugin and its host may assume about each other.
//!
//! A plugin is a shared library that watches a guest through callbacks. Its author writes a
//! structure, says in [`Plugin::init`] what it wants to see, and exports it with
//! [`export_plugin!`]. This one logs every system call an x86-64 guest makes:
//!
//! ```
//! use plugin_api::prelude::*;
//!
//! struct Syscalls {
//!     log: Output,
//!     rax: Reg,
//! }
//!
//! impl Plugin for Syscalls {
//!     fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
//!         // Only instructions that enter the kernel cost anything while the guest runs.
//!         reg.insn_translate(|_, _, insn| insn.bytes == [0x0f, 0x05])?;
//!         reg.insn_exec(|this, cpu, pc| {
//!             let number = cpu.reg(this.rax).unwrap_or_default();
//!             writeln!(this.log, "PC={}, SYSCALL={}", cpu.word(pc), cpu.word(number));
//!         })?;
//!         Ok(Syscalls { log: reg.output("syscalls.txt")?, rax: reg.reg("rax")? })
//!     }
//! }
//!
//! export_plugin!(Syscalls, name: "syscalls", about: "Logs system calls");
//! # fn main() {}
//! ```
//!
//! * [`Registrar`] has a method for each kind of event.
//! * [`Cpu`] gives registers, memory and the guest's identity during a callback.
//! * [`CallStack`] knows the callers of the running function; [`ServiceTable`] is for services of your own.
//! * [`Output`] writes files that survive forks, signals and full disks.
//! * `testing` (a feature) is a host for unit tests of plugins.
//! * [`abi`] is the wire format, a C ABI with a version of its own. Plugins in C or C++ use it
//!   through `include/panda_plugin.h`.
//!
//! Callbacks run one at a time, on the thread that runs the guest. A panic in a plugin ends that
//! plugin, not the host.
//!
//! This crate depends on nothing else of the project, so that a plugin outside the workspace needs
//! this crate and nothing more.

pub mod abi;
mod sdk;
#[cfg(feature = "testing")]
pub mod testing;
pub mod witness;

pub use abi::Str;
#[doc(hidden)]
pub use sdk::entry::{entry, requiring};
pub use sdk::*;

/// What most plugins use.
pub mod prelude {
    pub use crate::{
        Arg, Args, BlockInfo, Counter, CounterKind, Cpu, Error, Insn, MemAccess, Output, Plugin,
        Reg, Registrar, Str, SyscallInfo, export_plugin,
    };
}
