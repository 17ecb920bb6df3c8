//! `host plugin new`: writes a small complete plugin project.

use std::path::{Path, PathBuf};

use crate::cli::Language;

/// The C header, which every C and C++ project gets a copy of.
const HEADER: &str = include_str!("../../plugin-api/include/panda_plugin.h");

/// Longest name of a plugin.
const MAX_NAME: usize = 48;

/// Why no project was written.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// Not usable as file name and identifier.
    #[error(
        "`{0}` cannot be a plugin's name: lower-case letters, digits, `_` and `-`, beginning with a \
         letter, at most {MAX_NAME} characters"
    )]
    Name(String),
    /// Something is there already.
    #[error("{} is not empty; name another directory with --dir", .0.display())]
    NotEmpty(PathBuf),
    /// The Rust project would have nothing to depend on.
    #[error("the plugin-api crate is not in {}; say where it is with --api DIR", .0.display())]
    NoApi(PathBuf),
    /// The file system refused.
    #[error("{} cannot be written: {source}", .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A project to write.
#[derive(Clone, Debug)]
pub struct Project<'a> {
    /// Name of the plugin.
    pub name: &'a str,
    /// Its language.
    pub language: Language,
    /// Its directory; `./NAME` when not given.
    pub dir: Option<&'a Path>,
    /// Where the plugin-api crate is; for Rust only.
    pub api: Option<&'a Path>,
}

/// Writes a project. Returns what to do next, for the user.
pub fn write(project: &Project<'_>) -> Result<String, ScaffoldError> {
    check_name(project.name)?;
    let dir = project.dir.map_or_else(|| PathBuf::from(project.name), Path::to_owned);
    let api = match project.language {
        Language::Rust => api_dir(project.api)?,
        Language::C | Language::Cpp => PathBuf::new(),
    };
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ScaffoldError::Io { path, source }
    };
    // A file, or a directory with something in it, is never touched.
    match std::fs::read_dir(&dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(ScaffoldError::NotEmpty(dir));
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(io(&dir)(e)),
    }
    for (name, text) in files(project.name, project.language, &api) {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io(parent))?;
        }
        let mut file = std::fs::File::create_new(&path).map_err(io(&path))?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(io(&path))?;
    }
    let ident = project.name.replace('-', "_");
    let (build, library) = match project.language {
        Language::Rust => ("cargo build --release", format!("target/release/libpanda_{ident}.so")),
        Language::C | Language::Cpp => ("make", format!("./panda_{ident}.so")),
    };
    let dir = dir.display();
    Ok(format!(
        "{dir} is written. Next:\n  cd {dir} && {build}\n  host --plugins {library} -- /bin/ls\n"
    ))
}

/// The files of a project: path and contents.
fn files(name: &str, language: Language, api: &Path) -> Vec<(String, String)> {
    let ident = name.replace('-', "_");
    let fill = |template: &str| {
        template
            .replace("@NAME@", name)
            .replace("@IDENT@", &ident)
            .replace("@API@", &toml::Value::from(&*api.to_string_lossy()).to_string())
    };
    macro_rules! template {
        ($path:literal) => {
            fill(include_str!(concat!("scaffold/", $path)))
        };
    }
    match language {
        Language::Rust => vec![
            ("Cargo.toml".into(), template!("rust/Cargo.toml.in")),
            ("src/lib.rs".into(), template!("rust/lib.rs.in")),
            ("README.md".into(), template!("rust/README.md.in")),
            (".gitignore".into(), template!("gitignore-rust")),
        ],
        Language::C => vec![
            ("Makefile".into(), template!("c/Makefile.in")),
            (format!("{ident}.c"), template!("c/plugin.c.in")),
            ("panda_plugin.h".into(), HEADER.into()),
            ("README.md".into(), template!("c/README.md.in")),
            (".gitignore".into(), template!("gitignore-c")),
        ],
        Language::Cpp => vec![
            ("Makefile".into(), template!("cpp/Makefile.in")),
            (format!("{ident}.cpp"), template!("cpp/plugin.cpp.in")),
            ("panda_plugin.h".into(), HEADER.into()),
            ("README.md".into(), template!("cpp/README.md.in")),
            (".gitignore".into(), template!("gitignore-c")),
        ],
    }
}

fn check_name(name: &str) -> Result<(), ScaffoldError> {
    let ok = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= MAX_NAME
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    if ok { Ok(()) } else { Err(ScaffoldError::Name(name.to_owned())) }
}

/// The plugin-api crate: the one named, or that of the source tree this host was built from.
fn api_dir(given: Option<&Path>) -> Result<PathBuf, ScaffoldError> {
    let built_from = || {
        // The tree may have moved with the executable in its target directory.
        let exe = std::env::current_exe().ok();
        let beside = exe.iter().flat_map(|e| e.ancestors()).map(|d| d.join("plugin-api"));
        beside
            .chain([Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("plugin-api")])
            .find(|d| d.join("Cargo.toml").is_file())
    };
    let dir = match given {
        Some(dir) => dir.to_owned(),
        None => built_from().unwrap_or_else(|| "../plugin-api".into()),
    };
    if !dir.join("Cargo.toml").is_file() {
        return Err(ScaffoldError::NoApi(dir));
    }
    dir.canonicalize().map_err(|source| ScaffoldError::Io { path: dir, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names_and_identifiers() {
        for good in ["a", "call-log", "x86_calls2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "2x", "Calls", "a/b", "..", "a b", "-a", "é", &"a".repeat(49)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_placeholder_is_filled() {
        for language in [Language::Rust, Language::C, Language::Cpp] {
            for (path, text) in files("call-log", language, Path::new("/a \"b\"/plugin-api")) {
                for placeholder in ["@NAME@", "@IDENT@", "@API@"] {
                    assert!(!text.contains(placeholder), "{path}: {placeholder}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = std::env::temp_dir().join(format!("panda-scaffold-{}", std::process::id()));
        let project = Project { name: "mine", language: Language::C, dir: Some(&dir), api: None };
        write(&project).unwrap();
        std::fs::write(dir.join("mine.c"), "edited").unwrap();
        assert!(matches!(write(&project), Err(ScaffoldError::NotEmpty(_))));
        assert_eq!(std::fs::read_to_string(dir.join("mine.c")).unwrap(), "edited");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
