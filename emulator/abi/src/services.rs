//! Services plugins offer to each other.

use core::cell::RefCell;
use core::ffi::c_void;

use emu_engine::OwnerId;

/// The services of a run's plugins. One value is shared by all of its slots.
#[derive(Debug, Default)]
pub struct Services(RefCell<Vec<Service>>);

#[derive(Debug)]
struct Service {
    id: String,
    owner: OwnerId,
    table: *const c_void,
}

impl Services {
    /// Offers a table; false if the id is taken.
    pub(crate) fn provide(&self, owner: OwnerId, id: &str, table: *const c_void) -> bool {
        let mut list = self.0.borrow_mut();
        if list.iter().any(|s| s.id == id) {
            return false;
        }
        list.push(Service { id: id.to_owned(), owner, table });
        true
    }

    /// The table with that id.
    pub(crate) fn find(&self, id: &str) -> Option<*const c_void> {
        self.0.borrow().iter().find(|s| s.id == id).map(|s| s.table)
    }

    /// Withdraws everything a plugin offers.
    pub(crate) fn remove_owner(&self, owner: OwnerId) {
        self.0.borrow_mut().retain(|s| s.owner != owner);
    }

    /// Whether somebody offers it.
    pub fn has(&self, id: &str) -> bool {
        self.find(id).is_some()
    }
}
