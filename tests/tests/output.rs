//! What plugins write is complete however the guest ends, and the host's words reach the user whatever
//! the guest does to its descriptors.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use e2e::{Case, TempDir, build_dir, obeys};

/// Numbers of the logged calls; panics on a torn line.
fn calls(dir: &TempDir) -> Vec<u64> {
    let log = dir.read("syscalls.txt");
    assert!(log.ends_with('\n'), "the last line is whole");
    log.lines()
        .map(|line| {
            let ok =
                line.len() == 45 && line.starts_with("PC=") && line[19..].starts_with(", SYSCALL=");
            assert!(ok, "torn line {line:?}");
            u64::from_str_radix(&line[29..], 16).unwrap_or_else(|e| panic!("{line:?}: {e}"))
        })
        .collect()
}

fn logged(dir: &TempDir, script: &str) -> Case {
    Case::bash(script).host(["--plugins", "syscalls", "--out-dir"]).host([dir.path()])
}

const EXECVE: u64 = 59;
const KILL: u64 = 62;
const EXIT_GROUP: u64 = 231;

#[test]
fn complete_when_the_guest_dies_of_a_signal() {
    for signal in ["SEGV", "KILL", "ABRT"] {
        let dir = TempDir::new();
        let out =
            logged(&dir, &format!("ulimit -c 0; kill -{signal} $$; echo no")).same_as_native();
        assert!(out.status.signal().is_some());
        assert_eq!(calls(&dir).last(), Some(&KILL), "{signal}");
    }
}

/// Runs a script that says when it is ready and then waits, and sends a signal to the host.
fn interrupt(dir: &TempDir, script: &str, signal: i32) -> (std::process::ExitStatus, String) {
    let mut command = Command::new(build_dir().join("host"));
    command
        .args(["--plugins", "syscalls", "--out-dir"])
        .arg(dir.path())
        .args(["--", "/bin/bash", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    obeys(&mut command, signal);
    let mut child = command.spawn().expect("the host starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("the guest speaks");
    assert_eq!(line, "ready\n");
    // SAFETY: sends a signal to our own child, which is not reaped yet.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).expect("the guest ends");
    // Held until now, so that the guest's read could not end.
    let stdin = child.stdin.take();
    let status = child.wait().expect("the host ends");
    drop(stdin);
    (status, rest)
}

#[test]
fn complete_when_the_host_is_told_to_end() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let dir = TempDir::new();
        let (status, _) = interrupt(&dir, "echo ready; read x; echo no", signal);
        assert_eq!(status.signal(), Some(signal), "as the program alone would end");
        // write is 1; the guest may or may not have come to its read.
        assert!(calls(&dir).contains(&1), "signal {signal}");
    }
}

#[test]
fn a_guest_that_handles_the_signal_goes_on() {
    let dir = TempDir::new();
    let script = "trap 'echo bye; exit 5' TERM; echo ready; read x; echo no";
    let (status, rest) = interrupt(&dir, script, libc::SIGTERM);
    assert_eq!((rest.as_str(), status.code()), ("bye\n", Some(5)));
    assert_eq!(calls(&dir).last(), Some(&EXIT_GROUP));
}

#[test]
fn nothing_lost_nothing_twice_across_fork_and_exec() {
    let dir = TempDir::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do (:) & /bin/true & done; wait";
    logged(&dir, script).same_as_native();
    let calls = calls(&dir);
    let count = |n| calls.iter().filter(|&&c| c == n).count();
    assert_eq!(count(EXECVE), 10, "each true");
    assert_eq!(count(EXIT_GROUP), 21, "ten subshells, ten trues, the shell");
}

#[test]
fn the_guest_may_close_everything() {
    for script in [
        "exec 2>&-; echo out; exit 4",
        "exec 3>&- 4>&-; echo x >&3; echo $?",
        "for i in {3..1000}; do eval \"exec $i>&-\"; done; echo closed",
        "exec >&- 2>&-; echo lost; exit 6",
    ] {
        let dir = TempDir::new();
        logged(&dir, script).same_as_native();
        assert_eq!(calls(&dir).last(), Some(&EXIT_GROUP), "{script}");
    }
}

#[test]
fn descriptors_are_those_of_a_native_run() {
    let dir = TempDir::new();
    let log = dir.path().join("host.log");
    let script =
        "exec {a}</dev/null {b}</dev/null; echo $a $b; bash -c 'exec {c}</dev/null; echo $c'";
    logged(&dir, script).host(["--log-file"]).host([&log]).same_as_native();
    let few = format!(
        "ulimit -n 40; exec {} --plugins syscalls -- /bin/echo few",
        build_dir().join("host").display()
    );
    let out = Case::bash(&few).dir(dir.path()).native();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("few\n", ""));
}

#[test]
fn a_full_disk_is_reported_and_the_run_goes_on() {
    // ls closes its stderr before it ends; that is not the host's.
    let out =
        Case::new(["/bin/ls", "/usr"]).host(["--plugins", "syscalls:output=/dev/full"]).hosted();
    let native = Case::new(["/bin/ls", "/usr"]).native();
    assert_eq!((out.stdout, out.status), (native.stdout, native.status));
    let words = "host: error: [syscalls] cannot write /dev/full: No space left on device";
    assert!(out.stderr.starts_with(words), "{}", out.stderr);
    assert!(out.stderr.contains("bytes of /dev/full were lost"), "{}", out.stderr);
}

#[test]
fn a_daemon_does_not_hold_the_readers_of_its_parent() {
    // The daemon outlives its parent by far more than a test may take.
    let out = Case::bash("sleep 1000 >/dev/null 2>&1 </dev/null & echo $!").hosted();
    let pid: i32 = out.stdout.trim().parse().expect("a process id");
    // SAFETY: ends the process this test started.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}
