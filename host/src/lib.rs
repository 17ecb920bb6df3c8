//! The host program: command line, configuration, plugin loading. Knows nothing of how guest code
//! is executed; that is the emulator's.

pub mod cli;
pub mod config;
pub mod containment;
pub mod descriptors;
pub mod discover;
pub mod log;
pub mod machine;
pub mod monitor;
pub mod panda_options;
pub mod plugin;
pub mod plugin_list;
pub mod room;
pub mod run;
pub mod sandbox;
pub mod scaffold;
pub mod show;
pub mod stats;
pub mod suggest;
pub mod validate;
