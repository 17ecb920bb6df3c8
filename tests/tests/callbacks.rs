//! Every kind of callback, counted on programs whose answers are known, through the real host.

use e2e::{BOTH, Case, Output, TempDir, Width, compile, compile_plugin};

const WATCH: &str = include_str!("../plugins/watch.c");

/// What the plugin logged, by process: the first one's lines, then those of the others.
fn watched(out: &Output) -> Vec<String> {
    let lines: Vec<(&str, &str)> = out
        .stderr
        .lines()
        .filter_map(|l| l.strip_prefix("host: info: [watch] ")?.split_once(' '))
        .collect();
    let first = lines.first().map_or("", |l| l.0);
    let of = |own: bool| {
        let prefix = if own { "" } else { "child: " };
        let mine = move |l: &&(&str, &str)| (l.0 == first) == own;
        lines.iter().filter(mine).map(move |l| format!("{prefix}{}", l.1))
    };
    of(true).chain(of(false)).collect()
}

/// Runs `exe` under the plugin compiled with `flags`.
fn watch(dir: &TempDir, exe: &std::path::Path, flags: &[&str], host: &[&str]) -> Output {
    let plugin = compile_plugin(dir, "watch", WATCH, &[&["-D_GNU_SOURCE"], flags].concat());
    Case::new([exe]).host(["-v", "--plugins"]).host([plugin]).host(host).hosted()
}

/// 24 instructions in 6 blocks; 5 words stored and 5 loaded; no return from the one call.
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

#[test]
fn frequent_kinds_are_exact_in_every_tier() {
    for width in BOTH {
        let dir = TempDir::new();
        let exe = compile(&dir, "counted", counted(width), width, &["-static", "-nostdlib"]);
        for tier in ["interp", "jit", "auto"] {
            let out = watch(&dir, &exe, &["-DSUBSCRIBE_HOT=1"], &["--tier", tier]);
            assert_eq!(out.status.code(), Some(7));
            let lines = watched(&out);
            for (kind, count) in [(2, 24), (6, 6), (8, 5), (9, 5), (10, 5), (11, 5), (12, 1)] {
                let line = format!("kind {kind}: {count}");
                assert!(lines.contains(&line), "{width:?} {tier}: no \"{line}\" in {lines:#?}");
            }
        }
    }
}

const EVENTS: &str = r#"
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static void handler(int n) { (void)n; syscall(SYS_write, 1, "handler\n", 8); }
int main(int argc, char **argv)
{
    int status;
    if (argc > 1) {
        write(1, "second\n", 7);
        syscall(SYS_exit_group, 9);
    }
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    if (fork() == 0) {
        write(1, "child\n", 6);
        kill(getpid(), SIGTERM);
    }
    wait(&status);
    if (WTERMSIG(status) != SIGTERM)
        return 1;
    execl(argv[0], argv[0], "x", NULL);
    return 2;
}
"#;

#[test]
fn events_of_the_guest_come_once_and_in_order() {
    for width in BOTH {
        let dir = TempDir::new();
        let exe = compile(&dir, "events", EVENTS, width, &["-static"]);
        let out = watch(&dir, &exe, &[], &[]);
        assert_eq!(out.status.code(), Some(9), "{}", out.stderr);
        assert_eq!(out.stdout, "handler\nchild\nsecond\n");
        let name = if width == Width::W64 { "x86_64" } else { "i386" };
        insta::assert_snapshot!(format!("events_{name}"), watched(&out).join("\n"));
    }
}

const WRITES: &str = r#"
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
    unsigned a = 0xdeadbeef, b = 0, c = 0, d = 0;
    syscall(SYS_getppid);
    write(1, "one\n", 4);
    write(1, "two\n", 4);
    asm volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
    return a == 0x0badf00d ? 3 : 4;
}
"#;

#[test]
fn a_hypercall_is_answered_through_registers() {
    for width in BOTH {
        let dir = TempDir::new();
        let exe = compile(&dir, "writes", WRITES, width, &["-static"]);
        let out = watch(&dir, &exe, &[], &[]);
        assert_eq!(out.status.code(), Some(3), "{}", out.stderr);
        assert_eq!(out.stderr.matches("guest_hypercall, write: 0").count(), 1);
    }
}

