//! The checks. Each runs in a process of its own; `Ok` is a note for the reader.

use std::path::Path;

use emu_abi::{ArgError, check_args};
use plugin_api::abi::flush_reason;

use super::start::{Started, Tables, start};
use super::{elf, tiny};
use crate::plugin::Loaded;

/// A check.
#[derive(Debug)]
pub struct Check {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it makes sure of.
    pub about: &'static str,
    /// When it fails, the others cannot be done.
    pub essential: bool,
    /// Does it: (plugin, directory for files).
    pub run: fn(&Path, &Path) -> Result<String, String>,
}

macro_rules! checks {
    ($($(#[$essential:ident])? $name:literal $run:ident $about:literal;)*) => {
        /// All checks, in the order they are done.
        pub static ALL: &[Check] = &[$(Check {
            name: $name,
            about: $about,
            essential: checks!(@ $($essential)?),
            run: $run,
        }),*];
    };
    (@ essential) => { true };
    (@) => { false };
}

checks! {
    #[essential] "library" library "The file is a shared library for this machine";
    #[essential] "load" load "It loads with all symbols resolved; entry, magic, sizes and versions fit";
    "exports" exports "It exports its entry and nothing that could clash";
    "arguments" arguments "Its table of arguments is sound";
    "init" init "Init with default arguments succeeds, or refuses with a reason; then flush and uninit";
    "init-again" init "The same in another process";
    "no-output-dir" no_output_dir "Init copes with a missing output directory";
    "exact-table" exact_table "It reads nothing behind the end of the host's table";
    "long-table" long_table "It works with the longer table of a later host";
    "no-services" no_services "Init copes with a host without optional tables";
    "threads" threads "No thread of it is left after uninit";
    "cycles" cycles "Up to 100 times load, init, uninit: memory and descriptors do not pile up";
    "guest64" guest64 "A small x86-64 program runs under it as without it";
    "guest32" guest32 "A small i386 program runs under it as without it";
}

/// How many times `cycles` loads a plugin: 100, and fewer when the library is large, as those with debug
/// information are; each load copies it.
fn cycles_of(bytes: u64) -> u64 {
    const COPIED: u64 = 256 << 20;
    (COPIED / bytes.max(1)).clamp(10, 100)
}

/// What init and uninit may leave together, in kB, beside what loading the library leaves. That a plugin frees
/// everything does not mean that the heap shrinks by as much.
const KB_PER_CYCLE: u64 = 64;

fn library(file: &Path, _: &Path) -> Result<String, String> {
    elf::is_library(&read(file)?)
}

fn load(file: &Path, _: &Path) -> Result<String, String> {
    let entry = Loaded::open_file(file).map_err(|e| e.to_string())?.entry;
    Ok(format!("{} {}, API {}.{}", entry.name, entry.version, entry.api.0, entry.api.1))
}

fn exports(file: &Path, _: &Path) -> Result<String, String> {
    elf::exports(&read(file)?)
}

fn arguments(file: &Path, _: &Path) -> Result<String, String> {
    let entry = Loaded::open_file(file).map_err(|e| e.to_string())?.entry;
    for (n, arg) in entry.args.iter().enumerate() {
        let usable = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if arg.name.is_empty() || !arg.name.chars().all(usable) {
            return Err(format!("`{}` cannot be written on a command line", arg.name));
        }
        if entry.args[..n].iter().any(|other| other.name == arg.name) {
            return Err(format!("`{}` is there twice", arg.name));
        }
    }
    match check_args(&entry.args, &[]) {
        Ok(_) | Err(ArgError::Missing { .. }) => Ok(format!("{} arguments", entry.args.len())),
        Err(e) => Err(e.to_string()),
    }
}

fn init(file: &Path, dir: &Path) -> Result<String, String> {
    match start(file, dir, Tables::Normal)? {
        Started::Refused(note) => Ok(note),
        Started::Running(plugin) => {
            // The plugin may be unable to write now; that it answers is enough.
            plugin.plugin.flush(flush_reason::REQUEST);
            drop(plugin);
            Ok(String::new())
        }
    }
}

fn no_output_dir(file: &Path, dir: &Path) -> Result<String, String> {
    start(file, &dir.join("missing"), Tables::Normal).map(Started::note)
}

fn exact_table(file: &Path, dir: &Path) -> Result<String, String> {
    start(file, dir, Tables::Exact).map(Started::note)
}

fn long_table(file: &Path, dir: &Path) -> Result<String, String> {
    start(file, dir, Tables::Long).map(Started::note)
}

fn no_services(file: &Path, dir: &Path) -> Result<String, String> {
    start(file, dir, Tables::NoServices).map(Started::note)
}

fn threads(file: &Path, dir: &Path) -> Result<String, String> {
    let before = count("/proc/self/task")?;
    let note = start(file, dir, Tables::Normal)?.note();
    // A joined thread's entry goes away a moment after the join.
    for _ in 0..1000 {
        if count("/proc/self/task")? <= before {
            return Ok(note);
        }
        std::thread::yield_now();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Err(format!("{} threads are left after uninit", count("/proc/self/task")? - before))
}

fn cycles(file: &Path, dir: &Path) -> Result<String, String> {
    let count_of = cycles_of(std::fs::metadata(file).map_or(0, |m| m.len()));
    // The first load brings in what stays for good.
    start(file, dir, Tables::Normal)?;
    let (resident, own) = (memory_kb("VmRSS:")?, memory_kb("RssAnon:")?);
    let descriptors = count("/proc/self/fd")?;
    for _ in 0..count_of {
        Loaded::open_file(file).map_err(|e| e.to_string())?.library.retire();
    }
    let by_loading = memory_kb("VmRSS:")?.saturating_sub(resident) / count_of;
    // Not what is mapped from the library's file: init touches more of that than loading does.
    let loaded = memory_kb("RssAnon:")?;
    for _ in 0..count_of {
        start(file, dir, Tables::Normal)?;
    }
    let by_both = memory_kb("RssAnon:")?.saturating_sub(loaded);
    let by_init = by_both.saturating_sub(loaded.saturating_sub(own)) / count_of;
    let left = count("/proc/self/fd")?.saturating_sub(descriptors);
    if left > 0 {
        return Err(format!("{left} file descriptors are left after {count_of} cycles"));
    }
    if by_init > KB_PER_CYCLE {
        return Err(format!(
            "init and uninit leave {by_init} kB each time; allowed are {KB_PER_CYCLE} kB"
        ));
    }
    Ok(format!("{by_init} kB each time, and {by_loading} kB by loading"))
}

fn guest64(file: &Path, dir: &Path) -> Result<String, String> {
    tiny::run(file, dir, &tiny::elf64())
}

fn guest32(file: &Path, dir: &Path) -> Result<String, String> {
    tiny::run(file, dir, &tiny::elf32())
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))
}

/// Entries of a directory of /proc.
fn count(dir: &str) -> Result<usize, String> {
    std::fs::read_dir(dir).map(Iterator::count).map_err(|e| format!("{dir}: {e}"))
}

/// A number of kB that the kernel tells of this process.
fn memory_kb(key: &str) -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    status
        .lines()
        .find_map(|l| l.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| "this system does not tell a process's memory".to_owned())
}
