//! Numbers that the host counts for a plugin.

use core::cell::UnsafeCell;
use std::rc::Rc;

use super::Error;
use super::instance::Shared;
use crate::abi::{PandaId, counter_kind, status};

/// What a [`Counter`] counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CounterKind {
    /// Retired instructions.
    Insns,
    /// Executed blocks.
    Blocks,
    /// Completed loads.
    Loads,
    /// Completed stores.
    Stores,
}

/// A number that generated code adds to.
pub(crate) type Number = Box<UnsafeCell<u64>>;

/// A number that generated code adds to, without a call. Ends when dropped.
#[derive(Debug)]
pub struct Counter {
    shared: Rc<Shared>,
    id: PandaId,
    /// A [`Number`], leaked while the host may write to it.
    number: *mut u64,
}

impl Counter {
    pub(crate) fn new(shared: &Rc<Shared>, kind: CounterKind, n: u64) -> Result<Counter, Error> {
        shared.check_alive()?;
        let code = match kind {
            CounterKind::Insns => counter_kind::INSNS,
            CounterKind::Blocks => counter_kind::BLOCKS,
            CounterKind::Loads => counter_kind::LOADS,
            CounterKind::Stores => counter_kind::STORES,
        };
        let number = Box::into_raw(Box::new(UnsafeCell::new(0u64))).cast::<u64>();
        let mut id = 0;
        let status = match shared.host.counters.add {
            // SAFETY: host function with its handle; the number stays until it is removed.
            Some(f) => unsafe { f(shared.host.plugin, code, number, n, &mut id) },
            None => status::UNSUPPORTED,
        };
        if status != status::OK {
            // SAFETY: made by `into_raw` above; the host refused it.
            drop(unsafe { Number::from_raw(number.cast()) });
        }
        Error::unless_ok(status, || format!("counting {kind:?}"))?;
        Ok(Counter { shared: shared.clone(), id, number })
    }

    /// The count now.
    pub fn get(&self) -> u64 {
        // SAFETY: valid while `self` lives; written on this thread, by code the compiler cannot see.
        unsafe { self.number.read_volatile() }
    }

    /// Sets the count.
    pub fn set(&self, value: u64) {
        // SAFETY: as above.
        unsafe { self.number.write_volatile(value) }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let host = &self.shared.host;
        let removed = self.shared.alive.get()
            && host.counters.remove.is_some_and(|f| {
                // SAFETY: host function with its handle.
                unsafe { f(host.plugin, self.id) == status::OK }
            });
        if removed {
            // SAFETY: made by `Box::into_raw`.
            let number = unsafe { Number::from_raw(self.number.cast()) };
            // If this is in a callback, the rest of the block it is in still counts.
            self.shared.removed.borrow_mut().push(number);
        }
    }
}

impl core::fmt::Debug for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
