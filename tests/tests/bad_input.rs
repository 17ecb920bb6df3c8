//! What users see when they get something wrong: the host's words and exit status.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use e2e::{Case, TempDir, build_dir, compile_plugin, transcript};

/// A small static x86-64 executable that exits with status 7.
fn valid() -> Vec<u8> {
    let mut f = vec![0u8; 0x2000];
    f[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    put16(&mut f, 16, 2);
    put16(&mut f, 18, 62);
    put16(&mut f, 20, 1);
    put64(&mut f, 24, 0x40_1000);
    put64(&mut f, 32, 64);
    put16(&mut f, 52, 64);
    put16(&mut f, 54, 56);
    put16(&mut f, 56, 2);
    segment(&mut f, 0, 5, [0x1000, 0x40_1000, 0x100, 0x100]);
    segment(&mut f, 1, 6, [0x1800, 0x40_3800, 0x100, 0x5000]);
    // mov edi, 7; mov eax, 60; syscall
    f[0x1000..0x100c].copy_from_slice(b"\xbf\x07\0\0\0\xb8\x3c\0\0\0\x0f\x05");
    f
}

fn put16(f: &mut [u8], at: usize, v: u16) {
    f[at..at + 2].copy_from_slice(&v.to_le_bytes());
}

fn put64(f: &mut [u8], at: usize, v: u64) {
    f[at..at + 8].copy_from_slice(&v.to_le_bytes());
}

/// Loadable segment `n`: flags and (offset, address, bytes in the file, bytes in memory).
fn segment(f: &mut [u8], n: usize, flags: u8, [offset, addr, filesz, memsz]: [u64; 4]) {
    let at = 64 + 56 * n;
    (f[at], f[at + 4]) = (1, flags);
    for (i, v) in [offset, addr, addr, filesz, memsz, 0x1000].into_iter().enumerate() {
        put64(f, at + 8 + 8 * i, v);
    }
}

fn program(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The host's words for each list of arguments.
fn transcripts<'a>(dir: &TempDir, runs: impl IntoIterator<Item = &'a str>) -> String {
    let runs = runs.into_iter().map(|args| {
        let args: Vec<_> = args
            .split(' ')
            .filter(|a| !a.is_empty())
            .map(|a| if a == "''" { "" } else { a })
            .collect();
        transcript(dir, &args)
    });
    runs.collect::<Vec<_>>().join("\n")
}

#[test]
fn guests_that_cannot_run() {
    let dir = TempDir::new();
    program(&dir, "text", "hello\n");
    program(&dir, "empty", "");
    program(&dir, "binary", [0x90; 64]);
    program(&dir, "aarch64", {
        let mut f = valid();
        put16(&mut f, 18, 183);
        f
    });
    program(&dir, "riscv", {
        let mut f = valid();
        put16(&mut f, 18, 243);
        f
    });
    program(&dir, "big-endian", {
        let mut f = valid();
        f[5] = 2;
        f[18..20].copy_from_slice(&[0, 8]);
        f
    });
    program(&dir, "object", {
        let mut f = valid();
        put16(&mut f, 16, 1);
        f
    });
    program(&dir, "no-interpreter", {
        let mut f = valid();
        f[0x1900..0x190a].copy_from_slice(b"/no/ld.so\0");
        segment(&mut f, 1, 4, [0x1900, 0x40_3900, 10, 10]);
        f[64 + 56] = 3;
        f
    });
    program(&dir, "script-without-interpreter", "#!\necho\n");
    program(&dir, "script-with-missing-interpreter", "#!/no/such/shell -e\n");
    program(&dir, "script-with-directory", "#!/usr\n");
    program(&dir, "script-loop", format!("#!{}/script-loop\n", dir.path().display()));
    program(&dir, "not-executable", valid());
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(dir.path().join("not-executable"), mode).unwrap();
    fs::create_dir(dir.path().join("directory")).unwrap();
    insta::assert_snapshot!(transcripts(
        &dir,
        [
            "./text",
            "./empty",
            "./binary",
            "./aarch64",
            "./riscv",
            "./big-endian",
            "./object",
            "./no-interpreter",
            "./script-without-interpreter",
            "./script-with-missing-interpreter",
            "./script-with-directory",
            "./script-loop",
            "./not-executable",
            "./directory",
            "./missing",
            "no-such-program",
            "''",
            "./text/below",
            "/dev/null",
        ]
    ));
}

#[test]
fn damaged_and_hostile_executables() {
    let dir = TempDir::new();
    program(&dir, "valid", valid());
    let mut runs = vec!["./valid".to_owned()];
    let mut variant = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut f = valid();
        change(&mut f);
        program(&dir, name, f);
        runs.push(format!("./{name}"));
    };
    variant("cut-in-header", &|f| f.truncate(40));
    variant("cut-in-table", &|f| f.truncate(100));
    variant("cut-in-segment", &|f| f.truncate(0x1010));
    variant("header-size", &|f| put16(f, 54, 1));
    variant("no-headers", &|f| put16(f, 56, 0));
    variant("many-headers", &|f| put16(f, 56, 0xffff));
    variant("headers-at-the-end-of-numbers", &|f| put64(f, 32, u64::MAX - 8));
    variant("nothing-loadable", &|f| (f[64], f[64 + 56]) = (0, 0));
    variant("overlapping", &|f| segment(f, 1, 6, [0x1000, 0x40_1010 & !0xfff, 0x100, 0x100]));
    variant("misaligned", &|f| segment(f, 1, 6, [0x1801, 0x40_3800, 0x100, 0x100]));
    variant("more-in-file", &|f| segment(f, 1, 6, [0x1800, 0x40_3800, 0x200, 0x100]));
    variant("beyond-memory", &|f| segment(f, 1, 6, [0x1800, 0x7fff_ffff_f800, 0x100, 0x100]));
    variant("whole-memory", &|f| {
        segment(f, 1, 6, [0x1800, 0x40_3800, 0x100, u64::MAX - 0x40_3800])
    });
    variant("first-page", &|f| segment(f, 1, 6, [0x1800, 0x800, 0x100, 0x100]));
    variant("offset-overflow", &|f| segment(f, 1, 6, [u64::MAX - 0x7ff, 0x40_3800, 0x100, 0x100]));
    insta::assert_snapshot!(transcripts(&dir, runs.iter().map(String::as_str)));
}

