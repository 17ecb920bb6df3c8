//! The layout witness of Rust plugins: a second check, beside the version numbers, that plugin and host
//! mean the same by every structure of [`crate::abi`].
//!
//! [`crate::export_plugin!`] also exports abi_stable's library header, which describes the types the
//! plugin was compiled with. A host compares them with its own by [`check`], once, after loading. Plugins
//! in C have no witness.

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{
    AbiInstability, CheckingGlobals, ExpectedFound, check_layout_compatibility_with_globals,
};
#[doc(hidden)]
pub use abi_stable::library::LibHeader;
use abi_stable::library::{
    AbiHeader, AbiHeaderRef, CheckTypeLayout, IsLayoutChecked, RootModule, RootModuleResult,
};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::{RRef, VersionStrings};
use abi_stable::type_layout::{TLData, TLFieldOrFunction};

use crate::abi::{
    BlockInfo, CallbackDesc, ConditionsApi, CountersApi, ExecInfo, ForkInfo, HostApi, MemApi,
    ModuleInfo, MonitorApi, OsApi, PluginEntry, RegInfo, RegsApi, SignalInfo, SyscallInfo,
    ThreadInfo,
};

/// Name of the symbol.
pub const SYMBOL: &str = abi_stable::library::ROOT_MODULE_LOADER_NAME;

/// Names every structure that crosses; the pointers are null.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Types {
    entry: *const PluginEntry,
    host: *const HostApi,
    callback: *const CallbackDesc,
    block: *const BlockInfo,
    syscall: *const SyscallInfo,
    module: *const ModuleInfo,
    thread: *const ThreadInfo,
    fork: *const ForkInfo,
    exec: *const ExecInfo,
    signal: *const SignalInfo,
    mem: *const MemApi,
    reg: *const RegInfo,
    regs: *const RegsApi,
    os: *const OsApi,
    counters: *const CountersApi,
    monitor: *const MonitorApi,
    conditions: *const ConditionsApi,
}

// SAFETY: all pointers are null for ever.
unsafe impl Send for Types {}
// SAFETY: as above.
unsafe impl Sync for Types {}

const TYPES: Types = Types {
    entry: core::ptr::null(),
    host: core::ptr::null(),
    callback: core::ptr::null(),
    block: core::ptr::null(),
    syscall: core::ptr::null(),
    module: core::ptr::null(),
    thread: core::ptr::null(),
    fork: core::ptr::null(),
    exec: core::ptr::null(),
    signal: core::ptr::null(),
    mem: core::ptr::null(),
    reg: core::ptr::null(),
    regs: core::ptr::null(),
    os: core::ptr::null(),
    counters: core::ptr::null(),
    monitor: core::ptr::null(),
    conditions: core::ptr::null(),
};

/// What abi_stable calls the root module. A later minor version adds a field with its new structures.
#[repr(C)]
#[derive(StableAbi, Debug)]
#[sabi(kind(Prefix(prefix_ref = WitnessRef)))]
#[sabi(missing_field(panic))]
pub struct Witness {
    /// The structures of version 1.0.
    #[sabi(last_prefix_field)]
    pub types: Types,
}

impl RootModule for WitnessRef {
    abi_stable::declare_root_module_statics! {WitnessRef}
    const BASE_NAME: &'static str = "panda_plugin";
    const NAME: &'static str = "panda_plugin";
    const VERSION_STRINGS: VersionStrings = abi_stable::package_version_strings!();
}

fn make() -> WitnessRef {
    Witness { types: TYPES }.leak_into_prefix()
}

extern "C" fn make_erased() -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(make)
}

/// The header that a plugin exports; [`crate::export_plugin!`] calls this.
#[doc(hidden)]
pub const fn header() -> LibHeader {
    // SAFETY: the constructor returns a `WitnessRef`.
    unsafe { LibHeader::from_constructor::<WitnessRef>(make_erased, CheckTypeLayout::Yes) }
}

/// What a witness says against its plugin.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WitnessError {
    /// The header is not one this version of abi_stable reads.
    #[error("its layout witness cannot be read: {0}")]
    Unreadable(String),
    /// A structure differs.
    #[error("it was compiled with another layout of the plugin API: {place}: {difference}")]
    Differs {
        /// The structure, and the field if one is to blame.
        place: String,
        /// What differs.
        difference: String,
    },
}

/// Compares a plugin's witness with the types of this host.
///
/// Plugins of another minor version may have structures that are longer or shorter at the end.
///
/// # Safety
/// `at` is the address of the symbol [`SYMBOL`] in a library that is never unmapped, and
/// `minor_built` what its entry says.
pub unsafe fn check(at: *const core::ffi::c_void, minor_built: u32) -> Result<(), WitnessError> {
    // SAFETY: promised by the caller.
    unsafe { check_as(at, minor_built, crate::abi::ABI_MINOR) }
}

