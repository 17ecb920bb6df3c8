//! The Linux personality: what a Linux kernel is to a user program, on top of an engine that runs
//! guest instructions.
//!
//! Start at [`Process`]: [`Process::load`] builds one from an executable and `Process::run` runs it
//! to its end. The engine is seen only through the [`Machine`] trait, which also takes the events
//! that plugins watch.
//!
//! Layers, from the outside in:
//! * [`process`], [`thread`] — the state of the guest process and of its threads;
//! * [`elf`], [`load`], [`stack`], [`vdso`], [`title`] — what `execve` does;
//! * [`mm`] — the guest's address space;
//! * [`signal`] — queues, delivery, frames;
//! * [`seccomp`] — the guest's filters on its own calls;
//! * [`sched`], [`companion`] — turns of guest threads, blocking calls on host threads;
//! * [`sys`] — the system calls: one table row and one function each.

pub mod abi;
pub mod attention;
pub mod companion;
mod cpu_time;
mod cpuinfo;
pub mod elf;
mod engine;
pub mod errno;
pub mod events;
mod executable;
pub mod limits;
pub mod load;
pub mod machine;
pub mod mm;
mod modify;
pub mod nondet;
pub mod process;
pub mod procfs;
mod published;
mod robust;
pub mod room;
mod run;
pub mod sched;
pub mod seccomp;
pub mod segments;
pub mod signal;
pub mod stack;
pub mod sys;
pub mod thread;
pub mod timers;
pub mod title;
mod trap;
pub mod turns;
pub mod vdso;

pub use abi::Abi;
pub use errno::{Errno, SysResult};
pub use events::Event;
pub use load::{LoadError, LoadRequest};
pub use machine::{Machine, Stop};
pub use process::{ExitStatus, Process};
pub use run::end_host_process;
pub use thread::Thread;
