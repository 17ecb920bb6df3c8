//! Plugins in C and C++, built with plain compilers as a third party would.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{BOTH, Case, TempDir, build_dir, compile, root};

/// Builds a plugin of `examples/plugins` and returns the library.
fn build(dir: &Path, compiler: &str, standard: &str, source: &str) -> PathBuf {
    let stem = Path::new(source).file_stem().expect("a file").to_string_lossy();
    let library = dir.join(format!("panda_{stem}_{compiler}.so"));
    let out = Command::new(compiler)
        .args(["-shared", "-fPIC", "-fvisibility=hidden", "-O1", standard])
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .arg("-I")
        .arg(root().join("plugin-api/include"))
        .arg("-o")
        .arg(&library)
        .arg(root().join("examples/plugins").join(source))
        .output()
        .expect("the compiler starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    library
}

const GUEST: &str = r#"
#include <stdio.h>
#include <unistd.h>
#include <sys/wait.h>
int main(void) {
    getppid();
    if (fork() == 0) { write(1, "child\n", 6); _exit(7); }
    int status;
    wait(&status);
    printf("parent %d\n", WEXITSTATUS(status));
    return 3;
}
"#;

#[test]
fn monitors_in_c_and_cpp_log_what_ours_logs() {
    build_dir();
    let dir = TempDir::new();
    let c = build(dir.path(), "gcc", "-std=c99", "c/syscall_monitor.c");
    let cpp = build(dir.path(), "g++", "-std=c++17", "cpp/syscall_monitor.cpp");
    let list = format!("syscalls,{},{}", c.display(), cpp.display());
    for width in BOTH {
        let exe = compile(&dir, "forks", GUEST, width, &["-static"]);
        Case::new([exe])
            .host(["--plugins", &list, "--out-dir"])
            .host([dir.path()])
            .same_as_native();
        let ours = dir.read("syscalls.txt");
        assert!(ours.lines().count() > 8, "{ours}");
        assert_eq!(dir.read("syscall_monitor.txt"), ours, "{width:?}");
        assert_eq!(dir.read("syscall_monitor_cpp.txt"), ours, "{width:?}");
    }
}

#[test]
fn a_log_that_cannot_be_opened_is_reported_by_name() {
    build_dir();
    let dir = TempDir::new();
    let cpp = build(dir.path(), "g++", "-std=c++11", "cpp/syscall_monitor.cpp");
    std::fs::create_dir(dir.path().join("syscall_monitor_cpp.txt")).expect("a directory");
    let out = Case::new(["/bin/echo", "still"])
        .host(["--plugins", &cpp.to_string_lossy(), "--out-dir"])
        .host([dir.path()])
        .hosted();
    assert_eq!(out.stdout, "still\n");
    assert!(out.stderr.contains("plugin `syscall_monitor_cpp` did not start"), "{}", out.stderr);
    assert!(out.stderr.contains("cannot open"), "{}", out.stderr);
}
