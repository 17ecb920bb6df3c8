//! Several runs in one host, plugins exchanged between and during them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use e2e::{TempDir, build_dir, compile_plugin};

const MISBEHAVE: &str = include_str!("../plugins/misbehave.c");

fn host(dir: &TempDir) -> Command {
    let mut command = Command::new(build_dir().join("host"));
    command
        .current_dir(dir.path())
        .env("LC_ALL", "C")
        .env("HOME", "/home/user")
        .env_remove("PANDA_PLUGIN_PATH")
        .env_remove("PANDA_LOG");
    command
}

/// A session that reads these lines.
fn repl(dir: &TempDir, args: &[&str], lines: &str) -> Output {
    let mut child = host(dir)
        .arg("--repl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the host starts");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_session_runs_guests_and_exchanges_plugins() {
    let dir = TempDir::new();
    let out = repl(
        &dir,
        &["--plugins", "insncount"],
        "# A comment, and a guest that changes what it can of its process.\n\
         plugin list\n\
         run sh -c 'cd /; ulimit -n 50; trap \"\" TERM; exec <&- 3</dev/null; echo first; exit 3'\n\
         plugin load syscalls:names=true\n\
         run /bin/pwd\n\
         unload_plugin 0\n\
         list_plugins\n\
         run\n\
         plugin unload syscalls\n\
         plugin list\n",
    );
    let pwd = dir.path().canonicalize().expect("a directory");
    let expected = format!(
        "insncount\nfirst\nthe guest ended: status 3\nsyscalls loaded\n{pwd}\n\
         the guest ended: status 0\ninsncount unloaded\nsyscalls\n{pwd}\n\
         the guest ended: status 0\nsyscalls unloaded\nno plugin is loaded\n",
        pwd = pwd.display()
    );
    assert_eq!(text(&out.stdout), expected, "{}", text(&out.stderr));
    assert_eq!(text(&out.stderr), "");
    assert_eq!(out.status.code(), Some(0));
    assert!(dir.read("syscalls.txt").contains("NAME=getcwd"));
}

#[test]
fn what_a_session_refuses() {
    let dir = TempDir::new();
    compile_plugin(
        &dir,
        "ends",
        "#include <unistd.h>\n__attribute__((constructor)) static void c(void) { _exit(0); }\n",
        &[],
    );
    std::fs::write(dir.path().join("panda_text.so"), "hello\n").expect("a file");
    let out = repl(
        &dir,
        &["--plugins", "syscalls"],
        "run\n\
         rnu /bin/true\n\
         plugin load sycalls\n\
         plugin load syscalls\n\
         plugin load sample:colour=red\n\
         plugin load ./panda_ends.so\n\
         plugin load ./panda_text.so\n\
         plugin unload sycalls\n\
         plugin reload nothing\n\
         plugin cmd syscalls x\n\
         stop\n\
         wait\n\
         stats\n\
         run /no/such/guest\n\
         run /bin/true\n",
    );
    let said = text(&out.stderr)
        .replace(&*dir.path().to_string_lossy(), "DIR")
        .replace(&*build_dir().to_string_lossy(), "BUILD");
    insta::assert_snapshot!(said);
    assert_eq!(
        text(&out.stdout),
        "the guest ended: status 127\nthe guest ended: status 0\n",
        "the session goes on"
    );
    assert_eq!(out.status.code(), Some(1));
}

/// A host with a guest that reads lines and echoes them, and a monitor.
struct Guest {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

const ECHO: &str = "echo ready; while read line; do echo got $line; done";

impl Guest {
    fn start(dir: &TempDir, args: &[&str]) -> Guest {
        let mut child = host(dir)
            .args(["--monitor", "socket"])
            .args(args)
            .args(["--", "/bin/bash", "-c", ECHO])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the host starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut guest = Guest { child, stdout };
        assert_eq!(guest.line(), "ready\n");
        guest
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it writes");
        line
    }

    /// Has the guest do something.
    fn work(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"x\n").expect("it reads");
        assert_eq!(self.line(), "got x\n");
    }

    /// Waits for the end; what the host said.
    fn end(mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        let out = self.child.wait_with_output().expect("it ends");
        (out.status.code(), text(&out.stderr))
    }
}

/// Sends a command to the monitor.
fn ask(dir: &TempDir, command: &str) -> Result<String, String> {
    let out = host(dir)
        .args(["monitor", "socket"])
        .args(command.split(' '))
        .stderr(Stdio::null())
        .output()
        .expect("the client starts");
    let said = text(&out.stdout);
    if out.status.success() { Ok(said) } else { Err(said) }
}

/// `ask` for something that must work.
#[track_caller]
fn tell(dir: &TempDir, command: &str) -> String {
    ask(dir, command).unwrap_or_else(|e| panic!("{command}: {e}"))
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |t| t.lines().count())
}

