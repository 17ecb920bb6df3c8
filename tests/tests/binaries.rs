//! Plugins as binaries: those built long ago, and those built by other compilers in other ways.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::{Case, TempDir, Width, build_dir, compile, compile_plugin, root};

/// 24 instructions, 5 words stored and 5 loaded.
const GUEST: &str = r#"asm(".globl _start\n_start: mov $5, %ecx\n1: push %rcx\npop %rdx\ndec %ecx\njnz 1b\n\
    mov $60, %eax\nmov $7, %edi\nsyscall\n");"#;

/// What both frozen plugins write about it.
const SEEN: &str = "\
number 9 1
choice 1 0
ready
store 8 5 0 5
store 8 4 0 4
store 8 3 0 3
store 8 2 0 2
store 8 1 0 1
insn 1 0 60 pc 1 retired 23
exit(7)
exit 0 7, 24 in blocks, 24 insns, 5 stores
end
";

fn unpack(packed: &Path, to: &Path) {
    let out = std::fs::File::create(to).expect("a file");
    let status = Command::new("gzip").arg("-dc").arg(packed).stdout(out).status().expect("gzip");
    assert!(status.success(), "{}", packed.display());
}

#[test]
fn plugins_built_against_api_1_0_run_in_this_host() {
    build_dir();
    let dir = TempDir::new();
    let exe = compile(&dir, "counted", GUEST, Width::W64, &["-static", "-nostdlib"]);
    let mut list = Vec::new();
    for name in ["frozen_c", "frozen_rust"] {
        let library = dir.path().join(format!("panda_{name}.so"));
        let packed = root().join(format!("tests/frozen/1.0/panda_{name}.so.gz"));
        unpack(&packed, &library);
        list.push(format!("{}:number=9", library.display()));
    }
    for tier in ["interp", "jit", "auto"] {
        let out = Case::new([&exe])
            .host(["-v", "--tier", tier, "--plugin-cmd", "frozen", "--plugins", &list.join(",")])
            .host(["--out-dir"])
            .host([dir.path()])
            .hosted();
        assert_eq!(out.status.code(), Some(7), "{}", out.stderr);
        for (name, language) in [("frozen_c", "C"), ("frozen_rust", "Rust")] {
            assert_eq!(dir.read(&format!("{name}.txt")), SEEN, "{name} {tier}");
            let greeting = format!("[{name}] frozen {language} plugin of API 1.0");
            assert!(out.stderr.contains(&greeting), "{}", out.stderr);
            assert!(out.stderr.contains(&format!("[{name}] still here")), "{}", out.stderr);
        }
    }
}

#[test]
fn frozen_plugins_pass_validation() {
    let dir = TempDir::new();
    for name in ["frozen_c", "frozen_rust"] {
        let library = dir.path().join(format!("panda_{name}.so"));
        unpack(&root().join(format!("tests/frozen/1.0/panda_{name}.so.gz")), &library);
        let out = Command::new(build_dir().join("host"))
            .args(["plugin", "validate"])
            .arg(&library)
            .output()
            .expect("the host starts");
        let report = String::from_utf8_lossy(&out.stdout);
        // They refuse a guest without a register rax.
        assert!(!report.contains("FAIL"), "{report}");
        assert_eq!(out.status.code(), Some(0), "{report}");
    }
}

/// The host of API 1.0, unpacked.
fn old_host(dir: &TempDir) -> PathBuf {
    let host = dir.path().join("host-1.0");
    unpack(&root().join("tests/frozen/1.0/host.gz"), &host);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&host, mode).expect("it can be run");
    host
}

