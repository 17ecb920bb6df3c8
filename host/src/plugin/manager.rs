//! The plugins of a run.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use emu_abi::{Entry, GivenValue, LogSink, PluginSlot, Services, SlotConfig, Values, check_args};
use emu_engine::{OwnerId, Shared};
use emu_linux::sys::fds;
use plugin_api::abi::{MonitorFn, flush_reason, kind, level};

use super::library::{PluginLibrary, Retired};
use super::order::{self, Blocked, Waiting, provider_of};
use super::refusal::Refusal;
use super::swap::Finish;
use super::threads;
use crate::config::FailurePolicy;
use crate::containment::{self, Crash, Image, report};
use crate::discover::{SearchPath, is_path};
use crate::suggest;

/// A plugin to load.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Wanted {
    /// Name, or path of the library.
    pub name: String,
    /// Arguments; later ones win.
    pub args: Vec<(String, GivenValue)>,
    /// Where arguments stand in the configuration file, by name: `FILE:LINE:COLUMN`.
    pub places: BTreeMap<String, String>,
}

/// How plugins are run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to look for them.
    pub search: SearchPath,
    /// Where they write.
    pub out_dir: PathBuf,
    /// What happens when one fails.
    pub policy: FailurePolicy,
    /// The run began in an earlier process.
    pub continued: bool,
    /// Arguments of plugins that are loaded because others need them, by name.
    pub configured: BTreeMap<String, Wanted>,
    /// Names of those whose library is really unmapped when they are unloaded.
    pub close: Vec<String>,
}

/// A library whose description was read.
#[derive(Debug)]
pub struct Loaded {
    /// What it says about itself.
    pub entry: Entry,
    /// The library.
    pub library: PluginLibrary,
}

impl Loaded {
    /// Opens the plugin with that name or path.
    pub fn open(name: &str, search: &SearchPath) -> Result<Loaded, Refusal> {
        let path = if is_path(name) {
            PathBuf::from(name)
        } else {
            let Some((path, shadowed)) = search.find(name) else {
                return Err(not_found(name, search));
            };
            for other in shadowed {
                tracing::info!(
                    "plugin `{name}`: {} is used, {} is not",
                    path.display(),
                    other.display()
                );
            }
            path
        };
        Loaded::open_file(&path)
    }

    /// Opens the plugin in a file.
    pub fn open_file(path: &Path) -> Result<Loaded, Refusal> {
        let library = PluginLibrary::open(path)?;
        let at = library.entry()?;
        // SAFETY: the address of the entry symbol of a library that is never unmapped.
        let entry = unsafe { Entry::read(at) }
            .map_err(|reason| Refusal::Entry { path: path.to_owned(), reason })?;
        if let Some(witness) = library.witness() {
            // SAFETY: the address of the witness symbol of a library that is never unmapped.
            unsafe { plugin_api::witness::check(witness, entry.api.1) }
                .map_err(|reason| Refusal::Witness { path: path.to_owned(), reason })?;
        }
        Ok(Loaded { entry, library })
    }
}

/// The values `init` gets, checked.
pub fn values(loaded: &Loaded, w: &Wanted) -> Result<Values, Refusal> {
    check_args(&loaded.entry.args, &w.args).map_err(|reason| {
        let place = w.places.get(reason.argument()).map(|p| format!("{p}: "));
        Refusal::Argument {
            place: place.unwrap_or_default(),
            plugin: loaded.entry.name.clone(),
            reason: Box::new(reason),
        }
    })
}

fn not_found(name: &str, search: &SearchPath) -> Refusal {
    let all = search.all();
    let dirs: Vec<_> = search.dirs.iter().map(|d| d.display().to_string()).collect();
    Refusal::NotFound {
        name: name.to_owned(),
        hint: suggest::nearest(name, all.iter().map(|(n, _)| n.as_str()))
            .map_or_else(String::new, |n| format!("; did you mean `{n}`?")),
        dirs: dirs.join(", "),
    }
}

fn missing_hint(provider: &str, running: bool) -> String {
    if running {
        return format!(
            "; `{provider}` is loaded, but does not offer it: get another version of it"
        );
    }
    format!("; load one that does (a plugin named `{provider}` would be found by itself)")
}

/// The running plugins, in load order.
#[derive(Debug)]
pub struct Plugins {
    pub(super) shared: Rc<Shared>,
    pub(super) settings: Settings,
    pub(super) services: Rc<Services>,
    pub(super) running: Vec<(PluginSlot, PluginLibrary)>,
    next_owner: u32,
    /// Names of owners, for statistics: they stay when a plugin goes.
    names: Vec<(OwnerId, String)>,
    /// What was asked for, by the plugin's name.
    pub(super) asked: RefCell<BTreeMap<String, Wanted>>,
    /// Threads that appeared while a plugin's init ran.
    pub(super) threads: BTreeMap<OwnerId, BTreeSet<i32>>,
    /// Libraries of ended plugins that stay mapped.
    pub(super) retired: Vec<Retired>,
}

