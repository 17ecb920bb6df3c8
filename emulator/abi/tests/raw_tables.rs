//! The C tables as a plugin in C sees them: entries that are wrong, ids of others, services.

mod support;

use core::ffi::c_void;
use std::cell::RefCell;
use std::path::Path;
use std::process::Command;

use emu_abi::{Entry, EntryError, GivenValue};
use plugin_api::abi::{
    ABI_MINOR, AnyFn, CallbackDesc, ConditionsApi, HostApi, InitInfo, PandaCpu, PandaPlugin,
    PluginEntry, RegsApi, Str, kind, service, status,
};
use support::Guest;

type Init = fn(&HostApi, *const HostApi, *mut PandaPlugin);

thread_local! {
    static INIT: RefCell<Option<Init>> = const { RefCell::new(None) };
}

unsafe extern "C" fn init(
    host: *const HostApi,
    plugin: *mut PandaPlugin,
    _: *const InitInfo,
    _: *mut *mut c_void,
) -> u32 {
    if let Some(f) = INIT.with(|i| *i.borrow()) {
        // SAFETY: the host's table.
        f(unsafe { &*host }, host, plugin);
    }
    status::OK
}

const ENTRY: PluginEntry = PluginEntry {
    init: Some(init),
    uninit: None,
    flush: None,
    ..plugin_api::entry::<Nothing>("raw", "1", "Is tested", &[])
};

struct Nothing;

impl plugin_api::Plugin for Nothing {
    fn init(
        _: &mut plugin_api::Registrar<Self>,
        _: &plugin_api::Args,
    ) -> Result<Self, plugin_api::Error> {
        Ok(Nothing)
    }
}

fn with_init(guest: &Guest, f: Init) -> emu_abi::PluginSlot {
    static STATIC: PluginEntry = ENTRY;
    INIT.with(|i| *i.borrow_mut() = Some(f));
    guest.start(&STATIC).unwrap()
}

#[test]
fn wrong_entries_are_refused_with_a_reason() {
    let read = |e: &PluginEntry| {
        // SAFETY: a whole entry, or one that says it is not.
        unsafe { Entry::read(e) }.map(|e| e.name).map_err(|e| e.to_string())
    };
    assert_eq!(read(&ENTRY), Ok("raw".to_owned()));
    // SAFETY: null is looked for.
    assert_eq!(unsafe { Entry::read(core::ptr::null()) }.unwrap_err(), EntryError::BadMagic);
    assert_eq!(
        read(&PluginEntry { magic: 1, ..ENTRY }),
        Err("its entry is not that of a plugin (wrong magic number)".to_owned())
    );
    assert_eq!(
        read(&PluginEntry { abi_major: 2, ..ENTRY }),
        Err(format!("it was built for plugin API 2.x, this host has 1.{ABI_MINOR}"))
    );
    assert_eq!(
        read(&PluginEntry { abi_minor_required: 99, ..ENTRY }),
        Err(format!("it needs plugin API 1.99 or newer, this host has 1.{ABI_MINOR}"))
    );
    // Built for a newer minor version, but content with this one; and longer.
    assert!(read(&PluginEntry { abi_minor_built: 99, struct_size: 4096, ..ENTRY }).is_ok());
    assert!(read(&PluginEntry { struct_size: 16, ..ENTRY }).unwrap_err().contains("too small"));
    for damaged in [
        PluginEntry { init: None, ..ENTRY },
        PluginEntry { args_count: u32::MAX, ..ENTRY },
        PluginEntry { args_count: 1, args: core::ptr::null(), ..ENTRY },
        PluginEntry { requires_count: 1, ..ENTRY },
        PluginEntry { name: Str::EMPTY, ..ENTRY },
    ] {
        assert!(read(&damaged).unwrap_err().starts_with("its entry is damaged: "));
    }
}

