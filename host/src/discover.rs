//! Finding plugin libraries.

use std::path::{Path, PathBuf};

/// Environment variable with further directories, separated by colons.
pub const PATH_VARIABLE: &str = "PANDA_PLUGIN_PATH";

/// The directories plugins are looked for in, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchPath {
    /// The directories; they need not exist.
    pub dirs: Vec<PathBuf>,
    /// Looked for in each of them first.
    target: Option<&'static str>,
}

impl SearchPath {
    /// Command line, then configuration, then environment, then beside the executable, then the
    /// user's and the system's library directories.
    pub fn new(command_line: &[PathBuf], config: &[PathBuf]) -> SearchPath {
        let mut dirs: Vec<PathBuf> = command_line.iter().chain(config).cloned().collect();
        if let Some(list) = std::env::var_os(PATH_VARIABLE) {
            dirs.extend(std::env::split_paths(&list).filter(|d| !d.as_os_str().is_empty()));
        }
        if let Ok(exe) = std::env::current_exe() {
            dirs.extend(exe.parent().map(Path::to_owned));
        }
        if let Some(home) = std::env::var_os("HOME") {
            dirs.push(Path::new(&home).join(".local/lib/panda"));
        }
        dirs.push(PathBuf::from("/usr/local/lib/panda"));
        dirs.push(PathBuf::from("/usr/lib/panda"));
        let mut seen = Vec::new();
        dirs.retain(|d| {
            // One directory may have many names.
            let place = d.canonicalize().unwrap_or_else(|_| d.clone());
            let new = !seen.contains(&place);
            seen.push(place);
            new
        });
        SearchPath { dirs, target: None }
    }

    /// One directory.
    pub fn only(dir: PathBuf) -> SearchPath {
        SearchPath { dirs: vec![dir], target: None }
    }

    /// The same for guests of one architecture: libraries that are compiled for it lie in the directory
    /// `target` of each directory, and are preferred.
    pub fn for_target(&self, target: &'static str) -> SearchPath {
        SearchPath { target: Some(target), ..self.clone() }
    }

    /// The library of the plugin `name`: the first file found, and the ones it shadows.
    pub fn find(&self, name: &str) -> Option<(PathBuf, Vec<PathBuf>)> {
        let mut found = self
            .dirs
            .iter()
            .flat_map(|d| self.target.map(|t| d.join(t)).into_iter().chain([d.clone()]))
            .flat_map(|d| file_names(name).map(move |f| d.join(f)))
            .filter(|p| p.is_file());
        let first = found.next()?;
        Some((first, found.collect()))
    }

    /// Every file that is named like a plugin, in search order, with the name it would be loaded by.
    pub fn all(&self) -> Vec<(String, PathBuf)> {
        let mut all = Vec::new();
        for dir in &self.dirs {
            let Ok(entries) = std::fs::read_dir(dir) else { continue };
            let mut here: Vec<_> = entries
                .flatten()
                .map(|e| e.path())
                .filter_map(|p| plugin_name(&p).map(|n| (n, p)))
                .collect();
            here.sort();
            all.extend(here);
        }
        all
    }
}

/// Whether a plugin is named by its path.
pub fn is_path(name: &str) -> bool {
    name.contains('/') || name.ends_with(".so")
}

/// The name of a plugin's table in the configuration: of one named by its path, what its file name
/// says.
pub fn table_name(name: &str) -> String {
    let by_path = is_path(name).then(|| plugin_name(Path::new(name))).flatten();
    by_path.unwrap_or_else(|| name.to_owned())
}

/// File names the library of `name` may have.
fn file_names(name: &str) -> impl Iterator<Item = String> {
    let name = name.replace('-', "_");
    ["panda_", "libpanda_", "", "lib"].into_iter().map(move |p| format!("{p}{name}.so"))
}

/// The plugin name in a library's file name.
fn plugin_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?.strip_suffix(".so")?;
    let name = file.strip_prefix("libpanda_").or_else(|| file.strip_prefix("panda_"))?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_wins_and_shadows() {
        let base = std::env::temp_dir().join(format!("panda-discover-{}", std::process::id()));
        let (a, b) = (base.join("a"), base.join("b"));
        for d in [&a, &b] {
            std::fs::create_dir_all(d).unwrap();
        }
        for f in [a.join("libpanda_x_y.so"), b.join("panda_x_y.so"), b.join("unrelated.so")] {
            std::fs::write(f, "").unwrap();
        }
        let path = SearchPath { dirs: vec![a.clone(), b.clone()], target: None };
        let found = path.find("x-y");
        assert_eq!(found, Some((a.join("libpanda_x_y.so"), vec![b.join("panda_x_y.so")])));
        assert_eq!(path.find("z"), None);
        let target = b.join("i386-linux-user");
        std::fs::create_dir_all(&target).unwrap();
        std::fs::write(target.join("panda_x_y.so"), "").unwrap();
        let only_b = SearchPath { dirs: vec![b.clone()], target: None };
        let found = only_b.for_target("i386-linux-user").find("x_y");
        assert_eq!(found, Some((target.join("panda_x_y.so"), vec![b.join("panda_x_y.so")])));
        assert_eq!(only_b.for_target("other").find("x_y").unwrap().0, b.join("panda_x_y.so"));
        let names: Vec<_> = path.all().into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["x_y", "x_y"]);
        std::fs::remove_dir_all(base).unwrap();
    }
}
