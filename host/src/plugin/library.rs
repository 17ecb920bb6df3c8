//! Opening a plugin library.
//!
//! Always a private copy, in memory: overwriting the file of a loaded library kills the process, and opening the
//! same file twice gives the old code.

use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use emu_linux::Abi;
use emu_linux::elf::{self, ElfError, Segment};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use plugin_api::abi::{ENTRY_SYMBOL, PluginEntry};
use rustix::fs::{MemfdFlags, memfd_create};

use super::refusal::Refusal;

/// A mapped plugin library.
#[derive(Debug)]
pub struct PluginLibrary {
    /// Where it was found.
    pub path: PathBuf,
    /// Bytes its image occupies from its base address.
    size: u64,
    /// The copy that is mapped, by which the process's list of mappings calls it.
    copy: PathBuf,
    /// Never closed by dropping: see [`PluginLibrary::retire`].
    library: core::mem::ManuallyDrop<Library>,
}

/// Distinguishes the copies of one process.
static SERIAL: AtomicU32 = AtomicU32::new(0);

impl PluginLibrary {
    /// Maps the library at `path`, resolving every symbol at once.
    pub fn open(path: &Path) -> Result<PluginLibrary, Refusal> {
        let refuse = |reason: String| Refusal::Open { path: path.to_owned(), reason };
        let file = File::open(path).map_err(|e| refuse(e.to_string()))?;
        let mut magic = [0; 4];
        let begins = file.read_at(&mut magic, 0).map_err(|e| refuse(e.to_string()))?;
        if magic[..begins] != *b"\x7fELF" {
            return Err(Refusal::NotALibrary { path: path.to_owned() });
        }
        let loaded = check_elf(&file).map_err(refuse)?;
        // What is loaded; debugging information is often ten times as much.
        let end = loaded.iter().map(|s| s.offset + s.filesz).max().unwrap_or(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let (memory, copy) = private_copy(path, &file, end, serial)
            .map_err(|e| refuse(format!("no private copy can be made in memory: {e}")))?;
        let name = name_of(&memory, serial);
        // SAFETY: the user asked for this library; its initialisers run now.
        let opened = unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_LOCAL) };
        match opened {
            Ok(library) => Ok(PluginLibrary {
                path: path.to_owned(),
                copy,
                size: loaded.iter().map(|s| s.vaddr + s.memsz).max().unwrap_or(0),
                library: core::mem::ManuallyDrop::new(library),
            }),
            Err(e) => {
                // The loader's text names the copy, which is of no use to anybody.
                let text = causes(&e).replace(&name, &path.to_string_lossy());
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

    /// The addresses its image occupies.
    pub fn range(&self) -> Range<u64> {
        let inside = self.entry().map_or(core::ptr::null(), <*const PluginEntry>::cast);
        // SAFETY: plain data, filled by the call; any address may be asked about.
        let base = unsafe {
            let mut info: libc::Dl_info = core::mem::zeroed();
            if libc::dladdr(inside, &mut info) == 0 { 0 } else { info.dli_fbase as u64 }
        };
        base..base + if base == 0 { 0 } else { self.size }
    }

    /// Lets go of the library without unmapping it: code of it may still be referred to.
    pub fn retire(self) -> Retired {
        Retired { path: self.path, copy: self.copy, pinned: false }
    }

    /// Unmaps the library; gives it back as retired when something keeps it mapped.
    ///
    /// # Safety
    /// Nothing refers to its code or data any more: its init did not succeed or its `uninit` returned, none
    /// of its threads lives.
    pub unsafe fn close(self) -> Option<Retired> {
        let PluginLibrary { path, copy, library, .. } = self;
        // An error leaves it mapped, which is looked for.
        drop(core::mem::ManuallyDrop::into_inner(library));
        (!mappings(&copy).is_empty()).then_some(Retired { path, copy, pinned: true })
    }
}

/// A library that is of no more use and stays mapped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retired {
    /// The file it came from.
    pub path: PathBuf,
    copy: PathBuf,
    /// It was to be unmapped, but something in it (a thread-local destructor, `-z nodelete`) keeps it.
    pub pinned: bool,
}

/// The address ranges a file is mapped at.
fn mappings(file: &Path) -> Vec<Range<u64>> {
    let name = file.to_string_lossy();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let own = maps.lines().filter(|l| {
        // A file in memory is called deleted.
        l.strip_suffix(" (deleted)").unwrap_or(l).ends_with(&*name)
    });
    let address = |text: &str| u64::from_str_radix(text, 16).ok();
    own.filter_map(|l| {
        let (start, end) = l.split(' ').next()?.split_once('-')?;
        Some(address(start)?..address(end)?)
    })
    .collect()
}

/// What retired libraries occupy, in kB: (address space, resident memory).
pub fn memory_of(retired: &[Retired]) -> (u64, u64) {
    if retired.is_empty() {
        return (0, 0);
    }
    let copies: HashSet<_> = retired.iter().map(|r| r.copy.to_string_lossy()).collect();
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let (mut mapped, mut resident, mut counts) = (0, 0, false);
    for line in smaps.lines() {
        let kb = |key: &str| -> Option<u64> {
            line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok()
        };
        if let Some(kb) = kb("Size:") {
            mapped += if counts { kb } else { 0 };
        } else if let Some(kb) = kb("Rss:") {
            resident += if counts { kb } else { 0 };
        } else if line.contains('/') {
            let name = line.find('/').map_or("", |at| &line[at..]);
            counts = copies.contains(name.strip_suffix(" (deleted)").unwrap_or(name));
        } else if line.as_bytes().first().is_some_and(u8::is_ascii_hexdigit) && line.contains('-') {
            counts = false;
        }
    }
    (mapped, resident)
}

/// Refuses what the dynamic loader reports badly, or crashes on: it maps a truncated library and dies
/// when it touches what is missing.
fn check_elf(file: &File) -> Result<Vec<Segment>, String> {
    match elf::parse(file) {
        Ok(image) if image.abi != Abi::X86_64 => {
            Err("it is a 32-bit library; build it for x86-64, also for 32-bit guests".into())
        }
        Ok(image) if !image.pie => Err("it is a program, not a shared library".into()),
        Ok(image) => Ok(image.segments),
        Err(ElfError::Machine { machine }) => {
            Err(format!("it is built for {machine}; build it for x86-64"))
        }
        Err(e) => Err(format!("{e}; build it again")),
    }
}

/// A file in memory with the first `end` bytes of the library, and what the process's list of mappings calls it. The
/// kernel copies: a buffer in the heap would leave a hole there that grows with every load.
fn private_copy(
    path: &Path,
    library: &File,
    end: u64,
    serial: u32,
) -> std::io::Result<(File, PathBuf)> {
    use std::io::Read;
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    // The kernel takes 249 bytes.
    let file: String = file.chars().take(50).filter(|c| *c != '\0').collect();
    let name = format!("panda-{serial}-{file}");
    let mut copy = File::from(memfd_create(&name, MemfdFlags::CLOEXEC)?);
    if std::io::copy(&mut library.take(end), &mut copy)? != end {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok((copy, PathBuf::from(format!("/memfd:{name}"))))
}

/// A path to a file in memory that no other copy had: the loader takes a name it has seen for a library it has
/// loaded, and numbers of descriptors come again.
fn name_of(memory: &File, serial: u32) -> String {
    let detour: String =
        (0..u32::BITS).map(|bit| if serial >> bit & 1 == 1 { "./" } else { "/" }).collect();
    format!("/proc/self/{detour}fd/{}", memory.as_raw_fd())
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
