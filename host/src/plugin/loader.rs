//! Loading and starting plugins, also on behalf of plugins.

use core::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::SystemTime;

use emu_abi::{LogSink, PluginSlot, Services, SlotConfig, Values};
use emu_engine::{OwnerId, Shared};
use emu_linux::sys::fds;
use plugin_api::abi::{flush_reason, level};

use super::library::{PluginLibrary, Retired};
use super::open::{Loaded, Settings, Wanted, values};
use super::order::{self, Blocked, Waiting, provider_of};
use super::refusal::Refusal;
use super::threads;
use crate::config::FailurePolicy;
use crate::containment::{self, Crash, Image, report};
use crate::descriptors::HighDescriptors;
use crate::discover::{SearchPath, is_path};

/// Exit status when a plugin failed and that ends the run.
pub(super) const PLUGIN_FAILED: i32 = 125;

/// A plugin that has started.
pub(super) type Running = (PluginSlot, PluginLibrary);

/// What loading takes. Plugins may load others while they start and in callbacks, so everything is reached
/// through a shared reference, and nothing stays borrowed mutably while code of a plugin runs.
#[derive(Debug)]
pub(super) struct Loader {
    pub(super) shared: Rc<Shared>,
    pub(super) settings: Settings,
    pub(super) services: Rc<Services>,
    /// Plugins between init and uninit, in load order; changed between blocks only.
    pub(super) running: RefCell<Vec<Running>>,
    /// Started since, in order, each with the plugin that asked for it.
    fresh: RefCell<Vec<(Running, Option<OwnerId>)>>,
    /// The plugin that asks for another at present.
    asker: Cell<Option<OwnerId>>,
    /// Opened and not started yet.
    waiting: RefCell<Vec<(Loaded, Values)>>,
    /// Names of those whose init runs.
    starting: RefCell<Vec<String>>,
    /// Names of those that did not start while others wait.
    failed: RefCell<Vec<String>>,
    next_owner: Cell<u32>,
    /// Names of owners, for statistics: they stay when a plugin goes.
    pub(super) names: RefCell<Vec<(OwnerId, String)>>,
    /// What was asked for, by the plugin's name.
    pub(super) asked: RefCell<BTreeMap<String, Wanted>>,
    /// Threads that appeared while a plugin's init ran.
    pub(super) threads: RefCell<BTreeMap<OwnerId, BTreeSet<i32>>>,
    /// Libraries of ended plugins that stay mapped.
    pub(super) retired: RefCell<Vec<Retired>>,
    this: Weak<Loader>,
}

/// A plugin that could not be started.
struct Trouble {
    /// Its name, if the others can go on without it.
    name: Option<String>,
    refusal: Refusal,
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Trouble {
        Trouble { name: None, refusal }
    }
}

impl Loader {
    pub(super) fn new(shared: Rc<Shared>, settings: Settings) -> Rc<Loader> {
        Rc::new_cyclic(|this| Loader {
            shared,
            settings,
            services: Rc::default(),
            running: RefCell::default(),
            fresh: RefCell::default(),
            asker: Cell::new(None),
            waiting: RefCell::default(),
            starting: RefCell::default(),
            failed: RefCell::default(),
            next_owner: Cell::new(1),
            names: RefCell::default(),
            asked: RefCell::default(),
            threads: RefCell::default(),
            retired: RefCell::default(),
            this: this.clone(),
        })
    }

    /// Loads and starts plugins in order; one that needs another's service starts after it. A provider that
    /// is not among them is looked for by the service's name.
    ///
    /// A plugin that is refused is reported. Under [`FailurePolicy::Disable`] a plugin whose *init*
    /// fails is left out, and so are those that need it; every other refusal is the user's slip and ends the
    /// run.
    pub(super) fn start_all(
        &self,
        wanted: &[Wanted],
        policy: FailurePolicy,
    ) -> Result<(), Refusal> {
        let mut list = Vec::new();
        for w in wanted {
            let one = self.open(w, &list)?;
            list.push(one);
        }
        self.add_providers(&mut list)?;
        self.waiting.borrow_mut().extend(list);
        let mut result = Ok(());
        while result.is_ok() && !self.waiting.borrow().is_empty() {
            result = self.start_next().or_else(|trouble| follow(policy, trouble));
        }
        self.forget_waiting();
        self.settle();
        result
    }