#[test]
fn odd_executables_run_as_natively() {
    let dir = TempDir::new();
    let run = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut f = valid();
        change(&mut f);
        program(&dir, name, f);
        Case::new([dir.path().join(name)]).same_as_native();
    };
    run("entry-outside", &|f| put64(f, 24, 0x1234_5678));
    run("entry-in-no-mans-land", &|f| put64(f, 24, u64::MAX - 1));
    run("entry-in-data", &|f| put64(f, 24, 0x40_3800));
    run("entry-zero", &|f| put64(f, 24, 0));
    run("unreadable-code", &|f| segment(f, 0, 0, [0x1000, 0x40_1000, 0x100, 0x100]));
    run("extra-bytes", &|f| f.extend([0xff; 5000]));
    run("empty-segment", &|f| segment(f, 1, 6, [0x1800, 0x40_3800, 0, 0]));
}

#[test]
fn an_unreadable_program() {
    use std::os::unix::process::CommandExt;
    let dir = TempDir::new();
    program(&dir, "secret", valid());
    fs::set_permissions(dir.path().join("secret"), fs::Permissions::from_mode(0o111)).unwrap();
    // Not by this process: a child of another test would hold it open for writing, and it could not be run.
    let mut copy = std::process::Command::new("cp");
    copy.arg(build_dir().join("host")).arg(dir.path());
    assert!(copy.status().unwrap().success());
    let mut command = std::process::Command::new(dir.path().join("host"));
    command.current_dir(dir.path()).args(["--", "./secret"]);
    // SAFETY: geteuid only asks.
    if unsafe { libc::geteuid() } == 0 {
        // Root may read everything.
        command.uid(65534).gid(65534);
    }
    let out = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(stderr, "host: error: ./secret: cannot be executed: permission denied\n");
    assert_eq!(out.status.code(), Some(126));
}

