//! Services plugins offer to each other.

use core::cell::RefCell;
use core::ffi::c_void;

use emu_engine::OwnerId;
use plugin_api::abi::status;

/// The services of a run's plugins. One value is shared by all of its slots.
#[derive(Debug, Default)]
pub struct Services(RefCell<Vec<Service>>);

#[derive(Debug)]
struct Service {
    id: String,
    owner: OwnerId,
    table: *const c_void,
    users: Vec<OwnerId>,
}

impl Services {
    /// Offers a table; false if the id is taken.
    pub(crate) fn provide(&self, owner: OwnerId, id: &str, table: *const c_void) -> bool {
        let mut list = self.0.borrow_mut();
        if list.iter().any(|s| s.id == id) {
            return false;
        }
        list.push(Service { id: id.to_owned(), owner, table, users: Vec::new() });
        true
    }

    /// The table with that id, of at least that many bytes, for a plugin that becomes its user.
    ///
    /// # Safety
    /// Every table begins with its size.
    pub(crate) unsafe fn take(
        &self,
        user: OwnerId,
        id: &str,
        least: u32,
    ) -> Result<*const c_void, u32> {
        let mut list = self.0.borrow_mut();
        let service = list.iter_mut().find(|s| s.id == id).ok_or(status::UNKNOWN)?;
        // SAFETY: promised by the caller.
        if unsafe { service.table.cast::<u32>().read() } < least {
            return Err(status::TOO_SMALL);
        }
        if user != service.owner && !service.users.contains(&user) {
            service.users.push(user);
        }
        Ok(service.table)
    }

    /// Withdraws everything a plugin offers, and it as a user.
    pub(crate) fn remove_owner(&self, owner: OwnerId) {
        let mut list = self.0.borrow_mut();
        list.retain(|s| s.owner != owner);
        for service in list.iter_mut() {
            service.users.retain(|u| *u != owner);
        }
    }

    /// The plugins that use what a plugin offers, each with the service. They are to be ended before it.
    pub fn users(&self, provider: OwnerId) -> Vec<(OwnerId, String)> {
        let list = self.0.borrow();
        let mine = list.iter().filter(|s| s.owner == provider);
        mine.flat_map(|s| s.users.iter().map(|u| (*u, s.id.clone()))).collect()
    }

    /// What a plugin offers.
    pub fn offered_by(&self, provider: OwnerId) -> Vec<String> {
        let list = self.0.borrow();
        list.iter().filter(|s| s.owner == provider).map(|s| s.id.clone()).collect()
    }

    /// Whether somebody offers it.
    pub fn has(&self, id: &str) -> bool {
        self.0.borrow().iter().any(|s| s.id == id)
    }
}
