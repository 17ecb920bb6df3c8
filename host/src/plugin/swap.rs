//! Loading, unloading and replacing plugins while a guest runs. Called between blocks only.

use std::fmt::Write;

use emu_abi::{PluginSlot, Values};
use emu_engine::OwnerId;
use emu_linux::sys::fds;
use plugin_api::abi::{MonitorFn, kind};

use super::library::{PluginLibrary, memory_of};
use super::manager::Plugins;
use super::open::{Loaded, Wanted, values};
use super::{Refusal, reply, threads};
use crate::config::FailurePolicy;
use crate::containment::{self, report};
use crate::descriptors::HighDescriptors;
use crate::suggest;

/// How a plugin is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// `uninit`; the library stays mapped.
    Retire,
    /// `uninit`; the library is unmapped, if nothing speaks against it.
    Close,
    /// Its code was interrupted: no `uninit`.
    Abandon,
}

/// What became of an ended plugin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Its library stays mapped, as it should.
    Retired,
    /// Its library is unmapped.
    Closed,
    /// Its library was to be unmapped and stays: why.
    Kept(String),
    /// It did not end well: why. Its library stays mapped.
    Failed(String),
}

impl Ending {
    /// Whether the plugin itself ended well.
    pub fn is_clean(&self) -> bool {
        !matches!(self, Ending::Failed(_))
    }

    fn words(&self) -> String {
        match self {
            Ending::Retired => "unloaded; its library stays mapped".to_owned(),
            Ending::Closed => "unloaded; its library is unmapped".to_owned(),
            Ending::Kept(why) => format!("unloaded; its library stays mapped: {why}"),
            Ending::Failed(why) => format!("unloaded; {why}; its library stays mapped"),
        }
    }
}

impl Plugins {
    /// Ends a plugin that is no longer in the list, and lets go of its library.
    pub(super) fn finish(
        &mut self,
        slot: PluginSlot,
        library: PluginLibrary,
        how: Finish,
    ) -> Ending {
        let (name, owner) = (slot.entry().name.clone(), slot.owner());
        let range = library.range();
        self.loader.threads.borrow_mut().remove(&owner);
        let ended = if how == Finish::Abandon {
            slot.abandon();
            Err("it was interrupted".to_owned())
        } else {
            slot.end().map_err(|reason| format!("its uninit failed: {reason}"))
        };
        let ended = match self.loader.crashes().pop() {
            Some(crash) => {
                tracing::error!("the stack of plugin `{name}`:{}", report::stack(&crash));
                Err(report::describe(&crash))
            }
            None => ended,
        };
        release_closed();
        let mut threads = self.loader.threads.borrow_mut();
        let known: Vec<i32> = threads.values().flatten().copied().collect();
        let left = threads::left(&known);
        let orphans = left.iter().map(|(tid, _)| *tid);
        threads.entry(OwnerId(0)).or_default().extend(orphans);
        drop(threads);
        let left: Vec<String> = left.iter().map(|(tid, n)| format!("{tid} ({n})")).collect();
        let left = (!left.is_empty())
            .then(|| format!("a thread of it has not ended: {}", left.join(", ")));
        let ending = match (ended, left, how) {
            (Err(why), ..) => Ending::Failed(why),
            (_, Some(why), Finish::Close) => Ending::Kept(why),
            (_, Some(why), _) => Ending::Failed(why),
            (_, _, Finish::Retire | Finish::Abandon) => Ending::Retired,
            (_, _, Finish::Close) => {
                // SAFETY: uninit returned without failure and no thread is left; callbacks, services and
                // the handle are gone, and the engine's blocks call nothing of it any more.
                match unsafe { library.close() } {
                    None => {
                        containment::forget_image(&range);
                        return Ending::Closed;
                    }
                    Some(retired) => {
                        containment::retire_image(&range);
                        self.loader.retired.borrow_mut().push(retired);
                    }
                }
                return Ending::Kept(
                    "it is pinned, for instance by a thread-local with a destructor".to_owned(),
                );
            }
        };
        containment::retire_image(&range);
        self.loader.retired.borrow_mut().push(library.retire());
        if how != Finish::Abandon
            && let Ending::Failed(why) | Ending::Kept(why) = &ending
        {
            tracing::warn!("plugin `{name}` did not end well: {why}");
        }
        ending
    }

