//! A plugin in a run.

use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use emu_engine::{OwnerId, Shared};
use plugin_api::abi::{HostApi, PandaPlugin, status};

use crate::{Entry, Services, Values, core_table};

/// Receives a plugin's log lines: (name of the plugin, [`plugin_api::abi::level`], text). Called from any thread.
pub type LogSink = Arc<dyn Fn(&str, u32, &str) + Send + Sync>;

/// What a slot needs to know of the host.
#[derive(Clone)]
pub struct SlotConfig {
    /// Name of the host program.
    pub host_name: String,
    /// Its version.
    pub host_version: String,
    /// Directory for the plugin's files.
    pub out_dir: String,
    /// The run began in an earlier process.
    pub continued: bool,
    /// Where log lines go.
    pub log: LogSink,
    /// Where the lines go that a plugin answers a monitor command with: (name of the plugin, text).
    pub reply: fn(&str, &str),
    /// The most detailed level the log shows.
    pub log_level: u32,
    /// Hides a file descriptor from the guest, or no longer.
    pub hide_fd: fn(i32, bool),
    /// Services of this run's plugins.
    pub services: Rc<Services>,
    /// Loads another plugin at once, for the plugin with that owner and name; whether it runs then. May be
    /// called while a plugin starts and in callbacks.
    pub load: Loader,
}

/// See [`SlotConfig::load`].
pub type Loader = Rc<dyn Fn(OwnerId, &str, &str) -> bool>;

/// A plugin's init failed; the plugin is gone.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct StartError {
    /// The plugin's own words, or what the host saw.
    pub reason: String,
}

/// What a plugin's handle points to.
///
/// Threads of a plugin may use `config.log`, `level`, `name`, `failed`, `failure` and `thread`, all
/// of which are `Sync`, and nothing else.
pub(crate) struct Inner {
    pub(crate) api: HostApi,
    pub(crate) shared: Rc<Shared>,
    pub(crate) owner: OwnerId,
    pub(crate) name: String,
    pub(crate) config: SlotConfig,
    pub(crate) level: AtomicU32,
    pub(crate) failed: AtomicBool,
    pub(crate) failure: Mutex<Option<String>>,
    pub(crate) unload: Cell<bool>,
    pub(crate) thread: ThreadId,
    /// What `program` handed out last.
    pub(crate) program: RefCell<String>,
}

/// A running plugin. Dropping it ends the plugin.
pub struct PluginSlot {
    inner: NonNull<Inner>,
    entry: Entry,
    state: *mut c_void,
}

impl PluginSlot {
    /// Starts a plugin. When that fails, nothing it registered is left.
    ///
    /// # Safety
    /// The library behind `entry` is loaded and stays so until the slot is dropped. Called on the run
    /// thread.
    pub unsafe fn start(
        entry: &Entry,
        shared: &Rc<Shared>,
        owner: OwnerId,
        config: SlotConfig,
        values: &Values,
    ) -> Result<PluginSlot, StartError> {
        let log_level = config.log_level;
        let mut inner = Box::new(Inner {
            api: core_table::EMPTY,
            shared: shared.clone(),
            owner,
            name: entry.name.clone(),
            config,
            level: AtomicU32::new(log_level),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            unload: Cell::new(false),
            thread: std::thread::current().id(),
            program: RefCell::default(),
        });
        inner.api = core_table::api(&inner.config);
        let inner = NonNull::from(Box::leak(inner));
        let mut slot = PluginSlot { inner, entry: entry.clone(), state: core::ptr::null_mut() };
        let Some(init) = entry.raw.init else {
            return Err(StartError { reason: "it has no init function".to_owned() });
        };
        let mut state = core::ptr::null_mut();
        let code = values.with_info(|info| {
            // SAFETY: the plugin's own function with what the contract says.
            unsafe { init(slot.api(), slot.handle(), info, &mut state) }
        });
        if code != status::OK || slot.failed() {
            let reason = slot.failure().unwrap_or_else(|| {
                format!("its init returned status {code} without giving a reason")
            });
            if code == status::OK {
                slot.state = state;
            } else {
                // A plugin whose init failed is not ended by `uninit`.
                slot.entry.raw.uninit = None;
            }
            return Err(StartError { reason });
        }
        slot.state = state;
        Ok(slot)
    }

    fn inner(&self) -> &Inner {
        // SAFETY: leaked in `start`, freed in `drop`.
        unsafe { self.inner.as_ref() }
    }

    fn api(&self) -> *const HostApi {
        &raw const self.inner().api
    }

    fn handle(&self) -> *mut PandaPlugin {
        self.inner.as_ptr().cast()
    }

    /// What the library says about the plugin.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The owner of its subscriptions.
    pub fn owner(&self) -> OwnerId {
        self.inner().owner
    }

    /// The plugin reported a failure; its callbacks are gone.
    pub fn failed(&self) -> bool {
        self.inner().failed.load(Ordering::Acquire)
    }

    /// Why it failed.
    pub fn failure(&self) -> Option<String> {
        self.inner().failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The plugin asked to be unloaded.
    pub fn unload_requested(&self) -> bool {
        self.inner().unload.get()
    }

    /// Ends the plugin. The reason when its `uninit` failed.
    pub fn end(mut self) -> Result<(), String> {
        let failed_before = self.failed();
        self.uninit();
        match self.failure() {
            Some(reason) if !failed_before => Err(reason),
            _ => Ok(()),
        }
    }

    /// Ends a plugin whose code was interrupted for good: `uninit` is not called.
    pub fn abandon(mut self) {
        self.entry.raw.uninit = None;
    }

    fn uninit(&mut self) {
        self.inner().shared.remove_owner(self.inner().owner);
        self.inner().config.services.remove_owner(self.inner().owner);
        if let Some(uninit) = self.entry.raw.uninit.take() {
            // SAFETY: the plugin's own function; init succeeded and no callback is registered.
            unsafe { uninit(self.state) };
        }
        // Callbacks and counters it added while ending.
        self.inner().shared.remove_owner(self.inner().owner);
        self.inner().config.services.remove_owner(self.inner().owner);
    }

    /// Changes the most detailed level the log shows.
    pub fn set_log_level(&self, level: u32) {
        self.inner().level.store(level, Ordering::Relaxed);
    }

    /// Makes the plugin write what it holds back ([`plugin_api::abi::flush_reason`]); false when
    /// that failed, which the plugin has logged.
    pub fn flush(&self, reason: u32) -> bool {
        match self.entry.raw.flush {
            // SAFETY: the plugin's own function, between init and uninit.
            Some(flush) => unsafe { flush(self.state, reason) == status::OK },
            None => true,
        }
    }
}

impl Drop for PluginSlot {
    fn drop(&mut self) {
        self.uninit();
        // SAFETY: leaked in `start`; the plugin has been told that its handle is dead.
        drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
    }
}

impl fmt::Debug for PluginSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginSlot")
            .field("name", &self.entry.name)
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SlotConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotConfig").field("out_dir", &self.out_dir).finish_non_exhaustive()
    }
}