impl Plugins {
    /// No plugins yet.
    pub fn new(shared: Rc<Shared>, settings: Settings) -> Plugins {
        containment::start(&shared);
        Plugins {
            shared,
            settings,
            services: Rc::default(),
            running: Vec::new(),
            next_owner: 1,
            names: Vec::new(),
            asked: RefCell::default(),
            threads: BTreeMap::new(),
            retired: Vec::new(),
        }
    }

    /// Loads and starts plugins in order; one that needs another's service starts after it. A provider that
    /// is not among them is looked for by the service's name.
    ///
    /// A plugin that is refused is reported. Under [`FailurePolicy::Disable`] a plugin whose *init*
    /// fails is left out, and so are those that need it; every other refusal is the user's slip and ends the
    /// run.
    pub fn start_all(&mut self, wanted: &[Wanted]) -> Result<(), Refusal> {
        let mut waiting = Vec::new();
        for w in wanted {
            let one = self.open(w, &waiting)?;
            waiting.push(one);
        }
        self.add_providers(&mut waiting)?;
        let mut failed: Vec<String> = Vec::new();
        while !waiting.is_empty() {
            let nodes: Vec<_> = waiting
                .iter()
                .map(|(l, _)| Waiting { name: &l.entry.name, requires: &l.entry.requires })
                .collect();
            let next = order::next(&nodes, |id| self.services.has(id));
            let result = match next {
                Ok(n) => {
                    let (loaded, values) = waiting.remove(n);
                    let name = loaded.entry.name.clone();
                    self.start(loaded, &values).map_err(|refusal| (name, refusal))
                }
                Err(Blocked::Missing(n, service)) => {
                    let plugin = waiting[n].0.entry.name.clone();
                    let provider = provider_of(&service).to_owned();
                    if !failed.contains(&provider) {
                        let hint = missing_hint(&provider, self.running(&provider));
                        return Err(Refusal::MissingService { plugin, service, hint });
                    }
                    self.retired.push(waiting.remove(n).0.library.retire());
                    let name = plugin.clone();
                    Err((name, Refusal::ProviderFailed { plugin, service, provider }))
                }
                Err(Blocked::Cycle(path)) => {
                    let needs: Vec<_> =
                        path.iter().map(|(p, id)| format!("`{p}` needs `{id}`")).collect();
                    return Err(Refusal::Cycle(needs.join(", ")));
                }
            };
            if let Err((name, refusal)) = result {
                if self.settings.policy == FailurePolicy::Stop {
                    return Err(refusal);
                }
                tracing::error!("{refusal}; the run goes on without it");
                failed.push(name);
            }
        }
        Ok(())
    }

    fn running(&self, name: &str) -> bool {
        self.running.iter().any(|(s, _)| s.entry().name == name)
    }

    /// Opens a plugin and checks its arguments.
    fn open(&self, w: &Wanted, waiting: &[(Loaded, Values)]) -> Result<(Loaded, Values), Refusal> {
        let loaded = Loaded::open(&w.name, &self.settings.search)?;
        let name = &loaded.entry.name;
        if waiting.iter().any(|(l, _)| l.entry.name == *name) || self.running(name) {
            return Err(Refusal::Duplicate(name.clone()));
        }
        let values = values(&loaded, w)?;
        self.asked.borrow_mut().insert(name.clone(), w.clone());
        Ok((loaded, values))
    }