const MINIMAL: &str = r#"
#include "panda_plugin.h"
static uint32_t init(const panda_host_api *host, panda_plugin *self, const panda_init_info *info, void **state)
{
    (void)info; (void)state;
    panda_str text = PANDA_STR("the moon is not full");
    if (FAILS) host->plugin_failed(host, self, text);
    return FAILS;
}
static void uninit(void *state) { (void)state; }
#ifndef MAGIC
#define MAGIC PANDA_ENTRY_MAGIC
#define SIZE sizeof(panda_plugin_entry)
#define MAJOR PANDA_ABI_MAJOR
#define REQUIRED 0
#endif
PANDA_EXPORT const panda_plugin_entry panda_plugin_entry_v1 = {
    MAGIC, SIZE, MAJOR, 0, REQUIRED, 0, 0, PANDA_STR("tiny"), PANDA_STR("1.0"), PANDA_STR("Does nothing"),
    NULL, NULL, 0, 0, init, uninit, NULL, NULL};
"#;

fn tiny(dir: &TempDir, name: &str, [magic, size, major, required]: [&str; 4]) {
    let defines = [
        "-DFAILS=0".to_owned(),
        format!("-DMAGIC={magic}"),
        format!("-DSIZE={size}"),
        format!("-DMAJOR={major}"),
        format!("-DREQUIRED={required}"),
    ];
    compile_plugin(dir, name, MINIMAL, &defines.each_ref().map(String::as_str));
}

#[test]
fn plugins_that_cannot_be_loaded() {
    const MAGIC: &str = "PANDA_ENTRY_MAGIC";
    const SIZE: &str = "sizeof(panda_plugin_entry)";
    let dir = TempDir::new();
    tiny(&dir, "tiny", [MAGIC, SIZE, "1", "0"]);
    tiny(&dir, "magic", ["7", SIZE, "1", "0"]);
    tiny(&dir, "short", [MAGIC, "40", "1", "0"]);
    tiny(&dir, "major", [MAGIC, SIZE, "9", "0"]);
    tiny(&dir, "newer", [MAGIC, SIZE, "1", "7"]);
    let undefined =
        format!("void of_the_moon(void);\nvoid far_side(void) {{ of_the_moon(); }}\n{MINIMAL}");
    compile_plugin(&dir, "undefined", &undefined, &["-DFAILS=0"]);
    compile_plugin(&dir, "foreign", "int answer = 42;\n", &[]);
    fs::write(dir.path().join("text.so"), "hello\n").unwrap();
    fs::write(dir.path().join("empty.so"), "").unwrap();
    fs::write(dir.path().join("cut.so"), &valid()[..200]).unwrap();
    let mut arm = valid();
    put16(&mut arm, 16, 3);
    put16(&mut arm, 18, 183);
    fs::write(dir.path().join("arm.so"), arm).unwrap();
    fs::create_dir(dir.path().join("directory.so")).unwrap();
    let mut whole = fs::read(dir.path().join("panda_foreign.so")).unwrap();
    whole.truncate(0x2200);
    fs::write(dir.path().join("half.so"), whole).unwrap();
    compile_plugin(&dir, "foreign32", "int answer = 42;\n", &["-m32"]);
    let plugin = |name: &str| format!("--plugin-path . --plugins {name} -- /bin/true");
    let runs = [
        "syscals",
        "zebra",
        "./missing.so",
        "./directory.so",
        "./text.so",
        "./empty.so",
        "./cut.so",
        "./arm.so",
        "./half.so",
        "foreign32",
        "/bin/true",
        "foreign",
        "magic",
        "short",
        "major",
        "newer",
        "undefined",
        "tiny,tiny",
        "tiny,./panda_tiny.so",
        "tiny:x=1",
    ]
    .map(plugin);
    insta::assert_snapshot!(transcripts(&dir, runs.iter().map(String::as_str)));
    // The dynamic loader itself: found, mapped, and no plugin.
    let libm = "--plugins /lib/x86_64-linux-gnu/libm.so.6 -- /bin/true";
    insta::assert_snapshot!(transcripts(&dir, [libm]));
}

