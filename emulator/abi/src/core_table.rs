//! The functions of `HostApi`.
//!
//! # Safety
//! All of them: called by a plugin with the table and the handle its `init` received, and with
//! arguments as `plugin_api::abi::HostApi` says.

use core::ffi::c_void;
use core::sync::atomic::Ordering;
use std::borrow::Cow;
use std::sync::PoisonError;

use emu_engine::{RegisterError, SubscriptionId};
use plugin_api::abi::{
    ABI_MAJOR, ABI_MINOR, CallbackDesc, HostApi, PandaId, PandaPlugin, Str, service, status,
};

use crate::slot::{Inner, SlotConfig};
use crate::tables;

/// A table without functions.
pub(crate) const EMPTY: HostApi = HostApi {
    struct_size: HostApi::SIZE,
    abi_major: ABI_MAJOR,
    abi_minor: ABI_MINOR,
    reserved: 0,
    name: Str::EMPTY,
    version: Str::EMPTY,
    context: core::ptr::null_mut(),
    log: None,
    get_extension: None,
    register_cb: None,
    unregister_cb: None,
    enable_cb: None,
    disable_cb: None,
    request_stop: None,
    plugin_failed: None,
    unload_self: None,
    provide_service: None,
    use_service: None,
    log_level: None,
    load_plugin: None,
};

/// The table; its texts live as long as `config`.
pub(crate) fn api(config: &SlotConfig) -> HostApi {
    HostApi {
        name: Str::new(&config.host_name),
        version: Str::new(&config.host_version),
        log: Some(log),
        get_extension: Some(get_extension),
        register_cb: Some(register_cb),
        unregister_cb: Some(unregister_cb),
        enable_cb: Some(enable_cb),
        disable_cb: Some(disable_cb),
        request_stop: Some(request_stop),
        plugin_failed: Some(plugin_failed),
        unload_self: Some(unload_self),
        provide_service: Some(provide_service),
        use_service: Some(use_service),
        log_level: Some(log_level),
        load_plugin: Some(load_plugin),
        ..EMPTY
    }
}

type Host = *const HostApi;
type Plugin = *mut PandaPlugin;

/// The slot behind a handle; for the run thread.
///
/// # Safety
/// As the module says.
pub(crate) unsafe fn inner<'a>(plugin: Plugin) -> Option<&'a Inner> {
    // SAFETY: a handle is null or points to the slot, which lives until `uninit` returned.
    unsafe { plugin.cast::<Inner>().cast_const().as_ref() }
}

/// Text of a plugin; bytes that are not UTF-8 are replaced.
///
/// # Safety
/// As the module says.
pub(crate) unsafe fn text<'a>(s: Str) -> Cow<'a, str> {
    // SAFETY: valid for the call.
    unsafe { s.text() }
}

unsafe extern "C" fn log(_: Host, plugin: Plugin, level: u32, line: Str) {
    let p = plugin.cast::<Inner>().cast_const();
    if p.is_null() {
        return;
    }
    // SAFETY: only `Sync` fields are touched: this may be any thread.
    unsafe { ((*p).config.log)(&(*p).name, level, &text(line)) };
}

unsafe extern "C" fn log_level(_: Host, plugin: Plugin) -> u32 {
    let p = plugin.cast::<Inner>().cast_const();
    if p.is_null() {
        return 0;
    }
    // SAFETY: as in `log`.
    unsafe { (*p).level.load(Ordering::Relaxed) }
}

unsafe extern "C" fn plugin_failed(_: Host, plugin: Plugin, reason: Str) {
    let p = plugin.cast::<Inner>().cast_const();
    if p.is_null() {
        return;
    }
    // SAFETY: only `Sync` fields are touched, unless this is the run thread.
    unsafe {
        let reason = text(reason).into_owned();
        (&raw const (*p).failure)
            .as_ref()
            .map(|f| f.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason).len());
        (*p).failed.store(true, Ordering::Release);
        if (*p).thread == std::thread::current().id() {
            (*p).shared.remove_owner((*p).owner);
        }
    }
}

unsafe extern "C" fn get_extension(_: Host, _: Plugin, id: Str) -> *const c_void {
    // SAFETY: valid for the call.
    let id = unsafe { id.bytes() };
    let is = |name: &str| id == name.as_bytes();
    if is(service::MEM) {
        (&raw const tables::MEM).cast()
    } else if is(service::REGS) {
        (&raw const tables::REGS).cast()
    } else if is(service::OS) {
        (&raw const tables::OS).cast()
    } else if is(service::COUNTERS) {
        (&raw const tables::COUNTERS).cast()
    } else if is(service::CONDITIONS) {
        (&raw const tables::CONDITIONS).cast()
    } else if is(service::MONITOR) {
        (&raw const tables::MONITOR).cast()
    } else {
        core::ptr::null()
    }
}

