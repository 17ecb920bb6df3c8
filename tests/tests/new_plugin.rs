//! `host plugin new`: what it writes builds with the language's own tools, outside the workspace, and
//! runs. Projects in Rust: `binaries.rs`.

use std::path::Path;
use std::process::Command;

use e2e::{Case, TempDir, build_dir};

fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let out = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap_or_else(|e| panic!("{program} starts: {e}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} {args:?}: {text}");
    text
}

fn new_project(dir: &TempDir, lang: &str) -> std::path::PathBuf {
    let host = build_dir().join("host");
    run(dir.path(), &host.to_string_lossy(), &["plugin", "new", "my-calls", "--lang", lang]);
    dir.path().join("my-calls")
}

/// Runs the library under the host and checks what it wrote.
fn loads_and_runs(dir: &TempDir, library: &Path) {
    Case::new(["/bin/true"])
        .host(["--plugins", &library.to_string_lossy(), "--out-dir"])
        .host([dir.path()])
        .same_as_native();
    let calls = dir.read("my_calls.txt");
    assert!(calls.ends_with(" exit_group\n"), "{calls}");
    assert!(calls.lines().all(|l| l.split(' ').next().is_some_and(|pc| pc.len() == 16)), "{calls}");
}

#[test]
fn projects_in_c_and_cpp_build_check_and_run() {
    let host = format!("HOST={}", build_dir().join("host").display());
    for (lang, flags) in [("c", "CFLAGS"), ("cpp", "CXXFLAGS")] {
        let dir = TempDir::new();
        let project = new_project(&dir, lang);
        let strict = format!("{flags}=-O1 -Wall -Wextra -Wpedantic -Werror");
        run(&project, "make", &[&strict, &host, "check"]);
        loads_and_runs(&dir, &project.join("panda_my_calls.so"));
    }
}

#[test]
fn refusals_say_what_to_do() {
    let dir = TempDir::new();
    let host = build_dir().join("host");
    let refuse = |args: &[&str]| {
        let out = Command::new(&host)
            .args(["plugin", "new"])
            .args(args)
            .current_dir(dir.path())
            .output()
            .expect("the host starts");
        assert_eq!(out.status.code(), Some(125), "{args:?}");
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    assert!(refuse(&["Bad/Name"]).contains("cannot be a plugin's name"));
    assert!(refuse(&["mine", "--api", "."]).contains("--api DIR"));
    std::fs::create_dir(dir.path().join("mine")).expect("a directory");
    std::fs::write(dir.path().join("mine/file"), "kept").expect("a file");
    assert!(refuse(&["mine", "--lang", "c"]).contains("mine is not empty"));
    assert_eq!(dir.read("mine/file"), "kept");
}
