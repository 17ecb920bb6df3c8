//! Plugins that crash, loop or leave threads: everything else goes on, or at least is written.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Case, Output, TempDir, Width, build_dir, compile, compile_plugin, root};

const MISBEHAVE: &str = include_str!("../plugins/misbehave.c");

fn misbehave(dir: &TempDir) -> PathBuf {
    compile_plugin(dir, "misbehave", MISBEHAVE, &["-O1", "-pthread", "-w"])
}

/// Runs a guest under a plugin that misbehaves, beside one that logs.
fn run(dir: &TempDir, plugin: &Path, what: &str, more: &[&str]) -> Output {
    let list = format!("syscalls,{}:{what}", plugin.display());
    Case::new(["/bin/sh", "-c", "echo one; echo two"])
        .host(["--plugins", &list, "--out-dir"])
        .host([dir.path()])
        .host(more.iter().copied())
        .hosted()
}

/// The whole log of `syscalls` is there: its last call is exit_group.
fn complete(dir: &TempDir) -> bool {
    dir.read("syscalls.txt").lines().last().is_some_and(|l| l.ends_with("00000000000000e7"))
}

#[test]
fn a_crash_in_a_callback_is_the_plugins_own() {
    let dir = TempDir::new();
    let plugin = misbehave(&dir);
    for (how, signal) in [
        ("segv", "SIGSEGV at 0x10"),
        ("abort", "SIGABRT"),
        ("fpe", "SIGFPE"),
        ("ill", "SIGILL"),
        ("null-call", "SIGSEGV at 0x0"),
        ("stack", "SIGSEGV at 0x"),
    ] {
        for (place, kind) in [
            ("syscall", "syscall_enter"),
            ("block", "before_block_exec"),
            ("write", "virt_mem_after_write"),
        ] {
            for tier in ["interp", "jit"] {
                let what = format!("how={how},where={place}");
                let out = run(&dir, &plugin, &what, &["--tier", tier]);
                let said = format!("{what} {tier}: {}", out.stderr);
                assert_eq!(out.stdout, "one\ntwo\n", "{said}");
                assert_eq!(out.status.code(), Some(0), "{said}");
                let expected = format!(
                    "host: error: plugin `misbehave` failed and is unloaded: it crashed in its \
                     callback {kind}: {signal}"
                );
                assert!(out.stderr.contains(&expected), "{said}");
                assert!(out.stderr.contains(", guest pc 0x"), "{said}");
                let function = if how == "stack" { "recurse" } else { "misbehave" };
                let frame = format!("{function} (panda_misbehave.so+0x");
                assert!(out.stderr.contains(&frame), "{said}");
                assert!(complete(&dir), "{said}");
            }
        }
    }
}

#[test]
fn a_crash_in_init_uninit_or_flush_is_the_plugins_own() {
    let dir = TempDir::new();
    let plugin = misbehave(&dir);
    for (place, words) in [
        ("init", "plugin `misbehave` did not start: it crashed in its init: SIGSEGV"),
        ("uninit", "plugin `misbehave` did not end well: it crashed in its uninit: SIGSEGV"),
    ] {
        let out = run(&dir, &plugin, &format!("how=segv,where={place}"), &[]);
        assert_eq!((out.stdout.as_str(), out.status.code()), ("one\ntwo\n", Some(0)), "{place}");
        assert!(out.stderr.contains(words), "{}", out.stderr);
        assert!(complete(&dir), "{place}");
    }
    // The shell forks for a pipe, and plugins are flushed before.
    let list = format!("{}:how=segv,where=flush", plugin.display());
    let out = Case::bash("echo one | cat").host(["--plugins", &list]).hosted();
    assert_eq!((out.stdout.as_str(), out.status.code()), ("one\n", Some(0)));
    assert!(out.stderr.contains("it crashed in its flush: SIGSEGV"), "{}", out.stderr);
}

#[test]
fn policy_stop_ends_the_run_in_order() {
    let dir = TempDir::new();
    let plugin = misbehave(&dir);
    let config = dir.path().join("stop.toml");
    std::fs::write(&config, "on_plugin_failure = \"stop\"\n").expect("a file");
    let config = config.to_string_lossy();
    let out = run(&dir, &plugin, "how=segv,where=syscall", &["--config", &config]);
    assert_eq!(out.status.code(), Some(125), "{}", out.stderr);
    assert!(out.stderr.contains("plugin `misbehave` failed, the run ends: it crashed"));
    assert!(dir.read("syscalls.txt").ends_with('\n'));
    assert!(!dir.read("syscalls.txt").is_empty());
}

