//! The layout of the wire format: Rust's types, the C headers and the committed records agree.
//!
//! `abi/layout-MAJOR.MINOR.txt` is the record of a version. Those in [`RELEASED`] never change, and the
//! current layout may only add to the last of them, under a higher minor version: anything else would break
//! plugins that exist. `BLESS=1 cargo test -p plugin-api` writes the record of a version not released yet.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use plugin_api::abi::*;

/// Released minor versions of this major version, each with the checksum of its record.
const RELEASED: &[(u32, u64)] = &[(0, 8_076_288_075_139_582_882)];

struct Field {
    c_name: &'static str,
    offset: usize,
    size: usize,
}

struct Layout {
    c_name: &'static str,
    size: usize,
    align: usize,
    fields: Vec<Field>,
}

fn size_behind<S, T>(_: impl Fn(*const S) -> *const T) -> usize {
    size_of::<T>()
}

macro_rules! layouts {
    ($($rust:ident = $c:ident { $($field:ident $(= $c_field:ident)?),* $(,)? })*) => {
        fn layouts() -> Vec<Layout> {
            vec![$(Layout {
                c_name: stringify!($c),
                size: size_of::<$rust>(),
                align: align_of::<$rust>(),
                fields: vec![$(Field {
                    c_name: layouts!(@name $field $($c_field)?),
                    offset: core::mem::offset_of!($rust, $field),
                    // SAFETY: an address is computed, nothing is read.
                    size: size_behind(|s: *const $rust| unsafe { &raw const (*s).$field }),
                }),*],
            }),*]
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $c:ident) => { stringify!($c) };
}

layouts! {
    Str = panda_str { ptr, len }
    BlockInfo = panda_block_info { struct_size, insn_count, pc, size }
    SyscallInfo = panda_syscall_info {
        struct_size, abi, entry, arg_count, tid, pid, pc, number, args,
    }
    ModuleInfo = panda_module_info { struct_size, flags, base, size, path, build_id }
    ThreadInfo = panda_thread_info { struct_size, tid, pid, status, pc, sp }
    ForkInfo = panda_fork_info { struct_size, side, parent, child }
    ExecInfo = panda_exec_info { struct_size, pid, path, arch, word_size }
    SignalInfo = panda_signal_info {
        struct_size, signo, code, flags, addr, pc, handler, tid, sender,
    }
    CallbackDesc = panda_callback_desc { struct_size, flags, func, user }
    HostApi = panda_host_api {
        struct_size, abi_major, abi_minor, reserved, name, version, context, log, get_extension,
        register_cb, unregister_cb, enable_cb, disable_cb, request_stop, plugin_failed, unload_self,
        provide_service, use_service, log_level, load_plugin,
    }
    MemApi = panda_mem_api { struct_size, reserved, read, write, read_cstr }
    RegInfo = panda_reg_info { struct_size, id, name, size, kind }
    RegsApi = panda_regs_api {
        struct_size, reserved, count, describe, by_name, read, write, read_u64, pc, sp,
        read_u64s,
    }
    OsApi = panda_os_api {
        struct_size, reserved, arch, word_size, program, out_dir, syscall_name, pid, tid, retired,
        in_kernel, address_space, continued, hide_fd,
    }
    CountersApi = panda_counters_api { struct_size, reserved, add, remove }
    ConditionsApi = panda_conditions_api { struct_size, reserved, within, countdown }
    MonitorApi = panda_monitor_api { struct_size, reserved, reply }
    ArgDesc = panda_arg_desc {
        name, kind, flags, default = default_value, help, choices, choices_count, reserved,
    }
    ArgValue = panda_arg_value { name, kind, given, bits, text, items, items_count }
    InitInfo = panda_init_info { struct_size, args_count, arg_size, reserved, args }
    PluginEntry = panda_plugin_entry {
        magic, struct_size, abi_major, abi_minor_built, abi_minor_required, flags, requires_count, name,
        version, about, requires = requires_ids, args, args_count, arg_size, init, uninit, flush,
        get_extension,
    }
}

macro_rules! constants {
    ($($c:ident = $rust:expr),* $(,)?) => {
        fn constants() -> Vec<(&'static str, u64)> {
            vec![$((stringify!($c), u64::from($rust))),*]
        }
    };
}

constants! {
    PANDA_ABI_MAJOR = ABI_MAJOR,
    PANDA_OK = status::OK,
    PANDA_INVALID = status::INVALID,
    PANDA_UNKNOWN = status::UNKNOWN,
    PANDA_STALE_ID = status::STALE_ID,
    PANDA_UNSUPPORTED = status::UNSUPPORTED,
    PANDA_FAULT = status::FAULT,
    PANDA_TOO_SMALL = status::TOO_SMALL,
    PANDA_NOT_DECLARED = status::NOT_DECLARED,
    PANDA_NOT_NOW = status::NOT_NOW,
    PANDA_EXISTS = status::EXISTS,
    PANDA_FAILED = status::FAILED,
    PANDA_ERROR = level::ERROR,
    PANDA_WARN = level::WARN,
    PANDA_INFO = level::INFO,
    PANDA_DEBUG = level::DEBUG,
    PANDA_TRACE = level::TRACE,
    PANDA_ARCH_I386 = arch::I386,
    PANDA_ARCH_X86_64 = arch::X86_64,
    PANDA_ARCH_ARM = arch::ARM,
    PANDA_ARCH_AARCH64 = arch::AARCH64,
    PANDA_CB_INSN_TRANSLATE = kind::INSN_TRANSLATE,
    PANDA_CB_INSN_EXEC = kind::INSN_EXEC,
    PANDA_CB_AFTER_INSN_EXEC = kind::AFTER_INSN_EXEC,
    PANDA_CB_BEFORE_BLOCK_TRANSLATE = kind::BEFORE_BLOCK_TRANSLATE,
    PANDA_CB_AFTER_BLOCK_TRANSLATE = kind::AFTER_BLOCK_TRANSLATE,
    PANDA_CB_BEFORE_BLOCK_EXEC = kind::BEFORE_BLOCK_EXEC,
    PANDA_CB_AFTER_BLOCK_EXEC = kind::AFTER_BLOCK_EXEC,
    PANDA_CB_VIRT_MEM_BEFORE_READ = kind::VIRT_MEM_BEFORE_READ,
    PANDA_CB_VIRT_MEM_AFTER_READ = kind::VIRT_MEM_AFTER_READ,
    PANDA_CB_VIRT_MEM_BEFORE_WRITE = kind::VIRT_MEM_BEFORE_WRITE,
    PANDA_CB_VIRT_MEM_AFTER_WRITE = kind::VIRT_MEM_AFTER_WRITE,
    PANDA_CB_SYSCALL_ENTER = kind::SYSCALL_ENTER,
    PANDA_CB_SYSCALL_RETURN = kind::SYSCALL_RETURN,
    PANDA_CB_GUEST_HYPERCALL = kind::GUEST_HYPERCALL,
    PANDA_CB_MONITOR = kind::MONITOR,
    PANDA_CB_MODULE_LOADED = kind::MODULE_LOADED,
    PANDA_CB_MODULE_UNLOADED = kind::MODULE_UNLOADED,
    PANDA_CB_THREAD_START = kind::THREAD_START,
    PANDA_CB_THREAD_EXIT = kind::THREAD_EXIT,
    PANDA_CB_PROCESS_FORK = kind::PROCESS_FORK,
    PANDA_CB_PROCESS_EXEC = kind::PROCESS_EXEC,
    PANDA_CB_SIGNAL_DELIVERED = kind::SIGNAL_DELIVERED,
    PANDA_CB_GUEST_READY = kind::GUEST_READY,
    PANDA_CB_GUEST_EXIT = kind::GUEST_EXIT,
    PANDA_CB_NONE = flags::NONE,
    PANDA_CB_READS_REGS = flags::READS_REGS,
    PANDA_CB_WRITES_REGS = flags::WRITES_REGS,
    PANDA_BLOCK_END = block_exit::END,
    PANDA_BLOCK_SYSCALL = block_exit::SYSCALL,
    PANDA_BLOCK_FAULT = block_exit::FAULT,
    PANDA_BLOCK_INTERRUPTED = block_exit::INTERRUPTED,
    PANDA_EXITED = exit_kind::EXITED,
    PANDA_SIGNALED = exit_kind::SIGNALED,
    PANDA_STOPPED = exit_kind::STOPPED,
    PANDA_SYSCALL_LINUX_I386 = syscall_abi::LINUX_I386,
    PANDA_SYSCALL_LINUX_X86_64 = syscall_abi::LINUX_X86_64,
    PANDA_SYSCALL_LINUX_ARM = syscall_abi::LINUX_ARM,
    PANDA_SYSCALL_LINUX_AARCH64 = syscall_abi::LINUX_AARCH64,
    PANDA_ENTRY_SYSCALL = syscall_entry::SYSCALL,
    PANDA_ENTRY_SYSENTER = syscall_entry::SYSENTER,
    PANDA_ENTRY_INT80 = syscall_entry::INT80,
    PANDA_ENTRY_SVC = syscall_entry::SVC,
    PANDA_MODULE_MAIN = module_flags::MAIN,
    PANDA_MODULE_INTERPRETER = module_flags::INTERPRETER,
    PANDA_MODULE_KERNEL = module_flags::KERNEL,
    PANDA_FORK_PARENT = fork_side::PARENT,
    PANDA_FORK_CHILD = fork_side::CHILD,
    PANDA_SIGNAL_FATAL = signal_flags::FATAL,
    PANDA_SIGNAL_SYNCHRONOUS = signal_flags::SYNCHRONOUS,
    PANDA_REG_GENERAL = reg_kind::GENERAL,
    PANDA_REG_PC = reg_kind::PC,
    PANDA_REG_FLAGS = reg_kind::FLAGS,
    PANDA_REG_SEGMENT = reg_kind::SEGMENT,
    PANDA_REG_VECTOR = reg_kind::VECTOR,
    PANDA_REG_CONTROL = reg_kind::CONTROL,
    PANDA_COUNT_INSNS = counter_kind::INSNS,
    PANDA_COUNT_BLOCKS = counter_kind::BLOCKS,
    PANDA_COUNT_LOADS = counter_kind::LOADS,
    PANDA_COUNT_STORES = counter_kind::STORES,
    PANDA_ARG_BOOL = arg_kind::BOOL,
    PANDA_ARG_U64 = arg_kind::U64,
    PANDA_ARG_I64 = arg_kind::I64,
    PANDA_ARG_F64 = arg_kind::F64,
    PANDA_ARG_STRING = arg_kind::STRING,
    PANDA_ARG_PATH = arg_kind::PATH,
    PANDA_ARG_ENUM = arg_kind::ENUM,
    PANDA_ARG_LIST = arg_kind::LIST,
    PANDA_ARG_REQUIRED = arg_flags::REQUIRED,
    PANDA_ARG_ANY = arg_flags::ANY,
    PANDA_FLUSH_FORK = flush_reason::FORK,
    PANDA_FLUSH_EXEC = flush_reason::EXEC,
    PANDA_FLUSH_FATAL = flush_reason::FATAL,
    PANDA_FLUSH_REQUEST = flush_reason::REQUEST,
    PANDA_ENTRY_MAGIC = ENTRY_MAGIC,
}

const SERVICES: [(&str, &str); 6] = [
    ("PANDA_SERVICE_MEM", service::MEM),
    ("PANDA_SERVICE_REGS", service::REGS),
    ("PANDA_SERVICE_OS", service::OS),
    ("PANDA_SERVICE_COUNTERS", service::COUNTERS),
    ("PANDA_SERVICE_CONDITIONS", service::CONDITIONS),
    ("PANDA_SERVICE_MONITOR", service::MONITOR),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A scratch directory of this test binary.
fn scratch() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("layout");
    std::fs::create_dir_all(&dir).expect("scratch directory");
    dir
}

/// One header and what Rust calls its contents.
struct Interface {
    header: &'static str,
    layouts: Vec<Layout>,
    constants: Vec<(&'static str, u64)>,
    services: &'static [(&'static str, &'static str)],
}

fn host_interface() -> Interface {
    let (layouts, constants) = (layouts(), constants());
    Interface { header: "panda_plugin.h", layouts, constants, services: &SERVICES }
}

mod callstack {
    use super::*;

    layouts! {
        CallInfo = panda_call_info {
            struct_size, flags, pc, callee, returns_to, slot, depth, tid,
        }
        CallStackApi = panda_callstack_api {
            struct_size, reserved, context, caller, callers, functions, listen, unlisten,
        }
    }

    constants! {
        PANDA_CALL_EVENT_CALL = call_event::CALL,
        PANDA_CALL_EVENT_RETURN = call_event::RETURN,
        PANDA_CALL_UNWOUND = call_flags::UNWOUND,
    }

    pub fn interface() -> Interface {
        Interface {
            header: "panda_callstack.h",
            layouts: layouts(),
            constants: constants(),
            services: &[("PANDA_SERVICE_CALLSTACK", CALLSTACK)],
        }
    }
}

fn as_rust_sees_it(interface: &Interface) -> String {
    let mut text = String::new();
    for l in &interface.layouts {
        writeln!(text, "struct {} size {} align {}", l.c_name, l.size, l.align).expect("string");
        for f in &l.fields {
            writeln!(text, "  {}.{} offset {} size {}", l.c_name, f.c_name, f.offset, f.size)
                .expect("string");
        }
    }
    for (name, value) in &interface.constants {
        writeln!(text, "const {name} {value}").expect("string");
    }
    for (name, id) in interface.services {
        writeln!(text, "service {name} {id}").expect("string");
    }
    text
}

fn as_c_sees_it(interface: &Interface) -> String {
    let mut program =
        format!("#include <stdio.h>\n#include \"{}\"\nint main(void){{\n", interface.header);
    for l in &interface.layouts {
        let s = l.c_name;
        writeln!(
            program,
            "printf(\"struct {s} size %zu align %zu\\n\", sizeof({s}), _Alignof({s}));"
        )
        .expect("string");
        for f in &l.fields {
            let f = f.c_name;
            writeln!(
                program,
                "printf(\"  {s}.{f} offset %zu size %zu\\n\", offsetof({s}, {f}), \
                 sizeof((({s} *)0)->{f}));"
            )
            .expect("string");
        }
    }
    for (name, _) in &interface.constants {
        writeln!(program, "printf(\"const {name} %llu\\n\", (unsigned long long){name});")
            .expect("string");
    }
    for (name, _) in interface.services {
        writeln!(program, "printf(\"service {name} %s\\n\", {name});").expect("string");
    }
    program.push_str("return 0;}\n");
    let source = scratch().join(format!("{}.c", interface.header));
    let binary = scratch().join(interface.header.trim_end_matches(".h"));
    std::fs::write(&source, program).expect("writing the C program");
    run(Command::new("gcc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(root().join("include"))
        .arg(&source)
        .arg("-o")
        .arg(&binary));
    run(&mut Command::new(&binary))
}

fn run(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

fn record(name: &str) -> PathBuf {
    root().join(format!("abi/{name}.txt"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// FNV-1a.
fn checksum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn agree(interface: &Interface, record: &Path, may_change: bool) {
    let rust = as_rust_sees_it(interface);
    similar(&as_c_sees_it(interface), &rust, "the C header", "the Rust types");
    if may_change && std::env::var_os("BLESS").is_some() {
        std::fs::write(record, &rust).expect("writing the record");
    }
    similar(&read(record), &rust, "the record of this version", "the Rust types");
}

#[test]
fn rust_c_and_record_agree() {
    let released = RELEASED.iter().any(|(minor, _)| *minor == ABI_MINOR);
    let name = format!("layout-{ABI_MAJOR}.{ABI_MINOR}");
    agree(&host_interface(), &record(&name), !released);
    // A service's version is in its id: its record is written once.
    let calls = record("service-callstack-1");
    agree(&callstack::interface(), &calls, !calls.exists());
}

#[test]
fn released_records_are_never_edited() {
    for (minor, sum) in RELEASED {
        let path = record(&format!("layout-{ABI_MAJOR}.{minor}"));
        let now = checksum(&read(&path));
        assert_eq!(now, *sum, "{} was changed; raise ABI_MINOR instead", path.display());
    }
}

/// What is wrong with a layout of minor version `minor` after a release, if anything.
fn drift(released: &str, released_minor: u32, now: &str, minor: u32) -> Option<String> {
    for old in released.lines() {
        if now.lines().any(|line| line == old) {
            continue;
        }
        // The size of a structure may grow, by fields at its end: the others have lines of their own.
        let same_struct = |line: &&str| {
            old.starts_with("struct ") && line.split(" size ").next() == old.split(" size ").next()
        };
        let size = |line: &str| -> Option<(u64, String)> {
            let (size, align) = line.split_once(" size ")?.1.split_once(' ')?;
            Some((size.parse().ok()?, align.to_owned()))
        };
        let grown = now.lines().find(same_struct).and_then(size).zip(size(old));
        match grown {
            Some(((new, new_align), (old, align))) if new > old && new_align == align => {}
            _ => return Some(format!("`{old}` is changed or gone")),
        }
    }
    (minor == released_minor && now != released)
        .then(|| "something is added: raise ABI_MINOR in Rust and PANDA_ABI_MINOR in C".to_owned())
}

#[test]
fn the_layout_only_adds_to_the_last_release() {
    let &(minor, _) = RELEASED.last().expect("a release");
    let last = read(&record(&format!("layout-{ABI_MAJOR}.{minor}")));
    assert!(minor <= ABI_MINOR, "1.{minor} is released, this is 1.{ABI_MINOR}");
    assert_eq!(drift(&last, minor, &as_rust_sees_it(&host_interface()), ABI_MINOR), None);
}

#[test]
fn drift_from_a_release_is_noticed() {
    let old = "struct a size 16 align 8\n  a.x offset 0 size 8\n  a.y offset 8 size 8\nconst C 1\n";
    assert_eq!(drift(old, 0, old, 0), None);
    let longer = "struct a size 24 align 8\n  a.x offset 0 size 8\n  a.y offset 8 size 8\n  \
                  a.z offset 16 size 8\nconst C 1\nconst D 2\n";
    assert_eq!(drift(old, 0, longer, 1), None);
    assert!(drift(old, 0, longer, 0).is_some_and(|e| e.contains("raise ABI_MINOR")));
    for wrong in [
        longer.replace("a.y offset 8", "a.y offset 16"),
        longer.replace("  a.x offset 0 size 8\n", ""),
        longer.replace("const C 1", "const C 3"),
        longer.replace("align 8", "align 16"),
        longer.replace("size 24", "size 8"),
    ] {
        let reason = drift(old, 0, &wrong, 1);
        assert!(
            reason.as_ref().is_some_and(|e| e.contains("is changed or gone")),
            "{wrong}: {reason:?}"
        );
    }
}

fn similar(a: &str, b: &str, a_name: &str, b_name: &str) {
    for (x, y) in a.lines().zip(b.lines()) {
        assert_eq!(x, y, "{a_name} (left) and {b_name} (right) differ");
    }
    assert_eq!(a.lines().count(), b.lines().count(), "{a_name} and {b_name} differ in length");
}

#[test]
fn tables_above_leave_no_field_out_and_structures_have_no_padding() {
    for l in host_interface().layouts.into_iter().chain(callstack::interface().layouts) {
        let mut end = 0;
        for f in &l.fields {
            assert_eq!(f.offset, end, "gap before {}.{}", l.c_name, f.c_name);
            end += f.size;
        }
        assert_eq!(end, l.size, "gap at the end of {}", l.c_name);
    }
}

#[test]
fn every_kind_has_a_name_and_a_number_of_its_own() {
    let kinds: Vec<_> =
        constants().into_iter().filter(|(n, _)| n.starts_with("PANDA_CB_")).collect();
    for number in 1..kind::COUNT {
        let name = kind_name(number).expect("a name");
        let c = format!("PANDA_CB_{}", name.to_uppercase());
        assert!(kinds.contains(&(c.as_str(), number.into())), "{c} is not {number}");
    }
    assert_eq!(kind_name(0), None);
    assert_eq!(kind_name(kind::COUNT), None);
}

#[test]
fn the_headers_are_clean_and_self_contained_in_every_language() {
    let dir = scratch();
    let callstack = dir.join("callstack_only.c");
    std::fs::write(&callstack, "#include \"panda_callstack.h\"\n#include \"panda_callstack.h\"\n")
        .expect("a source file");
    let sources = [root().join("tests/c_plugin.c"), callstack];
    let families = [("gcc", "g++"), ("clang", "clang++")];
    for (c, cpp) in families {
        if c == "clang" && Command::new(c).arg("--version").output().is_err() {
            eprintln!("clang is not installed: the headers are compiled with gcc only");
            continue;
        }
        let c_standards = ["c99", "c11", "c17"].map(|s| (c, "c", s));
        let cpp_standards =
            ["gnu++98", "c++11", "c++14", "c++17", "c++20"].map(|s| (cpp, "c++", s));
        for (compiler, language, standard) in c_standards.into_iter().chain(cpp_standards) {
            for source in &sources {
                run(Command::new(compiler)
                    .args(["-x", language, &format!("-std={standard}")])
                    .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "-I"])
                    .arg(root().join("include"))
                    .arg(source)
                    .arg("-o")
                    .arg(dir.join("checked.o")));
            }
        }
    }
}
