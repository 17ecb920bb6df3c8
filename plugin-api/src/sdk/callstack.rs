//! Who called the running function: the service of the plugin `callstack`.

use core::ffi::c_void;

use super::host::copy_sized;
use super::instance::enter;
use super::{Cpu, Error, Plugin, Registrar, ServiceTable};
use crate::abi::{
    CALLSTACK, CallFn, CallInfo, CallStackApi, PandaCpu, call_event, call_flags, status,
};

// SAFETY: `repr(C)`, begins with its size; integers, pointers and optional functions may be zero.
unsafe impl ServiceTable for CallStackApi {
    const ID: &'static str = CALLSTACK;
    const LEAST: u32 = CallStackApi::SIZE;
}

/// The calls in progress on each guest thread.
///
/// The plugin `callstack` follows them once for all plugins. A plugin that uses this lists
/// [`CallStack::SERVICE`] among the services it requires; the host then loads `callstack` by itself.
///
/// ```
/// use plugin_api::prelude::*;
/// use plugin_api::CallStack;
///
/// struct Stores {
///     calls: CallStack,
/// }
///
/// impl Plugin for Stores {
///     fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
///         reg.virt_mem_after_write(|this, cpu, access| {
///             let caller = this.calls.caller(cpu).unwrap_or(0);
///             tracing::debug!("{caller:#x} {:#x}: {:?}", access.pc, access.data);
///         })?;
///         let calls = CallStack::new(reg)?;
///         calls.on_call(reg, |_, _, call| tracing::debug!("call of {:#x}", call.callee))?;
///         Ok(Stores { calls })
///     }
/// }
///
/// export_plugin!(Stores, name: "stores", about: "Says who stores", requires: [CallStack::SERVICE]);
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CallStack {
    table: CallStackApi,
}

/// A call, or the end of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Address of the call instruction.
    pub pc: u64,
    /// The entry of the function.
    pub callee: u64,
    /// The return address.
    pub returns_to: u64,
    /// Calls in progress below this one, as far as they were seen.
    pub depth: u32,
    /// Guest thread.
    pub tid: u32,
}

/// How a function was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallEnd {
    /// By a return instruction.
    Returned,
    /// By `longjmp` or an exception; told with the thread's next call or return.
    Unwound,
}

/// A listener, to end it before the plugin ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallListener(u64);

impl CallStack {
    /// Id of the service, for `requires`.
    pub const SERVICE: &'static str = CALLSTACK;

    /// Connects to the service.
    ///
    /// # Errors
    /// When `callstack` is not loaded.
    pub fn new<P: Plugin>(reg: &Registrar<P>) -> Result<CallStack, Error> {
        Ok(CallStack { table: reg.use_service()? })
    }

    /// The return address of the running function, if its call was seen.
    pub fn caller(&self, cpu: &Cpu<'_>) -> Option<u64> {
        let mut returns_to = 0;
        // SAFETY: the provider's function with its context, inside a callback.
        let status = unsafe { self.table.caller?(self.table.context, cpu.raw(), &mut returns_to) };
        (status == status::OK).then_some(returns_to)
    }

    /// The return addresses of the calls in progress, innermost first, at most `most` of them.
    pub fn callers(&self, cpu: &Cpu<'_>, most: usize) -> Vec<u64> {
        self.list(self.table.callers, cpu, most)
    }

    /// The entry addresses of the functions in progress, innermost first, at most `most` of them.
    pub fn functions(&self, cpu: &Cpu<'_>, most: usize) -> Vec<u64> {
        self.list(self.table.functions, cpu, most)
    }

