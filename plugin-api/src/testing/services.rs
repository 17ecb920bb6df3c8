//! Services under the mock host: the plugin's own, those a test offers, and a `panda.callstack/1` that says
//! what the test told it.
//!
//! # Safety
//! All functions: called by the loaded plugin as the contract says, with handles of this host.

use core::ffi::c_void;

use super::host::State;
use crate::abi::{
    CALLSTACK, CallFn, CallStackApi, HostApi, PandaCpu, PandaId, PandaPlugin, Str, status,
};

/// The mock's own call stack; the context is to be filled in.
pub(super) const CALLS: CallStackApi = CallStackApi {
    struct_size: CallStackApi::SIZE,
    reserved: 0,
    context: core::ptr::null_mut(),
    caller: Some(caller),
    callers: Some(list),
    functions: Some(list),
    listen: Some(listen),
    unlisten: Some(unlisten),
};

/// The table of a service.
pub(super) fn find(state: &State, id: &str) -> Option<*const c_void> {
    let services = state.services.borrow();
    let found = services.iter().find(|(name, _)| name == id).map(|(_, table)| *table);
    found.or_else(|| (id == CALLSTACK).then(|| state.calls.as_ptr().cast_const().cast()))
}

/// # Safety
/// As the module says.
unsafe fn of<'a>(state: *mut c_void) -> &'a State {
    // SAFETY: handles of this host point to its state.
    unsafe { &*state.cast::<State>().cast_const() }
}

pub(super) unsafe extern "C" fn provide_service(
    _: *const HostApi,
    plugin: *mut PandaPlugin,
    id: Str,
    table: *const c_void,
) -> u32 {
    // SAFETY: see the module.
    let (state, id) = unsafe { (of(plugin.cast()), id.text().into_owned()) };
    if id.is_empty() || table.is_null() {
        return status::INVALID;
    }
    let mut services = state.services.borrow_mut();
    if services.iter().any(|(name, _)| *name == id) {
        return status::EXISTS;
    }
    services.push((id, table));
    status::OK
}

pub(super) unsafe extern "C" fn use_service(
    _: *const HostApi,
    plugin: *mut PandaPlugin,
    id: Str,
    least: u32,
    table: *mut *const c_void,
) -> u32 {
    // SAFETY: see the module; a table begins with its size.
    unsafe {
        let Some(found) = find(of(plugin.cast()), &id.text()) else { return status::UNKNOWN };
        if found.cast::<u32>().read() < least {
            return status::TOO_SMALL;
        }
        *table = found;
    }
    status::OK
}

unsafe extern "C" fn caller(context: *mut c_void, _: *mut PandaCpu, out: *mut u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        match of(context).callers.borrow().first() {
            Some(&caller) => *out = caller,
            None => return status::UNKNOWN,
        }
    }
    status::OK
}

unsafe extern "C" fn list(
    context: *mut c_void,
    _: *mut PandaCpu,
    buf: *mut u64,
    size: u64,
    count: *mut u64,
) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let callers = of(context).callers.borrow();
        for (n, caller) in callers.iter().take(size as usize).enumerate() {
            buf.add(n).write(*caller);
        }
        *count = callers.len() as u64;
    }
    status::OK
}

unsafe extern "C" fn listen(
    _: *mut c_void,
    _: u32,
    _: Option<CallFn>,
    _: *mut c_void,
    id: *mut PandaId,
) -> u32 {
    // Accepted and never called: events of calls need a guest.
    // SAFETY: see the module.
    unsafe { *id = 1 };
    status::OK
}

unsafe extern "C" fn unlisten(_: *mut c_void, _: PandaId) -> u32 {
    status::OK
}
