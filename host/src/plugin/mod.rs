//! Plugins: opening their libraries, starting and ending them.

mod library;
mod manager;
mod refusal;

pub use library::PluginLibrary;
pub use manager::{Loaded, Plugins, Settings, Wanted};
pub use refusal::Refusal;
