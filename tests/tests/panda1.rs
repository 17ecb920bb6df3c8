//! Plugins written for PANDA 1, built from source with PANDA's Makefiles.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{BOTH, Case, Output, TempDir, Width, build_dir, compile, root};

/// The Makefile of PANDA's tutorial as its manual prints it: the recipe is indented by spaces.
const MAKEFILE: &str = include_str!("../panda1/tutorial/Makefile");
/// The plugin of the tutorial.
const TUTORIAL: &str = include_str!("../panda1/tutorial/syscalls.c");

/// The target a plugin is built for to watch such a guest.
fn target(width: Width) -> &'static str {
    match width {
        Width::W64 => "x86_64-linux-user",
        Width::W32 => "i386-linux-user",
    }
}

/// Sets up `panda_plugins/NAME` with a Makefile and a source, and runs make in it. Returns that
/// directory and what make printed.
fn make(
    dir: &TempDir,
    name: &str,
    makefile: &str,
    source: &Path,
    args: &[&str],
) -> (PathBuf, String) {
    let plugins = dir.path().join("panda_plugins");
    let own = plugins.join(name);
    std::fs::create_dir_all(&own).expect("a directory");
    let rules = plugins.join("panda.mak");
    if !rules.exists() {
        let ours = root().join("compat/panda1/panda.mak");
        std::os::unix::fs::symlink(ours, rules).expect("a link");
    }
    std::fs::write(own.join("Makefile"), makefile).expect("the Makefile is written");
    let file = format!("{name}.{}", source.extension().expect("an extension").to_string_lossy());
    std::fs::copy(source, own.join(file)).expect("the source is copied");
    let out = Command::new("make").args(args).current_dir(&own).output().expect("make starts");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{errors}");
    assert_eq!(errors, "", "warnings");
    (own, String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Builds a plugin of `tests/panda1` for both targets with the tutorial's Makefile. Returns its directory.
fn build(dir: &TempDir, source: &str) -> PathBuf {
    let source = root().join("tests/panda1").join(source);
    let name = source.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut makefile = MAKEFILE.replace("PLUGIN_NAME=syscalls", &format!("PLUGIN_NAME={name}"));
    if source.extension().is_some_and(|e| e == "cpp") {
        makefile = makefile.replace("$(CC) $(QEMU_CFLAGS)", "$(CXX) $(QEMU_CXXFLAGS)");
    }
    make(dir, &name, &makefile.replace("    $(call", "\t$(call"), &source, &[]).0
}

/// The library for a guest.
fn library(plugin: &Path, width: Width) -> String {
    let name = plugin.file_name().expect("a name").to_string_lossy();
    plugin.join(target(width)).join(format!("panda_{name}.so")).to_string_lossy().into_owned()
}

fn hosted(dir: &TempDir, host: &[&str], guest: &Path) -> Output {
    Case::new([guest]).host(["--out-dir"]).host([dir.path()]).host(host).dir(dir.path()).hosted()
}

const CALLS: &str = r#"
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    int status;
    getppid();
    if (fork() == 0) {
        write(1, "child\n", 6);
        _exit(7);
    }
    wait(&status);
    printf("parent %d\n", WEXITSTATUS(status));
    return 3;
}
"#;

#[test]
fn the_tutorials_plugin_builds_and_logs_what_ours_does() {
    let dir = TempDir::new();
    let source = root().join("tests/panda1/tutorial/syscalls.c");
    assert!(TUTORIAL.contains("buf[0] == 0x0F && buf[1] == 0x34"));
    let with_tab = MAKEFILE.replace("    $(call", "\t$(call");
    assert_ne!(with_tab, MAKEFILE);
    for makefile in [MAKEFILE, &with_tab] {
        let (plugin, printed) = make(&dir, "syscalls", makefile, &source, &[]);
        let mut expected = String::new();
        for width in BOTH {
            let object = plugin.join(target(width)).join("panda_plugins/syscalls.o");
            let _ = writeln!(expected, "  CC    {}\n  PLUGIN  panda_syscalls.so", object.display());
        }
        assert_eq!(printed, expected);

        let guest = compile(&dir, "calls", CALLS, Width::W32, &["-static"]);
        let run = |host: &[&str]| {
            let out = Case::new([&guest]).host(host.iter().copied()).dir(&plugin).same_as_native();
            assert_eq!(out.status.code(), Some(3));
            std::fs::read_to_string(plugin.join("syscalls.txt")).expect("a log")
        };
        // Ours logs int 0x80 as well, which is code of the program; sysenter is in the kernel's page.
        let ours = run(&["--plugins", &build_dir().join("libpanda_syscalls.so").to_string_lossy()]);
        let sysenter: String =
            ours.lines().filter(|l| l.starts_with("PC=f7")).map(|l| format!("{l}\n")).collect();
        assert!(sysenter.lines().count() > 5, "{ours}");
        assert_eq!(run(&["--plugins", "i386-linux-user/panda_syscalls.so"]), sysenter);
        assert_eq!(run(&["-panda", "syscalls"]), sysenter);
        std::fs::remove_dir_all(plugin.join("i386-linux-user")).expect("built again");

        // The link leads to the library for x86-64, where programs use another instruction.
        let guest = compile(&dir, "calls", CALLS, Width::W64, &["-static"]);
        Case::new([&guest])
            .host(["--plugins", "./panda_syscalls.so"])
            .dir(&plugin)
            .same_as_native();
        assert_eq!(std::fs::read_to_string(plugin.join("syscalls.txt")).expect("a log"), "");
    }
}

#[test]
fn a_plugin_for_another_target_is_refused_in_one_sentence() {
    let dir = TempDir::new();
    let plugin = build(&dir, "listener.c");
    for (own, other, says) in [
        (
            Width::W64,
            Width::W32,
            "it is built for x86-64 guests, and this guest is i386; build it with `make \
             TARGET_DIR=i386-linux-user`",
        ),
        (
            Width::W32,
            Width::W64,
            "it is built for i386 guests, and this guest is x86-64; build it with `make \
             TARGET_DIR=x86_64-linux-user`",
        ),
    ] {
        let guest = compile(&dir, "calls", CALLS, other, &["-static"]);
        let out = hosted(&dir, &["--plugins", &library(&plugin, own)], &guest);
        assert_eq!(out.status.code(), Some(3));
        let line = format!(
            "host: error: plugin `listener` did not start: {says}; the run goes on without it\n"
        );
        assert_eq!(out.stderr, line);
    }
}

/// 24 instructions in 6 blocks; the words 5, 4, 3, 2, 1 stored and loaded.
fn counted(width: Width) -> &'static str {
    match width {
        Width::W64 => {
            r#"asm(".globl _start\n_start: mov $5, %ecx\n1: push %rcx\npop %rdx\ndec %ecx\njnz 1b\n\
                mov $60, %eax\nmov $7, %edi\nsyscall\n");"#
        }
        Width::W32 => {
            r#"asm(".globl _start\n_start: mov $5, %ecx\n1: push %ecx\npop %edx\ndec %ecx\njnz 1b\n\
                mov $1, %eax\nmov $7, %ebx\nint $0x80\n");"#
        }
    }
}

