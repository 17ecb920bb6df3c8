//! The engine: runs a guest CPU block by block and tells subscribers what it does.
//!
//! * [`Engine`] owns the block map and the tiers; [`Engine::run`] runs a CPU until something needs
//!   the personality (a system call, a fault, the end of the slice).
//! * [`Shared`] is the part callbacks may reach while the engine runs: the [`Registry`] of
//!   subscriptions, the guest's [`emu_mem::AddressSpace`], counters, the stop request. Plugin
//!   functions find it through the CPU header.
//! * [`instrument`] inserts hook ops into a lifted block, according to the subscriptions.
//!
//! **Invariant: no `RefCell` of [`Shared`] stays borrowed while a callback runs**, so a callback may
//! subscribe, unsubscribe, read memory or stop the run.
//!
//! **Invariant: an instruction for which `insn_translate` said no, and a callback kind nobody
//! subscribed to, leave no op in the block.**

mod attention;
mod blocks;
mod code;
mod counters;
mod engine;
mod events;
mod heat;
pub mod instrument;
mod registry;
mod shared;
mod stats;
mod verdicts;

pub use attention::{request_interrupt, request_interrupt_in};
pub use counters::{CounterId, CounterKind};
pub use emu_ir::Within;
pub use engine::{Engine, EngineConfig, Slice, Stop, Tier};
pub use registry::{OwnerId, RegisterError, Registry, Subscription, SubscriptionId};
pub use shared::{OsFacts, Shared, StopRequest};
pub use stats::{CallbackCount, Stats};