    /// Makes what has started part of the running plugins. Between blocks, while no code of a plugin runs.
    pub(super) fn settle(&self) {
        let mut running = self.running.borrow_mut();
        for (new, asker) in self.fresh.take() {
            // Who asked for it uses it, and so is to end first.
            let at = running.iter().position(|(s, _)| Some(s.owner()) == asker);
            let at = at.unwrap_or(running.len());
            running.insert(at, new);
        }
    }

    /// Loads and starts a plugin for another one, unless one of that name is there.
    fn load_for(&self, asker: OwnerId, name: &str) -> Result<(), Refusal> {
        if self.is_there(name) {
            return Ok(());
        }
        let high = HighDescriptors::begin().map_err(|e| Refusal::Descriptors(e.to_string()))?;
        let before = self.asker.replace(Some(asker));
        let result = self.load_first(asker, name);
        self.asker.set(before);
        high.end();
        if self.starting.borrow().is_empty() {
            self.forget_waiting();
        }
        // It is taken over at the next block boundary.
        emu_engine::request_interrupt();
        result
    }

    fn load_first(&self, asker: OwnerId, name: &str) -> Result<(), Refusal> {
        let place = self.waiting.borrow().iter().position(|(l, _)| l.entry.name == name);
        let target = if let Some(at) = place {
            // The user wants it, too, with these arguments.
            let one = self.waiting.borrow_mut().remove(at);
            self.waiting.borrow_mut().insert(0, one);
            name.to_owned()
        } else {
            let wanted = self.settings.configured.get(name).cloned();
            let mut wanted =
                wanted.unwrap_or_else(|| Wanted { name: name.to_owned(), ..Wanted::default() });
            if !is_path(name) && self.settings.search.find(name).is_none() {
                wanted.name = self.beside(asker, name).unwrap_or(wanted.name);
            }
            let one = match self.open(&wanted, &[]) {
                Err(Refusal::Duplicate(name)) => return self.load_for(asker, &name),
                other => other?,
            };
            let target = one.0.entry.name.clone();
            let mut list = vec![one];
            self.add_providers(&mut list)?;
            self.waiting.borrow_mut().splice(0..0, list);
            target
        };
        let waits = || self.waiting.borrow().iter().position(|(l, _)| l.entry.name == target);
        while waits().is_some() {
            let Err(trouble) = self.start_next() else { continue };
            if trouble.name.as_ref().is_none_or(|n| *n == target) {
                if let Some(at) = waits() {
                    let (loaded, _) = self.waiting.borrow_mut().remove(at);
                    self.retired.borrow_mut().push(loaded.library.retire());
                }
                return Err(trouble.refusal);
            }
            follow(FailurePolicy::Disable, trouble)?;
        }
        if self.is_there(&target) { Ok(()) } else { Err(Refusal::Gone(target)) }
    }

    /// The library of the plugin `name` in the directory that the asking plugin's came from.
    fn beside(&self, asker: OwnerId, name: &str) -> Option<String> {
        let dir = containment::path_of(asker)?.parent().map(Path::to_owned)?;
        Some(SearchPath::only(dir).find(name)?.0.to_string_lossy().into_owned())
    }

    /// Libraries that were opened and will not be started stay mapped.
    fn forget_waiting(&self) {
        let left = self.waiting.take();
        self.retired.borrow_mut().extend(left.into_iter().map(|(l, _)| l.library.retire()));
        self.failed.take();
    }

