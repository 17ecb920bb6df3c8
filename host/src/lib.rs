//! The host program.

pub mod cli;
pub mod config;
pub mod discover;
pub mod log;
pub mod plugin_list;
pub mod suggest;
