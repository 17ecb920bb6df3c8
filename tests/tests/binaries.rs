//! Plugins as binaries: those built long ago, and those built by other compilers in other ways.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::{Case, TempDir, Width, build_dir, compile, root};

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
}