    /// Starts one of the waiting plugins: the first, or what it needs.
    fn start_next(&self) -> Result<(), Trouble> {
        let (loaded, values) = {
            let mut waiting = self.waiting.borrow_mut();
            let nodes: Vec<_> = waiting
                .iter()
                .map(|(l, _)| Waiting { name: &l.entry.name, requires: &l.entry.requires })
                .collect();
            let next = order::next(&nodes, |id| self.services.has(id));
            match next {
                Ok(n) => waiting.remove(n),
                Err(Blocked::Missing(n, service)) => {
                    let plugin = waiting[n].0.entry.name.clone();
                    let provider = provider_of(&service).to_owned();
                    if !self.failed.borrow().contains(&provider) {
                        let hint = missing_hint(&provider, self.is_there(&provider));
                        return Err(Refusal::MissingService { plugin, service, hint }.into());
                    }
                    self.retired.borrow_mut().push(waiting.remove(n).0.library.retire());
                    self.failed.borrow_mut().push(plugin.clone());
                    let name = Some(plugin.clone());
                    let refusal = Refusal::ProviderFailed { plugin, service, provider };
                    return Err(Trouble { name, refusal });
                }
                Err(Blocked::Cycle(path)) => {
                    let needs: Vec<_> =
                        path.iter().map(|(p, id)| format!("`{p}` needs `{id}`")).collect();
                    return Err(Refusal::Cycle(needs.join(", ")).into());
                }
            }
        };
        let name = loaded.entry.name.clone();
        let owner = OwnerId(self.next_owner.replace(self.next_owner.get() + 1));
        self.start_as(owner, loaded, &values).map_err(|refusal| {
            self.failed.borrow_mut().push(name.clone());
            Trouble { name: Some(name), refusal }
        })
    }

    /// Whether a plugin of that name has started or is starting.
    pub(super) fn is_there(&self, name: &str) -> bool {
        self.running.borrow().iter().any(|(s, _)| s.entry().name == name)
            || self.fresh.borrow().iter().any(|((s, _), _)| s.entry().name == name)
            || self.starting.borrow().iter().any(|n| n == name)
    }

    /// Opens a plugin and checks its arguments.
    fn open(&self, w: &Wanted, list: &[(Loaded, Values)]) -> Result<(Loaded, Values), Refusal> {
        let loaded = Loaded::open(&w.name, &self.settings.search)?;
        let name = &loaded.entry.name;
        if self.waits(name, list) || self.is_there(name) {
            return Err(Refusal::Duplicate(name.clone()));
        }
        let values = values(&loaded, w)?;
        self.asked.borrow_mut().insert(name.clone(), w.clone());
        Ok((loaded, values))
    }

    fn waits(&self, name: &str, list: &[(Loaded, Values)]) -> bool {
        let waiting = self.waiting.borrow();
        list.iter().chain(waiting.iter()).any(|(l, _)| l.entry.name == name)
    }

    /// Opens the plugins named by services that are required and not offered yet, each before the first one
    /// that needs it.
    fn add_providers(&self, list: &mut Vec<(Loaded, Values)>) -> Result<(), Refusal> {
        let mut n = 0;
        while n < list.len() {
            let entry = &list[n].0.entry;
            let absent = entry.requires.iter().find_map(|id| {
                let name = provider_of(id);
                let known = self.services.has(id)
                    || self.is_there(name)
                    || self.waits(name, list)
                    || self.settings.search.find(name).is_none();
                (!known).then(|| (id.clone(), name.to_owned()))
            });
            let Some((id, name)) = absent else {
                n += 1;
                continue;
            };
            tracing::info!("plugin `{name}` is loaded, too: `{}` needs `{id}`", entry.name);
            let wanted = self.settings.configured.get(&name).cloned();
            let wanted = wanted.unwrap_or_else(|| Wanted { name, ..Wanted::default() });
            let provider = self.open(&wanted, list)?;
            // Looked at next, as it may need others.
            list.insert(n, provider);
        }
        Ok(())
    }

    /// What a plugin's slot is made with.
    fn config(&self) -> SlotConfig {
        let this = self.this.clone();
        SlotConfig {
            host_name: "host".into(),
            host_version: env!("CARGO_PKG_VERSION").into(),
            out_dir: self.settings.out_dir.to_string_lossy().into_owned(),
            continued: self.settings.continued,
            log: log_sink(),
            reply: super::reply::take_line,
            log_level: log_level(),
            hide_fd: |fd, hide| if hide { fds::reserve(fd) } else { fds::release(fd) },
            services: self.services.clone(),
            load: Rc::new(move |asker, by, name| {
                let Some(loader) = this.upgrade() else { return false };
                match loader.load_for(asker, name) {
                    Ok(()) => true,
                    Err(refusal) => {
                        tracing::error!("plugin `{by}` asks for `{name}`: {refusal}");
                        false
                    }
                }
            }),
        }
    }