    fn position(&self, name: &str) -> Result<usize, String> {
        let running = self.running();
        running.iter().position(|(s, _)| s.entry().name == name).ok_or_else(|| {
            let names = running.iter().map(|(s, _)| s.entry().name.as_str());
            match suggest::nearest(name, names.clone()) {
                Some(near) => format!("no plugin `{name}` is loaded; did you mean `{near}`?"),
                None if running.is_empty() => {
                    format!("no plugin `{name}` is loaded; none is")
                }
                None => {
                    let all: Vec<_> = names.collect();
                    format!("no plugin `{name}` is loaded; loaded are {}", all.join(", "))
                }
            }
        })
    }

    /// Names of the running plugins, in load order.
    pub fn names(&self) -> Vec<String> {
        self.running().iter().map(|(s, _)| s.entry().name.clone()).collect()
    }

    /// Loads and starts further plugins.
    pub fn load(&mut self, wanted: &[Wanted]) -> Result<String, String> {
        let high = HighDescriptors::begin().map_err(|e| e.to_string())?;
        // The asker is told of a failed init; the run goes on.
        let before = self.running().len();
        let result = self.loader.start_all(wanted, FailurePolicy::Stop);
        high.end();
        result.map_err(|e| e.to_string())?;
        Ok(format!("{} loaded\n", self.names()[before..].join(", ")))
    }

    /// The plugin at that place and those that need its services, by owner, in load order.
    fn with_users(&self, at: usize) -> Vec<OwnerId> {
        let running = self.running();
        let mut group = vec![running[at].0.owner()];
        let mut looked = 0;
        while looked < group.len() {
            let offered = self.loader.services.offered_by(group[looked]);
            for (slot, _) in running.iter() {
                let needs = slot.entry().requires.iter().any(|id| offered.contains(id));
                if needs && !group.contains(&slot.owner()) {
                    group.push(slot.owner());
                }
            }
            looked += 1;
        }
        group.sort();
        group
    }

    fn finish_for(&self, name: &str, close: bool) -> Finish {
        if close || self.loader.settings.close.iter().any(|n| n == name) {
            Finish::Close
        } else {
            Finish::Retire
        }
    }

    /// Unloads a plugin; those that use its services go before it.
    pub fn unload(&mut self, name: &str, close: bool) -> Result<String, String> {
        let group = self.with_users(self.position(name)?);
        let mut out = String::new();
        for owner in group.into_iter().rev() {
            let Some((slot, library)) = self.take_out(owner) else { continue };
            let this = slot.entry().name.clone();
            let how = self.finish_for(&this, close);
            let ending = self.finish(slot, library, how);
            self.loader.asked.borrow_mut().remove(&this);
            let _ = writeln!(out, "{this} {}", ending.words());
        }
        Ok(out)
    }

    /// Replaces a plugin by what its file holds now, and restarts those that use its services. Nothing
    /// changes when the new file is refused.
    pub fn reload(&mut self, name: &str, close: bool) -> Result<String, String> {
        let group = self.with_users(self.position(name)?);
        let high = HighDescriptors::begin().map_err(|e| e.to_string())?;
        let places: Vec<OwnerId> = self.running().iter().map(|(s, _)| s.owner()).collect();
        let result = self.reload_group(&group, close);
        high.end();
        self.loader.settle();
        let place = |owner| places.iter().position(|o| *o == owner).unwrap_or(places.len());
        self.loader.running.borrow_mut().sort_by_key(|(s, _)| place(s.owner()));
        result
    }