#[test]
fn what_a_callback_may_do() {
    let dir = TempDir::new();
    let exe = compile(&dir, "writes", WRITES, Width::W64, &["-static"]);
    let run = |flag: &str| {
        let out = watch(&dir, &exe, &[flag], &[]);
        (out.stdout.clone(), out.status.code(), watched(&out), out.stderr)
    };

    let (stdout, code, lines, _) = run("-DLEAVE_ON_FIRST=1");
    assert_eq!((stdout.as_str(), code), ("one\ntwo\n", Some(3)));
    let entered = lines.iter().filter(|l| l.starts_with("unregister")).collect::<Vec<_>>();
    assert_eq!(entered, ["unregister: 0, again: 3"], "done, then stale");
    assert!(lines.contains(&"write returns 4".to_owned()), "the other subscriptions stay");

    // 110 is getppid: the guest ends before it writes.
    let (stdout, code, lines, _) = run("-DSTOP_AT=110");
    assert_eq!((stdout.as_str(), code), ("", Some(42)));
    assert!(lines.contains(&"request_stop: 0".to_owned()), "{lines:?}");
    assert!(lines.contains(&"guest_exit kind 2 code 42".to_owned()), "{lines:?}");

    let (stdout, code, lines, stderr) = run("-DFAIL_AT=110");
    assert_eq!((stdout.as_str(), code), ("one\ntwo\n", Some(4)), "nobody answers the hypercall");
    assert!(!lines.iter().any(|l| l.contains("write(")), "{lines:?}");
    let message = "host: error: plugin `watch` failed and is unloaded: this is too much\n";
    assert!(stderr.contains(message), "{stderr}");

    let (stdout, code, lines, stderr) = run("-DUNLOAD_AT=110");
    assert_eq!((stdout.as_str(), code), ("one\ntwo\n", Some(4)));
    assert!(!lines.iter().any(|l| l.contains("write(")), "{lines:?}");
    assert!(stderr.contains("plugin `watch` unloaded itself"), "{stderr}");
}

#[test]
fn a_failure_ends_the_run_when_that_is_the_policy() {
    let dir = TempDir::new();
    let config = dir.path().join("stop.toml");
    std::fs::write(&config, "on_plugin_failure = \"stop\"\n").unwrap();
    let exe = compile(&dir, "writes", WRITES, Width::W64, &["-static"]);
    let config = config.to_string_lossy().into_owned();
    let out = watch(&dir, &exe, &["-DFAIL_AT=110"], &["--config", &config]);
    assert_eq!((out.stdout.as_str(), out.status.code()), ("", Some(125)), "{}", out.stderr);
    assert!(out.stderr.contains("plugin `watch` failed, the run ends"), "{}", out.stderr);
}

#[test]
fn monitor_commands_reach_the_plugins() {
    let dir = TempDir::new();
    let out = Case::new(["/bin/true"])
        .host(["-v", "--plugins", "sample", "--plugin-cmd", "sample_foo", "--out-dir"])
        .host([dir.path()])
        .host(["--plugin-cmd", "nonsense"])
        .hosted();
    assert!(out.stderr.contains("Doing the foo action"), "{}", out.stderr);
    let refused = "no plugin understands the command `nonsense`";
    assert!(out.stderr.contains(refused), "{}", out.stderr);
    assert!(out.status.success());
}

/// Disables itself in the second block; the callback after blocks enables it after the fourth.
const PAUSES: &str = r#"
#include "panda_plugin.h"
#include <stdio.h>
#include <string.h>
static const panda_host_api *host;
static panda_plugin *self;
static panda_id before;
static unsigned entered, left, refused;
static void on_before(void *u, panda_cpu *c, const panda_block_info *b)
{
    if (++entered == 2)
        refused += host->disable_cb(host, self, before) != PANDA_OK;
}
static void on_after(void *u, panda_cpu *c, const panda_block_info *b, uint32_t exit)
{
    if (++left == 4)
        refused += host->enable_cb(host, self, before) != PANDA_OK;
}
static uint32_t init(const panda_host_api *h, panda_plugin *p, const panda_init_info *i, void **s)
{
    panda_id id;
    host = h;
    self = p;
    return panda_on_before_block_exec(h, p, on_before, NULL, PANDA_CB_NONE, &before)
           | panda_on_after_block_exec(h, p, on_after, NULL, PANDA_CB_NONE, &id);
}
static void uninit(void *s)
{
    char line[80];
    panda_str text = {line, 0};
    text.len = snprintf(line, sizeof line, "entered %u, left %u, refused %u", entered, left, refused);
    host->log(host, self, PANDA_INFO, text);
}
PANDA_PLUGIN("pauses", "1.0", "Pauses", NULL, 0, init, uninit, NULL)
"#;

#[test]
fn a_callback_that_disables_itself_is_silent_until_another_one_enables_it() {
    for width in BOTH {
        let dir = TempDir::new();
        let exe = compile(&dir, "counted", counted(width), width, &["-static", "-nostdlib"]);
        let plugin = compile_plugin(&dir, "pauses", PAUSES, &["-w"]);
        for tier in ["interp", "jit", "auto"] {
            let out = Case::new([&exe])
                .host(["-v", "--tier", tier, "--plugins"])
                .host([&plugin])
                .hosted();
            assert_eq!(out.status.code(), Some(7));
            let line = "[pauses] entered 4, left 6, refused 0\n";
            assert!(out.stderr.contains(line), "{width:?} {tier}: {}", out.stderr);
        }
    }
}
