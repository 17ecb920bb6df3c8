//! The wire format: C structures with fixed-width fields, exactly as `include/panda_plugin.h` has
//! them.
//!
//! # Rules
//! * Every structure begins with its `struct_size` in bytes (arrays carry the size of an element
//!   beside the pointer; [`PluginEntry`] begins with a magic number). A reader uses a field only if
//!   the size covers it; a field or function is never removed, moved or given a new meaning while
//!   [`ABI_MAJOR`] stays the same.
//! * A function that a host does not have is null.
//! * Enumerations are `u32`; a reader tolerates values it does not know.
//! * Text and bytes passed to the other side are borrowed for the call. What a table hands out as
//!   [`Str`] lives as long as its documentation says. Nobody frees the other's memory.
//! * Everything is called on the thread that runs the guest, except functions marked *any thread*.
//! * No panic and no C++ exception leaves a function of this interface.

use abi_stable::StableAbi;
mod callback;
mod callstack;
mod entry;
mod host;
mod services;
mod text;

pub use callback::*;
pub use callstack::*;
pub use entry::*;
pub use host::*;
pub use services::*;
pub use text::*;

/// The major version: plugin and host must agree. It is part of the entry symbol's name.
pub const ABI_MAJOR: u32 = 1;

/// The minor version: raised by every addition.
pub const ABI_MINOR: u32 = 1;

/// The processor a callback runs on: opaque, and valid only until the callback returns.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct PandaCpu {
    opaque: [u8; 0],
}

/// The host's handle of a loaded plugin: opaque, valid from `init` until `uninit` returns.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct PandaPlugin {
    opaque: [u8; 0],
}

/// The identity of a subscription or counter; holds a generation, so that a stale one is refused.
/// 0 is never valid.
pub type PandaId = u64;

/// Status codes: the result of every function that can fail.
pub mod status {
    /// Done.
    pub const OK: u32 = 0;
    /// An argument is wrong (null pointer, bad text, impossible size).
    pub const INVALID: u32 = 1;
    /// No such callback kind, register, service, address space or counter.
    pub const UNKNOWN: u32 = 2;
    /// The id is stale or belongs to another plugin.
    pub const STALE_ID: u32 = 3;
    /// This host knows it but cannot do it here.
    pub const UNSUPPORTED: u32 = 4;
    /// Guest memory at that address cannot be read or written.
    pub const FAULT: u32 = 5;
    /// The caller's buffer is too small.
    pub const TOO_SMALL: u32 = 6;
    /// The subscription did not declare this access in its flags.
    pub const NOT_DECLARED: u32 = 7;
    /// Not now: outside a callback, or before the guest is loaded.
    pub const NOT_NOW: u32 = 8;
    /// Already there.
    pub const EXISTS: u32 = 9;
    /// The plugin failed; it reported why through `plugin_failed`.
    pub const FAILED: u32 = 10;
}

/// Log levels.
pub mod level {
    /// Something failed.
    pub const ERROR: u32 = 1;
    /// Something is probably wrong.
    pub const WARN: u32 = 2;
    /// What a user likes to know.
    pub const INFO: u32 = 3;
    /// What a developer likes to know.
    pub const DEBUG: u32 = 4;
    /// Everything.
    pub const TRACE: u32 = 5;
}

/// Guest architectures.
pub mod arch {
    /// 32-bit x86.
    pub const I386: u32 = 1;
    /// 64-bit x86.
    pub const X86_64: u32 = 2;
    /// 32-bit ARM.
    pub const ARM: u32 = 3;
    /// 64-bit ARM.
    pub const AARCH64: u32 = 4;
}