/// The number on a line of `kinds.txt`.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn every_kind_fires_with_the_right_arguments_in_every_tier() {
    let dir = TempDir::new();
    let plugin = build(&dir, "kinds.c");
    for width in BOTH {
        let guest = compile(&dir, "counted", counted(width), width, &["-static", "-nostdlib"]);
        for tier in ["interp", "jit", "auto"] {
            let with = |args: &str| {
                let list = format!("{}:{args}", library(&plugin, width));
                let out = hosted(&dir, &["--tier", tier, "-panda", &list], &guest);
                assert_eq!((out.status.code(), &*out.stderr), (Some(7), ""), "{width:?} {tier}");
                dir.read("kinds.txt")
            };
            let exact = |text: &str, counts: &[(&str, u64)]| {
                for &(name, count) in counts {
                    assert_eq!(number(text, name), count, "{name}, {width:?} {tier}\n{text}");
                }
            };
            let exit = if width == Width::W64 { 60 } else { 1 };
            let always = [
                ("before_block_exec_invalidate_opt", 6),
                ("before_block_exec", 6),
                ("after_block_exec", 6),
                ("block_insns", 24),
                ("insn_exec", 24),
                ("user_before_syscall", 1),
                ("last_syscall", exit),
                ("wrong", 0),
            ];
            let memory = [
                "mem_read",
                "mem_write",
                "virt_mem_read",
                "virt_mem_write",
                "virt_mem_before_read",
                "virt_mem_after_write",
                "phys_mem_read",
                "phys_mem_write",
            ];
            let text = with("all,memcb");
            exact(&text, &always);
            exact(&text, &memory.map(|name| (name, 5)));
            // Before the store the old word is there.
            exact(&text, &[("write_sum", 15), ("old_sum", 14), ("read_sum", 15)]);
            exact(&text, &[("insn_translate", 8), ("user_after_syscall", 0)]);
            assert!(number(&text, "before_block_translate") >= 3, "{text}");
            assert!(number(&text, "after_block_translate") >= 3, "{text}");

            // Memory callbacks begin off.
            let text = with("all");
            exact(&text, &always);
            exact(&text, &memory.map(|name| (name, 0)));

            // A block that asked to be translated anew: instructions are asked about again.
            let text = with("all,flush=yes");
            exact(&text, &always);
            assert!(number(&text, "insn_translate") > 8, "{text}");
        }
    }
}