    fn list(&self, f: Option<ListFn>, cpu: &Cpu<'_>, most: usize) -> Vec<u64> {
        let Some(f) = f else { return Vec::new() };
        let ask = |buf: &mut [u64]| {
            let mut count = 0;
            let at = if buf.is_empty() { core::ptr::null_mut() } else { buf.as_mut_ptr() };
            // SAFETY: the provider's function with its context, inside a callback; the buffer's own size.
            let status =
                unsafe { f(self.table.context, cpu.raw(), at, buf.len() as u64, &mut count) };
            if status == status::OK { count as usize } else { 0 }
        };
        let mut all = vec![0; ask(&mut []).min(most)];
        let count = ask(&mut all);
        all.truncate(count);
        all
    }

    /// Calls a function on each call.
    ///
    /// # Errors
    /// When the service refuses.
    pub fn on_call<P: Plugin>(
        &self,
        reg: &Registrar<P>,
        mut listener: impl FnMut(&mut P, &mut Cpu<'_>, &Call) + 'static,
    ) -> Result<CallListener, Error> {
        let f = move |p: &mut P, cpu: &mut Cpu<'_>, call: &Call, _| listener(p, cpu, call);
        self.listen(reg, call_event::CALL, "a call", f)
    }

    /// Calls a function whenever a function was left.
    ///
    /// # Errors
    /// When the service refuses.
    pub fn on_return<P: Plugin>(
        &self,
        reg: &Registrar<P>,
        listener: impl FnMut(&mut P, &mut Cpu<'_>, &Call, CallEnd) + 'static,
    ) -> Result<CallListener, Error> {
        self.listen(reg, call_event::RETURN, "a return", listener)
    }

    fn listen<P: Plugin, F>(
        &self,
        reg: &Registrar<P>,
        events: u32,
        what: &'static str,
        listener: F,
    ) -> Result<CallListener, Error>
    where
        F: FnMut(&mut P, &mut Cpu<'_>, &Call, CallEnd) + 'static,
    {
        let shared = &reg.instance.shared;
        shared.check_alive()?;
        let slot = reg.instance.new_slot(what, listener);
        let mut id = 0;
        let status = match self.table.listen {
            // SAFETY: the provider's function with its context; the slot lives until the listener ended.
            Some(f) => unsafe {
                let function: CallFn = heard::<P, F>;
                f(self.table.context, events, Some(function), slot.user(), &mut id)
            },
            None => status::UNSUPPORTED,
        };
        Error::unless_ok(status, || format!("listening to {what}"))?;
        // 0 is no subscription of the host's: the slot stays until the plugin ends.
        reg.instance.keep(0, slot);
        let table = self.table;
        shared.exchange.borrow_mut().at_end(move || {
            let _ = unlisten(&table, id);
        });
        Ok(CallListener(id))
    }

    /// Ends a listener; also possible from inside it.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn unlisten(&self, listener: CallListener) -> Result<(), Error> {
        Error::unless_ok(unlisten(&self.table, listener.0), || "ending a listener".to_owned())
    }
}

type ListFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *mut u64, u64, *mut u64) -> u32;

fn unlisten(table: &CallStackApi, id: u64) -> u32 {
    match table.unlisten {
        // SAFETY: the provider's function with its context; its users end before it does.
        Some(f) => unsafe { f(table.context, id) },
        None => status::UNSUPPORTED,
    }
}

/// # Safety
/// Called by the provider with the user data of a listener for `P` and `F`.
unsafe extern "C" fn heard<P: Plugin, F>(
    user: *mut c_void,
    cpu: *mut PandaCpu,
    _event: u32,
    info: *const CallInfo,
) where
    F: FnMut(&mut P, &mut Cpu<'_>, &Call, CallEnd),
{
    // SAFETY: promised by the caller; the information says its size.
    unsafe {
        let i = copy_sized(info);
        let unwound = i.flags & call_flags::UNWOUND != 0;
        let end = if unwound { CallEnd::Unwound } else { CallEnd::Returned };
        let (depth, tid) = (i.depth, i.tid);
        let call = Call { pc: i.pc, callee: i.callee, returns_to: i.returns_to, depth, tid };
        enter(user, cpu, (), |f: &mut F, p, c| f(p, c, &call, end));
    }
}