/// Bytes of a `CallbackDesc` of version 1.0.
const DESC: u32 = CallbackDesc::SIZE;

unsafe extern "C" fn register_cb(
    _: Host,
    plugin: Plugin,
    kind: u32,
    desc: *const CallbackDesc,
    id: *mut PandaId,
) -> u32 {
    // SAFETY: see the module; the first field says whether the others are there.
    unsafe {
        let Some(inner) = inner(plugin) else { return status::INVALID };
        if desc.is_null() || id.is_null() || (*desc).struct_size < DESC {
            return status::INVALID;
        }
        let desc = &*desc;
        let func = desc.func.map_or(0, |f| f as usize);
        match inner.shared.register(inner.owner, kind, func, desc.user as usize, desc.flags) {
            Ok(SubscriptionId(n)) => {
                *id = n;
                status::OK
            }
            Err(e) => refused(e),
        }
    }
}

fn refused(e: RegisterError) -> u32 {
    match e {
        RegisterError::UnknownKind(_) => status::UNKNOWN,
        RegisterError::NullFunction => status::INVALID,
        RegisterError::UnknownSubscription => status::STALE_ID,
        RegisterError::NoConditions => status::UNSUPPORTED,
    }
}

pub(crate) fn done(result: Result<(), RegisterError>) -> u32 {
    result.map_or_else(refused, |()| status::OK)
}

unsafe extern "C" fn unregister_cb(_: Host, plugin: Plugin, id: PandaId) -> u32 {
    // SAFETY: see the module.
    match unsafe { inner(plugin) } {
        Some(inner) => done(inner.shared.unregister(inner.owner, SubscriptionId(id))),
        None => status::INVALID,
    }
}

unsafe extern "C" fn enable_cb(_: Host, plugin: Plugin, id: PandaId) -> u32 {
    // SAFETY: see the module.
    match unsafe { inner(plugin) } {
        Some(inner) => done(inner.shared.set_enabled(inner.owner, SubscriptionId(id), true)),
        None => status::INVALID,
    }
}

unsafe extern "C" fn disable_cb(_: Host, plugin: Plugin, id: PandaId) -> u32 {
    // SAFETY: see the module.
    match unsafe { inner(plugin) } {
        Some(inner) => done(inner.shared.set_enabled(inner.owner, SubscriptionId(id), false)),
        None => status::INVALID,
    }
}

unsafe extern "C" fn request_stop(_: Host, plugin: Plugin, code: i32, reason: Str) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some(inner) = inner(plugin) else { return status::INVALID };
        let reason = text(reason);
        inner.shared.request_stop(code, &format!("plugin {}: {reason}", inner.name));
    }
    status::OK
}

unsafe extern "C" fn unload_self(_: Host, plugin: Plugin) -> u32 {
    // SAFETY: see the module.
    let Some(inner) = (unsafe { inner(plugin) }) else { return status::INVALID };
    inner.unload.set(true);
    inner.shared.remove_owner(inner.owner);
    status::OK
}

unsafe extern "C" fn load_plugin(_: Host, plugin: Plugin, name: Str) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some(inner) = inner(plugin) else { return status::INVALID };
        let name = text(name);
        if name.is_empty() {
            return status::INVALID;
        }
        if (inner.config.load)(inner.owner, &inner.name, &name) {
            status::OK
        } else {
            status::FAILED
        }
    }
}

unsafe extern "C" fn provide_service(
    _: Host,
    plugin: Plugin,
    id: Str,
    table: *const c_void,
) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some(inner) = inner(plugin) else { return status::INVALID };
        let id = text(id);
        if id.is_empty() || table.is_null() {
            return status::INVALID;
        }
        // The host's own tables cannot be replaced.
        if !get_extension(core::ptr::null(), plugin, Str::new(&id)).is_null()
            || !inner.config.services.provide(inner.owner, &id, table)
        {
            return status::EXISTS;
        }
    }
    status::OK
}

unsafe extern "C" fn use_service(
    _: Host,
    plugin: Plugin,
    id: Str,
    least: u32,
    table: *mut *const c_void,
) -> u32 {
    // SAFETY: see the module; a service's table begins with its size.
    unsafe {
        let Some(inner) = inner(plugin) else { return status::INVALID };
        if table.is_null() {
            return status::INVALID;
        }
        match inner.config.services.take(inner.owner, &text(id), least) {
            Ok(found) => *table = found,
            Err(status) => return status,
        }
    }
    status::OK
}