const CPUID: &str = r#"
#include <unistd.h>
#include <sys/syscall.h>
int main(void)
{
    unsigned a = 0xdeadbeef, b = 0, c = 0, d = 0;
    syscall(SYS_getppid);
    write(1, "one\n", 4);
    asm volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
    return a == 0x0badf00d ? 3 : 4;
}
"#;

#[test]
fn hypercalls_are_answered_and_other_cpuids_executed() {
    let dir = TempDir::new();
    let plugin = build(&dir, "kinds.c");
    for width in BOTH {
        // The C library executes CPUID many times when it starts, and relies on it.
        let guest = compile(&dir, "cpuid", CPUID, width, &["-static"]);
        let out = hosted(&dir, &["--plugins", &library(&plugin, width)], &guest);
        assert_eq!((out.status.code(), &*out.stdout, &*out.stderr), (Some(3), "one\n", ""));
        let text = dir.read("kinds.txt");
        assert!(number(&text, "guest_hypercall") > 3, "{text}");
        assert_eq!(number(&text, "wrong"), 0, "{text}");
        let (before, after) =
            (number(&text, "user_before_syscall"), number(&text, "user_after_syscall"));
        // exit_group does not return.
        assert_eq!(before, after + 1, "{text}");
    }
}

#[test]
fn results_mean_what_they_meant_at_each_level() {
    let dir = TempDir::new();
    let source = root().join("tests/panda1/levels.c");
    let makefile = MAKEFILE.replace("PLUGIN_NAME=syscalls", "PLUGIN_NAME=levels");
    let counted =
        compile(&dir, "counted", counted(Width::W64), Width::W64, &["-static", "-nostdlib"]);
    // Ends with the low byte of EAX after CPUID.
    let cpuid = r#"asm(".globl _start\n_start: mov $0xdeadbeef, %eax\ncpuid\nmov %eax, %edi\nand $0xff, %edi\n\
                    mov $60, %eax\nsyscall\n");"#;
    let cpuid = compile(&dir, "cpuid", cpuid, Width::W64, &["-static", "-nostdlib"]);
    let executed = Case::new([&cpuid]).native().status.code();
    for (level, asked, skipped) in
        [("0", "asked again", false), ("1", "asked once", false), ("2", "asked once", true)]
    {
        let level = format!("PANDA_COMPAT_LEVEL={level}");
        let args = ["TARGET_DIR=x86_64-linux-user", "-B", &level];
        let (plugin, _) = make(&dir, "levels", &makefile, &source, &args);
        let library = library(&plugin, Width::W64);
        let out = hosted(&dir, &["--plugins", &library], &counted);
        assert_eq!(out.stdout, format!("{asked}, 6 blocks\n"), "{level}: {}", out.stderr);
        let out = hosted(&dir, &["--plugins", &library], &cpuid);
        // Nobody changed a register: below level 2 CPUID is executed, by the host's model of it.
        let code = out.status.code();
        assert_eq!(code == Some(0xef), skipped, "{level}: {code:?}, natively {executed:?}");
    }
}

