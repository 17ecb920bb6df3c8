//! Programs nobody here wrote, against a native run.

use std::path::PathBuf;

use e2e::{Case, TempDir, root};

#[test]
fn coreutils() {
    let dir = TempDir::new();
    std::fs::write(dir.path().join("a"), "pear\napple\nfig\n").unwrap();
    for script in [
        "true",
        "false",
        "echo hello world",
        "ls -l /usr",
        "ls -la --color=always /etc",
        "cat a; wc a; sort a; sort -r a | head -2; tac a; rev a; nl a; od -c a; md5sum a; sha256sum a",
        "cp a b && mv b c && ln -s c d && readlink d && stat -c '%s %F' c d && rm c d",
        "seq 1 2000 | tail -3; seq 1 0.25 3; expr 6 '*' 7; factor 1234567890123456789",
        "printf '%5.2f|%x|%s\\n' 3.14159 255 str",
        "date -u -d @86400 +%F; basename /a/b.c .c; dirname /a/b; cut -c2-3 a; tr a-z A-Z <a",
        "mkdir -p x/y/z && find x -type d | sort && rmdir x/y/z && rm -r x",
        "head -c 100000 /dev/zero | gzip -9 | gunzip | wc -c",
        "yes | head -1000 | uniq -c; dd if=/dev/zero bs=1k count=3 2>/dev/null | wc -c",
        "grep -n p a; grep -c zzz a; sed -n 's/p/P/gp' a; awk '{print NR\": \"$1}' a",
        "ls /does/not/exist; cat /does/not/exist",
    ] {
        Case::bash(script).dir(dir.path()).same_as_native();
    }
}

#[test]
fn bash_features() {
    for script in [
        "for i in 1 2 3; do echo $i | sed s/1/x/; done | sort -r",
        "f() { local x=$1; ((x > 0)) && { echo $x; f $((x - 1)); }; }; f 5",
        "x=(a b c); echo ${#x[@]} ${x[1]} ${x[@]:1}; declare -A m=([k]=v); echo ${m[k]}",
        "trap 'echo bye' EXIT; echo hi; exit 3",
        "trap 'echo got' USR1; kill -USR1 $$; echo after",
        "(exit 7); echo $?; kill -TERM $BASHPID",
        "read a b <<<'one two three'; echo \"$b\"; cat <<E\nheredoc $a\nE",
        "sleep 0.05 & wait $!; echo $?; { echo out; echo err >&2; } 2>&1 | sort",
        "echo $(echo nested $(echo deep)); diff <(echo a) <(echo b); echo $?",
        "ulimit -c 0; { bash -c 'kill -SEGV $$'; } 2>/dev/null; echo $?",
        "set -o pipefail; false | true; echo $?; printf '%s\\n' {1..5} | paste -sd+ | bc 2>/dev/null",
        "cd /tmp && pwd && echo $0 $# $PPID >/dev/null; type ls; umask",
        "exec 3>&1; echo to3 >&3; exec 3>&-; echo x >&3; echo $?",
    ] {
        Case::bash(script).same_as_native();
    }
}

#[test]
fn arguments_are_seen_by_other_guests() {
    // Those of a child that started a program, and of one that was only forked.
    let script = "rm -f p; mkfifo p; A=1 sh -c 'read x <p' marker & \
                  until tr '\\0' ' ' </proc/$!/cmdline | grep ^sh; do :; done; \
                  tr '\\0' '\\n' </proc/$!/environ | grep ^A=; \
                  (read x <p) & tr '\\0' ' ' </proc/$!/cmdline | head -c 8; echo; \
                  kill %1 %2";
    let dir = TempDir::new();
    Case::bash(script).dir(dir.path()).same_as_native();
}