#[test]
fn plugins_come_and_go_while_a_guest_runs() {
    let dir = TempDir::new();
    let log = dir.path().join("syscalls.txt");
    let mut guest = Guest::start(&dir, &["--plugins", ""]);
    guest.work();
    assert_eq!(tell(&dir, "plugin list"), "no plugin is loaded\n");
    // The guest waits in a system call all the while.
    assert_eq!(tell(&dir, "plugin load syscalls:names=true"), "syscalls loaded\n");
    guest.work();
    tell(&dir, "plugin unload syscalls");
    let logged = dir.read("syscalls.txt");
    assert!(logged.lines().any(|l| l.ends_with("NAME=write")), "{logged}");
    guest.work();
    assert_eq!(dir.read("syscalls.txt"), logged, "nothing is logged any more");
    tell(&dir, "plugin load syscalls:output=again.txt");
    guest.work();
    assert!(tell(&dir, "stats").starts_with("instructions: "));
    assert!(ask(&dir, "plugin load syscalls").is_err());
    assert!(ask(&dir, "run /bin/true").unwrap_err().contains("a guest is running"));
    tell(&dir, "stop");
    let (status, said) = guest.end();
    assert_eq!((status, said.as_str()), (Some(0), ""));
    assert!(lines(&dir.path().join("again.txt")) > 2);
    assert!(lines(&log) >= 2);
    assert!(!dir.path().join("socket").exists());
    assert!(ask(&dir, "stats").is_err());
}