#[test]
fn kinds_of_whole_machines_are_accepted_and_explained() {
    let dir = TempDir::new();
    let plugin = build(&dir, "kinds.c");
    let list = format!("{}:machine", library(&plugin, Width::W64));
    let out = hosted(&dir, &["-panda", &list], Path::new("/bin/true"));
    assert_eq!(out.status.code(), Some(0));
    let never = |kind| {
        format!(
            "host: warning: [kinds] PANDA_CB_{kind} never fires: the guest is a program, not a machine\n"
        )
    };
    let expected = [
        never("HD_READ"),
        never("VMI_PGD_CHANGED"),
        never("REPLAY_HD_TRANSFER"),
        "host: error: [kinds] panda_memsavep writes nothing: a program has no physical memory; read what you \
         need with panda_virtual_memory_rw\n"
            .to_owned(),
        "host: warning: [kinds] there is no LLVM in this host: plugins that work on LLVM code cannot be used\n"
            .to_owned(),
    ];
    assert_eq!(out.stderr, expected.concat());
    assert_eq!(number(&dir.read("kinds.txt"), "wrong"), 0);
}

#[test]
fn monitor_commands_are_answered_by_the_line() {
    let dir = TempDir::new();
    let plugin = build(&dir, "kinds.c");
    let library = library(&plugin, Width::W64);
    let commands = ["--plugin-cmd", "help", "--plugin-cmd", "kinds_count", "--plugin-cmd", "what"];
    let host = [&["-v", "--plugins", &library][..], &commands].concat();
    let out = hosted(&dir, &host, Path::new("/bin/true"));
    let lines: Vec<_> =
        out.stderr.lines().filter(|l| l.contains("kinds_") || l.contains("command")).collect();
    assert_eq!(
        lines,
        [
            "host: info: [kinds] kinds_count: how many",
            "host: info: [kinds] kinds_name: who",
            "host: info: [kinds] 2 commands",
            "host: warning: no plugin understands the command `what`; try the command `help`",
        ]
    );
}

#[test]
fn registers_flags_and_memory_are_written_back() {
    let dir = TempDir::new();
    let plugin = build(&dir, "change.c");
    let other = build(&dir, "listener.c");
    for width in BOTH {
        let source = match width {
            Width::W64 => {
                r#"asm(".data\ntext: .ascii \"nobody\\n\"\n.text\n.globl _start\n_start: mov $5, %edi\n\
                    lea text(%rip), %rsi\nmov $1, %ecx\ntest %ecx, %ecx\nnop\njz 1f\nmov $6, %edi\njmp 2f\n\
                    1: push %rdi\nmov $1, %eax\nmov $1, %edi\nmov $7, %edx\nsyscall\npop %rdi\n\
                    2: nop\nmov $60, %eax\nsyscall\n");"#
            }
            Width::W32 => {
                r#"asm(".data\ntext: .ascii \"nobody\\n\"\n.text\n.globl _start\n_start: mov $5, %ebx\n\
                    mov $text, %esi\nmov $1, %ecx\ntest %ecx, %ecx\nnop\njz 1f\nmov $6, %ebx\njmp 2f\n\
                    1: push %ebx\nmov $4, %eax\nmov $1, %ebx\nmov %esi, %ecx\nmov $7, %edx\nint $0x80\npop %ebx\n\
                    2: nop\nmov $1, %eax\nint $0x80\n");"#
            }
        };
        let guest = compile(&dir, "nop", source, width, &["-static", "-nostdlib", "-no-pie"]);
        let (own, listener) = (library(&plugin, width), library(&other, width));
        for tier in ["interp", "jit", "auto"] {
            // Who asks for an instruction asks for all PANDA plugins, before and after it in the list. The
            // listener unregisters in its first call.
            for list in [format!("{listener};{own}"), format!("{own};{listener}")] {
                let out = hosted(&dir, &["--tier", tier, "-panda", &list], &guest);
                let seen = (out.status.code(), &*out.stdout, &*out.stderr);
                assert_eq!(seen, (Some(42), "plugin\n", "listener: 1 calls\n"), "{width:?} {tier}");
            }
            let out = hosted(&dir, &["--tier", tier, "-panda", &listener], &guest);
            assert_eq!((out.status.code(), &*out.stderr), (Some(6), "listener: 0 calls\n"));
        }
    }
}

