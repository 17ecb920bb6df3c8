//! The layout of the wire format: Rust's types, the C header and the committed record agree.
//!
//! `abi/layout-1.0.txt` is the record of version 1.0. Lines may be added to a record of a new minor
//! version, never changed: that would break plugins that exist. `BLESS=1 cargo test -p plugin-api` writes the
//! record anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use plugin_api::abi::*;

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
        provide_service, use_service, log_level,
    }
    MemApi = panda_mem_api { struct_size, reserved, read, write, read_cstr }
    RegInfo = panda_reg_info { struct_size, id, name, size, kind }
    RegsApi = panda_regs_api {
        struct_size, reserved, count, describe, by_name, read, write, read_u64, pc, sp,
    }
    OsApi = panda_os_api {
        struct_size, reserved, arch, word_size, program, out_dir, syscall_name, pid, tid, retired,
        in_kernel, address_space, continued, hide_fd,
    }
    CountersApi = panda_counters_api { struct_size, reserved, add, remove }
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

const SERVICES: [(&str, &str); 5] = [
    ("PANDA_SERVICE_MEM", service::MEM),
    ("PANDA_SERVICE_REGS", service::REGS),
    ("PANDA_SERVICE_OS", service::OS),
    ("PANDA_SERVICE_COUNTERS", service::COUNTERS),
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

fn as_rust_sees_it() -> String {
    let mut text = String::new();
    for l in layouts() {
        writeln!(text, "struct {} size {} align {}", l.c_name, l.size, l.align).expect("string");
        for f in l.fields {
            writeln!(text, "  {}.{} offset {} size {}", l.c_name, f.c_name, f.offset, f.size)
                .expect("string");
        }
    }
    for (name, value) in constants() {
        writeln!(text, "const {name} {value}").expect("string");
    }
    for (name, id) in SERVICES {
        writeln!(text, "service {name} {id}").expect("string");
    }
    text
}

fn as_c_sees_it() -> String {
    let mut program =
        String::from("#include <stdio.h>\n#include \"panda_plugin.h\"\nint main(void){\n");
    for l in layouts() {
        let s = l.c_name;
        writeln!(
            program,
            "printf(\"struct {s} size %zu align %zu\\n\", sizeof({s}), _Alignof({s}));"
        )
        .expect("string");
        for f in l.fields {
            let f = f.c_name;
            writeln!(
                program,
                "printf(\"  {s}.{f} offset %zu size %zu\\n\", offsetof({s}, {f}), \
                 sizeof((({s} *)0)->{f}));"
            )
            .expect("string");
        }
    }
    for (name, _) in constants() {
        writeln!(program, "printf(\"const {name} %llu\\n\", (unsigned long long){name});")
            .expect("string");
    }
    for (name, _) in SERVICES {
        writeln!(program, "printf(\"service {name} %s\\n\", {name});").expect("string");
    }
    program.push_str("return 0;}\n");
    let source = scratch().join("layout.c");
    let binary = scratch().join("layout");
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

#[test]
fn rust_c_and_record_agree() {
    let rust = as_rust_sees_it();
    similar(&as_c_sees_it(), &rust, "the C header", "the Rust types");
    let record = root().join(format!("abi/layout-{ABI_MAJOR}.{ABI_MINOR}.txt"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&record, &rust).expect("writing the record");
    }
    let recorded =
        std::fs::read_to_string(&record).unwrap_or_else(|e| panic!("{}: {e}", record.display()));
    similar(&recorded, &rust, "the record of this version", "the Rust types");
}

fn similar(a: &str, b: &str, a_name: &str, b_name: &str) {
    for (x, y) in a.lines().zip(b.lines()) {
        assert_eq!(x, y, "{a_name} (left) and {b_name} (right) differ");
    }
    assert_eq!(a.lines().count(), b.lines().count(), "{a_name} and {b_name} differ in length");
}

#[test]
fn tables_above_leave_no_field_out_and_structures_have_no_padding() {
    for l in layouts() {
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
fn the_header_is_clean_and_self_contained_in_every_language() {
    let dir = scratch();
    let plugin = root().join("tests/c_plugin.c");
    for (compiler, language, standard) in [
        ("gcc", "c", "c99"),
        ("gcc", "c", "c11"),
        ("gcc", "c", "c17"),
        ("g++", "c++", "gnu++98"),
        ("g++", "c++", "c++11"),
        ("g++", "c++", "c++20"),
    ] {
        run(Command::new(compiler)
            .args(["-x", language, &format!("-std={standard}")])
            .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "-I"])
            .arg(root().join("include"))
            .arg(&plugin)
            .arg("-o")
            .arg(dir.join(format!("{standard}.o"))));
    }
}
