//! What a plugin library exports.

use core::ffi::c_void;
use std::rc::Rc;

use super::host::Host;
use super::info::FlushReason;
use super::instance::Instance;
use super::{Arg, Args, Plugin, Registrar, logging};
use crate::abi::{
    ABI_MAJOR, ABI_MINOR, ArgDesc, ENTRY_MAGIC, HostApi, InitInfo, PandaPlugin, PluginEntry, Str,
    status,
};

/// The entry for a plugin; [`crate::export_plugin!`] calls this.
#[doc(hidden)]
pub const fn entry<P: Plugin>(
    name: &'static str,
    version: &'static str,
    about: &'static str,
    args: &'static [Arg],
) -> PluginEntry {
    PluginEntry {
        magic: ENTRY_MAGIC,
        struct_size: PluginEntry::SIZE,
        abi_major: ABI_MAJOR,
        abi_minor_built: ABI_MINOR,
        abi_minor_required: 0,
        flags: 0,
        requires_count: 0,
        name: Str::new(name),
        version: Str::new(version),
        about: Str::new(about),
        requires: core::ptr::null(),
        // `Arg` is a transparent wrapper.
        args: args.as_ptr().cast::<ArgDesc>(),
        args_count: args.len() as u32,
        arg_size: ArgDesc::SIZE,
        init: Some(init::<P>),
        uninit: Some(uninit::<P>),
        flush: Some(flush::<P>),
        get_extension: None,
    }
}

/// The same entry with services it requires; [`crate::export_plugin!`] calls this.
#[doc(hidden)]
pub const fn requiring(entry: PluginEntry, ids: &'static [Str]) -> PluginEntry {
    PluginEntry { requires: ids.as_ptr(), requires_count: ids.len() as u32, ..entry }
}

/// # Safety
/// Called by a host as the contract says.
unsafe extern "C" fn init<P: Plugin>(
    host: *const HostApi,
    plugin: *mut PandaPlugin,
    info: *const InitInfo,
    state: *mut *mut c_void,
) -> u32 {
    if host.is_null() || state.is_null() {
        return status::INVALID;
    }
    // SAFETY: promised by the caller.
    let (host, args) = unsafe { (Host::new(host, plugin), Args::read(info)) };
    logging::install(host.logger());
    let instance = Rc::new(Instance::<P>::new(host));
    let result = instance
        .guarded("init", None, || Some(P::init(&mut Registrar::new(instance.clone()), &args)));
    match result {
        Some(Ok(plugin)) => {
            instance.begin(plugin);
            // SAFETY: checked above; the host gave it for this.
            unsafe { *state = Rc::into_raw(instance).cast_mut().cast() };
            return status::OK;
        }
        Some(Err(error)) => instance.shared.host.failed(&error.to_string()),
        None => {}
    }
    end(&instance);
    status::FAILED
}

/// # Safety
/// `state` is what a successful `init` stored; called once, last.
unsafe extern "C" fn uninit<P: Plugin>(state: *mut c_void) {
    if state.is_null() {
        return;
    }
    // SAFETY: made by `into_raw` in `init`.
    let instance = unsafe { Rc::from_raw(state.cast::<Instance<P>>().cast_const()) };
    let plugin = instance.end();
    instance.guarded("uninit", (), || {
        if let Some(mut plugin) = plugin {
            plugin.uninit();
        }
    });
    end(&instance);
}

/// Gives back everything that belongs to the host.
fn end<P: Plugin>(instance: &Rc<Instance<P>>) {
    // First what others would call the closures by.
    let mut exchange = core::mem::take(&mut *instance.shared.exchange.borrow_mut());
    instance.guarded("end of a service", (), || exchange.end());
    instance.discard_all();
    instance.shared.flush_outputs();
    instance.shared.alive.set(false);
    instance.guarded("end of a service", (), || drop(exchange));
    logging::uninstall();
}

/// # Safety
/// `state` is what a successful `init` stored, before `uninit`.
unsafe extern "C" fn flush<P: Plugin>(state: *mut c_void, reason: u32) -> u32 {
    if state.is_null() {
        return status::INVALID;
    }
    // SAFETY: promised by the caller.
    let instance = unsafe { &*state.cast::<Instance<P>>().cast_const() };
    instance.run("flush", core::ptr::null_mut(), (), |plugin, _| {
        plugin.flush(FlushReason::new(reason));
    });
    if instance.shared.flush_outputs() { status::OK } else { status::FAILED }
}
