//! What a plugin exports, and what its `init` receives.

use abi_stable::StableAbi;
use core::ffi::c_void;

use super::{HostApi, PandaPlugin, Str};

/// Name of the exported data symbol, a [`PluginEntry`].
pub const ENTRY_SYMBOL: &str = "panda_plugin_entry_v1";

/// [`PluginEntry::magic`]: the bytes `PANDAPLG` read as a little-endian number.
pub const ENTRY_MAGIC: u64 = u64::from_le_bytes(*b"PANDAPLG");

/// The description of a plugin, read before any of its functions runs.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct PluginEntry {
    /// [`ENTRY_MAGIC`].
    pub magic: u64,
    /// Bytes in this structure.
    pub struct_size: u32,
    /// Major version the plugin was built against.
    pub abi_major: u32,
    /// Minor version the plugin was built against; information only.
    pub abi_minor_built: u32,
    /// Smallest minor version of a host that the plugin works with.
    pub abi_minor_required: u32,
    /// 0.
    pub flags: u32,
    /// Number of [`PluginEntry::requires`].
    pub requires_count: u32,
    /// Name, by which users load it.
    pub name: Str,
    /// Version of the plugin.
    pub version: Str,
    /// One line about what it does.
    pub about: Str,
    /// Ids of other plugins' services it uses.
    pub requires: *const Str,
    /// Arguments it takes.
    pub args: *const ArgDesc,
    /// Number of arguments.
    pub args_count: u32,
    /// Bytes in one [`ArgDesc`].
    pub arg_size: u32,
    /// Starts the plugin: (host, handle, what it is started with, where to store its state).
    /// Anything but [`super::status::OK`] fails; the host then removes whatever was registered and
    /// does not call `uninit`. The reason goes to `plugin_failed` before returning.
    pub init: Option<
        unsafe extern "C" fn(
            *const HostApi,
            *mut PandaPlugin,
            *const InitInfo,
            *mut *mut c_void,
        ) -> u32,
    >,
    /// Ends the plugin: (state). No callback runs during or after it.
    pub uninit: Option<unsafe extern "C" fn(*mut c_void)>,
    /// Writes buffered output: (state, [`flush_reason`]). May be null. Returns a status.
    pub flush: Option<unsafe extern "C" fn(*mut c_void, u32) -> u32>,
    /// Optional tables of the plugin by id, or null.
    pub get_extension: Option<unsafe extern "C" fn(Str) -> *const c_void>,
}

// SAFETY: plain data that is never written.
unsafe impl Sync for PluginEntry {}

impl PluginEntry {
    /// What belongs into `struct_size`.
    pub const SIZE: u32 = core::mem::size_of::<PluginEntry>() as u32;
}

/// Why a plugin is asked to write its output.
pub mod flush_reason {
    /// The guest is about to fork: what is buffered would be written twice.
    pub const FORK: u32 = 1;
    /// The guest is about to be replaced by another program in a process of its own.
    pub const EXEC: u32 = 2;
    /// The host is about to end without `uninit` (a signal ends the guest or the host).
    pub const FATAL: u32 = 3;
    /// The user asked.
    pub const REQUEST: u32 = 4;
}

/// Types of arguments.
pub mod arg_kind {
    /// `true` or `false`; [`super::ArgValue::bits`] is 1 or 0.
    pub const BOOL: u32 = 1;
    /// Unsigned number; `bits` is it.
    pub const U64: u32 = 2;
    /// Signed number; `bits` is its two's complement.
    pub const I64: u32 = 3;
    /// Floating-point number; `bits` is its IEEE 754 encoding.
    pub const F64: u32 = 4;
    /// Text.
    pub const STRING: u32 = 5;
    /// A path; relative ones are relative to the output directory when written.
    pub const PATH: u32 = 6;
    /// One of [`super::ArgDesc::choices`]; `bits` is its index.
    pub const ENUM: u32 = 7;
    /// A list of texts.
    pub const LIST: u32 = 8;
}

/// Bits of [`ArgDesc::flags`].
pub mod arg_flags {
    /// Must be given.
    pub const REQUIRED: u32 = 1;
    /// Stands for every name that has no description of its own, as often as it is given; the values
    /// come in the order they were given, as [`super::arg_kind::STRING`]. The name is what help
    /// shows. Since 1.1.
    pub const ANY: u32 = 2;
}

/// An argument a plugin takes.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ArgDesc {
    /// Name.
    pub name: Str,
    /// [`arg_kind`].
    pub kind: u32,
    /// [`arg_flags`].
    pub flags: u32,
    /// Value when not given, as text; null pointer for none.
    pub default: Str,
    /// One line about it.
    pub help: Str,
    /// `ENUM`: the values it may have.
    pub choices: *const Str,
    /// Number of choices.
    pub choices_count: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: plain data that is never written.
unsafe impl Sync for ArgDesc {}

impl ArgDesc {
    /// Bytes in one, for [`PluginEntry::arg_size`].
    pub const SIZE: u32 = core::mem::size_of::<ArgDesc>() as u32;
}

/// An argument's value, checked against its description by the host.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ArgValue {
    /// Name.
    pub name: Str,
    /// [`arg_kind`].
    pub kind: u32,
    /// 1 when the user gave it, 0 when it is the default.
    pub given: u32,
    /// Value of the number-like kinds.
    pub bits: u64,
    /// Value as text (all kinds but `LIST`).
    pub text: Str,
    /// `LIST`: the items.
    pub items: *const Str,
    /// Number of items.
    pub items_count: u64,
}

/// What `init` receives. Borrowed for that call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct InitInfo {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// Number of argument values. An argument without a value and without a default is absent.
    pub args_count: u32,
    /// Bytes in one [`ArgValue`].
    pub arg_size: u32,
    /// 0.
    pub reserved: u32,
    /// Argument values.
    pub args: *const ArgValue,
}

impl InitInfo {
    /// What belongs into `struct_size`.
    pub const SIZE: u32 = core::mem::size_of::<InitInfo>() as u32;
}
