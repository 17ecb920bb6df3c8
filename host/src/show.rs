//! `host plugin list` and `host plugin help`.

use std::fmt::Write;

use crate::cli;
use crate::config::Config;
use crate::discover::SearchPath;
use crate::plugin::Loaded;

fn search(settings: &cli::Settings) -> anyhow::Result<SearchPath> {
    let config = Config::load(settings.config.as_deref())?;
    Ok(SearchPath::new(&settings.plugin_path, &config.plugin_path))
}

/// Every plugin that can be found: name, version, API, path, what it does. One that cannot be
/// loaded is listed with the reason.
pub fn list(settings: &cli::Settings) -> anyhow::Result<String> {
    let search = search(settings)?;
    let mut out = String::new();
    let mut seen: Vec<String> = Vec::new();
    for (name, path) in search.all() {
        if seen.contains(&name) {
            let _ = writeln!(out, "{name}  (not used, shadowed)  {}", path.display());
            continue;
        }
        match Loaded::open_file(&path) {
            Ok(l) => {
                let (major, minor) = l.entry.api;
                let _ = writeln!(
                    out,
                    "{:<12} {:<8} API {major}.{minor}  {}\n{:12} {}",
                    l.entry.name,
                    l.entry.version,
                    path.display(),
                    "",
                    l.entry.about
                );
                l.library.retire();
            }
            Err(e) => {
                let _ = writeln!(out, "{name:<12} cannot be loaded: {e}");
            }
        }
        seen.push(name);
    }
    if out.is_empty() {
        let dirs: Vec<_> = search.dirs.iter().map(|d| d.display().to_string()).collect();
        let _ = writeln!(out, "no plugins found; looked in: {}", dirs.join(", "));
    }
    Ok(out)
}

/// The arguments of one plugin.
pub fn help(name: &str, settings: &cli::Settings) -> anyhow::Result<String> {
    let loaded = Loaded::open(name, &search(settings)?)?;
    let e = &loaded.entry;
    let mut out = format!("{} {}: {}\n", e.name, e.version, e.about);
    if e.args.is_empty() {
        out.push_str("It takes no arguments.\n");
    }
    for a in &e.args {
        let default = match &a.default {
            Some(d) => format!(" [default: {d}]"),
            None if a.required => " (required)".into(),
            None => String::new(),
        };
        let _ = writeln!(out, "  {}=<{}>  {}{default}", a.name, a.type_name(), a.help);
    }
    loaded.library.retire();
    Ok(out)
}