#[test]
fn arguments_arrive_however_they_are_given() {
    let dir = TempDir::new();
    let plugin = build(&dir, "arguments.c");
    let run = |host: &[&str]| {
        let out = Case::new(["/bin/true"]).host(host.iter().copied()).dir(&plugin).hosted();
        assert_eq!(out.status.code(), Some(0), "{}", out.stderr);
        (out.stdout, out.stderr)
    };
    let defaults =
        "string none, none\nulong 0000000000000007\nuint32 7\nuint64 7\ndouble 1.5\nbool 0 0 0\n";
    assert_eq!(run(&["-panda", "arguments"]), (defaults.into(), String::new()));

    let values = "string a:b=c, none\nulong 000000000000001f\nuint32 8\nuint64 18446744073709551615\ndouble -2.5\n\
                  bool 1 0 1\n";
    let list = "s=a:b=c,u=0x1f,w=010,q=18446744073709551615,d=-2.5,b,n=no";
    let shown = list.replace(",b,", ",b=,").replace(',', "\n");
    let expected = (format!("{shown}\nx=true\n{values}"), String::new());
    let panda = format!("arguments:{list}");
    assert_eq!(run(&["-panda", &panda, "-panda-arg", "arguments:x=true"]), expected);
    let native = format!("arguments:{},x=true", list.replace(",b,", ",b=,"));
    assert_eq!(run(&["--plugin-path", ".", "--plugins", &native]), expected);

    // A number that is none leaves the default, and says so.
    let (stdout, stderr) = run(&["-panda", "arguments:w=4294967296,q=-1,d=x"]);
    assert_eq!(stdout, format!("w=4294967296\nq=-1\nd=x\n{defaults}"));
    assert_eq!(
        stderr,
        ["w: \"4294967296\"", "q: \"-1\"", "d: \"x\""]
            .map(|a| format!(
                "host: warning: [arguments] argument {a} is not a number it can take; its default is used\n"
            ))
            .concat()
    );
    // The guest's own arguments are its own.
    let out =
        Case::new(["/bin/echo", "-panda", "x"]).host(["-panda", "arguments"]).dir(&plugin).hosted();
    assert_eq!(out.stdout, format!("-panda x\n{defaults}"), "{}", out.stderr);
}

#[test]
fn validation_accepts_a_plugin_with_functions_for_others() {
    let dir = TempDir::new();
    let plugin = build(&dir, "change.c");
    let out = Command::new(build_dir().join("host"))
        .args(["plugin", "validate", &library(&plugin, Width::W64)])
        .output()
        .expect("the host starts");
    let report = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{report}");
    let exports = "pass  exports        a PANDA 1 plugin, whose functions other plugins may call\n";
    assert!(report.contains(exports), "{report}");
}