/// The same as a host of another minor version would, for tests of both directions.
///
/// # Safety
/// As for [`check`].
#[doc(hidden)]
pub unsafe fn check_as(
    at: *const core::ffi::c_void,
    minor_built: u32,
    host_minor: u32,
) -> Result<(), WitnessError> {
    if at.is_null() {
        return Err(WitnessError::Unreadable("no address".to_owned()));
    }
    // SAFETY: every version of the header begins with these fields; a reference to them is all that
    // an `AbiHeaderRef` is.
    let header: AbiHeaderRef = unsafe {
        core::mem::transmute::<RRef<'static, AbiHeader>, AbiHeaderRef>(RRef::from_raw(
            at.cast::<AbiHeader>(),
        ))
    };
    let header = header.upgrade().map_err(|e| WitnessError::Unreadable(short(&e.to_string())))?;
    let IsLayoutChecked::Yes(theirs) = header.root_mod_consts().layout() else {
        return Err(WitnessError::Unreadable("it has no layout".to_owned()));
    };
    let ours = WitnessRef::LAYOUT;
    // The newer side is the implementation: it may have more.
    let (old, new) = if minor_built > host_minor { (ours, theirs) } else { (theirs, ours) };
    let same_minor = minor_built == host_minor;
    // Globals of its own: shared ones keep pointers into the plugin.
    let Err(errors) = check_layout_compatibility_with_globals(old, new, &CheckingGlobals::new())
    else {
        return Ok(());
    };
    for error in &errors.errors {
        for difference in &error.errs {
            let tolerated = match difference {
                // Of the crate, not of the interface.
                AbiInstability::PackageVersion(_) => true,
                // The older side is the expected one: the newer may only have more.
                AbiInstability::FieldCountMismatch(pair) => {
                    !same_minor && pair.found >= pair.expected
                }
                AbiInstability::Size(pair) => !same_minor && pair.found >= pair.expected,
                _ => false,
            };
            if !tolerated {
                let plugin_is_expected = core::ptr::eq(old, theirs);
                let place = place(&error.stack_trace);
                let types = error.stack_trace.last().and_then(|p| types(p, plugin_is_expected));
                return Err(WitnessError::Differs {
                    difference: types.unwrap_or_else(|| describe(difference, plugin_is_expected)),
                    place: place.unwrap_or_else(|| "the root module".to_owned()),
                });
            }
        }
    }
    Ok(())
}

/// Where the checker stood at the end of this path: at a structure, or at a field of another type.
fn place(path: &[ExpectedFound<TLFieldOrFunction>]) -> Option<String> {
    let (last, before) = path.split_last()?;
    match &last.expected {
        TLFieldOrFunction::Field(field) if is_structure(&last.expected) => {
            Some(format!("structure {}", field.layout().name()))
        }
        TLFieldOrFunction::Field(field) => {
            let outer = before.iter().rev().find(|p| is_structure(&p.expected));
            let outer = outer.and_then(|p| match &p.expected {
                TLFieldOrFunction::Field(outer) => Some(outer.layout().name()),
                TLFieldOrFunction::Function(_) => None,
            });
            Some(format!("structure {}: field `{}`", outer.unwrap_or("?"), field.name()))
        }
        TLFieldOrFunction::Function(function) => {
            Some(format!("function {}", short(&function.to_string())))
        }
    }
}

fn is_structure(place: &TLFieldOrFunction) -> bool {
    matches!(place, TLFieldOrFunction::Field(f) if matches!(f.layout().data(), TLData::Struct { .. }))
}

/// The types of a field that is no structure, when they have different names.
fn types(place: &ExpectedFound<TLFieldOrFunction>, plugin_is_expected: bool) -> Option<String> {
    let (TLFieldOrFunction::Field(expected), TLFieldOrFunction::Field(found)) =
        (&place.expected, &place.found)
    else {
        return None;
    };
    let (plugin, host) = if plugin_is_expected { (expected, found) } else { (found, expected) };
    let (plugin, host) = (plugin.layout(), host.layout());
    let differ = plugin.name() != host.name() && !is_structure(&place.expected);
    let type_of =
        |t: &abi_stable::type_layout::TypeLayout| format!("`{}` of {} bytes", t.name(), t.size());
    differ.then(|| format!("{} in the plugin, {} in this host", type_of(plugin), type_of(host)))
}

/// What differs; `expected` is the plugin's side when it is the older one.
fn describe(difference: &AbiInstability, plugin_is_expected: bool) -> String {
    fn sides<T>(pair: &ExpectedFound<T>, plugin_is_expected: bool) -> (&T, &T) {
        if plugin_is_expected {
            (&pair.expected, &pair.found)
        } else {
            (&pair.found, &pair.expected)
        }
    }
    match difference {
        AbiInstability::Size(pair) => {
            let (plugin, host) = sides(pair, plugin_is_expected);
            format!("{plugin} bytes in the plugin, {host} in this host")
        }
        AbiInstability::FieldCountMismatch(pair) => {
            let (plugin, host) = sides(pair, plugin_is_expected);
            format!("{plugin} fields in the plugin, {host} in this host")
        }
        AbiInstability::UnexpectedField(pair) => {
            let (plugin, host) = sides(pair, plugin_is_expected);
            format!("field `{}` in the plugin, `{}` in this host", plugin.name(), host.name())
        }
        AbiInstability::Name(pair) => {
            let (plugin, host) = sides(pair, plugin_is_expected);
            short(&format!("type `{plugin}` in the plugin, `{host}` in this host"))
        }
        other => short(&format!("{other:?}")),
    }
}

/// One line of at most 200 characters.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
