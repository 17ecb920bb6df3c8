//! Services: tables of functions that plugins offer to each other.
//!
//! A service has an id with a version (`panda.callstack/1`) and a table that begins with its size and only
//! ever grows at the end. A plugin that needs one lists the id in `export_plugin!`'s `requires`; the host then
//! starts the provider first, ends it last, and looks for it under the id's own name (`callstack`) when no
//! loaded plugin offers the service.

use core::any::Any;
use core::ffi::c_void;
use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::host::copy_prefix;
use super::instance::Shared;
use super::{Cpu, Error, Plugin, Registrar, logging};
use crate::abi::{PandaCpu, Str, status};

/// The table of a service.
///
/// ```
/// use core::ffi::c_void;
/// use plugin_api::ServiceTable;
/// use plugin_api::abi::PandaCpu;
///
/// #[repr(C)]
/// #[derive(Clone, Copy)]
/// struct DepthApi {
///     struct_size: u32,
///     reserved: u32,
///     context: *mut c_void,
///     depth: Option<unsafe extern "C" fn(*mut c_void, *mut PandaCpu) -> u64>,
/// }
///
/// // SAFETY: `repr(C)`, begins with its size, zeros are a table without functions.
/// unsafe impl ServiceTable for DepthApi {
///     const ID: &'static str = "example.depth/1";
///     const LEAST: u32 = size_of::<DepthApi>() as u32;
/// }
/// ```
///
/// # Safety
/// The type is `repr(C)` and begins with `struct_size: u32`; all-zero bytes are a valid value of it.
pub unsafe trait ServiceTable: Copy + 'static {
    /// Id of the service.
    const ID: &'static str;
    /// The smallest table this plugin can work with: the size of the service's first version, or more.
    const LEAST: u32;
}

/// What the functions of a service work on, with the way to the host. Its address is the table's context.
pub struct Served<T> {
    shared: *const Shared,
    value: T,
}

impl<T> fmt::Debug for Served<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").finish_non_exhaustive()
    }
}

/// Enters a provider through the context of its table. A panic ends the provider and gives `otherwise`, which
/// is also the answer when the provider has ended.
///
/// # Safety
/// `context` is what [`Registrar::provide_service`] gave for a value of type `T`, and its plugin has not been
/// ended; `cpu` is null or the processor of the running callback.
pub unsafe fn serve<T, R>(
    context: *mut c_void,
    cpu: *mut PandaCpu,
    otherwise: R,
    go: impl FnOnce(&T, &mut Cpu<'_>) -> R,
) -> R {
    // SAFETY: promised by the caller; the plugin keeps both until it has ended.
    let (served, shared) = unsafe {
        let served = &*context.cast::<Served<T>>().cast_const();
        (served, &*served.shared)
    };
    if !shared.alive.get() {
        return otherwise;
    }
    let mut cpu = Cpu::new(cpu, &shared.host);
    match catch_unwind(AssertUnwindSafe(|| go(&served.value, &mut cpu))) {
        Ok(result) => result,
        Err(payload) => {
            shared.host.failed(&format!("panic in a service{}", logging::panic_text(&*payload)));
            // Dropping it could panic again.
            core::mem::forget(payload);
            otherwise
        }
    }
}

/// What a plugin has given to others and taken from them; ended before its closures go.
#[derive(Default)]
pub(crate) struct Exchange {
    /// Tables and contexts.
    offered: Vec<Box<dyn Any>>,
    /// Ends what others would go on to call.
    taken: Vec<Box<dyn FnOnce()>>,
}

impl Exchange {
    /// To be done before the plugin's closures are dropped.
    pub(crate) fn at_end(&mut self, end: impl FnOnce() + 'static) {
        self.taken.push(Box::new(end));
    }

    /// Ends what was taken. What was offered stays until the plugin is gone.
    pub(crate) fn end(&mut self) {
        for end in self.taken.drain(..) {
            end();
        }
    }
}

impl<P: Plugin> Registrar<P> {
    /// Offers a service. `table` gets the context that its functions receive and hand to [`serve`], which gives
    /// them `value`. Neither moves nor ends before the plugin does; the host ends the plugins that use the
    /// service first.
    ///
    /// # Errors
    /// When somebody offers that id already.
    pub fn provide_service<S: ServiceTable, T: 'static>(
        &self,
        value: T,
        table: impl FnOnce(*mut c_void) -> S,
    ) -> Result<(), Error> {
        let shared = &self.instance.shared;
        shared.check_alive()?;
        let mut served = Box::new(Served { shared: std::rc::Rc::as_ptr(shared), value });
        let table = Box::new(table((&raw mut *served).cast()));
        let status = match shared.host.api.provide_service {
            // SAFETY: host function with the pointers it gave us; the table stays until `uninit` returned.
            Some(f) => unsafe {
                f(shared.host.ptr, shared.host.plugin, Str::new(S::ID), (&raw const *table).cast())
            },
            None => status::UNSUPPORTED,
        };
        Error::unless_ok(status, || format!("offering the service `{}`", S::ID))?;
        let mut exchange = shared.exchange.borrow_mut();
        exchange.offered.push(table);
        exchange.offered.push(served);
        Ok(())
    }

    /// Another plugin's service, which this plugin's `requires` should list. Functions its provider does not
    /// have are `None`. The table's functions may be called until this plugin's `uninit` returns.
    ///
    /// # Errors
    /// When no loaded plugin offers it, or only an older one.
    pub fn use_service<S: ServiceTable>(&self) -> Result<S, Error> {
        let shared = &self.instance.shared;
        shared.check_alive()?;
        let mut at = core::ptr::null();
        let status = match shared.host.api.use_service {
            // SAFETY: host function with the pointers it gave us.
            Some(f) => unsafe {
                f(shared.host.ptr, shared.host.plugin, Str::new(S::ID), S::LEAST, &mut at)
            },
            None => status::UNSUPPORTED,
        };
        match status {
            // SAFETY: a table of that id, which says its size and has at least `LEAST` bytes.
            status::OK if !at.is_null() => Ok(unsafe { copy_prefix(at.cast::<S>()) }),
            status::UNKNOWN => Err(format!(
                "no loaded plugin offers the service `{0}`; list it in `requires: [\"{0}\"]`, so that the host \
                 loads its provider first",
                S::ID
            )
            .into()),
            status::TOO_SMALL => Err(format!(
                "the service `{}` is there, but its provider is older than this plugin needs (at least {} bytes \
                 of table); get a newer one",
                S::ID,
                S::LEAST
            )
            .into()),
            status => {
                Err(Error::Host { what: format!("using the service `{}`", S::ID), status })
            }
        }
    }
}