#[test]
fn plugins_call_each_other() {
    let dir = TempDir::new();
    let (provider, consumer) = (build(&dir, "provider.c"), build(&dir, "consumer.cpp"));
    for width in BOTH {
        let guest = compile(&dir, "counted", counted(width), width, &["-static", "-nostdlib"]);
        let (provider, consumer) = (library(&provider, width), library(&consumer, width));
        let out = hosted(&dir, &["-panda", &format!("{provider};{consumer}")], &guest);
        let expected =
            "consumer: 6 blocks at 3 places, 6 readable, count grows\nprovider: 6 blocks\n";
        assert_eq!((out.status.code(), &*out.stdout, &*out.stderr), (Some(7), expected, ""));

        // In whichever order, and when only the one is named.
        let both = format!("{consumer};{provider}");
        let out = hosted(&dir, &["-panda", &both], &guest);
        assert_eq!((out.status.code(), &*out.stdout, &*out.stderr), (Some(7), expected, ""));
        let beside = dir.path().join(target(width));
        std::fs::create_dir_all(&beside).expect("a directory");
        std::fs::copy(&provider, beside.join("panda_provider.so")).expect("a copy");
        let path = dir.path().to_string_lossy().into_owned();
        let out = hosted(&dir, &["--plugin-path", &path, "-panda", &consumer], &guest);
        assert_eq!((out.status.code(), &*out.stdout, &*out.stderr), (Some(7), expected, ""));
        let consumer_too = beside.join("panda_consumer.so");
        std::fs::copy(&consumer, &consumer_too).expect("a copy");
        let out = hosted(&dir, &["--plugins", &consumer_too.to_string_lossy()], &guest);
        assert_eq!((out.status.code(), &*out.stdout, &*out.stderr), (Some(7), expected, ""));
        std::fs::remove_dir_all(&beside).expect("made above");

        let out = hosted(&dir, &["-panda", &consumer], &guest);
        assert_eq!((out.status.code(), &*out.stdout), (Some(7), ""));
        let asked =
            "host: error: plugin `consumer` asks for `provider`: there is no plugin `provider`";
        assert!(out.stderr.starts_with(asked), "{}", out.stderr);
        let refusal = "\nhost: error: plugin `consumer` did not start: it needs the plugin provider, which cannot \
                       be loaded; the run goes on without it\n";
        assert!(out.stderr.ends_with(refusal), "{}", out.stderr);
    }
}

#[test]
fn a_plugin_is_loaded_by_another_ones_callback() {
    let dir = TempDir::new();
    let (provider, late) = (build(&dir, "provider.c"), build(&dir, "late.c"));
    for width in BOTH {
        let guest = compile(&dir, "counted", counted(width), width, &["-static", "-nostdlib"]);
        let path = provider.to_string_lossy().into_owned();
        for tier in ["interp", "jit"] {
            let args = ["--tier", tier, "--plugin-path", &path, "-panda", &library(&late, width)];
            let out = hosted(&dir, &args, &guest);
            // It runs from the next block on.
            let expected = "late: nothing 0, provider 1, again 1\nlate: 6 blocks, provider 4, told 4\n\
                            provider: 4 blocks\n";
            assert_eq!((out.status.code(), &*out.stdout), (Some(7), expected), "{}", out.stderr);
            let nothing =
                "host: error: plugin `late` asks for `nothing`: there is no plugin `nothing`";
            assert!(out.stderr.starts_with(nothing), "{}", out.stderr);
        }
    }
}

#[test]
fn a_plugin_whose_init_returns_false_is_gone_at_once() {
    let dir = TempDir::new();
    let (refuses, arguments) = (build(&dir, "refuses.c"), build(&dir, "arguments.c"));
    let list = format!("{};{}", library(&refuses, Width::W64), library(&arguments, Width::W64));
    let out = hosted(&dir, &["-panda", &list], Path::new("/bin/true"));
    let refusal = "host: error: plugin `refuses` did not start: init_plugin returned false; the run goes on \
                   without it\n";
    assert_eq!((out.status.code(), &*out.stderr), (Some(0), refusal));
    assert!(out.stdout.contains("uint32 7"), "the next plugin runs: {}", out.stdout);
}

const FILES: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    int status;
    chdir("/");
    syscall(SYS_getppid);
    printf("descriptor %d\n", open("/dev/null", O_RDONLY));
    fflush(stdout);
    if (fork() == 0)
        syscall(SYS_exit_group, 1);
    wait(&status);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    return 0;
}
"#;

