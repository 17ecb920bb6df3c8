//! Plugins: opening their libraries, starting and ending them.

mod library;
mod loader;
mod manager;
mod open;
mod order;
mod refusal;
mod reply;
mod swap;
mod threads;

pub use library::{PluginLibrary, Retired, memory_of};
pub use manager::Plugins;
pub use open::{Loaded, Settings, Wanted, values};
pub use order::provider_of;
pub use refusal::Refusal;
pub use reply::collect;
pub use swap::Ending;
