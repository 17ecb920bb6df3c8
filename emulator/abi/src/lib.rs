//! The host's side of the plugin contract: the C tables of `plugin_api::abi` on top of
//! `emu_engine`.
//!
//! * [`Entry`] is what a library exports, checked.
//! * [`PluginSlot`] is a plugin in a run: it starts it, flushes it, ends it, and hands it the tables.
//! * [`ArgSpec`] and [`check_args`] check arguments against what the plugin declares.
//!
//! How an entry got into memory (files, `dlopen`) is not known here.

mod args;
mod core_table;
mod entry;
mod services;
mod slot;
mod tables;

pub use args::{ArgError, ArgSpec, GivenValue, Values, check_args};
pub use entry::{Entry, EntryError, InitFn};
pub use services::Services;
pub use slot::{Loader, LogSink, PluginSlot, SlotConfig, StartError};