#[test]
fn files_of_plugins_and_guests_are_apart() {
    let dir = TempDir::new();
    let plugin = build(&dir, "files.c");
    for width in BOTH {
        let guest = compile(&dir, "files", FILES, width, &["-static"]);
        let out_dir = TempDir::new();
        std::fs::write(dir.path().join("input.txt"), "read where it was loaded\n").unwrap();
        Case::new([&guest])
            .host(["--plugins", &library(&plugin, width), "--out-dir"])
            .host([out_dir.path()])
            .dir(dir.path())
            .same_as_native();
        assert_eq!(out_dir.read("late.txt"), "read where it was loaded\n");
        let calls = out_dir.read("early.txt");
        let exit_group = if width == Width::W64 { "231" } else { "252" };
        assert_eq!(calls.lines().filter(|l| *l == exit_group).count(), 2, "both ends: {calls}");
        assert!(calls.lines().count() > 1020, "closed descriptors of the guest only: {calls}");
    }
}

#[test]
fn a_guest_that_goes_on_in_another_width_is_not_watched() {
    let dir = TempDir::new();
    let plugin = build(&dir, "kinds.c");
    let other = compile(&dir, "calls", CALLS, Width::W32, &["-static"]);
    let script = format!("{0}; exec {0}", other.display());
    let out = Case::bash(&script)
        .host(["-panda", &library(&plugin, Width::W64), "--out-dir"])
        .host([dir.path()])
        .dir(dir.path())
        .hosted();
    assert_eq!((out.status.code(), &*out.stdout), (Some(3), "child\nparent 7\nchild\nparent 7\n"));
    let line = format!(
        "host: warning: [kinds] {} is an i386 program, which this plugin, built for x86-64, does not watch\n",
        other.display()
    );
    assert_eq!(out.stderr, line.repeat(2));
    assert_eq!(number(&dir.read("kinds.txt"), "wrong"), 0, "{}", dir.read("kinds.txt"));
}

#[test]
fn the_headers_are_clean_in_every_language_level_and_target() {
    let dir = TempDir::new();
    let source = root().join("tests/panda1/headers.c");
    for (compiler, language, standard) in [
        ("gcc", "c", "c99"),
        ("gcc", "c", "gnu99"),
        ("gcc", "c", "c17"),
        ("g++", "c++", "gnu++98"),
        ("g++", "c++", "c++11"),
        ("g++", "c++", "c++20"),
    ] {
        for target in
            [&["-DTARGET_I386", "-DTARGET_X86_64"][..], &["-DTARGET_I386"], &["-DTARGET_ARM"]]
        {
            for level in ["0", "1", "2"] {
                let out = Command::new(compiler)
                    .args(["-x", language, &format!("-std={standard}")])
                    .args(["-Wall", "-Wextra", "-Werror", "-c", "-I"])
                    .arg(root().join("compat/panda1/include"))
                    .args(target)
                    .arg(format!("-DPANDA_COMPAT_LEVEL={level}"))
                    .arg("-o")
                    .arg(dir.path().join("headers.o"))
                    .arg(&source)
                    .output()
                    .expect("the compiler starts");
                let errors = String::from_utf8_lossy(&out.stderr);
                assert!(out.status.success(), "{standard} {target:?} level {level}:\n{errors}");
            }
        }
    }
    // Neither a target nor two.
    for target in [&[][..], &["-DTARGET_I386", "-DTARGET_ARM"]] {
        let out = Command::new("gcc")
            .args(["-fsyntax-only", "-I"])
            .arg(root().join("compat/panda1/include"))
            .args(target)
            .arg(&source)
            .output()
            .expect("the compiler starts");
        assert!(String::from_utf8_lossy(&out.stderr).contains("target"));
        assert!(!out.status.success());
    }
}

#[test]
fn a_plugin_for_arm_builds_and_waits_for_such_guests() {
    let dir = TempDir::new();
    let source = root().join("tests/panda1/tutorial/syscalls.c");
    let (plugin, _) = make(&dir, "syscalls", MAKEFILE, &source, &["TARGET_DIR=arm-linux-user"]);
    let library = plugin.join("arm-linux-user/panda_syscalls.so").to_string_lossy().into_owned();
    let out = hosted(&dir, &["--plugins", &library], Path::new("/bin/true"));
    assert_eq!(out.status.code(), Some(0));
    assert!(
        out.stderr.contains("it is built for ARM guests, and this guest is x86-64"),
        "{}",
        out.stderr
    );
}