#[test]
fn versions_in_every_combination() {
    let read = |major, built, required, size| {
        let entry = PluginEntry {
            abi_major: major,
            abi_minor_built: built,
            abi_minor_required: required,
            struct_size: size,
            ..ENTRY
        };
        // SAFETY: a whole entry; a longer one is not read beyond what this host knows.
        unsafe { Entry::read(&entry) }.map(|e| e.api)
    };
    let (major, size) = (plugin_api::abi::ABI_MAJOR, PluginEntry::SIZE);
    let newest = ABI_MINOR + 3;
    for built in 0..=newest {
        for required in 0..=newest {
            for longer in [0, 8, 4096] {
                let result = read(major, built, required, size + longer);
                let what = format!("built for {built}, requires {required}, {longer} bytes more");
                if required <= ABI_MINOR {
                    assert_eq!(result, Ok((major, built)), "{what}");
                } else {
                    assert_eq!(result, Err(EntryError::MinorTooNew { theirs: required }), "{what}");
                }
            }
        }
    }
    // The major version is looked at before anything else could be misunderstood.
    for other in [0, major + 1, u32::MAX] {
        for size in [0, 24, size, 4096] {
            assert_eq!(read(other, 0, 0, size), Err(EntryError::Major { theirs: other }));
        }
    }
    for short in [0, 23, 24, size - 1] {
        assert_eq!(
            read(major, 0, 0, short),
            Err(EntryError::TooSmall { size: short, least: size })
        );
    }
}

#[test]
fn unknown_types_of_arguments_are_refused_by_name() {
    static ARGS: [plugin_api::abi::ArgDesc; 1] = [plugin_api::abi::ArgDesc {
        name: Str::new("colour"),
        kind: 99,
        flags: 0,
        default: Str::EMPTY,
        help: Str::EMPTY,
        choices: core::ptr::null(),
        choices_count: 0,
        reserved: 0,
    }];
    let entry = PluginEntry { args: ARGS.as_ptr(), args_count: 1, ..ENTRY };
    // SAFETY: a whole entry.
    let entry = unsafe { Entry::read(&entry) }.unwrap();
    let given = [("colour".to_owned(), GivenValue::Text("red".to_owned()))];
    let error = emu_abi::check_args(&entry.args, &given).unwrap_err().to_string();
    assert!(error.contains("colour"), "{error}");
    // Not given, it hurts nobody.
    assert!(emu_abi::check_args(&entry.args, &[]).is_ok());
}

unsafe extern "C" fn at_pc(user: *mut c_void, _: *mut PandaCpu, _: u64) {
    // SAFETY: the user data of the registrations below.
    unsafe { *user.cast::<u64>() += 1 };
}

fn desc(flags: u32) -> CallbackDesc {
    static mut COUNT: u64 = 0;
    CallbackDesc {
        struct_size: CallbackDesc::SIZE,
        flags,
        // SAFETY: only the type changes.
        func: Some(unsafe { core::mem::transmute::<plugin_api::abi::PcFn, AnyFn>(at_pc) }),
        user: (&raw mut COUNT).cast(),
    }
}

#[test]
fn registrations_are_checked() {
    let guest = Guest::new();
    let _slot = with_init(&guest, |api, host, plugin| {
        let register = api.register_cb.unwrap();
        let mut id = 0;
        // SAFETY: as the contract says, or null where the host must notice.
        unsafe {
            assert_eq!(register(host, plugin, kind::INSN_EXEC, &desc(0), &mut id), status::OK);
            assert_ne!(id, 0);
            assert_eq!(register(host, plugin, 0, &desc(0), &mut id), status::UNKNOWN);
            assert_eq!(register(host, plugin, 9999, &desc(0), &mut id), status::UNKNOWN);
            let null = core::ptr::null();
            assert_eq!(register(host, plugin, 2, null, &mut id), status::INVALID);
            let short = CallbackDesc { struct_size: 8, ..desc(0) };
            assert_eq!(register(host, plugin, 2, &short, &mut id), status::INVALID);
            let none = CallbackDesc { func: None, ..desc(0) };
            assert_eq!(register(host, plugin, 2, &none, &mut id), status::INVALID);
            // Unknown flags and longer registrations are a newer plugin's.
            let newer = CallbackDesc { struct_size: 64, ..desc(0xff00) };
            assert_eq!(register(host, plugin, 2, &newer, &mut id), status::OK);
            assert_eq!(api.disable_cb.unwrap()(host, plugin, id), status::OK);
            assert_eq!(api.enable_cb.unwrap()(host, plugin, id), status::OK);
            assert_eq!(api.unregister_cb.unwrap()(host, plugin, id), status::OK);
            assert_eq!(api.unregister_cb.unwrap()(host, plugin, id), status::STALE_ID);
            assert_eq!(api.enable_cb.unwrap()(host, plugin, 12345), status::STALE_ID);
            let unknown = Str::new("panda.nothing/1");
            assert!(api.get_extension.unwrap()(host, plugin, unknown).is_null());
        }
    });
}

