//! The signature case: the system-call monitor on real programs.

use e2e::{BOTH, Case, TempDir, Width, compile};

const HELLO: &str = r#"
#include <unistd.h>
#include <sys/syscall.h>
int main(void) { syscall(SYS_getppid); write(1, "hi\n", 3); syscall(SYS_exit_group, 3); }
"#;

/// (pc, number) of every line; panics on a line of another form.
fn lines(log: &str, digits: usize) -> Vec<(u64, u64)> {
    log.lines()
        .map(|line| {
            let rest = line.strip_prefix("PC=").unwrap_or_else(|| panic!("line {line:?}"));
            let (pc, number) = rest.split_once(", SYSCALL=").unwrap_or_else(|| panic!("{line:?}"));
            assert_eq!((pc.len(), number.len()), (digits, digits), "line {line:?}");
            let hex = |s| u64::from_str_radix(s, 16).unwrap_or_else(|e| panic!("{line:?}: {e}"));
            (hex(pc), hex(number))
        })
        .collect()
}

#[test]
fn every_call_is_logged_in_order_at_its_instruction() {
    for width in BOTH {
        let dir = TempDir::new();
        let exe = compile(&dir, "hello", HELLO, width, &["-static"]);
        let out = Case::new([exe])
            .host(["--plugins", "syscalls", "--out-dir"])
            .host([dir.path()])
            .same_as_native();
        assert_eq!(out.stdout, "hi\n");
        let digits = if width == Width::W64 { 16 } else { 8 };
        let calls = lines(&dir.read("syscalls.txt"), digits);
        let numbers: Vec<u64> = calls.iter().map(|c| c.1).collect();
        let (getppid, write, exit_group) =
            if width == Width::W64 { (110, 1, 231) } else { (64, 4, 252) };
        let tail = &numbers[numbers.len() - 3..];
        assert_eq!(tail, [getppid, write, exit_group]);
    }
}

#[test]
fn two_plugins_watch_ls_and_change_nothing() {
    let dir = TempDir::new();
    Case::new(["/bin/ls", "-l", "/usr"])
        .host(["--plugins", "syscalls,textprinter", "--out-dir"])
        .host([dir.path()])
        .same_as_native();
    assert!(lines(&dir.read("syscalls.txt"), 16).len() > 20);
    assert!(dir.read("textprinter.txt").contains("share"));
}

#[test]
fn the_log_survives_fork_and_signals() {
    let dir = TempDir::new();
    Case::bash("for i in 1 2 3; do (echo $i); done; /bin/true; kill -TERM $$")
        .host(["--plugins", "syscalls", "--out-dir"])
        .host([dir.path()])
        .same_as_native();
    let calls = lines(&dir.read("syscalls.txt"), 16);
    let count = |n| calls.iter().filter(|c| c.1 == n).count();
    assert_eq!(count(62), 1, "kill, once");
    assert_eq!(count(59), 1, "execve of true, once");
    assert!(count(231) >= 3, "each subshell's exit_group");
}

#[test]
fn an_unwritable_log_unloads_the_plugin_and_the_run_goes_on() {
    let out = Case::new(["/bin/echo", "still"])
        .host(["--plugins", "syscalls:output=/nonexistent/log"])
        .hosted();
    assert_eq!(out.stdout, "still\n");
    assert!(out.status.success());
    assert!(out.stderr.contains("plugin `syscalls` did not start"), "{}", out.stderr);
}
