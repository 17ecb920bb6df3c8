//! `--sandbox` against guests that try to get out.

use std::process::Command;

use e2e::{BOTH, Case, TempDir, build_dir, compile};

/// What the attempts of `guests/escape.c` give. The sandbox leaves nothing else to the guest.
const ATTEMPTS: &str = "\
read allowed: ok
write in the readable tree: EACCES
create in the readable tree: EACCES
create in the writable tree: ok
read forbidden: EACCES
write forbidden: EACCES
truncate forbidden: EACCES
list forbidden: EACCES
create forbidden: EACCES
delete forbidden: EACCES
make a directory: EACCES
link out: EXDEV
rename out: EACCES
symlink: ok
through the symlink: EACCES
dot dot: EACCES
chmod: EPERM
/etc/passwd: EACCES
environment of process 1: EACCES
root of process 1: EACCES
own memory: EACCES
socket: EPERM
local socket: EPERM
pair: ok
signal to the parent: EPERM
trace: EPERM
mount: EPERM
shared memory by number: ok
run a forbidden program: EACCES
read to host memory: EFAULT
write from host memory: EFAULT
stat to host memory: EFAULT
map over host memory: ENOMEM
child reads forbidden: EACCES
";

/// What the host says of one of them.
const NO_TRACING: &str = "host: warning: the guest wants to trace a process: ptrace is refused with EPERM; run \
     the debugger natively, or watch the guest with a plugin\n";

#[test]
fn a_confined_guest_does_not_get_out() {
    let dir = TempDir::new();
    for width in BOTH {
        for flags in [&["-static"][..], &[]] {
            let exe = compile(&dir, "escape", include_str!("../guests/escape.c"), width, flags);
            let trees = ["readable", "writable", "forbidden"].map(|name| dir.path().join(name));
            for tree in &trees {
                let _ = std::fs::remove_dir_all(tree);
                std::fs::create_dir(tree).expect("a directory");
            }
            let [readable, writable, forbidden] = &trees;
            std::fs::write(readable.join("file"), "file").expect("a file");
            std::fs::write(forbidden.join("secret"), "secret").expect("a file");
            std::fs::copy("/bin/true", forbidden.join("program")).expect("a program");
            let case = Case::new([&exe, readable, writable, forbidden]).host([
                "--sandbox".as_ref(),
                "--allow-read".as_ref(),
                readable.as_os_str(),
                "--allow-write".as_ref(),
                writable.as_os_str(),
            ]);
            let out = case.hosted();
            assert_eq!((out.stdout.as_str(), out.stderr.as_str()), (ATTEMPTS, NO_TRACING));
            assert!(out.status.success());
            let secret = std::fs::read_to_string(forbidden.join("secret"));
            assert_eq!(secret.expect("it is still there"), "secret");
            assert_eq!(std::fs::read_dir(forbidden).expect("a directory").count(), 2);
            assert_eq!(std::fs::read_dir(readable).expect("a directory").count(), 1);
        }
    }
}

#[test]
fn programs_run_confined_as_natively() {
    let dir = TempDir::new();
    std::fs::write(dir.path().join("file"), "b\na\n").expect("a file");
    let path = dir.path().to_string_lossy().into_owned();
    let script = format!("cd {path}; sort file > sorted; cat sorted; (exit 3); echo $?; rm sorted");
    let host = ["--sandbox", "--allow-read", "/usr", "--allow-write", &path];
    let out = Case::bash(&script).host(host).hosted();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("a\nb\n3\n", ""));
}

#[test]
fn sockets_need_permission() {
    let dir = TempDir::new();
    let source =
        "#include <sys/socket.h>\nint main() { return socket(AF_INET, SOCK_DGRAM, 0) < 0; }";
    let exe = compile(&dir, "socket", source, BOTH[0], &[]);
    let status = |host: &[&str]| Case::new([&exe]).host(host).hosted().status.code();
    assert_eq!(status(&["--sandbox"]), Some(1));
    assert_eq!(status(&["--sandbox", "--allow-net"]), Some(0));
}

#[test]
fn plugins_log_a_confined_guest() {
    let dir = TempDir::new();
    let out = dir.path().to_string_lossy().into_owned();
    let host = ["--sandbox", "--plugins", "syscalls", "--out-dir", &out];
    assert!(Case::new(["/bin/true"]).host(host).hosted().status.success());
    assert!(dir.read("syscalls.txt").lines().count() > 10);
}

#[test]
fn slips_are_reported() {
    let host = |args: &[&str]| {
        let out = Command::new(build_dir().join("host")).args(args).output().expect("it starts");
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, text) = host(&["--sandbox", "--allow-read", "/does/not/exist", "--", "/bin/true"]);
    assert_eq!(code, Some(125));
    assert!(text.contains("/does/not/exist cannot be opened"), "{text}");
    let (code, text) = host(&["--allow-net", "--", "/bin/true"]);
    assert_eq!(code, Some(125));
    assert!(text.contains("--sandbox"), "{text}");
}