#[test]
fn a_crash_outside_the_plugins_own_code_ends_the_run_and_loses_no_log() {
    let dir = TempDir::new();
    let plugin = misbehave(&dir);
    let out = run(&dir, &plugin, "how=libc,where=syscall", &[]);
    assert_eq!(out.status.code(), Some(125), "{}", out.stderr);
    let words = "host: error: plugin `misbehave` crashed in its callback syscall_enter: SIGSEGV";
    assert!(out.stderr.contains(words), "{}", out.stderr);
    assert!(out.stderr.contains("not in its own code, so the run ends"), "{}", out.stderr);
    assert!(out.stderr.contains("misbehave+0x"), "{}", out.stderr);
    assert_eq!(dir.read("syscalls.txt").lines().count(), 3);
}

#[test]
fn a_thread_that_is_left_is_reported_and_one_that_crashes_is_the_plugins_own() {
    let dir = TempDir::new();
    let plugin = misbehave(&dir);
    let out = run(&dir, &plugin, "how=thread,where=syscall", &[]);
    assert_eq!((out.stdout.as_str(), out.status.code()), ("one\ntwo\n", Some(0)));
    let words = "plugin `misbehave` did not end well: a thread of it has not ended: ";
    assert!(out.stderr.contains(words), "{}", out.stderr);
    let out = run(&dir, &plugin, "how=thread-crash,where=syscall", &[]);
    assert_eq!((out.stdout.as_str(), out.status.code()), ("one\ntwo\n", Some(0)));
    assert!(
        out.stderr.contains("it crashed in a thread of its own: SIGSEGV at 0x18"),
        "{}",
        out.stderr
    );
    assert!(complete(&dir));
}

/// Checks that a plugin that never comes back in this way is named at once, wherever it does so.
fn warns_of(how: &str, cause: &str) {
    use std::io::{BufRead, BufReader};
    let dir = TempDir::new();
    let plugin = misbehave(&dir);
    for (place, kind) in [
        ("syscall", "in its callback syscall_enter"),
        ("block", "in its callback before_block_exec"),
        ("init", "running"),
    ] {
        let mut child = Command::new(build_dir().join("host"))
            .args(["--watchdog", "0.2", "--plugins"])
            .arg(format!("{}:how={how},where={place}", plugin.display()))
            .args(["--", "/bin/true"])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the host starts");
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        stderr.read_line(&mut line).expect("a line");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(line.starts_with("host: warning: plugin `misbehave` has been "), "{line}");
        assert!(line.contains(cause), "{line}");
        assert!(line.contains(kind), "{how} in {place}: {line}");
    }
}

#[test]
fn an_endless_callback_is_reported_by_name() {
    warns_of("loop", " for 200 ms of processor time");
}

#[test]
fn a_callback_that_waits_is_reported_by_name() {
    for how in ["sleep", "read"] {
        warns_of(how, " for 200 ms, waiting");
    }
}

#[test]
fn a_guest_that_waits_is_no_reason_to_warn_and_sees_nothing_of_it() {
    let dir = TempDir::new();
    let script = "import time, select, os; t = time.time(); time.sleep(0.3); select.select([], [], [], 0.3); \
                  r, w = os.pipe(); p = os.fork()\n\
                  if p == 0: time.sleep(0.3); os.write(w, b'x'); os._exit(0)\n\
                  print(os.read(r, 1), os.waitpid(p, 0)[1], 0.9 <= time.time() - t)";
    let out = Case::new(["/usr/bin/env", "python3", "-c", script])
        .host(["--watchdog", "0.02", "--plugins", "sample,syscalls,textprinter", "--out-dir"])
        .host([dir.path()])
        .hosted();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("b'x' 0 True\n", ""));
}