#[test]
fn scripts_and_python() {
    let dir = TempDir::new();
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/bin/sh -e\necho \"$0 $1\" | tr a-z A-Z\nexit 4\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    Case::new([script.as_os_str(), "arg".as_ref()]).dir(dir.path()).same_as_native();
    // The interpreter itself, not a wrapper script that finds it.
    let find = ["/usr/bin/env", "python3", "-c", "import sys; print(sys.executable)"];
    let python = Case::new(find).native().stdout.trim().to_owned();
    for program in [
        "import json,re,sys; print(json.dumps({\"a\":[1,2,3]}))",
        "print(sum(i * i for i in range(10000)), 2 ** 200, 1 / 3, 'é'.encode())",
        "import sys; sys.stderr.write('err\\n'); sys.exit(9)",
        "import os; r, w = os.pipe(); p = os.fork()\nif p == 0: os.write(w, b'child'); os._exit(5)\n\
         print(os.read(r, 5), os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]))",
        "import subprocess; print(subprocess.run(['echo', 'sub'], capture_output=True).stdout)",
        "raise ValueError('no')",
    ] {
        Case::new([python.as_str(), "-c", program]).same_as_native();
    }
}

#[test]
fn busybox_applets() {
    if !std::path::Path::new("/bin/busybox").exists() {
        panic!("busybox-static is not installed; .ci/run installs it");
    }
    for script in [
        "busybox ls -l /usr | busybox head -3",
        "busybox sh -c 'for i in 1 2 3; do echo $i; done | busybox sort -r'",
        "echo abc | busybox md5sum; busybox seq 5 | busybox awk '{s+=$1} END {print s}'",
        "busybox echo hello | busybox gzip | busybox gunzip; busybox dc -e '2 3 + p'",
        "busybox nosuchapplet",
    ] {
        Case::bash(script).same_as_native();
    }
}

/// Debian's busybox for i386, unpacked by .ci/run.
fn busybox_i386() -> Option<PathBuf> {
    let path = root().join("target/guests/busybox-i386");
    if !path.exists() {
        eprintln!("skipped: {} is not there; .ci/run gets it", path.display());
    }
    path.exists().then_some(path)
}

#[test]
fn busybox_i386_applets() {
    let Some(busybox) = busybox_i386() else { return };
    let b = busybox.display();
    for script in [
        "ls -l /usr".to_owned(),
        "ls /does/not/exist".to_owned(),
        format!("sh -c 'for i in 1 2 3; do echo $i; done | {b} sort -r'"),
        format!("sh -c '{b} seq 1 200 | {b} sed s/1/x/ | {b} grep x | {b} wc -l; exit 3'"),
        format!("sh -c 'echo hello | {b} gzip | {b} gunzip; echo abc | {b} sha256sum'"),
        format!("sh -c '{b} find /etc/ssl -type d | {b} sort; {b} id -u; {b} uname -s'"),
        "sh -c 'trap \"echo got\" USR1; kill -USR1 $$; kill -TERM $$'".to_owned(),
        "awk 'BEGIN { for (i = 0; i < 100; i++) s += sqrt(i); printf \"%.9f\\n\", s }'".to_owned(),
        "date -u -d @86400".to_owned(),
    ] {
        Case::bash(&format!("exec {b} {script}")).same_as_native();
    }
}

/// The C library makes its calls through the kernel's page, where each is a `sysenter`; a few before
/// that page is known, and some that need all registers, are `int 0x80` in the program itself.
#[test]
fn busybox_i386_calls_are_seen_at_their_instructions() {
    let Some(busybox) = busybox_i386() else { return };
    let dir = TempDir::new();
    Case::new([busybox.as_os_str(), "ls".as_ref(), "-l".as_ref(), "/usr".as_ref()])
        .host(["--plugins", "syscalls", "--out-dir"])
        .host([dir.path()])
        .same_as_native();
    let file = std::fs::read(&busybox).unwrap();
    let (mut sysenter, mut int80) = (0, 0);
    for line in dir.read("syscalls.txt").lines() {
        let pc = u64::from_str_radix(&line[3..11], 16).unwrap();
        // The program is linked at a fixed address, in one piece from the file's first byte on.
        match (pc as usize).checked_sub(0x0804_8000).and_then(|at| file.get(at..at + 2)) {
            Some(bytes) => {
                assert_eq!(bytes, [0xcd, 0x80], "{line}");
                int80 += 1;
            }
            None => sysenter += 1,
        }
    }
    assert!(sysenter > 4 * int80, "{sysenter} by sysenter, {int80} by int 0x80");
}