#[test]
fn another_plugins_subscription_cannot_be_touched() {
    thread_local! {
        static ID: RefCell<u64> = const { RefCell::new(0) };
    }
    let guest = Guest::new();
    let _first = with_init(&guest, |api, host, plugin| {
        let mut id = 0;
        // SAFETY: as the contract says.
        unsafe { api.register_cb.unwrap()(host, plugin, 2, &desc(0), &mut id) };
        ID.with(|i| *i.borrow_mut() = id);
    });
    let _second = with_init(&guest, |api, host, plugin| {
        let id = ID.with(|i| *i.borrow());
        // SAFETY: as the contract says.
        unsafe {
            assert_eq!(api.unregister_cb.unwrap()(host, plugin, id), status::STALE_ID);
            assert_eq!(api.disable_cb.unwrap()(host, plugin, id), status::STALE_ID);
        }
    });
    assert_eq!(guest.engine.shared().registry.borrow().iter().count(), 1);
}

/// Runs before each block is translated; adds to the number that `user` points to.
unsafe extern "C" fn read_several(user: *mut c_void, cpu: *mut PandaCpu, _: u64) {
    // SAFETY: `several_registers_are_read_at_once` put the table's address behind the number.
    unsafe {
        let [runs, regs] = &mut *user.cast::<[u64; 2]>();
        let regs = &*(*regs as *const RegsApi);
        let read = regs.read_u64s.unwrap();
        // rcx, rsp, rflags; then one that does not exist, and xmm0.
        let (good, bad, wide) = ([1, 4, 17], [1, 9999, 4], [32]);
        let mut values = [7; 3];
        assert_eq!(read(cpu, good.as_ptr(), values.as_mut_ptr(), 3), status::OK);
        for (id, value) in good.into_iter().zip(values) {
            let mut single = 0;
            assert_eq!(regs.read_u64.unwrap()(cpu, id, &mut single), status::OK);
            assert_eq!(single, value);
        }
        let mut stopped = [7; 3];
        assert_eq!(read(cpu, bad.as_ptr(), stopped.as_mut_ptr(), 3), status::UNKNOWN);
        assert_eq!(stopped, [values[0], 7, 7]);
        assert_eq!(read(cpu, wide.as_ptr(), stopped.as_mut_ptr(), 1), status::TOO_SMALL);
        let null = core::ptr::null_mut();
        assert_eq!(read(null, good.as_ptr(), values.as_mut_ptr(), 3), status::NOT_NOW);
        assert_eq!(read(cpu, good.as_ptr(), core::ptr::null_mut(), 3), status::INVALID);
        assert_eq!(read(cpu, core::ptr::null(), core::ptr::null_mut(), 0), status::OK);
        *runs += 1;
    }
}

#[test]
fn several_registers_are_read_at_once() {
    thread_local! {
        static USER: *mut [u64; 2] = Box::into_raw(Box::new([0; 2]));
    }
    let mut guest = Guest::new();
    let _slot = with_init(&guest, |api, host, plugin| {
        let user = USER.with(|u| *u);
        let mut id = 0;
        // SAFETY: as the contract says; the number is never freed.
        unsafe {
            (*user)[1] = api.get_extension.unwrap()(host, plugin, Str::new(service::REGS)) as u64;
            let func = core::mem::transmute::<plugin_api::abi::PcFn, AnyFn>(read_several);
            let flags = plugin_api::abi::flags::READS_REGS;
            let desc = CallbackDesc { func: Some(func), user: user.cast(), flags, ..desc(0) };
            let register = api.register_cb.unwrap();
            let kind = kind::BEFORE_BLOCK_TRANSLATE;
            assert_eq!(register(host, plugin, kind, &desc, &mut id), status::OK);
        }
    });
    guest.run();
    // SAFETY: written on this thread.
    assert!(USER.with(|u| unsafe { (**u)[0] }) > 0);
}

