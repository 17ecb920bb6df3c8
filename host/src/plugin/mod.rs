//! Plugins: opening their libraries, starting and ending them.

mod library;
mod manager;
mod order;
mod refusal;

pub use library::PluginLibrary;
pub use manager::{Loaded, Plugins, Settings, Wanted};
pub use order::provider_of;
pub use refusal::Refusal;
