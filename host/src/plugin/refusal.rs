//! Why a plugin is not loaded.

use std::path::PathBuf;

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
    #[error("{} is not a shared library", .path.display())]
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
    /// The description is not one.
    #[error("{} has a damaged plugin description: {what}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another major version.
    #[error(
        "plugin `{name}` is built for API {major}.x, this host has API {}.{}; get a build of the \
         plugin for API {}",
        plugin_api::abi::ABI_MAJOR,
        plugin_api::abi::ABI_MINOR,
        plugin_api::abi::ABI_MAJOR
    )]
    Major {
        /// Name of the plugin.
        name: String,
        /// Its major version.
        major: u32,
    },
    /// It needs a newer host.
    #[error(
        "plugin `{name}` needs API {}.{minor} or newer, this host has API {}.{}; get a newer host",
        plugin_api::abi::ABI_MAJOR,
        plugin_api::abi::ABI_MAJOR,
        plugin_api::abi::ABI_MINOR
    )]
    Minor {
        /// Name of the plugin.
        name: String,
        /// The minor version it requires.
        minor: u32,
    },
    /// A plugin of that name is loaded.
    #[error("plugin `{0}` is listed twice; a plugin can be loaded once")]
    Duplicate(String),
    /// An argument the plugin does not have.
    #[error("plugin `{plugin}` has no argument `{key}`{hint}; see `host plugin help {plugin}`")]
    UnknownArgument {
        /// The plugin.
        plugin: String,
        /// The argument.
        key: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// An argument of the wrong type.
    #[error("argument `{key}` of plugin `{plugin}` must be {expected}, not `{got}`")]
    BadArgument {
        /// The plugin.
        plugin: String,
        /// The argument.
        key: String,
        /// What it must be.
        expected: String,
        /// What was given.
        got: String,
    },
    /// An argument that must be given.
    #[error("plugin `{plugin}` needs the argument `{key}`: {help}")]
    MissingArgument {
        /// The plugin.
        plugin: String,
        /// The argument.
        key: String,
        /// What it is for.
        help: String,
    },
    /// A service nobody provides.
    #[error("plugin `{plugin}` needs the service `{service}`, which no loaded plugin provides")]
    MissingService {
        /// The plugin.
        plugin: String,
        /// The service.
        service: String,
    },
    /// init said no.
    #[error("plugin `{plugin}` did not start: {reason}; it is unloaded")]
    Init {
        /// The plugin.
        plugin: String,
        /// Its reason.
        reason: String,
    },
}
