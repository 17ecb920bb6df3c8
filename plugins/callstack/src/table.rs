//! The functions of the table.
//!
//! # Safety
//! All of them: called with the table's context, inside a callback where they take a processor, and with
//! arguments as `plugin_api::abi::CallStackApi` says, before this plugin has ended.

use core::ffi::c_void;
use std::rc::Rc;

use plugin_api::abi::{CallFn, CallStackApi, PandaCpu, PandaId, call_event, status};
use plugin_api::serve;

use crate::Shared;
use crate::stacks::Call;

/// The table for a context.
pub fn table(context: *mut c_void) -> CallStackApi {
    CallStackApi {
        struct_size: CallStackApi::SIZE,
        reserved: 0,
        context,
        caller: Some(caller),
        callers: Some(callers),
        functions: Some(functions),
        listen: Some(listen),
        unlisten: Some(unlisten),
    }
}

unsafe extern "C" fn caller(context: *mut c_void, cpu: *mut PandaCpu, out: *mut u64) -> u32 {
    if out.is_null() {
        return status::INVALID;
    }
    // SAFETY: see the module.
    unsafe {
        serve(context, cpu, status::NOT_NOW, |s: &Rc<Shared>, cpu| {
            if !s.reads_registers(cpu) {
                return status::NOT_DECLARED;
            }
            match s.calls.caller(cpu) {
                Some(returns_to) => {
                    *out = returns_to;
                    status::OK
                }
                None => status::UNKNOWN,
            }
        })
    }
}

unsafe extern "C" fn callers(
    context: *mut c_void,
    cpu: *mut PandaCpu,
    buf: *mut u64,
    size: u64,
    count: *mut u64,
) -> u32 {
    // SAFETY: see the module.
    unsafe { list(context, cpu, buf, size, count, |c| c.returns_to) }
}

unsafe extern "C" fn functions(
    context: *mut c_void,
    cpu: *mut PandaCpu,
    buf: *mut u64,
    size: u64,
    count: *mut u64,
) -> u32 {
    // SAFETY: see the module.
    unsafe { list(context, cpu, buf, size, count, |c| c.callee) }
}

/// # Safety
/// See the module.
unsafe fn list(
    context: *mut c_void,
    cpu: *mut PandaCpu,
    buf: *mut u64,
    size: u64,
    count: *mut u64,
    word: fn(&Call) -> u64,
) -> u32 {
    if count.is_null() || (buf.is_null() && size > 0) || size > (isize::MAX / 8) as u64 {
        return status::INVALID;
    }
    // SAFETY: see the module; the buffer has that many entries.
    unsafe {
        let buf =
            if size == 0 { &mut [] } else { core::slice::from_raw_parts_mut(buf, size as usize) };
        serve(context, cpu, status::NOT_NOW, |s: &Rc<Shared>, cpu| {
            if !s.reads_registers(cpu) {
                return status::NOT_DECLARED;
            }
            *count = s.calls.list(cpu, buf, word) as u64;
            status::OK
        })
    }
}

unsafe extern "C" fn listen(
    context: *mut c_void,
    events: u32,
    func: Option<CallFn>,
    user: *mut c_void,
    id: *mut PandaId,
) -> u32 {
    let (Some(func), false) = (func, id.is_null()) else { return status::INVALID };
    if events & (call_event::CALL | call_event::RETURN) == 0 {
        return status::UNKNOWN;
    }
    // SAFETY: see the module.
    unsafe {
        serve(context, core::ptr::null_mut(), status::NOT_NOW, |s: &Rc<Shared>, _| {
            if events & call_event::RETURN != 0 && !s.follow_returns() {
                return status::FAILED;
            }
            *id = s.calls.listen(events, func, user);
            status::OK
        })
    }
}

unsafe extern "C" fn unlisten(context: *mut c_void, id: PandaId) -> u32 {
    // SAFETY: see the module.
    unsafe {
        serve(context, core::ptr::null_mut(), status::NOT_NOW, |s: &Rc<Shared>, _| {
            if s.calls.unlisten(id) { status::OK } else { status::STALE_ID }
        })
    }
}
