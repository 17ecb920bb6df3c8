//! The plugins of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use emu_abi::{Entry, GivenValue, LogSink, PluginSlot, Services, SlotConfig, check_args};
use emu_engine::{OwnerId, Shared};
use emu_linux::sys::fds;
use plugin_api::abi::{MonitorFn, kind, level};

use super::library::PluginLibrary;
use super::refusal::Refusal;
use crate::config::FailurePolicy;
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

/// The running plugins, in load order.
#[derive(Debug)]
pub struct Plugins {
    shared: Rc<Shared>,
    settings: Settings,
    services: Rc<Services>,
    running: Vec<(PluginSlot, PluginLibrary)>,
    next_owner: u32,
    /// Names of owners, for statistics: they stay when a plugin goes.
    names: Vec<(OwnerId, String)>,
}

impl Plugins {
    /// No plugins yet.
    pub fn new(shared: Rc<Shared>, settings: Settings) -> Plugins {
        Plugins {
            shared,
            settings,
            services: Rc::default(),
            running: Vec::new(),
            next_owner: 1,
            names: Vec::new(),
        }
    }

    /// Loads and starts plugins in order; one that needs another's service starts after it.
    ///
    /// A plugin that is refused is reported. Under [`FailurePolicy::Disable`] a plugin whose *init*
    /// fails is left out; every other refusal is the user's slip and ends the run.
    pub fn start_all(&mut self, wanted: &[Wanted]) -> Result<(), Refusal> {
        let mut waiting = Vec::new();
        for w in wanted {
            let loaded = Loaded::open(&w.name, &self.settings.search)?;
            let name = &loaded.entry.name;
            let twice = waiting.iter().any(|(l, _): &(Loaded, _)| l.entry.name == *name)
                || self.running.iter().any(|(s, _)| s.entry().name == *name);
            if twice {
                return Err(Refusal::Duplicate(name.clone()));
            }
            let values = check_args(&loaded.entry.args, &w.args).map_err(|reason| {
                let place = w.places.get(reason.argument()).map(|p| format!("{p}: "));
                Refusal::Argument {
                    place: place.unwrap_or_default(),
                    plugin: name.clone(),
                    reason: Box::new(reason),
                }
            })?;
            waiting.push((loaded, values));
        }
        while !waiting.is_empty() {
            let there = |id: &String| self.services.has(id);
            let ready = |(l, _): &(Loaded, _)| l.entry.requires.iter().all(there);
            let Some(n) = waiting.iter().position(ready) else {
                let entry = &waiting[0].0.entry;
                let missing = entry.requires.iter().find(|&id| !there(id));
                return Err(Refusal::MissingService {
                    plugin: entry.name.clone(),
                    service: missing.cloned().unwrap_or_default(),
                });
            };
            let (loaded, values) = waiting.remove(n);
            if let Err(refusal) = self.start(loaded, &values) {
                if self.settings.policy == FailurePolicy::Stop {
                    return Err(refusal);
                }
                tracing::error!("{refusal}; the run goes on without it");
            }
        }
        Ok(())
    }

    fn start(&mut self, loaded: Loaded, values: &emu_abi::Values) -> Result<(), Refusal> {
        let owner = OwnerId(self.next_owner);
        self.next_owner += 1;
        let Loaded { entry, library } = loaded;
        let config = SlotConfig {
            host_name: "host".into(),
            host_version: env!("CARGO_PKG_VERSION").into(),
            out_dir: self.settings.out_dir.to_string_lossy().into_owned(),
            continued: self.settings.continued,
            log: log_sink(),
            log_level: log_level(),
            hide_fd: |fd, hide| if hide { fds::reserve(fd) } else { fds::release(fd) },
            services: self.services.clone(),
        };
        // SAFETY: the library is never unmapped; this is the run thread.
        let started = unsafe { PluginSlot::start(&entry, &self.shared, owner, config, values) };
        match started {
            Ok(slot) => {
                tracing::info!("plugin `{}` {} loaded", entry.name, entry.version);
                self.names.push((owner, entry.name.clone()));
                self.running.push((slot, library));
                Ok(())
            }
            Err(e) => {
                library.retire();
                Err(Refusal::Init { plugin: entry.name.clone(), reason: e.reason })
            }
        }
    }

    /// Ends plugins that failed or asked to go. Called between blocks.
    pub fn settle(&mut self) {
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
            let (slot, library) = self.running.remove(n);
            drop(slot);
            library.retire();
            if !failed {
                tracing::info!("plugin `{name}` unloaded itself");
                continue;
            }
            match self.settings.policy {
                FailurePolicy::Disable => {
                    tracing::error!("plugin `{name}` failed and is unloaded: {reason}");
                }
                FailurePolicy::Stop => {
                    tracing::error!("plugin `{name}` failed, the run ends: {reason}");
                    self.shared.request_stop(125, "a plugin failed");
                }
            }
        }
    }

    /// Makes every plugin write what it holds back (`plugin_api::abi::flush_reason`).
    pub fn flush(&self, reason: u32) {
        for (slot, _) in &self.running {
            slot.flush(reason);
        }
    }

    /// Ends all plugins, in reverse order. Returns false when one of them failed at it.
    pub fn end(&mut self) -> bool {
        let mut ok = true;
        while let Some((slot, library)) = self.running.pop() {
            ok &= !slot.failed();
            drop(slot);
            library.retire();
        }
        ok
    }

    /// Passes a monitor command to every plugin that listens; whether one of them understood it.
    pub fn command(&mut self, text: &str) -> bool {
        let mut handled = false;
        self.shared.notify(kind::MONITOR, |f, user| {
            // SAFETY: the function type belongs to the kind; the text outlives the call, and a null
            // CPU says that no guest code runs.
            handled |= unsafe {
                let f: MonitorFn = core::mem::transmute(f);
                f(user, core::ptr::null_mut(), text.as_ptr(), text.len() as u64) != 0
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