#[test]
fn exit_in_a_plugin_ends_the_run_by_name_and_loses_no_log() {
    let dir = TempDir::new();
    let plugin = misbehave(&dir);
    for (place, doing) in [
        ("syscall", " in its callback syscall_enter, guest pc 0x"),
        ("block", " in its callback before_block_exec, guest pc 0x"),
        ("init", " in its init; the run ends"),
        ("uninit", " in its uninit"),
    ] {
        for tier in ["interp", "jit"] {
            let what = format!("how=exit,where={place}");
            let out = run(&dir, &plugin, &what, &["--tier", tier]);
            let said = format!("{place} {tier}: {}", out.stderr);
            assert_eq!(out.status.code(), Some(125), "{said}");
            let words = format!("host: error: plugin `misbehave` called exit(3){doing}");
            assert!(out.stderr.starts_with(&words), "{said}");
            assert!(out.stderr.contains("; the run ends\n"), "{said}");
            assert!(out.stderr.contains("misbehave+0x"), "{said}");
            let log = dir.read("syscalls.txt");
            match place {
                "syscall" => assert_eq!(log.lines().count(), 3, "{said}"),
                "uninit" => assert!(complete(&dir), "{said}"),
                _ => {}
            }
        }
    }
    // A thread can be stopped for good instead.
    let out = run(&dir, &plugin, "how=thread-exit,where=syscall", &[]);
    assert_eq!((out.stdout.as_str(), out.status.code()), ("one\ntwo\n", Some(0)), "{}", out.stderr);
    let words =
        "plugin `misbehave` failed and is unloaded: it called exit(4) in a thread of its own";
    assert!(out.stderr.contains(words), "{}", out.stderr);
    assert!(complete(&dir));
}

#[test]
fn a_plugin_that_finds_no_memory_is_ended_alone() {
    let dir = TempDir::new();
    let plugin = misbehave(&dir);
    for (place, words) in [
        (
            "syscall",
            "failed and is unloaded: it crashed in its callback syscall_enter: SIGSEGV at 0x0",
        ),
        ("init", "did not start: it crashed in its init: SIGSEGV at 0x0"),
    ] {
        let out = run(&dir, &plugin, &format!("how=memory,where={place}"), &[]);
        let said = format!("{place}: {}", out.stderr);
        assert_eq!(out.status.code(), Some(0), "{said}");
        assert_eq!(out.stdout, "one\ntwo\n", "{said}");
        assert!(out.stderr.contains(words), "{said}");
        assert!(complete(&dir), "{said}");
    }
}

#[test]
fn a_plugin_that_takes_all_memory_ends_the_run_and_loses_no_log() {
    let dir = TempDir::new();
    let plugin = misbehave(&dir);
    let list = format!("syscalls,{}:how=take-all,where=syscall", plugin.display());
    for tier in ["interp", "jit"] {
        let out = Case::new(["/bin/sh", "-c", "while :; do echo one; done"])
            .host(["--tier", tier, "--plugins", &list, "--out-dir"])
            .host([dir.path()])
            .hosted();
        let said = format!("{tier}: {}", out.stderr);
        assert_eq!(out.status.code(), Some(125), "{said}");
        let words = "host: error: memory is exhausted, perhaps by a plugin; the run ends\n";
        assert!(out.stderr.starts_with(words), "{said}");
        let log = dir.read("syscalls.txt");
        assert!(log.lines().count() >= 3 && log.ends_with('\n'), "{log}");
    }
}

/// The example of this crate that is a plugin in Rust.
fn rust_plugin() -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "-p", "e2e", "--example", "misbehave_rust"])
        .current_dir(root())
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the plugin builds");
    build_dir().join("examples/libmisbehave_rust.so")
}

#[test]
fn what_a_rust_plugin_does_wrong_is_its_own() {
    let dir = TempDir::new();
    let plugin = rust_plugin();
    let aborted = "it crashed in its";
    for (how, place, words) in [
        ("panic", "init", "plugin `misbehave_rust` did not start: panic in init at "),
        ("panic", "syscall", "failed and is unloaded: panic in syscall_enter at "),
        ("panic", "block", "failed and is unloaded: panic in before_block_exec at "),
        ("panic", "uninit", "did not end well: its uninit failed: panic in "),
        ("memory", "init", aborted),
        ("memory", "syscall", aborted),
        ("memory", "block", aborted),
        ("memory", "uninit", aborted),
        ("report", "syscall", aborted),
        ("thread-panic", "syscall", "no good in a thread"),
        ("counter", "block", ""),
    ] {
        let list = format!("syscalls,{}:how={how},place={place}", plugin.display());
        for tier in ["interp", "jit"] {
            let out = Case::new(["/bin/sh", "-c", "echo one; echo two"])
                .host(["--tier", tier, "--plugins", &list, "--out-dir"])
                .host([dir.path()])
                .hosted();
            let said = format!("{how} {place} {tier}: {}", out.stderr);
            assert_eq!((out.stdout.as_str(), out.status.code()), ("one\ntwo\n", Some(0)), "{said}");
            assert!(out.stderr.contains(words), "{said}");
            assert!(!words.is_empty() || out.stderr.is_empty(), "{said}");
            if words == aborted {
                assert!(out.stderr.contains("plugin `misbehave_rust` "), "{said}");
                assert!(out.stderr.contains("SIGABRT"), "{said}");
            }
            assert!(complete(&dir), "{said}");
        }
    }
    let list = format!("syscalls,{}:how=exit,place=syscall", plugin.display());
    let out = Case::new(["/bin/true"])
        .host(["--plugins", &list, "--out-dir"])
        .host([dir.path()])
        .hosted();
    assert_eq!(out.status.code(), Some(125), "{}", out.stderr);
    let words = "host: error: plugin `misbehave_rust` called exit(3) in its callback syscall_enter";
    assert!(out.stderr.starts_with(words), "{}", out.stderr);
    assert_eq!(dir.read("syscalls.txt").lines().count(), 3);
}

