//! Large numbers of forks and signals, and sudden ends while plugins log.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use e2e::{BOTH, Case, TempDir, Width, build_dir, compile, obeys};

#[test]
fn forks_and_signals() {
    let dir = TempDir::new();
    for (width, forks, signals) in [(Width::W64, "10000", "100000"), (Width::W32, "500", "10000")] {
        let exe = compile(&dir, "many", include_str!("../guests/many.c"), width, &["-pthread"]);
        let argv = [exe.as_os_str(), forks.as_ref(), signals.as_ref()];
        Case::new(argv).same_as_native();
    }
}

/// Writes a line now and then, makes calls in between, and goes on for ever.
const TALKER: &str = r#"
#define _GNU_SOURCE
#include <unistd.h>
#include <sys/syscall.h>
int main() {
    for (;;) {
        for (int i = 0; i < 100; i++) syscall(SYS_getppid);
        if (write(1, "line\n", 5) != 5) return 1;
    }
}
"#;

/// Checks a log of the plugin `syscalls` in its JSON format; the number of its complete lines, and
/// whether it ends within a line.
fn check_log(text: &str) -> (usize, bool) {
    let (lines, rest) = text.rsplit_once('\n').unwrap_or(("", text));
    let mut n = 0;
    for line in lines.lines() {
        let whole = line.starts_with("{\"pid\":") && line.ends_with('}');
        assert!(whole && line.matches("\"result\":").count() == 1, "{line}");
        n += 1;
    }
    assert!("{\"pid\":".starts_with(rest) || rest.starts_with("{\"pid\":"), "{rest}");
    (n, !rest.is_empty())
}

#[test]
fn logs_are_valid_after_sudden_ends() {
    let dir = TempDir::new();
    // A fixed sequence of moments, given in lines of output.
    let mut moment = 1u32;
    for width in BOTH {
        let exe = compile(&dir, "talker", TALKER, width, &["-static"]);
        for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGINT] {
            for _ in 0..4 {
                moment = moment.wrapping_mul(1_103_515_245).wrapping_add(12345);
                let lines = (1 + moment) >> 16 & 255;
                let log = dir.path().join("log");
                let mut command = Command::new(build_dir().join("host"));
                command
                    .arg("--plugins")
                    .arg(format!("syscalls:output={},format=jsonl", log.display()))
                    .arg("--")
                    .arg(&exe)
                    .stdout(Stdio::piped());
                obeys(&mut command, signal);
                let mut child = command.spawn().expect("the host starts");
                let mut out = BufReader::new(child.stdout.take().expect("piped"));
                let mut line = String::new();
                for _ in 0..lines {
                    line.clear();
                    out.read_line(&mut line).expect("a line");
                    assert_eq!(line, "line\n");
                }
                // SAFETY: signals a child that has not been waited for.
                unsafe { libc::kill(child.id() as i32, signal) };
                // What it still writes has to go somewhere.
                std::io::copy(&mut out, &mut std::io::sink()).expect("the rest is read");
                let status = child.wait().expect("it ends");
                assert_eq!(status.signal(), Some(signal));
                let (calls, cut) = check_log(&std::fs::read_to_string(&log).expect("a log"));
                if signal != libc::SIGKILL {
                    assert!(!cut, "the last line is complete");
                    // Each line of output was one call in 101, and the log has them all.
                    assert!(calls >= 101 * lines as usize, "{calls} calls, {lines} lines");
                }
            }
        }
    }
}