    /// Opens the plugins named by services that are required and not offered yet, each before the first one
    /// that needs it.
    fn add_providers(&self, waiting: &mut Vec<(Loaded, Values)>) -> Result<(), Refusal> {
        let mut n = 0;
        while n < waiting.len() {
            let entry = &waiting[n].0.entry;
            let absent = entry.requires.iter().find_map(|id| {
                let name = provider_of(id);
                let known = self.services.has(id)
                    || self.running(name)
                    || waiting.iter().any(|(l, _)| l.entry.name == name)
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
            let provider = self.open(&wanted, waiting)?;
            // Looked at next, as it may need others.
            waiting.insert(n, provider);
        }
        Ok(())
    }

    fn start(&mut self, loaded: Loaded, values: &Values) -> Result<(), Refusal> {
        let owner = OwnerId(self.next_owner);
        self.next_owner += 1;
        self.start_as(owner, loaded, values)
    }

    /// Starts a plugin in the place of the owner.
    pub(super) fn start_as(
        &mut self,
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
        let config = SlotConfig {
            host_name: "host".into(),
            host_version: env!("CARGO_PKG_VERSION").into(),
            out_dir: self.settings.out_dir.to_string_lossy().into_owned(),
            continued: self.settings.continued,
            log: log_sink(),
            reply: super::reply::take_line,
            log_level: log_level(),
            hide_fd: |fd, hide| if hide { fds::reserve(fd) } else { fds::release(fd) },
            services: self.services.clone(),
        };
        // SAFETY: the library is never unmapped; this is the run thread.
        let started = unsafe { PluginSlot::start(&entry, &self.shared, owner, config, values) };
        let crash = self.crashes().pop();
        let reason = match (started, crash) {
            (Ok(slot), None) => {
                tracing::info!("plugin `{}` {} loaded", entry.name, entry.version);
                let new = threads::foreign().into_iter().filter(|t| !before.contains(t));
                self.threads.insert(owner, new.map(|(tid, _)| tid).collect());
                if !self.names.iter().any(|(o, _)| *o == owner) {
                    self.names.push((owner, entry.name.clone()));
                }
                self.running.push((slot, library));
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
        self.retired.push(library.retire());
        Err(Refusal::Init { plugin: entry.name.clone(), reason })
    }

    /// Crashes of plugins since the last look. Ends the process when one of them was not contained.
    pub(super) fn crashes(&self) -> Vec<Crash> {
        let all: Vec<Crash> = std::iter::from_fn(containment::take).collect();
        if all.iter().any(|c| !c.contained) {
            for (slot, _) in &self.running {
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

    /// Unloads plugins that crashed, and those entangled in that.
    fn settle_crashes(&mut self) {
        for crash in self.crashes() {
            for (n, &owner) in crash.owners().iter().enumerate() {
                let Some(at) = self.running.iter().position(|(s, _)| s.owner() == owner) else {
                    if n == 0 {
                        let (what, stack) = (report::describe(&crash), report::stack(&crash));
                        tracing::error!("a plugin that had ended: {what}{stack}");
                    }
                    continue;
                };
                let (slot, library) = self.running.remove(at);
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
        match self.settings.policy {
            FailurePolicy::Disable => {
                tracing::error!("plugin `{name}` failed and is unloaded: {reason}");
            }
            FailurePolicy::Stop => {
                tracing::error!("plugin `{name}` failed, the run ends: {reason}");
                self.shared.request_stop(PLUGIN_FAILED, "a plugin failed");
            }
        }
    }

    /// Ends plugins that failed or asked to go. Called between blocks.
    pub fn settle(&mut self) {
        self.settle_crashes();
        let mut n = 0;
        while n < self.running.len() {
            let (slot, _) = &self.running[n];
            let failed = slot.failed();
            if !failed && !slot.unload_requested() {
                n += 1;
                continue;
            }
            let name = slot.entry().name.clone();
            let reason = slot.failure().unwrap_or_default();
            for (user, service) in self.remove(slot.owner()) {
                tracing::error!(
                    "plugin `{user}` is unloaded: it needs the service `{service}` of `{name}`, which goes"
                );
            }
            // Others may have gone, too.
            n = 0;
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
            let name = self.name_of(user).to_owned();
            gone.extend(self.remove(user));
            gone.push((name, service));
        }
        if let Some(n) = self.running.iter().position(|(s, _)| s.owner() == owner) {
            let (slot, library) = self.running.remove(n);
            self.finish(slot, library, Finish::Retire);
        }
        gone
    }

    /// Running plugins that use or require what a plugin offers, in load order.
    fn users_of(&self, owner: OwnerId) -> Vec<(OwnerId, String)> {
        let offered = self.services.offered_by(owner);
        let mut users = self.services.users(owner);
        for (slot, _) in self.running.iter().filter(|(s, _)| s.owner() != owner) {
            let needed = slot.entry().requires.iter().find(|id| offered.contains(id));
            if let Some(id) = needed
                && !users.iter().any(|(u, _)| *u == slot.owner())
            {
                users.push((slot.owner(), id.clone()));
            }
        }
        users.retain(|(u, _)| self.running.iter().any(|(s, _)| s.owner() == *u));
        users.sort_by_key(|(u, _)| *u);
        users
    }

    /// Makes every plugin write what it holds back (`plugin_api::abi::flush_reason`).
    pub fn flush(&self, reason: u32) {
        for (slot, _) in &self.running {
            slot.flush(reason);
        }
    }

    /// Ends all plugins, in reverse order. Returns false when one of them failed at it.
    pub fn end(&mut self) -> bool {
        self.settle_crashes();
        let mut ok = true;
        while let Some((slot, library)) = self.running.pop() {
            ok &= !slot.failed();
            ok &= self.finish(slot, library, Finish::Retire).is_clean();
        }
        ok
    }

    /// Passes a monitor command to every plugin that listens; whether one of them understood it.
    pub fn command(&mut self, text: &str) -> bool {
        let mut handled = false;
        self.shared.notify(kind::MONITOR, core::ptr::null_mut(), |f, user, cpu| {
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
    pub fn name_of(&self, owner: OwnerId) -> &str {
        self.names.iter().find(|(o, _)| *o == owner).map_or("?", |(_, n)| n)
    }
}

/// Exit status when a plugin failed and that ends the run.
const PLUGIN_FAILED: i32 = 125;

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