#[test]
fn services_are_found_checked_and_withdrawn() {
    static TABLE: [u32; 4] = [16, 1, 2, 3];
    let guest = Guest::new();
    let provider = with_init(&guest, |api, host, plugin| {
        let provide = api.provide_service.unwrap();
        let table = TABLE.as_ptr().cast();
        // SAFETY: as the contract says.
        unsafe {
            assert_eq!(provide(host, plugin, Str::new("x/1"), table), status::OK);
            assert_eq!(provide(host, plugin, Str::new("x/1"), table), status::EXISTS);
            assert_eq!(provide(host, plugin, Str::new(service::MEM), table), status::EXISTS);
            let null = core::ptr::null();
            assert_eq!(provide(host, plugin, Str::new("y/1"), null), status::INVALID);
        }
    });
    let _user = with_init(&guest, |api, host, plugin| {
        let use_service = api.use_service.unwrap();
        let mut table = core::ptr::null();
        // SAFETY: as the contract says.
        unsafe {
            let id = Str::new("x/1");
            assert_eq!(use_service(host, plugin, id, 16, &mut table), status::OK);
            assert_eq!(table, TABLE.as_ptr().cast());
            assert_eq!(use_service(host, plugin, id, 17, &mut table), status::TOO_SMALL);
            let unknown = Str::new("z/1");
            assert_eq!(use_service(host, plugin, unknown, 16, &mut table), status::UNKNOWN);
        }
    });
    assert!(guest.services.has("x/1"));
    drop(provider);
    assert!(!guest.services.has("x/1"));
}

#[test]
fn conditions_are_checked() {
    let guest = Guest::new();
    let _slot = with_init(&guest, |api, host, plugin| {
        let (mut memory, mut call) = (0, 0);
        // SAFETY: as the contract says, or wrong where the host must notice.
        unsafe {
            let table = api.get_extension.unwrap()(host, plugin, Str::new(service::CONDITIONS));
            let table = &*table.cast::<ConditionsApi>();
            let (within, countdown) = (table.within.unwrap(), table.countdown.unwrap());
            let register = api.register_cb.unwrap();
            let write = kind::VIRT_MEM_AFTER_WRITE;
            assert_eq!(register(host, plugin, write, &desc(0), &mut memory), status::OK);
            let enter = kind::SYSCALL_ENTER;
            assert_eq!(register(host, plugin, enter, &desc(0), &mut call), status::OK);
            assert_eq!(within(plugin, memory, 0x1000, 0x1001), status::OK);
            assert_eq!(within(plugin, memory, 0x1000, 0x1000), status::INVALID);
            assert_eq!(within(plugin, memory, 2, 1), status::INVALID);
            assert_eq!(within(plugin, memory, 0, u64::MAX), status::OK);
            assert_eq!(countdown(plugin, memory, 1, 0), status::OK);
            assert_eq!(countdown(plugin, memory, 0, 1), status::INVALID);
            assert_eq!(countdown(plugin, memory, u64::MAX, u64::MAX), status::OK);
            assert_eq!(within(plugin, call, 1, 2), status::UNSUPPORTED);
            assert_eq!(countdown(plugin, call, 2, 2), status::UNSUPPORTED);
            assert_eq!(countdown(plugin, 12345, 2, 2), status::STALE_ID);
            let null = core::ptr::null_mut();
            assert_eq!(countdown(null, memory, 2, 2), status::INVALID);
            assert_eq!(within(null, memory, 1, 2), status::INVALID);
        }
    });
}

/// A plugin in C, compiled by gcc against the header alone.
#[test]
fn a_plugin_in_c_sees_the_guest() {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin-api");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panda_c_plugin.so");
    let out = Command::new("gcc")
        .args(["-std=c99", "-shared", "-fPIC", "-fvisibility=hidden", "-I"])
        .arg(api.join("include"))
        .arg(api.join("tests/c_plugin.c"))
        .arg("-o")
        .arg(&file)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // SAFETY: the plugin just compiled; it stays loaded.
    let entry = unsafe {
        let library = Box::leak(Box::new(libloading::Library::new(&file).unwrap()));
        let entry: libloading::Symbol<*const PluginEntry> =
            library.get(b"panda_plugin_entry_v1").unwrap();
        *entry
    };
    let mut guest = Guest::new();
    let slot = guest.start_with(entry, &[("threshold".to_owned(), GivenValue::Int(0))]).unwrap();
    assert_eq!(slot.entry().about, "Uses every part of the interface");
    guest.run();
    assert!(slot.flush(plugin_api::abi::flush_reason::REQUEST));
    assert!(!slot.flush(plugin_api::abi::flush_reason::FORK));
    drop(slot);
    assert_eq!(guest.log(), ["c_plugin 3 c_plugin is ready", "c_plugin 3 c_plugin has ended"]);
}
