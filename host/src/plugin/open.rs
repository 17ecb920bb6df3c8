//! Opening a plugin's library, before anything of it runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use emu_abi::{Entry, GivenValue, Values, check_args};

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