    /// Starts a plugin in the place of the owner.
    pub(super) fn start_as(
        &self,
        owner: OwnerId,
        loaded: Loaded,
        values: &Values,
    ) -> Result<(), Refusal> {
        let Loaded { entry, library } = loaded;
        let before = threads::foreign();
        let range = library.range();
        containment::watch_image(Image {
            owner,
            name: entry.name.clone(),
            path: library.path.clone(),
            loaded: SystemTime::now(),
            range: range.clone(),
            functions: entry.functions(),
        });
        self.starting.borrow_mut().push(entry.name.clone());
        // SAFETY: the library is never unmapped; this is the run thread.
        let started =
            unsafe { PluginSlot::start(&entry, &self.shared, owner, self.config(), values) };
        self.starting.borrow_mut().pop();
        let crash = self.crashes().pop();
        let reason = match (started, crash) {
            (Ok(slot), None) => {
                tracing::info!("plugin `{}` {} loaded", entry.name, entry.version);
                let new = threads::foreign().into_iter().filter(|t| !before.contains(t));
                self.threads.borrow_mut().insert(owner, new.map(|(tid, _)| tid).collect());
                let mut names = self.names.borrow_mut();
                if !names.iter().any(|(o, _)| *o == owner) {
                    names.push((owner, entry.name.clone()));
                }
                self.fresh.borrow_mut().push(((slot, library), self.asker.get()));
                return Ok(());
            }
            (started, Some(crash)) => {
                if let Ok(slot) = started {
                    slot.abandon();
                }
                tracing::error!("the stack of plugin `{}`:{}", entry.name, report::stack(&crash));
                report::describe(&crash)
            }
            (Err(e), None) => e.reason,
        };
        containment::retire_image(&range);
        self.retired.borrow_mut().push(library.retire());
        Err(Refusal::Init { plugin: entry.name.clone(), reason })
    }

    /// Crashes of plugins since the last look. Ends the process when one of them was not contained.
    pub(super) fn crashes(&self) -> Vec<Crash> {
        let all: Vec<Crash> = std::iter::from_fn(containment::take).collect();
        if all.iter().any(|c| !c.contained) {
            let (running, fresh) = (self.running.borrow(), self.fresh.borrow());
            for (slot, _) in running.iter().chain(fresh.iter().map(|(r, _)| r)) {
                if !all.iter().any(|c| c.owners().contains(&slot.owner())) {
                    slot.flush(flush_reason::FATAL);
                }
            }
            // Nothing else can be relied on any more.
            // SAFETY: ends the process.
            unsafe { libc::_exit(PLUGIN_FAILED) };
        }
        all
    }
}

/// What follows when a plugin does not start.
fn follow(policy: FailurePolicy, trouble: Trouble) -> Result<(), Refusal> {
    let Trouble { name, refusal } = trouble;
    if name.is_none() || policy == FailurePolicy::Stop {
        return Err(refusal);
    }
    tracing::error!("{refusal}; the run goes on without it");
    Ok(())
}

fn missing_hint(provider: &str, running: bool) -> String {
    if running {
        return format!(
            "; `{provider}` is loaded, but does not offer it: get another version of it"
        );
    }
    format!("; load one that does (a plugin named `{provider}` would be found by itself)")
}

/// Plugins' log lines go to the host's log under their name.
fn log_sink() -> LogSink {
    Arc::new(|plugin: &str, at: u32, text: &str| match at {
        level::ERROR => tracing::error!("[{plugin}] {text}"),
        level::WARN => tracing::warn!("[{plugin}] {text}"),
        level::INFO => tracing::info!("[{plugin}] {text}"),
        level::DEBUG => tracing::debug!("[{plugin}] {text}"),
        _ => tracing::trace!("[{plugin}] {text}"),
    })
}

fn log_level() -> u32 {
    use tracing::level_filters::LevelFilter;
    match LevelFilter::current() {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => level::ERROR,
        LevelFilter::WARN => level::WARN,
        LevelFilter::INFO => level::INFO,
        LevelFilter::DEBUG => level::DEBUG,
        _ => level::TRACE,
    }
}
