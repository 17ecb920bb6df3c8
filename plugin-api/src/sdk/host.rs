//! The host's tables as the SDK keeps them.

use core::ffi::c_void;
use std::borrow::Cow;

use super::Error;
use crate::abi::{
    ConditionsApi, CountersApi, HostApi, MemApi, MonitorApi, OsApi, PandaPlugin, RegsApi, Str,
    service, status,
};

/// A table or payload that begins with its size and for which all-zero bytes are a valid value.
///
/// # Safety
/// Both must hold.
pub(crate) unsafe trait Sized32: Copy {}

macro_rules! sized32 {
    ($($t:ty),*) => {$(
        // SAFETY: `repr(C)`, begins with `struct_size: u32`; integers, pointers and optional
        // function pointers may all be zero.
        unsafe impl Sized32 for $t {}
    )*};
}
sized32!(HostApi, MemApi, RegsApi, OsApi, CountersApi, ConditionsApi, MonitorApi);
sized32!(
    crate::abi::BlockInfo,
    crate::abi::SyscallInfo,
    crate::abi::ModuleInfo,
    crate::abi::ThreadInfo,
    crate::abi::ForkInfo,
    crate::abi::ExecInfo,
    crate::abi::SignalInfo,
    crate::abi::InitInfo,
    crate::abi::CallInfo
);

/// Copies a structure of the other side, whatever minor version it has: fields it does not have
/// are zero, fields unknown here are left out. A null pointer gives zeros.
///
/// # Safety
/// `from` is null or points to a structure whose first field is its true size.
pub(crate) unsafe fn copy_sized<T: Sized32>(from: *const T) -> T {
    // SAFETY: promised by the caller and by the trait.
    unsafe { copy_prefix(from) }
}

/// As [`copy_sized`], for types without the trait.
///
/// # Safety
/// As there; all-zero bytes are a valid `T`.
pub(crate) unsafe fn copy_prefix<T: Copy>(from: *const T) -> T {
    let mut to = core::mem::MaybeUninit::<T>::zeroed();
    if !from.is_null() {
        // SAFETY: the first field is a u32, by the caller's promise.
        let size = unsafe { from.cast::<u32>().read() } as usize;
        // SAFETY: both sides have that many bytes.
        unsafe {
            core::ptr::copy_nonoverlapping(
                from.cast::<u8>(),
                to.as_mut_ptr().cast::<u8>(),
                size.min(core::mem::size_of::<T>()),
            );
        }
    }
    // SAFETY: `T` is valid when zero, and the bytes copied over it come from a `T`.
    unsafe { to.assume_init() }
}

/// Where log lines go; usable from any thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logger {
    api: *const HostApi,
    plugin: *mut PandaPlugin,
    log: Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin, u32, Str)>,
    level: Option<unsafe extern "C" fn(*const HostApi, *mut PandaPlugin) -> u32>,
}

// SAFETY: `log` and `log_level` may be called from any thread, by the contract.
unsafe impl Send for Logger {}
// SAFETY: as above.
unsafe impl Sync for Logger {}

impl Logger {
    pub(crate) fn log(&self, level: u32, text: &str) {
        if let Some(log) = self.log {
            // SAFETY: valid until `uninit`, which ends the use of this logger.
            unsafe { log(self.api, self.plugin, level, Str::new(text)) };
        }
    }

    pub(crate) fn level(&self) -> u32 {
        match self.level {
            // SAFETY: as above.
            Some(level) => unsafe { level(self.api, self.plugin) },
            None => crate::abi::level::INFO,
        }
    }
}

/// The tables, fetched once.
pub(crate) struct Host {
    pub(crate) ptr: *const HostApi,
    pub(crate) plugin: *mut PandaPlugin,
    pub(crate) api: HostApi,
    pub(crate) mem: MemApi,
    pub(crate) regs: RegsApi,
    pub(crate) os: OsApi,
    pub(crate) counters: CountersApi,
    pub(crate) conditions: ConditionsApi,
    pub(crate) monitor: MonitorApi,
}

impl Host {
    /// # Safety
    /// The pointers are those that `init` received.
    pub(crate) unsafe fn new(ptr: *const HostApi, plugin: *mut PandaPlugin) -> Host {
        // SAFETY: promised by the caller.
        let api = unsafe { copy_sized(ptr) };
        let find = |id: &str| match api.get_extension {
            // SAFETY: host function with the pointers it gave us.
            Some(get) => unsafe { get(ptr, plugin, Str::new(id)) },
            None => core::ptr::null::<c_void>(),
        };
        // SAFETY: the host returns null or the table that belongs to the id.
        unsafe {
            Host {
                ptr,
                plugin,
                api,
                mem: copy_sized(find(service::MEM).cast()),
                regs: copy_sized(find(service::REGS).cast()),
                os: copy_sized(find(service::OS).cast()),
                counters: copy_sized(find(service::COUNTERS).cast()),
                conditions: copy_sized(find(service::CONDITIONS).cast()),
                monitor: copy_sized(find(service::MONITOR).cast()),
            }
        }
    }

    pub(crate) fn logger(&self) -> Logger {
        Logger { api: self.ptr, plugin: self.plugin, log: self.api.log, level: self.api.log_level }
    }

    pub(crate) fn log(&self, level: u32, text: &str) {
        self.logger().log(level, text);
    }

    pub(crate) fn failed(&self, text: &str) {
        match self.api.plugin_failed {
            // SAFETY: host function with the pointers it gave us.
            Some(f) => unsafe { f(self.ptr, self.plugin, Str::new(text)) },
            None => self.log(crate::abi::level::ERROR, text),
        }
    }

    pub(crate) fn request_stop(&self, code: i32, reason: &str) -> Result<(), Error> {
        let status = match self.api.request_stop {
            // SAFETY: host function with the pointers it gave us.
            Some(f) => unsafe { f(self.ptr, self.plugin, code, Str::new(reason)) },
            None => status::UNSUPPORTED,
        };
        Error::unless_ok(status, || "stopping the guest".to_owned())
    }

    pub(crate) fn syscall_name(&self, abi: u32, number: u64) -> Option<Cow<'static, str>> {
        let f = self.os.syscall_name?;
        // SAFETY: host function with its handle; the name it returns is static.
        let name = unsafe { f(self.plugin, abi, number).text() };
        (!name.is_empty()).then_some(name)
    }

    pub(crate) fn word_size(&self) -> u32 {
        // SAFETY: host function with the handle it gave us.
        self.os.word_size.map_or(8, |f| unsafe { f(self.plugin) })
    }
}