/// Runs a guest under a host; its status and what the host said.
fn under(host: &Path, dir: &Path, plugins: &str, more: &[&str], guest: &Path) -> (i32, String) {
    let out = Command::new(host)
        .args(["-v", "--plugins", plugins, "--out-dir"])
        .arg(dir)
        .args(more)
        .arg("--")
        .arg(guest)
        .env_remove("PANDA_PLUGIN_PATH")
        .output()
        .expect("the host starts");
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn todays_plugins_run_in_the_host_of_api_1_0() {
    let build = build_dir();
    let dir = TempDir::new();
    let old = old_host(&dir);
    let out_dir = TempDir::new();
    // In C: a source of 1.0 that uses every table, built against today's header.
    let exe = compile(&dir, "counted", GUEST, Width::W64, &["-static", "-nostdlib"]);
    let source = include_str!("../frozen/1.0/frozen_c.c");
    let c = compile_plugin(&dir, "today_c", source, &["-Wno-unused"]);
    let list = format!("{}:number=9", c.display());
    for tier in ["interp", "jit"] {
        let more = ["--tier", tier, "--plugin-cmd", "frozen"];
        let (status, said) = under(&old, out_dir.path(), &list, &more, &exe);
        assert_eq!(status, 7, "{said}");
        assert_eq!(out_dir.read("frozen_c.txt"), SEEN, "{tier}: {said}");
    }
    // In Rust: ours, with their layout witnesses, and one that needs another's service.
    let ours =
        |name: &str| build.join(format!("libpanda_{name}.so")).to_string_lossy().into_owned();
    let all = ["callstack", "syscalls", "insncount", "sample", "textfinder", "textprinter"];
    let list = all.map(ours).join(",");
    let (status, said) = under(&old, out_dir.path(), &list, &[], Path::new("/bin/true"));
    assert_eq!(status, 0, "{said}");
    for name in all {
        assert!(said.contains(&format!("plugin `{name}` 0.1.0 loaded")), "{said}");
    }
    assert!(!said.contains("error"), "{said}");
    let calls = out_dir.read("syscalls.txt");
    assert!(calls.ends_with("00000000000000e7\n"), "{calls}");
}

#[test]
fn a_plugin_uses_what_the_host_has_and_is_refused_what_it_needs_in_vain() {
    let dir = TempDir::new();
    let (old, new) = (old_host(&dir), build_dir().join("host"));
    let source = include_str!("../plugins/newer.c");
    let minor = plugin_api::abi::ABI_MINOR;
    let plugin = |name: &str, required: u32| {
        let required = format!("-DREQUIRED={required}");
        compile_plugin(&dir, name, source, &[&required]).to_string_lossy().into_owned()
    };
    let guest = Path::new("/bin/true");
    let content = plugin("content", 0);
    for (host, line) in [
        (&old, "host 1.0, read_u64s 0, load_plugin 0".to_owned()),
        (&new, format!("host 1.{minor}, read_u64s 1, load_plugin 1")),
    ] {
        let (status, said) = under(host, dir.path(), &content, &[], guest);
        assert_eq!(status, 0, "{said}");
        assert!(said.contains(&line) && said.contains("all right"), "{said}");
    }
    for (host, has, required) in [(&old, 0, 1), (&new, minor, minor + 1)] {
        let (status, said) = under(host, dir.path(), &plugin("needs", required), &[], guest);
        assert_eq!(status, 125, "{said}");
        let words = format!("it needs plugin API 1.{required} or newer, this host has 1.{has}");
        assert!(said.starts_with("host: error: ") && said.contains(&words), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let (status, said) = under(&new, dir.path(), &plugin("needs", minor), &[], guest);
    assert_eq!(status, 0, "{said}");
}

/// Everything in it is visible to others.
const SAME_SYMBOLS: &str = r#"
#include "panda_plugin.h"
#include <stdio.h>
int value = VALUE;
int answer(void) { return value; }
uint32_t init(const panda_host_api *host, panda_plugin *self, const panda_init_info *info, void **state)
{
    char line[20];
    panda_str text = {line, 0};
    text.len = snprintf(line, sizeof line, "answer %d", answer());
    host->log(host, self, PANDA_INFO, text);
    return PANDA_OK;
}
void uninit(void *state) {}
PANDA_PLUGIN(NAME, "1.0", "Has the names of another", NULL, 0, init, uninit, NULL)
"#;

#[test]
fn plugins_with_the_same_symbols_keep_to_their_own() {
    let dir = TempDir::new();
    let plugin = |name: &str, value: &str| {
        let flags = [&format!("-DNAME=\"{name}\""), &format!("-DVALUE={value}")];
        let flags = [flags[0], flags[1], "-fvisibility=default"];
        compile_plugin(&dir, name, SAME_SYMBOLS, &flags).to_string_lossy().into_owned()
    };
    let list = format!("{},{}", plugin("one", "1"), plugin("two", "2"));
    let (status, said) =
        under(&build_dir().join("host"), dir.path(), &list, &[], Path::new("/bin/true"));
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("[one] answer 1") && said.contains("[two] answer 2"), "{said}");
}

fn run(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command:?}: {text}");
    text
}

/// The names a library defines for others, as `nm -D` shows them.
fn exports(library: &Path) -> Vec<String> {
    let text = run(Command::new("nm").args(["-D", "--defined-only"]).arg(library));
    let mut names: Vec<String> =
        text.lines().filter_map(|l| Some(l.rsplit_once(' ')?.1.to_owned())).collect();
    names.sort();
    names
}

/// Runs a system-call monitor and compares its log with that of ours.
fn logs_what_ours_logs(library: &Path, log: &str) {
    let dir = TempDir::new();
    let list = format!("syscalls,{}", library.display());
    Case::new(["/bin/true"])
        .host(["--plugins", &list, "--out-dir"])
        .host([dir.path()])
        .same_as_native();
    let ours = dir.read("syscalls.txt");
    assert!(ours.lines().count() > 8, "{ours}");
    assert_eq!(dir.read(log), ours, "{}", library.display());
}

/// Compiler, source and log of an example.
type Example<'a> = (&'a str, PathBuf, &'a str);

#[test]
fn c_and_cpp_plugins_of_every_compiler_and_standard() {
    build_dir();
    let dir = TempDir::new();
    for (c, cpp) in [("gcc", "g++"), ("clang", "clang++")] {
        if Command::new(c).arg("--version").output().is_err() {
            eprintln!("{c} is not installed: its plugins are not tried");
            continue;
        }
        let source = |file: &str| root().join("examples/plugins").join(file);
        let c_file = (c, source("c/syscall_monitor.c"), "syscall_monitor.txt");
        let cpp_file = (cpp, source("cpp/syscall_monitor.cpp"), "syscall_monitor_cpp.txt");
        let builds: [(&Example<'_>, &[&str]); 7] = [
            (&c_file, &["-std=c99", "-O0", "-g"]),
            (&c_file, &["-std=c11", "-O2", "-flto"]),
            (&c_file, &["-std=c17", "-Os", "-Wl,-z,now", "-s"]),
            (&cpp_file, &["-std=c++11", "-O0", "-g"]),
            (&cpp_file, &["-std=c++17", "-O2", "-flto"]),
            (&cpp_file, &["-std=c++20", "-O3"]),
            (
                &cpp_file,
                &[
                    "-std=c++14",
                    "-O1",
                    "-static-libstdc++",
                    "-static-libgcc",
                    "-Wl,--exclude-libs,ALL",
                ],
            ),
        ];
        for (n, ((compiler, source, log), flags)) in builds.into_iter().enumerate() {
            let library = dir.path().join(format!("panda_{compiler}_{n}.so"));
            run(Command::new(compiler)
                .args(["-shared", "-fPIC", "-fvisibility=hidden"])
                .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"])
                .args(flags)
                .arg("-I")
                .arg(root().join("plugin-api/include"))
                .arg("-o")
                .arg(&library)
                .arg(source));
            if *compiler == c {
                assert_eq!(exports(&library), ["panda_plugin_entry_v1"], "{compiler} {flags:?}");
            }
            logs_what_ours_logs(&library, log);
        }
    }
}

/// The `plugin-api` crate as an author gets it, unpacked.
fn packaged_api(dir: &Path) -> PathBuf {
    let target = dir.join("package");
    run(Command::new(env!("CARGO"))
        .args([
            "package",
            "-p",
            "plugin-api",
            "--no-verify",
            "--allow-dirty",
            "--offline",
            "--quiet",
        ])
        .current_dir(root())
        .env("CARGO_TARGET_DIR", &target));
    let packages = target.join("package");
    let packed = std::fs::read_dir(&packages)
        .expect("packages")
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "crate"))
        .expect("the package");
    run(Command::new("tar").arg("xzf").arg(&packed).arg("-C").arg(dir));
    dir.join(packed.file_stem().expect("a name"))
}