    fn reload_group(&mut self, group: &[OwnerId], close: bool) -> Result<String, String> {
        let mut new: Vec<(OwnerId, String, Loaded, Values)> = Vec::new();
        for &owner in group {
            let running = self.running();
            let found = running.iter().find(|(s, _)| s.owner() == owner);
            let Some(name) = found.map(|(s, _)| s.entry().name.clone()) else { continue };
            let wanted = self.loader.asked.borrow().get(&name).cloned();
            let wanted =
                wanted.unwrap_or_else(|| Wanted { name: name.clone(), ..Wanted::default() });
            let refusal = match Loaded::open(&wanted.name, &self.loader.settings.search) {
                Err(e) => e,
                Ok(loaded) => match values(&loaded, &wanted) {
                    Ok(values) if loaded.entry.name == name => {
                        new.push((owner, name, loaded, values));
                        continue;
                    }
                    other => {
                        let new = loaded.entry.name.clone();
                        self.loader.retired.borrow_mut().push(loaded.library.retire());
                        other.err().unwrap_or(Refusal::Renamed { old: name, new })
                    }
                },
            };
            self.loader
                .retired
                .borrow_mut()
                .extend(new.into_iter().map(|(_, _, loaded, _)| loaded.library.retire()));
            return Err(format!("{refusal}; the loaded one stays"));
        }
        let mut endings = Vec::new();
        for (owner, name, ..) in new.iter().rev() {
            if let Some((slot, library)) = self.take_out(*owner) {
                let how = self.finish_for(name, close);
                endings.push((name.clone(), self.finish(slot, library, how)));
            }
        }
        let mut out = String::new();
        for (owner, name, loaded, values) in new {
            let version = loaded.entry.version.clone();
            self.loader.start_as(owner, loaded, &values).map_err(|e| e.to_string())?;
            let ending = endings.iter().find(|(n, _)| *n == name).map(|(_, e)| e);
            let old = match ending {
                Some(Ending::Closed) => "the old library is unmapped".to_owned(),
                Some(Ending::Kept(why) | Ending::Failed(why)) => {
                    format!("the old library stays mapped: {why}")
                }
                _ => "the old library stays mapped".to_owned(),
            };
            let _ = writeln!(out, "{name} {version} reloaded; {old}");
        }
        Ok(out)
    }

    /// The running plugins and the memory of those that are gone.
    pub fn list(&self) -> String {
        let mut out = String::new();
        for (slot, library) in self.running().iter() {
            let entry = slot.entry();
            let _ =
                writeln!(out, "{:<12} {:<8} {}", entry.name, entry.version, library.path.display());
        }
        if self.running().is_empty() {
            out.push_str("no plugin is loaded\n");
        }
        out + &self.retired_memory()
    }

    /// What libraries of ended plugins occupy; nothing when there are none.
    pub fn retired_memory(&self) -> String {
        let retired = self.loader.retired.borrow();
        if retired.is_empty() {
            return String::new();
        }
        let (mapped, resident) = memory_of(&retired);
        let pinned = retired.iter().filter(|r| r.pinned).count();
        let pinned = if pinned > 0 { format!(", {pinned} of them pinned") } else { String::new() };
        format!(
            "retired libraries: {}{pinned}; {resident} kB resident, {mapped} kB mapped\n",
            retired.len()
        )
    }

    /// Passes a line to every plugin's monitor callbacks; what they answered.
    pub fn command_all(&mut self, text: &str) -> Result<String, String> {
        let (handled, lines) = reply::collect(|| self.command(text));
        let out = lines.iter().fold(String::new(), |out, l| out + l + "\n");
        if handled || !out.is_empty() {
            Ok(out)
        } else {
            Err(format!("no plugin understands the command `{text}`; try the command `help`"))
        }
    }

    /// Passes a line to one plugin's monitor callbacks; what it answered.
    pub fn command_to(&mut self, name: &str, text: &str) -> Result<String, String> {
        let owner = self.running()[self.position(name)?].0.owner();
        let list = self.loader.shared.registry.borrow().list(kind::MONITOR);
        let mine: Vec<_> = list.iter().filter(|s| s.owner == owner && s.enabled()).collect();
        if mine.is_empty() {
            return Err(format!("plugin `{name}` takes no commands"));
        }
        let (handled, lines) = reply::collect(|| {
            let mut handled = false;
            for sub in mine {
                // SAFETY: the function type belongs to the kind; the text outlives the call, and a null CPU
                // says that no guest code runs.
                handled |= unsafe {
                    let f: MonitorFn = core::mem::transmute(sub.cell.func.get());
                    let user = sub.cell.user.get() as *mut _;
                    f(user, core::ptr::null_mut(), text.as_ptr(), text.len() as u64) != 0
                };
            }
            handled
        });
        self.settle();
        let out = lines.iter().fold(String::new(), |out, l| out + l + "\n");
        if handled || !out.is_empty() {
            Ok(out)
        } else {
            Err(format!("plugin `{name}` does not understand `{text}`; try `help`"))
        }
    }
}

/// Descriptors a plugin opened in init and closed in uninit are the guest's again.
fn release_closed() {
    for fd in fds::reserved_between(0, i32::MAX as u32) {
        let fd = fd as i32;
        // SAFETY: F_GETFD only asks.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            fds::release(fd);
        }
    }
}
