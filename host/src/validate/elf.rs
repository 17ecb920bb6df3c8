//! What the file itself tells, without loading it.

use object::{Architecture, Object, ObjectKind, ObjectSymbol, SymbolFlags};
use plugin_api::abi::ENTRY_SYMBOL;

/// Symbols that linkers add to any library.
const LINKERS: &[&str] = &["_init", "_fini", "_edata", "_end", "__bss_start"];

/// What every plugin that is built with `compat/panda1` exports.
const PANDA1_INIT: &str = "init_plugin";

fn parse(bytes: &[u8]) -> Result<object::File<'_>, String> {
    object::File::parse(bytes).map_err(|e| format!("it is not an ELF file: {e}"))
}

/// A shared library for this machine.
pub fn is_library(bytes: &[u8]) -> Result<String, String> {
    let file = parse(bytes)?;
    if file.kind() != ObjectKind::Dynamic {
        return Err(format!("it is not a shared library but of kind {:?}", file.kind()));
    }
    if file.architecture() != Architecture::X86_64 {
        return Err(format!("it is for {:?}, this host is for X86_64", file.architecture()));
    }
    Ok(String::new())
}

/// Only the entry, and the layout witness of a Rust plugin. Weak and unique symbols are C++ templates
/// of the standard library, which are the same everywhere.
pub fn exports(bytes: &[u8]) -> Result<String, String> {
    let mut others: Vec<String> = parse(bytes)?
        .dynamic_symbols()
        .filter(|s| s.is_definition() && s.is_global() && !s.is_weak() && !is_unique(s))
        .filter_map(|s| s.name().ok().map(str::to_owned))
        .filter(|n| n != ENTRY_SYMBOL && n != plugin_api::witness::SYMBOL)
        .filter(|n| !LINKERS.contains(&n.as_str()))
        .collect();
    others.sort();
    if others.iter().any(|n| n == PANDA1_INIT) {
        return Ok("a PANDA 1 plugin, whose functions other plugins may call".to_owned());
    }
    if others.is_empty() {
        return Ok(String::new());
    }
    let more = if others.len() > 5 { ", …" } else { "" };
    others.truncate(5);
    Err(format!("it also exports {}{more}; build it with -fvisibility=hidden", others.join(", ")))
}

/// Of the binding `STB_GNU_UNIQUE`: a static variable in a C++ template.
fn is_unique<'data>(symbol: &impl ObjectSymbol<'data>) -> bool {
    matches!(symbol.flags(), SymbolFlags::Elf { st_info, .. } if st_info.0 >> 4 == 10)
}
