//! `host plugin validate` on good plugins, and on plugins that are bad in one way each.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{TempDir, build_dir, root};

/// The common part; a test defines `INIT`, `UNINIT`, and may define `MAGIC`.
const PLUGIN: &str = r#"
#include <panda_plugin.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#ifndef MAGIC
#define MAGIC PANDA_ENTRY_MAGIC
#endif
extern void nobody_has_this(void);
static void *forever(void *x) { for (;;) pause(); return x; }
static void on_block(void *u, panda_cpu *c, const panda_block_info *b) { CALLBACK; }
static uint32_t init(const panda_host_api *h, panda_plugin *p, const panda_init_info *i, void **s)
{
    panda_id id;
    pthread_t t;
    INIT;
    return panda_on_before_block_exec(h, p, on_block, 0, 0, &id);
}
static void uninit(void *s) { UNINIT; }
PANDA_EXPORT const panda_plugin_entry panda_plugin_entry_v1 = {
    MAGIC, sizeof(panda_plugin_entry), 1, 0, 0, 0, 0, PANDA_STR("bad"), PANDA_STR("1"), PANDA_STR("Is bad"),
    0, 0, 0, sizeof(panda_arg_desc), init, uninit, 0, 0};
EXTRA
"#;

fn plugin(dir: &TempDir, name: &str, defines: &[&str]) -> PathBuf {
    let source = dir.path().join(format!("{name}.c"));
    let library = dir.path().join(format!("{name}.so"));
    std::fs::write(&source, PLUGIN).expect("a source file");
    let given = |key: &str| defines.iter().any(|d| d.starts_with(&format!("{key}=")));
    let empty = ["INIT", "UNINIT", "CALLBACK", "EXTRA"].into_iter().filter(|k| !given(k));
    let status = Command::new("gcc")
        .args(["-shared", "-fPIC", "-fvisibility=hidden", "-w", "-pthread", "-I"])
        .arg(root().join("plugin-api/include"))
        .args(empty.map(|k| format!("-D{k}=")))
        .args(defines.iter().map(|d| format!("-D{d}")))
        .arg("-o")
        .arg(&library)
        .arg(&source)
        .status()
        .expect("gcc starts");
    assert!(status.success(), "{name} compiles");
    library
}

/// Report and exit status.
fn validate(file: &Path, args: &[&str]) -> (String, i32) {
    let out = Command::new(build_dir().join("host"))
        .args(["plugin", "validate"])
        .args(args)
        .arg(file)
        .output()
        .expect("the host starts");
    (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.code().unwrap_or(-1))
}

/// The checks that fail, with their reasons.
fn failures(report: &str) -> Vec<(String, String)> {
    report
        .lines()
        .filter_map(|l| l.trim_start().strip_prefix("FAIL"))
        .filter_map(|l| l.trim_start().split_once(' '))
        .map(|(check, reason)| (check.to_owned(), reason.trim_start().to_owned()))
        .collect()
}

#[test]
fn good_plugins_pass_everything() {
    let dir = TempDir::new();
    let c = plugin(&dir, "good", &[]);
    let (report, status) = validate(&c, &[]);
    assert_eq!((failures(&report), status), (vec![], 0), "{report}");
    for name in ["syscalls", "sample", "textprinter", "textfinder", "insncount", "taintcap"] {
        let library = build_dir().join(format!("libpanda_{name}.so"));
        let (report, status) = validate(&library, &[]);
        assert_eq!((failures(&report), status), (vec![], 0), "{report}");
        assert!(!report.contains("skip"), "{report}");
    }
}

#[test]
fn each_fault_is_found_by_its_check() {
    let dir = TempDir::new();
    for (name, defines, check, reason) in [
        ("crash", &["INIT=abort()"][..], "init", "crashed: signal 6"),
        ("null", &["INIT=*(volatile int*)0=1"], "init", "crashed: signal 11"),
        ("leaves", &["INIT=_exit(0)"], "init", "ended the process"),
        ("silent", &["INIT=return 3"], "init", "without giving a reason"),
        ("unload", &["UNINIT=abort()"], "init", "crashed: signal 6"),
        ("magic", &["MAGIC=1"], "load", "cannot be used"),
        ("symbol", &["INIT=nobody_has_this()"], "load", "nobody_has_this"),
        ("thread", &["INIT=pthread_create(&t,0,forever,0)"], "threads", "1 threads are left"),
        ("files", &["INIT=dup(0)"], "cycles", "file descriptors are left"),
        ("memory", &["INIT=memset(malloc(1<<23),1,1<<23)"], "cycles", "kB each time"),
        ("behind", &["INIT=*(volatile char*)(h+1)"], "exact-table", "crashed: signal 11"),
        ("callback", &["CALLBACK=abort()"], "guest64", "instead of 42"),
        ("exports", &["EXTRA=PANDA_EXPORT int panda_global;"], "exports", "panda_global"),
    ] {
        let library = plugin(&dir, name, defines);
        let (report, status) = validate(&library, &[]);
        let found = failures(&report);
        let hit = found.iter().any(|(c, r)| c == check && r.contains(reason));
        assert!(hit && status == 1, "{name}: {found:?}");
    }
}

#[test]
fn a_hang_is_a_result() {
    let dir = TempDir::new();
    let library = plugin(&dir, "hang", &["INIT=for(;;)pause()"]);
    let (report, status) = validate(&library, &["--include", "init", "--timeout", "1"]);
    assert_eq!(failures(&report), [("init".into(), "it did not end within 1 s".into())]);
    assert_eq!(status, 1);
}

#[test]
fn what_is_no_plugin_is_said_once() {
    let (report, status) = validate(Path::new("/bin/true"), &[]);
    let found = failures(&report);
    assert_eq!((found.len(), found[0].0.as_str(), status), (1, "load", 1), "{report}");
    assert!(report.contains("skip"), "{report}");
}

#[test]
fn checks_are_chosen_and_written_as_json() {
    let library = build_dir().join("libpanda_syscalls.so");
    let (report, status) = validate(
        &library,
        &["--json", "--include", "load", "--include", "init", "--exclude", "init"],
    );
    let expected = format!(
        "[{{\"file\":\"{}\",\"check\":\"load\",\"result\":\"pass\",\"note\":\"syscalls {}, API 1.1\"}}]\n",
        library.display(),
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!((report, status), (expected, 0));
    assert_eq!(validate(&library, &["--include", "lod"]).1, 125);
}