#[test]
fn a_rust_plugin_outside_the_workspace_in_every_profile() {
    let dir = TempDir::new();
    let host = build_dir().join("host");
    let api = packaged_api(dir.path());
    run(Command::new(&host)
        .args(["plugin", "new", "my-calls", "--api"])
        .arg(&api)
        .current_dir(dir.path()));
    let project = dir.path().join("my-calls");
    let cargo = |args: &[&str], settings: &[(&str, &str)]| {
        run(Command::new(env!("CARGO"))
            .args(args)
            .args(["--quiet", "--offline"])
            .current_dir(&project)
            .env_remove("CARGO_TARGET_DIR")
            .envs(settings.iter().copied()))
    };
    let text = cargo(&["test"], &[]);
    assert!(text.contains("1 passed"), "{text}");
    let small = [("CARGO_PROFILE_RELEASE_LTO", "true"), ("CARGO_PROFILE_RELEASE_PANIC", "abort")];
    for (profile, args, settings) in [
        ("debug", &["build"] as &[&str], &[] as &[_]),
        ("release", &["build", "--release"], &small),
    ] {
        cargo(args, settings);
        let library = project.join("target").join(profile).join("libpanda_my_calls.so");
        assert_eq!(
            exports(&library),
            ["_1as_0lib_1header_0root_bmodule_bloader", "panda_plugin_entry_v1"],
            "{profile}"
        );
        let out = TempDir::new();
        Case::new(["/bin/true"])
            .host(["--plugins", &library.to_string_lossy(), "--out-dir"])
            .host([out.path()])
            .same_as_native();
        let calls = out.read("my_calls.txt");
        assert!(calls.ends_with(" exit_group\n"), "{calls}");
        let report = run(Command::new(&host).args(["plugin", "validate"]).arg(&library));
        assert!(!report.contains("FAIL") && report.contains("pass"), "{report}");
    }

    // The same plugin, compiled with an API whose layout has drifted from the host's.
    let types = api.join("src/abi/callback.rs");
    let text = std::fs::read_to_string(&types).expect("the types");
    let begin = text.find("pub struct BlockInfo {").expect("a structure");
    let (before, after) = text.split_at(begin);
    let drifted = after.replacen("    pub pc: u64,", "    pub pc: u32,", 1);
    assert_ne!(drifted, after);
    std::fs::write(&types, format!("{before}{drifted}")).expect("it is written");
    let errors = drift_of(&project, &host, dir.path());
    assert!(errors.lines().count() <= 5, "{errors}");
    assert!(errors.contains("it was compiled with another layout of the plugin API"), "{errors}");
    assert!(errors.contains("structure BlockInfo: field `pc`: `u32` of 4 bytes in the plugin, `u64` of 8 bytes in this host"), "{errors}");
    assert!(errors.ends_with("; rebuild the plugin\n"), "{errors}");
}

/// Builds the project once more; what the host says to the library.
fn drift_of(project: &Path, host: &Path, dir: &Path) -> String {
    run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline"])
        .current_dir(project)
        .env_remove("CARGO_TARGET_DIR"));
    let library = project.join("target/debug/libpanda_my_calls.so");
    let (status, said) = under(host, dir, &library.to_string_lossy(), &[], Path::new("/bin/true"));
    assert_eq!(status, 125, "{said}");
    said
}
