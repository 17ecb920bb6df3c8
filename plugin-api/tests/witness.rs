//! The layout witness: a plugin compiled with the same types passes, drift is named.

use abi_stable::StableAbi;
use abi_stable::library::{CheckTypeLayout, LibHeader, RootModule, RootModuleResult};
use plugin_api::abi::ABI_MINOR;
use plugin_api::witness::{self, WitnessError};

static SAME: LibHeader = witness::header();

fn check(header: &'static LibHeader, minor_built: u32) -> Result<(), WitnessError> {
    // SAFETY: a static header of this very program.
    unsafe { witness::check(std::ptr::from_ref(header).cast(), minor_built) }
}

#[test]
fn the_same_types_pass_every_time() {
    for _ in 0..3 {
        assert_eq!(check(&SAME, ABI_MINOR), Ok(()));
    }
}

#[test]
fn the_exported_name_is_abi_stables() {
    assert_eq!(witness::SYMBOL, "_1as_0lib_1header_0root_bmodule_bloader");
}

/// Defines a plugin whose `BlockInfo` has other fields.
macro_rules! drifted {
    ($module:ident: $($field:ident: $ty:ty),*) => {
        #[allow(dead_code)]
        mod $module {
            use super::*;

            #[repr(C)]
            #[derive(StableAbi, Clone, Copy)]
            pub struct BlockInfo {
                $($field: $ty),*
            }

            #[repr(C)]
            #[derive(StableAbi, Clone, Copy)]
            pub struct Types {
                entry: *const plugin_api::abi::PluginEntry,
                host: *const plugin_api::abi::HostApi,
                callback: *const plugin_api::abi::CallbackDesc,
                block: *const BlockInfo,
                syscall: *const plugin_api::abi::SyscallInfo,
                module: *const plugin_api::abi::ModuleInfo,
                thread: *const plugin_api::abi::ThreadInfo,
                fork: *const plugin_api::abi::ForkInfo,
                exec: *const plugin_api::abi::ExecInfo,
                signal: *const plugin_api::abi::SignalInfo,
                mem: *const plugin_api::abi::MemApi,
                reg: *const plugin_api::abi::RegInfo,
                regs: *const plugin_api::abi::RegsApi,
                os: *const plugin_api::abi::OsApi,
                counters: *const plugin_api::abi::CountersApi,
                monitor: *const plugin_api::abi::MonitorApi,
                conditions: *const plugin_api::abi::ConditionsApi,
            }

            // SAFETY: never made.
            unsafe impl Send for Types {}
            // SAFETY: never made.
            unsafe impl Sync for Types {}

            #[repr(C)]
            #[derive(StableAbi)]
            #[sabi(kind(Prefix(prefix_ref = WitnessRef)))]
            #[sabi(missing_field(panic))]
            pub struct Witness {
                #[sabi(last_prefix_field)]
                pub types: Types,
            }

            impl RootModule for WitnessRef {
                abi_stable::declare_root_module_statics! {WitnessRef}
                const BASE_NAME: &'static str = "panda_plugin";
                const NAME: &'static str = "panda_plugin";
                const VERSION_STRINGS: abi_stable::sabi_types::VersionStrings =
                    abi_stable::package_version_strings!();
            }

            extern "C" fn never() -> RootModuleResult {
                unimplemented!("only the layout is looked at")
            }

            // SAFETY: the constructor is never called.
            pub static HEADER: LibHeader = unsafe {
                LibHeader::from_constructor::<WitnessRef>(never, CheckTypeLayout::Yes)
            };
        }
    };
}

drifted!(reordered: struct_size: u32, insn_count: u32, size: u64, pc: u64);
drifted!(retyped: struct_size: u32, insn_count: u32, pc: u64, size: u32, more: u32);
drifted!(longer: struct_size: u32, insn_count: u32, pc: u64, size: u64, hash: u64);

drifted!(narrower: struct_size: u32, insn_count: u32, pc: u32, size: u64);

drifted!(shorter: struct_size: u32, insn_count: u32, pc: u64);

fn place(result: Result<(), WitnessError>) -> String {
    match result {
        Err(WitnessError::Differs { place, difference }) => format!("{place}: {difference}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn drift_is_refused_and_named() {
    assert_eq!(
        place(check(&reordered::HEADER, ABI_MINOR)),
        "structure BlockInfo: field `size` in the plugin, `pc` in this host"
    );
    assert_eq!(
        place(check(&retyped::HEADER, ABI_MINOR)),
        "structure BlockInfo: 5 fields in the plugin, 4 in this host"
    );
    assert_eq!(
        place(check(&narrower::HEADER, ABI_MINOR)),
        "structure BlockInfo: field `pc`: `u32` of 4 bytes in the plugin, `u64` of 8 bytes in this host"
    );
    assert_eq!(
        place(check(&longer::HEADER, ABI_MINOR)),
        "structure BlockInfo: 32 bytes in the plugin, 24 in this host"
    );
}

#[test]
fn a_newer_minor_version_may_append_but_not_reorder() {
    assert_eq!(check(&longer::HEADER, ABI_MINOR + 1), Ok(()));
    assert!(check(&reordered::HEADER, ABI_MINOR + 1).is_err());
    assert!(check(&retyped::HEADER, ABI_MINOR + 1).is_err());
    assert_eq!(
        place(check(&narrower::HEADER, ABI_MINOR + 1)),
        "structure BlockInfo: field `pc`: `u32` of 4 bytes in the plugin, `u64` of 8 bytes in this host"
    );
}

/// abi_stable alone refuses an older plugin in a newer host: the newer side must be the implementation.
#[test]
fn an_older_plugin_with_shorter_structures_loads_in_a_newer_host() {
    let check = |header: &'static LibHeader, built, host| {
        // SAFETY: a static header of this very program.
        unsafe { witness::check_as(std::ptr::from_ref(header).cast(), built, host) }
    };
    assert_eq!(check(&shorter::HEADER, 0, 1), Ok(()));
    assert!(check(&shorter::HEADER, 1, 1).is_err(), "not within one minor version");
    assert!(check(&shorter::HEADER, 2, 1).is_err(), "nor in a newer plugin");
    assert!(check(&reordered::HEADER, 0, 1).is_err());
    assert!(check(&longer::HEADER, 0, 1).is_err());
}

/// abi_stable's own text has hundreds of lines.
#[test]
fn a_refusal_has_few_lines_and_names_structure_field_and_sizes() {
    for header in [&reordered::HEADER, &retyped::HEADER, &longer::HEADER, &shorter::HEADER] {
        let text = check(header, ABI_MINOR).unwrap_err().to_string();
        assert!(text.lines().count() <= 5 && text.len() < 500, "{text}");
        assert!(text.contains("structure BlockInfo"), "{text}");
        assert!(text.contains("in the plugin") && text.contains("in this host"), "{text}");
    }
}

#[test]
fn what_is_no_witness_is_refused() {
    static ZEROS: [u64; 64] = [0; 64];
    // SAFETY: the magic number is looked at first.
    let result = unsafe { witness::check(ZEROS.as_ptr().cast(), 0) };
    assert!(matches!(result, Err(WitnessError::Unreadable(_))), "{result:?}");
}