#[test]
fn a_plugin_that_does_not_start() {
    let dir = TempDir::new();
    compile_plugin(&dir, "fails", MINIMAL, &["-DFAILS=10"]);
    fs::write(
        dir.path().join("stop.toml"),
        "plugin_path = [\".\"]\non_plugin_failure = \"stop\"\n",
    )
    .unwrap();
    fs::write(
        dir.path().join("go-on.toml"),
        "plugin_path = [\".\"]\non_plugin_failure = \"disable\"\n",
    )
    .unwrap();
    insta::assert_snapshot!(transcripts(
        &dir,
        [
            "--plugin-path . --plugins fails -- /bin/echo the guest ran",
            "--config go-on.toml --plugins fails -- /bin/echo the guest ran",
            "--config stop.toml --plugins fails -- /bin/echo the guest ran",
            "--config stop.toml --plugins syscalls:output=/no/such/dir/log -- /bin/echo the guest ran",
            "--plugins syscalls:output=/no/such/dir/log -- /bin/echo the guest ran",
            "--plugins syscalls:output=/ -- /bin/echo the guest ran",
        ]
    ));
}

#[test]
fn plugin_lists_and_arguments() {
    let dir = TempDir::new();
    let runs = [
        "syscalls:ouput=x",
        "syscalls:zebra=x",
        "syscalls:names=maybe",
        "syscalls:format=xml",
        "textprinter:min=-3",
        "textprinter:min=many",
        "syscalls:only=nosuchcall",
        "syscalls:output",
        "output=x",
        "syscalls,,textprinter",
        ",",
        ":x=1",
    ]
    .map(|list| format!("--plugins {list} -- /bin/true"));
    insta::assert_snapshot!(transcripts(&dir, runs.iter().map(String::as_str)));
}

#[test]
fn configuration_files() {
    let dir = TempDir::new();
    let mut all = String::new();
    for text in [
        "plugins = [\"syscalls\"\n",
        "plugins = [\"syscalls\", 3]\n",
        "plugins = \"syscalls\"\n",
        "\n\nplugns = []\n",
        "zebra = 1\n",
        "on_plugin_failure = \"explode\"\n",
        "on_plugin_failure = true\n",
        "out_dir = 3\n",
        "out_dir = \"/no/such/dir\"\n",
        "plugins = []\nplugins = []\n",
        "[plugin]\nsyscalls = 3\n",
        "[plugin.syscalls]\n\n  only = { a = 1 }\n",
        "[plugin.syscals]\nnames = true\n",
        "plugins = [\"syscalls\"]\n[plugin.syscalls]\n  ouput = \"x\"\n",
        "plugins = [\"syscalls\"]\n[plugin.syscalls]\nnames = 3\n",
        "plugins = [\"syscalls\"]\nplugin.syscalls = { format = \"xml\" }\n",
        "plugins = [\"zebra\"]\n",
        "x y z\n",
        "a = \"unclosed\n",
    ] {
        fs::write(dir.path().join("c.toml"), text).unwrap();
        let run = transcript(&dir, &["--config", "c.toml", "--", "/bin/true"]);
        writeln!(all, "{}---\n{run}", text.trim_start_matches('\n')).unwrap();
    }
    fs::write(dir.path().join("c.toml"), b"plugins = [\"\xff\xfe\"]\n").unwrap();
    all += &transcripts(
        &dir,
        [
            "--config c.toml -- /bin/true",
            "--config missing.toml -- /bin/true",
            "--config . -- /bin/true",
            "--config missing.toml plugin list",
        ],
    );
    // The file of the current directory is used without being named.
    fs::write(dir.path().join("config.panda.toml"), "pluggins = []\n").unwrap();
    all += &transcripts(&dir, ["/bin/true"]);
    insta::assert_snapshot!(all);
}

#[test]
fn command_lines() {
    let dir = TempDir::new();
    fs::write(dir.path().join("file"), "").unwrap();
    insta::assert_snapshot!(transcripts(
        &dir,
        [
            "",
            "--",
            "--plugins syscalls",
            "--pluginz syscalls -- /bin/true",
            "--max-instructions many -- /bin/true",
            "--out-dir missing -- /bin/true",
            "--out-dir file -- /bin/true",
            "--log-file missing/log -- /bin/true",
            "--plugins",
            "plugin",
            "plugin frob",
            "plugin help",
            "plugin help syscals",
            "plugin help /bin/true",
            "plugin help insncount",
        ]
    ));
}

#[test]
fn the_instruction_limit_ends_the_run() {
    let dir = TempDir::new();
    insta::assert_snapshot!(transcripts(
        &dir,
        [
            "-v --max-instructions 1000 -- /bin/echo the guest ran",
            "--max-instructions 1000000000 -- /bin/echo the guest ran",
        ]
    ));
}