#[test]
fn a_command_is_not_seen_by_a_guest_that_waits() {
    let dir = TempDir::new();
    // Each waits in another call, for a second in all.
    let script = "import time,select,os,signal\n\
                  t=time.monotonic()\n\
                  print('ready',flush=True)\n\
                  time.sleep(.25)\n\
                  p=select.poll(); p.poll(250)\n\
                  select.select([],[],[],.25)\n\
                  e=select.epoll(); e.poll(.25)\n\
                  t=time.monotonic()-t\n\
                  print(1<=t<1.9)\n\
                  r,w=os.pipe()\n\
                  if os.fork()==0: os.read(r,1); os._exit(5)\n\
                  time.sleep(.1)\n\
                  os.write(w,b'x'); print(os.waitstatus_to_exitcode(os.wait()[1]))\n";
    let mut child = host(&dir)
        .args(["--monitor", "socket", "--plugins", "syscalls:names=true", "--"])
        .args(["python3", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the host starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it writes");
    while ask(&dir, "plugin list").is_ok() {}
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).expect("it writes");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(rest, "True\n5\n");
    // Nor by a plugin.
    let calls = dir.read("syscalls.txt");
    let count = |name: &str| calls.lines().filter(|l| l.ends_with(name)).count();
    assert_eq!(count("NAME=poll"), 1, "{calls}");
}

#[test]
fn a_reload_takes_the_new_file_with_fresh_statics_in_the_old_place() {
    let dir = TempDir::new();
    compile_plugin(&dir, "misbehave", MISBEHAVE, &["-pthread", "-w"]);
    let mut guest = Guest::start(&dir, &["--plugins", "./panda_misbehave.so,insncount"]);
    assert_eq!(tell(&dir, "plugin cmd misbehave a b"), "inits 1, a b\n");
    let newer = MISBEHAVE.replace("0.1.0", "0.2.0").replace("inits %u", "new %u");
    compile_plugin(&dir, "misbehave", &newer, &["-pthread", "-w"]);
    assert_eq!(tell(&dir, "plugin_cmd c"), "inits 1, c\n", "the loaded one runs on");
    assert_eq!(
        tell(&dir, "plugin reload misbehave"),
        "misbehave 0.2.0 reloaded; the old library stays mapped\n"
    );
    assert_eq!(tell(&dir, "plugin cmd misbehave d"), "new 1, d\n");
    assert_eq!(
        tell(&dir, "plugin reload misbehave --close"),
        "misbehave 0.2.0 reloaded; the old library is unmapped\n"
    );
    let list = tell(&dir, "plugin list");
    let rows: Vec<_> = list.lines().map(|l| l.split_whitespace().next().unwrap_or("")).collect();
    assert_eq!(rows, ["misbehave", "insncount", "retired"], "{list}");
    assert!(list.contains("retired libraries: 1; "), "{list}");
    // A file that is no good leaves the loaded one alone.
    std::fs::write(dir.path().join("panda_misbehave.so"), "hello").expect("a file");
    let refused = ask(&dir, "plugin reload misbehave").unwrap_err();
    assert!(refused.contains("it is no shared library; the loaded one stays"), "{refused}");
    assert_eq!(tell(&dir, "plugin cmd misbehave e"), "new 1, e\n");
    guest.work();
    let (status, said) = guest.end();
    assert_eq!((status, said.as_str()), (Some(0), ""));
}

#[test]
fn a_plugin_is_exchanged_for_one_of_another_api_version_and_back() {
    let dir = TempDir::new();
    let library = dir.path().join("panda_frozen_c.so");
    let old = || {
        let out = std::fs::File::create(dir.path().join("unpacked")).expect("a file");
        let packed = e2e::root().join("tests/frozen/1.0/panda_frozen_c.so.gz");
        let status = Command::new("gzip").arg("-dc").arg(packed).stdout(out).status();
        assert!(status.expect("gzip").success());
        std::fs::rename(dir.path().join("unpacked"), &library).expect("it is put in place");
    };
    let version = || {
        let list = host(&dir).args(["plugin", "list", "--plugin-path", "."]).output();
        let list = text(&list.expect("the host starts").stdout);
        let row = list.lines().find(|l| l.starts_with("frozen_c ")).unwrap_or("").to_owned();
        row.split_whitespace().nth(3).unwrap_or("").to_owned()
    };
    let source = include_str!("../frozen/1.0/frozen_c.c");
    old();
    let mut guest = Guest::start(&dir, &["--plugins", "./panda_frozen_c.so"]);
    for round in 0..4 {
        if round % 2 == 0 {
            compile_plugin(&dir, "frozen_c", source, &["-Wno-unused"]);
            assert_ne!(version(), "1.0");
        } else {
            old();
            assert_eq!(version(), "1.0");
        }
        assert_eq!(
            tell(&dir, "plugin reload frozen_c --close"),
            "frozen_c 1.0.0 reloaded; the old library is unmapped\n"
        );
        guest.work();
        assert_eq!(tell(&dir, "plugin cmd frozen_c frozen"), "still here\n");
    }
    let (status, said) = guest.end();
    assert_eq!((status, said.as_str()), (Some(0), ""));
}

#[test]
fn what_keeps_a_library_mapped_is_said() {
    let dir = TempDir::new();
    compile_plugin(&dir, "misbehave", MISBEHAVE, &["-pthread", "-w", "-Wl,-z,nodelete"]);
    let guest = Guest::start(&dir, &["--plugins", "./panda_misbehave.so"]);
    assert_eq!(
        tell(&dir, "plugin unload misbehave --close"),
        "misbehave unloaded; its library stays mapped: it is pinned, for instance by a thread-local \
         with a destructor\n"
    );
    assert!(tell(&dir, "plugin list").contains("retired libraries: 1, 1 of them pinned; "));
    tell(&dir, "plugin load ./panda_misbehave.so:how=thread,where=init");
    let kept = tell(&dir, "plugin unload misbehave --close");
    assert!(kept.contains("stays mapped: a thread of it has not ended: "), "{kept}");
    tell(&dir, "plugin load ./panda_misbehave.so:how=segv,where=uninit");
    let kept = tell(&dir, "plugin unload misbehave --close");
    assert!(kept.contains("unloaded; it crashed in its uninit: SIGSEGV"), "{kept}");
    assert_eq!(guest.end().0, Some(0));
}

/// Resident memory of a process and its libraries' mappings.
fn memory(pid: u32) -> (u64, usize) {
    // What `status` says is a sum that may lag behind.
    let all = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let kb =
        all.lines().find_map(|l| l.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.parse().ok());
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    (kb.expect("a number"), maps.lines().filter(|l| l.contains("panda_")).count())
}

#[test]
fn a_thousand_reloads_that_really_unload_leave_nothing() {
    let dir = TempDir::new();
    compile_plugin(&dir, "misbehave", MISBEHAVE, &["-pthread", "-w"]);
    // One in C and one in Rust.
    for (plugin, name) in [("./panda_misbehave.so", "misbehave"), ("syscalls", "syscalls")] {
        let guest = Guest::start(&dir, &["--plugins", plugin]);
        let reload = |times: usize| {
            let mut client = host(&dir)
                .args(["monitor", "socket"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("the client starts");
            let script = format!("plugin reload {name} --close\n").repeat(times);
            client.stdin.take().expect("piped").write_all(script.as_bytes()).expect("it reads");
            let out = client.wait_with_output().expect("it ends");
            let unmapped = format!("{name} 0.1.0 reloaded; the old library is unmapped\n");
            assert_eq!(text(&out.stdout), unmapped.repeat(times));
        };
        let pid = guest.child.id();
        reload(20);
        let before = memory(pid);
        reload(1000);
        let after = memory(pid);
        assert_eq!(after.1, before.1, "mappings");
        // Less than any loss of 64 bytes a time.
        assert!(after.0 < before.0 + 64, "{name}: {before:?} {after:?} kB");
        assert_eq!(guest.end().0, Some(0));
    }
}

#[test]
fn watch_runs_the_guest_again_with_the_new_plugin() {
    let dir = TempDir::new();
    let build = |version: &str| {
        let source =
            MISBEHAVE.replace("at(\"init\");", &format!("puts({version:?}); fflush(stdout);"));
        compile_plugin(&dir, "misbehave", &source, &["-pthread", "-w"]);
    };
    build("one");
    let mut child = host(&dir)
        .args([
            "--watch",
            "--plugins",
            "./panda_misbehave.so",
            "--",
            "sh",
            "-c",
            "echo up; exec sleep 1000",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the host starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut next = || {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it writes");
        line
    };
    assert_eq!((next(), next()), ("one\n".to_owned(), "up\n".to_owned()));
    std::fs::write(dir.path().join("panda_misbehave.so"), "half a build").expect("a file");
    let mut said = String::new();
    stderr.read_line(&mut said).expect("it says so");
    assert!(said.contains("it is no shared library; waiting for the next change"), "{said}");
    build("two");
    assert_eq!((next(), next()), ("two\n".to_owned(), "up\n".to_owned()));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}