#[test]
fn a_guest_that_computes_or_a_short_callback_is_no_reason_to_warn() {
    let dir = TempDir::new();
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $i";
    let out = Case::new(["/bin/sh", "-c", script])
        .host(["--watchdog", "0.05", "--plugins", "sample,syscalls,textprinter", "--out-dir"])
        .host([dir.path()])
        .hosted();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("20000\n", ""));
}

const THROW: &str = r#"
#include "panda_plugin.h"
#include <stdexcept>
#include <string>
static panda_id id;
static unsigned events;
static void maybe(const char *place)
{
    std::string destroyed("something with a destructor that is long enough for the heap");
    if (std::string(place) == WHERE && ++events == 3)
        throw std::runtime_error("no good");
}
static void on_syscall(void *, panda_cpu *, const panda_syscall_info *) { maybe("syscall"); }
static void on_block(void *, panda_cpu *, const panda_block_info *) { maybe("block"); }
static uint32_t init(const panda_host_api *h, panda_plugin *p, const panda_init_info *, void **)
{
    events = std::string(WHERE) == "init" ? 2 : 0;
    maybe("init");
    panda_on_before_block_exec(h, p, on_block, NULL, PANDA_CB_READS_REGS, &id);
    return panda_on_syscall_enter(h, p, on_syscall, NULL, PANDA_CB_READS_REGS, &id);
}
static void uninit(void *) {}
PANDA_PLUGIN("throw", "0.1.0", "Throws", NULL, 0, init, uninit, NULL)
"#;

#[test]
fn a_cpp_exception_ends_the_plugin_alone() {
    for (place, words) in [
        ("init", "plugin `throw` did not start: it crashed in its init: SIGABRT"),
        ("syscall", "failed and is unloaded: it crashed in its callback syscall_enter: SIGABRT"),
        ("block", "failed and is unloaded: it crashed in its callback before_block_exec: SIGABRT"),
    ] {
        let dir = TempDir::new();
        let source = dir.path().join("throw.cpp");
        std::fs::write(&source, THROW).expect("a file");
        let library = dir.path().join("panda_throw.so");
        let built = Command::new("g++")
            .args(["-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-w"])
            .arg(format!("-DWHERE=\"{place}\""))
            .arg("-I")
            .arg(root().join("plugin-api/include"))
            .arg("-o")
            .arg(&library)
            .arg(&source)
            .status()
            .expect("the compiler starts");
        assert!(built.success());
        for tier in ["interp", "jit"] {
            let list = format!("syscalls,{}", library.display());
            let out = Case::new(["/bin/sh", "-c", "echo one; echo two"])
                .host(["--tier", tier, "--plugins", &list, "--out-dir"])
                .host([dir.path()])
                .hosted();
            let said = format!("{place} {tier}: {}", out.stderr);
            assert_eq!((out.stdout.as_str(), out.status.code()), ("one\ntwo\n", Some(0)), "{said}");
            assert!(out.stderr.contains(words), "{said}");
            // What the C++ runtime says of it.
            assert!(out.stderr.contains("no good"), "{said}");
            assert!(complete(&dir), "{said}");
        }
    }
}

/// A guest thread that waits when the guest ends is no thread that a plugin left, whatever its name.
#[test]
fn threads_of_the_guest_are_not_taken_for_a_plugins() {
    const WAITS: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static int ends[2];
static void *waits(void *arg) { char c; read(ends[0], &c, 1); return arg; }
int main(void) {
    pthread_t t;
    pipe(ends);
    pthread_create(&t, NULL, waits, NULL);
    usleep(20000);
    return 3;
}
"#;
    let dir = TempDir::new();
    let exe = compile(&dir, "waits", WAITS, Width::W64, &["-pthread"]);
    let out =
        Case::new([&exe]).host(["--plugins", "syscalls", "--out-dir"]).host([dir.path()]).hosted();
    assert_eq!((out.stderr.as_str(), out.status.code()), ("", Some(3)));
}
