//! Why a plugin is not loaded.

use std::path::PathBuf;

use emu_abi::{ArgError, EntryError};
use plugin_api::witness::WitnessError;

/// One readable sentence for each reason.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No library of that name.
    #[error("there is no plugin `{name}`{hint}; looked in: {dirs}")]
    NotFound {
        /// The name asked for.
        name: String,
        /// A suggestion, or nothing.
        hint: String,
        /// The directories searched.
        dirs: String,
    },
    /// The file is no ELF file.
    #[error("{} is not a plugin: it is no shared library", .path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
    },
    /// The dynamic loader refused it.
    #[error("{} cannot be loaded: {reason}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The loader's reason.
        reason: String,
    },
    /// No description in it.
    #[error(
        "{} is not a plugin for this host: it has no symbol `{}`; build it against plugin-api \
         (Rust) or panda_plugin.h (C)",
        .path.display(),
        plugin_api::abi::ENTRY_SYMBOL
    )]
    NoEntry {
        /// The file.
        path: PathBuf,
    },
    /// Its description does not fit this host.
    #[error("{} cannot be used: {reason}{}", .path.display(), advice(.reason))]
    Entry {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: EntryError,
    },
    /// It was compiled with other types than this host.
    #[error("{} cannot be used: {reason}; rebuild the plugin", .path.display())]
    Witness {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: WitnessError,
    },
    /// A plugin of that name is loaded.
    #[error("plugin `{0}` is listed twice; a plugin can be loaded once")]
    Duplicate(String),
    /// An argument is wrong.
    #[error("{place}plugin `{plugin}`: {reason}; see `host plugin help {plugin}`")]
    Argument {
        /// `FILE:LINE:COLUMN: ` for one of the configuration file, or nothing.
        place: String,
        /// The plugin.
        plugin: String,
        /// What is wrong.
        reason: Box<ArgError>,
    },
    /// The file holds another plugin now.
    #[error(
        "the file of plugin `{old}` now holds the plugin `{new}`; unload the one and load the other"
    )]
    Renamed {
        /// The plugin that is loaded.
        old: String,
        /// The one in the file.
        new: String,
    },
    /// It was to be loaded for another plugin, and ended at once.
    #[error("plugin `{0}` has ended at once")]
    Gone(String),
    /// The host is short of file descriptors.
    #[error("no file descriptors can be set aside for the plugin: {0}")]
    Descriptors(String),
    /// A service nobody provides.
    #[error(
        "plugin `{plugin}` needs the service `{service}`, which no loaded plugin provides{hint}"
    )]
    MissingService {
        /// The plugin.
        plugin: String,
        /// The service.
        service: String,
        /// What to do.
        hint: String,
    },
    /// Plugins that wait for each other.
    #[error("plugins need each other's services, so that none can start first: {0}")]
    Cycle(String),
    /// The provider of a service it needs is not there any more.
    #[error("plugin `{plugin}` did not start: it needs the service `{service}` of `{provider}`")]
    ProviderFailed {
        /// The plugin.
        plugin: String,
        /// The service.
        service: String,
        /// Who would offer it.
        provider: String,
    },
    /// init said no.
    #[error("plugin `{plugin}` did not start: {reason}")]
    Init {
        /// The plugin.
        plugin: String,
        /// Its reason.
        reason: String,
    },
}

fn advice(e: &EntryError) -> &'static str {
    match e {
        EntryError::Major { .. } => "; get a build of the plugin for this host's API",
        EntryError::MinorTooNew { .. } => "; get a newer host",
        EntryError::BadMagic | EntryError::TooSmall { .. } | EntryError::Damaged(_) => {
            "; rebuild the plugin"
        }
    }
}
