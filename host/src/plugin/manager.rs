//! The plugins of a run.

use core::cell::Ref;
use std::rc::Rc;

use emu_abi::PluginSlot;
use emu_engine::{OwnerId, Shared};
use plugin_api::abi::{MonitorFn, kind};

use super::loader::{Loader, PLUGIN_FAILED, Running};
use super::open::{Settings, Wanted};
use super::refusal::Refusal;
use super::swap::Finish;
use crate::config::FailurePolicy;
use crate::containment::{self, report};

/// The running plugins, in load order.
#[derive(Debug)]
pub struct Plugins {
    pub(super) loader: Rc<Loader>,
}

impl Plugins {
    /// No plugins yet.
    pub fn new(shared: Rc<Shared>, settings: Settings) -> Plugins {
        containment::start(&shared);
        Plugins { loader: Loader::new(shared, settings) }
    }

    /// Loads and starts plugins in order, as the settings say what happens when one fails.
    pub fn start_all(&mut self, wanted: &[Wanted]) -> Result<(), Refusal> {
        self.loader.start_all(wanted, self.loader.settings.policy)
    }

    /// Unloads plugins that crashed, and those entangled in that.
    fn settle_crashes(&mut self) {
        for crash in self.loader.crashes() {
            for (n, &owner) in crash.owners().iter().enumerate() {
                let Some((slot, library)) = self.take_out(owner) else {
                    if n == 0 {
                        let (what, stack) = (report::describe(&crash), report::stack(&crash));
                        tracing::error!("a plugin that had ended: {what}{stack}");
                    }
                    continue;
                };
                let name = slot.entry().name.clone();
                let reason = if n == 0 {
                    report::describe(&crash) + &report::stack(&crash)
                } else {
                    "it called another plugin, which crashed".to_owned()
                };
                self.finish(slot, library, Finish::Abandon);
                self.failed(&name, &reason);
            }
        }
    }

    /// Follows the policy after a plugin failed and is gone.
    fn failed(&self, name: &str, reason: &str) {
        match self.loader.settings.policy {
            FailurePolicy::Disable => {
                tracing::error!("plugin `{name}` failed and is unloaded: {reason}");
            }
            FailurePolicy::Stop => {
                tracing::error!("plugin `{name}` failed, the run ends: {reason}");
                self.loader.shared.request_stop(PLUGIN_FAILED, "a plugin failed");
            }
        }
    }

    /// Ends plugins that failed or asked to go. Called between blocks.
    pub fn settle(&mut self) {
        self.loader.settle();
        self.settle_crashes();
        if containment::memory::exhausted() {
            self.loader.shared.request_stop(PLUGIN_FAILED, "memory is exhausted");
        }
        loop {
            let leaving = |slot: &PluginSlot| slot.failed() || slot.unload_requested();
            // Others may go with it, so each is looked for anew.
            let next = self.running().iter().find(|(s, _)| leaving(s)).map(|(slot, _)| {
                let reason = slot.failure().unwrap_or_default();
                (slot.owner(), slot.entry().name.clone(), slot.failed(), reason)
            });
            let Some((owner, name, failed, reason)) = next else { return };
            for (user, service) in self.remove(owner) {
                tracing::error!(
                    "plugin `{user}` is unloaded: it needs the service `{service}` of `{name}`, which goes"
                );
            }
            if failed {
                self.failed(&name, &reason);
            } else {
                tracing::info!("plugin `{name}` unloaded itself");
            }
        }
    }

    /// Ends a plugin, those that use its services first. Returns these, each with the service.
    fn remove(&mut self, owner: OwnerId) -> Vec<(String, String)> {
        let mut gone = Vec::new();
        // The one started last goes first, as it may use what the others offer.
        while let Some((user, service)) = self.users_of(owner).pop() {
            let name = self.name_of(user);
            gone.extend(self.remove(user));
            gone.push((name, service));
        }
        if let Some((slot, library)) = self.take_out(owner) {
            self.finish(slot, library, Finish::Retire);
        }
        gone
    }

    /// Running plugins that use or require what a plugin offers, in load order.
    fn users_of(&self, owner: OwnerId) -> Vec<(OwnerId, String)> {
        let running = self.running();
        let offered = self.loader.services.offered_by(owner);
        let mut users = self.loader.services.users(owner);
        for (slot, _) in running.iter().filter(|(s, _)| s.owner() != owner) {
            let needed = slot.entry().requires.iter().find(|id| offered.contains(id));
            if let Some(id) = needed
                && !users.iter().any(|(u, _)| *u == slot.owner())
            {
                users.push((slot.owner(), id.clone()));
            }
        }
        users.retain(|(u, _)| running.iter().any(|(s, _)| s.owner() == *u));
        users.sort_by_key(|(u, _)| *u);
        users
    }

    /// Makes every plugin write what it holds back (`plugin_api::abi::flush_reason`).
    pub fn flush(&self, reason: u32) {
        for (slot, _) in self.running().iter() {
            slot.flush(reason);
        }
    }

    /// Ends all plugins, in reverse order. Returns false when one of them failed at it.
    pub fn end(&mut self) -> bool {
        self.loader.settle();
        self.settle_crashes();
        let mut ok = true;
        loop {
            let last = self.loader.running.borrow_mut().pop();
            let Some((slot, library)) = last else { return ok };
            ok &= !slot.failed();
            ok &= self.finish(slot, library, Finish::Retire).is_clean();
        }
    }

    /// Passes a monitor command to every plugin that listens; whether one of them understood it.
    pub fn command(&mut self, text: &str) -> bool {
        let mut handled = false;
        self.loader.shared.notify(kind::MONITOR, core::ptr::null_mut(), |f, user, cpu| {
            // SAFETY: the function type belongs to the kind; the text outlives the call, and a null
            // CPU says that no guest code runs.
            handled |= unsafe {
                let f: MonitorFn = core::mem::transmute(f);
                f(user, cpu, text.as_ptr(), text.len() as u64) != 0
            };
        });
        self.settle();
        handled
    }

    /// The name of the plugin that owns a subscription.
    pub fn name_of(&self, owner: OwnerId) -> String {
        let names = self.loader.names.borrow();
        names.iter().find(|(o, _)| *o == owner).map_or_else(|| "?".to_owned(), |(_, n)| n.clone())
    }

    /// The running plugins. Not to be held while one of them may come or go.
    pub(super) fn running(&self) -> Ref<'_, Vec<Running>> {
        self.loader.running.borrow()
    }

    /// Takes a plugin out of the running ones.
    pub(super) fn take_out(&self, owner: OwnerId) -> Option<Running> {
        let mut running = self.loader.running.borrow_mut();
        let at = running.iter().position(|(s, _)| s.owner() == owner)?;
        Some(running.remove(at))
    }
}
