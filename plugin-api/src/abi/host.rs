//! The host's core table.

use super::{CallbackDesc, PandaId, PandaPlugin, Str};
use abi_stable::StableAbi;
use core::ffi::c_void;

/// The functions every host has. Anything else is a table fetched by id
/// ([`HostApi::get_extension`]).
///
/// Valid from `init` until `uninit` returns. Every function takes the table itself first and the
/// plugin's handle second.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct HostApi {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// Major version of the interface.
    pub abi_major: u32,
    /// Minor version of the interface.
    pub abi_minor: u32,
    /// 0.
    pub reserved: u32,
    /// Name of the host program.
    pub name: Str,
    /// Its version.
    pub version: Str,
    /// For the host's own use.
    pub context: *mut c_void,

    /// Writes to the host's log: ([`super::level`], text). *Any thread.*
    pub log: Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, u32, Str)>,
    /// A service table of the host by id (`panda.mem/1`), or null. The table lives as long as this
    /// one. *Any thread.*
    pub get_extension:
        Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, Str) -> *const c_void>,
    /// Subscribes: (kind, registration, where to store the id). Takes effect at once, also from
    /// inside a callback.
    pub register_cb: Option<
        unsafe extern "C" fn(
            *const HostApi,
            *mut PandaPlugin,
            u32,
            *const CallbackDesc,
            *mut PandaId,
        ) -> u32,
    >,
    /// Ends a subscription; the callback does not run again, also when called from inside it.
    pub unregister_cb:
        Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, PandaId) -> u32>,
    /// Switches a disabled subscription on.
    pub enable_cb: Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, PandaId) -> u32>,
    /// Switches a subscription off until it is enabled.
    pub disable_cb: Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, PandaId) -> u32>,
    /// Stops the guest after the current callback: (exit status for the host, reason).
    pub request_stop:
        Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, i32, Str) -> u32>,
    /// The plugin cannot go on (panic, failed init): the host removes its callbacks once the
    /// current one returned, and follows its policy. *Any thread.*
    pub plugin_failed: Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, Str)>,
    /// Unloads this plugin after the current callback.
    pub unload_self: Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin) -> u32>,
    /// Offers a table to other plugins: (id, table that begins with its `struct_size`).
    pub provide_service:
        Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, Str, *const c_void) -> u32>,
    /// Another plugin's table: (id, smallest size, where to store the pointer).
    pub use_service: Option<
        unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, Str, u32, *mut *const c_void) -> u32,
    >,
    /// The most detailed [`super::level`] the log shows. *Any thread.*
    pub log_level: Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin) -> u32>,
    /// Loads and starts another plugin before it returns, unless it runs: (name, or path of the library).
    /// Also in init and in callbacks. `FAILED`: the log says why. Since 1.1.
    pub load_plugin: Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, Str) -> u32>,
}

/// A function on a subscription.
pub type IdFn = unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, PandaId) -> u32;

// SAFETY: plain data; the functions say from which thread they may be called.
unsafe impl Sync for HostApi {}

impl HostApi {
    /// What belongs into `struct_size`.
    pub const SIZE: u32 = core::mem::size_of::<HostApi>() as u32;
}
