//! Opening a plugin library.
//!
//! Always a private copy under a path of its own, deleted once it is mapped: overwriting the file
//! of a loaded library kills the process, and opening the same path twice gives the old code.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use emu_linux::Abi;
use emu_linux::elf::{self, ElfError};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use plugin_api::abi::{ENTRY_SYMBOL, PluginEntry};

use super::refusal::Refusal;

/// A mapped plugin library.
#[derive(Debug)]
pub struct PluginLibrary {
    /// Where it was found.
    pub path: PathBuf,
    /// Never closed by dropping: see [`PluginLibrary::retire`].
    library: core::mem::ManuallyDrop<Library>,
}

/// Distinguishes the copies of one process.
static SERIAL: AtomicU32 = AtomicU32::new(0);

impl PluginLibrary {
    /// Maps the library at `path`, resolving every symbol at once.
    pub fn open(path: &Path) -> Result<PluginLibrary, Refusal> {
        let refuse = |reason: String| Refusal::Open { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|e| refuse(e.to_string()))?;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(Refusal::NotALibrary { path: path.to_owned() });
        }
        check_elf(&bytes).map_err(refuse)?;
        let copy = private_copy(path, &bytes).map_err(|e| {
            refuse(format!(
                "no private copy can be made in {}: {e}",
                std::env::temp_dir().display()
            ))
        })?;
        // SAFETY: the user asked for this library; its initialisers run now.
        let opened = unsafe { Library::open(Some(&copy), RTLD_NOW | RTLD_LOCAL) };
        let _ = std::fs::remove_file(&copy);
        match opened {
            Ok(library) => Ok(PluginLibrary {
                path: path.to_owned(),
                library: core::mem::ManuallyDrop::new(library),
            }),
            Err(e) => {
                // The loader's text names the copy, which is of no use to anybody.
                let text = causes(&e).replace(&*copy.to_string_lossy(), &path.to_string_lossy());
                Err(Refusal::Open { path: path.to_owned(), reason: text })
            }
        }
    }

    /// The address of the plugin's description.
    pub fn entry(&self) -> Result<*const PluginEntry, Refusal> {
        // SAFETY: only the symbol's address is used here.
        let symbol = unsafe { self.library.get::<*const PluginEntry>(ENTRY_SYMBOL.as_bytes()) };
        match symbol {
            Ok(s) => Ok(s.into_raw().cast::<PluginEntry>().cast_const()),
            Err(_) => Err(Refusal::NoEntry { path: self.path.clone() }),
        }
    }

    /// The address of a Rust plugin's layout witness; plugins in C have none.
    pub fn witness(&self) -> Option<*const core::ffi::c_void> {
        // SAFETY: only the symbol's address is used here.
        let symbol = unsafe {
            self.library.get::<*const core::ffi::c_void>(plugin_api::witness::SYMBOL.as_bytes())
        };
        symbol.ok().map(|s| s.into_raw().cast_const())
    }

    /// Lets go of the library without unmapping it: code of it may still be referred to.
    pub fn retire(self) {}
}

/// Refuses what the dynamic loader reports badly, or crashes on: it maps a truncated library and dies
/// when it touches what is missing.
fn check_elf(bytes: &[u8]) -> Result<(), String> {
    match elf::parse(bytes) {
        Ok(image) if image.abi != Abi::X86_64 => {
            Err("it is a 32-bit library; build it for x86-64, also for 32-bit guests".into())
        }
        Ok(image) if !image.pie => Err("it is a program, not a shared library".into()),
        Ok(_) => Ok(()),
        Err(ElfError::Machine { machine }) => {
            Err(format!("it is built for {machine}; build it for x86-64"))
        }
        Err(e) => Err(format!("{e}; build it again")),
    }
}

fn private_copy(path: &Path, bytes: &[u8]) -> std::io::Result<PathBuf> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    loop {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let copy =
            std::env::temp_dir().join(format!("panda-{}-{serial}-{name}", std::process::id()));
        let created =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(&copy);
        match created {
            Ok(mut file) => {
                if let Err(e) = file.write_all(bytes) {
                    let _ = std::fs::remove_file(&copy);
                    return Err(e);
                }
                return Ok(copy);
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

/// The messages of an error and all its causes, each once.
fn causes(e: &dyn std::error::Error) -> String {
    let mut parts = vec![e.to_string()];
    let mut next = e.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !parts.iter().any(|p| p.contains(&text)) {
            parts.push(text);
        }
        next = cause.source();
    }
    if parts.len() > 1 {
        parts.remove(0);
    }
    parts.join(": ")
}
