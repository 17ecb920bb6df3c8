//! Runs programs natively and under the host, and compares.
//!
//! [`Case::same_as_native`] is the usual test: stdout, stderr and exit status of a run under the
//! host equal those of a native run.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Environment variable that runs every [`Case`] that names no tier in one: `interp` or `jit`.
pub const TIER_VARIABLE: &str = "PANDA_TEST_TIER";

/// What a run left behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// Bytes on stdout.
    pub stdout: String,
    /// Bytes on stderr.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
}

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// Has the program of a command obey a signal, although who started the tests may ignore it, as shells do
/// for what they run in the background.
#[allow(unsafe_code, reason = "what a child does before it becomes another program")]
pub fn obeys(command: &mut Command, signal: i32) {
    // SAFETY: `signal` may be called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::signal(signal, libc::SIG_DFL);
            Ok(())
        });
    }
}

/// Directory of the built host and plugins. The first call of a test process builds them, which
/// costs little when nothing changed.
pub fn build_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--workspace"])
            .args(["--exclude", "e2e", "--exclude", "fuzz-bodies", "--exclude", "emu-x86-oracle"])
            .current_dir(root())
            .status()
            .expect("cargo starts");
        assert!(status.success(), "the host and the plugins build");
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root().join("target"), PathBuf::from);
        target.join("release")
    })
}

/// A directory that is removed when the value is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// A new empty directory.
    pub fn new() -> TempDir {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let n = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("panda-e2e-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        TempDir(dir)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads a file in it.
    pub fn read(&self, name: &str) -> String {
        let path = self.0.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

impl Default for TempDir {
    fn default() -> Self {
        TempDir::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Width of a guest program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// x86-64.
    W64,
    /// i386.
    W32,
}

/// Both widths.
pub const BOTH: [Width; 2] = [Width::W64, Width::W32];

/// Compiles a C program with gcc; further flags as given.
pub fn compile(dir: &TempDir, name: &str, source: &str, width: Width, flags: &[&str]) -> PathBuf {
    let exe = dir.path().join(format!("{name}-{width:?}"));
    let mut child = Command::new("gcc")
        .args(["-x", "c", "-", "-O1", "-w", "-o"])
        .arg(&exe)
        .arg(if width == Width::W32 { "-m32" } else { "-m64" })
        .args(flags)
        .stdin(Stdio::piped())
        .spawn()
        .expect("gcc starts");
    child.stdin.take().expect("piped").write_all(source.as_bytes()).expect("gcc reads");
    assert!(child.wait().expect("gcc ends").success(), "{name} compiles");
    exe
}

/// Compiles a plugin in C against the header; further flags as given.
pub fn compile_plugin(dir: &TempDir, name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let library = dir.path().join(format!("panda_{name}.so"));
    let mut child = Command::new("gcc")
        .args([
            "-x",
            "c",
            "-",
            "-O1",
            "-Wall",
            "-Werror",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
        ])
        .arg("-I")
        .arg(root().join("plugin-api/include"))
        .arg("-o")
        .arg(&library)
        .args(flags)
        .stdin(Stdio::piped())
        .spawn()
        .expect("gcc starts");
    child.stdin.take().expect("piped").write_all(source.as_bytes()).expect("gcc reads");
    assert!(child.wait().expect("gcc ends").success(), "plugin {name} compiles");
    library
}

/// Runs the host in `dir` with `args` and shows what a user sees: stdout, stderr and the status,
/// with `DIR` and `BUILD` for the directories, which differ from machine to machine.
pub fn transcript(dir: &TempDir, args: &[&str]) -> String {
    let out = Command::new(build_dir().join("host"))
        .args(args)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .env("HOME", "/home/user")
        .env_remove("PANDA_PLUGIN_PATH")
        .env_remove("PANDA_LOG")
        .output()
        .expect("the host starts");
    let status =
        match (out.status.code(), std::os::unix::process::ExitStatusExt::signal(&out.status)) {
            (Some(code), _) => format!("status {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        };
    let text = format!(
        "$ host {}\n{}{}[{status}]\n",
        args.join(" "),
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    text.replace(&*dir.path().to_string_lossy(), "DIR")
        .replace(&*build_dir().to_string_lossy(), "BUILD")
}

/// A program to run, with its surroundings.
#[derive(Clone, Debug)]
pub struct Case {
    argv: Vec<OsString>,
    stdin: Vec<u8>,
    dir: Option<PathBuf>,
    host_args: Vec<OsString>,
}

impl Case {
    /// The program and its arguments.
    pub fn new<S: Into<OsString>>(argv: impl IntoIterator<Item = S>) -> Case {
        Case {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: Vec::new(),
            dir: None,
            host_args: Vec::new(),
        }
    }

    /// A script for `bash -c`.
    pub fn bash(script: &str) -> Case {
        Case::new(["/bin/bash", "-c", script])
    }

    /// What the program reads on stdin.
    pub fn stdin(mut self, bytes: &[u8]) -> Case {
        self.stdin = bytes.to_vec();
        self
    }

    /// The directory it runs in.
    pub fn dir(mut self, dir: &Path) -> Case {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Arguments of the host, before the program.
    pub fn host<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Case {
        self.host_args.extend(args.into_iter().map(Into::into));
        self
    }

    fn spawn(&self, mut command: Command) -> Output {
        command.env("LC_ALL", "C").env_remove("PANDA_PLUGIN_PATH").env_remove("PANDA_LOG");
        command.current_dir(self.dir.as_deref().unwrap_or(Path::new("/")));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = loop {
            match command.spawn() {
                // A program just written: another test's child, between fork and exec, has its
                // descriptor still.
                Err(e) if e.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                result => break result.unwrap_or_else(|e| panic!("{:?} starts: {e}", self.argv)),
            }
        };
        let mut stdin = child.stdin.take().expect("piped");
        let bytes = self.stdin.clone();
        let writer = std::thread::spawn(move || {
            // A program need not read all of its input.
            let _ = stdin.write_all(&bytes);
        });
        let out = child.wait_with_output().expect("it ends");
        writer.join().expect("the writer ends");
        Output {
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
            status: out.status,
        }
    }

    /// Runs it natively.
    pub fn native(&self) -> Output {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]);
        self.spawn(command)
    }

    /// Runs it under the host.
    pub fn hosted(&self) -> Output {
        let mut command = Command::new(build_dir().join("host"));
        let named = self.host_args.iter().any(|a| a == "--tier");
        if let Some(tier) = std::env::var_os(TIER_VARIABLE).filter(|_| !named) {
            command.arg("--tier").arg(tier);
        }
        command.args(&self.host_args).arg("--").args(&self.argv);
        self.spawn(command)
    }

    /// Runs it both ways: everything observable must be equal. Returns the run under the host.
    #[track_caller]
    pub fn same_as_native(&self) -> Output {
        let native = self.native();
        let hosted = self.hosted();
        assert_eq!(hosted.stdout, native.stdout, "stdout of {:?}", self.argv);
        assert_eq!(hosted.stderr, native.stderr, "stderr of {:?}", self.argv);
        assert_eq!(hosted.status, native.status, "status of {:?}", self.argv);
        hosted
    }
}
