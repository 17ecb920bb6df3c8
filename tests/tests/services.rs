//! Services between plugins, under the real host: load order, revocation, and what users read when one is
//! missing.

use std::path::Path;
use std::process::Command;

use e2e::{BOTH, Case, TempDir, Width, compile, compile_plugin, root, transcript};

const SERVICE: &str = include_str!("../plugins/service.c");

/// Compiles `service.c` as the plugin `name` with these macros.
fn plugin(dir: &TempDir, name: &str, defines: &[&str]) {
    let given = |key: &str| defines.iter().any(|d| d.starts_with(&format!("{key}=")));
    let mut flags = vec![format!("-DNAME=\"{name}\"")];
    flags.extend(defines.iter().map(|d| format!("-D{d}")));
    for (key, value) in [("ANSWER", "0"), ("MIN_SIZE", "sizeof(service)")] {
        if !given(key) {
            flags.push(format!("-D{key}={value}"));
        }
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    compile_plugin(dir, name, SERVICE, &flags);
}

fn run(dir: &TempDir, plugins: &str) -> String {
    transcript(dir, &["-v", "--plugin-path", ".", "--plugins", plugins, "--", "/bin/echo", "hi"])
}

/// What happens to plugins, in order.
fn story(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|l| {
        let l = l.strip_prefix("host: ")?;
        l.strip_prefix("info: [").or_else(|| l.strip_prefix("error: "))
    });
    lines.collect()
}

#[test]
fn the_provider_is_loaded_by_itself_starts_first_and_ends_last() {
    let dir = TempDir::new();
    plugin(&dir, "number", &["OFFERS=\"test.number/1\"", "ANSWER=42"]);
    let uses = ["USES=\"test.number/1\"", "REQUIRES=\"test.number/1\"", "ANSWER=1"];
    plugin(&dir, "user", &uses);
    plugin(&dir, "other", &["ANSWER=7"]);
    let expected = [
        "number] begins",
        "user] the answer is 42",
        "user] begins",
        "other] begins",
        "other] ends",
        "user] ends",
        "number] ends",
    ];
    for list in ["user,other", "user,number,other", "number,user,other"] {
        let text = run(&dir, list);
        assert_eq!(story(&text), expected, "{list}: {text}");
        assert!(text.contains("\nhi\n") && text.ends_with("[status 0]\n"), "{text}");
    }
    assert!(
        run(&dir, "user").contains("plugin `number` is loaded, too: `user` needs `test.number/1`")
    );
}

#[test]
fn a_provider_that_goes_takes_its_users_with_it() {
    let dir = TempDir::new();
    plugin(&dir, "user", &["USES=\"test.number/1\"", "REQUIRES=\"test.number/1\""]);
    // Uses it without requiring it.
    plugin(&dir, "guest", &["USES=\"test.number/1\""]);
    for (how, first, last) in [
        ("FAILS_LATER", "", "plugin `number` failed and is unloaded: told to fail"),
        ("LEAVES_LATER", "", ""),
    ] {
        plugin(&dir, "number", &["OFFERS=\"test.number/1\"", "ANSWER=42", how]);
        let text = run(&dir, "user,guest");
        let begun = story(&text).iter().position(|l| *l == "guest] begins").expect("it begins") + 1;
        let goes = |user: &str| {
            format!(
                "plugin `{user}` is unloaded: it needs the service `test.number/1` of `number`, which goes"
            )
        };
        let (guest, user) = (goes("guest"), goes("user"));
        let mut expected =
            vec!["guest] ends", "user] ends", "number] ends", guest.as_str(), user.as_str()];
        expected.extend([first, last].iter().filter(|l| !l.is_empty()));
        assert_eq!(story(&text)[begun..], expected, "{how}: {text}");
        assert!(text.contains("\nhi\n") && text.ends_with("[status 0]\n"), "{text}");
    }
}

#[test]
fn what_cannot_be_had_is_named() {
    let dir = TempDir::new();
    plugin(&dir, "lost", &["REQUIRES=\"test.nobody/1\""]);
    plugin(&dir, "a", &["REQUIRES=\"test.b/1\"", "OFFERS=\"test.a/1\""]);
    plugin(&dir, "b", &["REQUIRES=\"test.a/1\"", "OFFERS=\"test.b/1\""]);
    plugin(&dir, "alone", &["REQUIRES=\"test.alone/1\"", "OFFERS=\"test.alone/1\""]);
    plugin(&dir, "silent", &[]);
    plugin(&dir, "trusting", &["REQUIRES=\"test.silent/1\""]);
    plugin(&dir, "small", &["OFFERS=\"test.small/1\""]);
    plugin(&dir, "hungry", &["USES=\"test.small/1\"", "REQUIRES=\"test.small/1\"", "MIN_SIZE=64"]);
    plugin(&dir, "copy", &["OFFERS=\"test.small/1\""]);
    plugin(&dir, "broken", &["OFFERS=\"test.broken/1\"", "FAILS"]);
    plugin(&dir, "needy", &["REQUIRES=\"test.broken/1\""]);
    plugin(&dir, "thief", &["OFFERS=\"panda.mem/1\""]);
    std::fs::write(dir.path().join("stop.toml"), "on_plugin_failure = \"stop\"\n").unwrap();
    let runs = [
        "lost",
        "a",
        "b,a",
        "alone",
        "trusting",
        "hungry",
        "small,copy",
        "needy",
        "--config stop.toml needy",
        "thief",
    ];
    let mut all = String::new();
    for list in runs {
        let (config, list) = match list.rsplit_once(' ') {
            Some((config, list)) => (config.split(' ').collect(), list),
            None => (Vec::new(), list),
        };
        let rest = ["--plugin-path", ".", "--plugins", list, "--", "/bin/echo", "hi"];
        all += &transcript(&dir, &[config.as_slice(), &rest].concat());
        all += "\n";
    }
    insta::assert_snapshot!(all);
}

/// f calls g by a call, g jumps into h (a tail call), h stores; then longjmp out of a callee, and the same store
/// on a thread of its own.
const CALLS: &str = r#"
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#define NOINLINE __attribute__((noinline, noclone))
static jmp_buf out;
static volatile int sink[8];

NOINLINE void store(int n) { sink[n] = 0x41414141; asm volatile("" ::: "memory"); }
NOINLINE void leave(int n) { store(n); longjmp(out, 1); }
NOINLINE void tail(int n);
asm(".text\n.globl tail\ntail: jmp store\n");
NOINLINE void *thread(void *x) { store(3); asm volatile(""); return x; }
int main(void)
{
    pthread_t t;
    store(0);
    tail(1);
    if (!setjmp(out)) leave(2);
    store(4);
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
    store(5);
    printf("store %lx main %lx leave %lx thread %lx\n", (unsigned long)store, (unsigned long)main,
           (unsigned long)leave, (unsigned long)thread);
    return 0;
}
"#;

/// The functions that called the one which stores "AAAA", found by name in the program's symbols.
#[test]
fn callers_are_true_through_tail_calls_longjmp_and_threads() {
    for width in BOTH {
        let dir = TempDir::new();
        let exe = compile(&dir, "calls", CALLS, width, &["-static", "-pthread", "-no-pie"]);
        let nm = Command::new("nm").arg("-n").arg(&exe).output().expect("nm starts");
        let symbols: Vec<(u64, String)> = String::from_utf8_lossy(&nm.stdout)
            .lines()
            .filter_map(|l| {
                let mut words = l.split(' ');
                let at = u64::from_str_radix(words.next()?, 16).ok()?;
                let kind = words.next()?;
                matches!(kind, "t" | "T").then(|| Some((at, words.next()?.to_owned())))?
            })
            .collect();
        let function = |at: u64| {
            let n = symbols.partition_point(|(start, _)| *start <= at);
            symbols[n - 1].1.clone()
        };
        let store = symbols.iter().find(|(_, name)| name == "store").expect("store").0;
        // Every caller of the store: textfinder has them all, with counts.
        Case::new([exe]).host(["--plugins", "textfinder", "--out-dir"]).host([dir.path()]).hosted();
        let report = std::fs::read(dir.path().join("mem_report.bin")).unwrap();
        let word = if width == Width::W64 { 8 } else { 4 };
        let number = |bytes: &[u8]| {
            let mut whole = [0; 8];
            whole[..word].copy_from_slice(&bytes[..word]);
            u64::from_le_bytes(whole)
        };
        let mut callers: Vec<(String, u32)> = report
            .chunks(3 * word + 1024)
            .filter(|r| (store..store + 32).contains(&number(&r[word..])))
            .filter_map(|r| {
                let at = 3 * word + 4 * 0x41;
                let stored = u32::from_le_bytes(r[at..at + 4].try_into().unwrap());
                (stored > 0).then(|| (function(number(r)), stored / 4))
            })
            .collect();
        callers.sort();
        let mut main = 0;
        callers.retain(|(name, times)| {
            if name == "main" {
                main += times;
            }
            name != "main"
        });
        assert_eq!(
            (main, callers),
            (4, vec![("leave".to_owned(), 1), ("thread".to_owned(), 1)]),
            "{width:?}"
        );
    }
}

#[test]
fn the_service_is_used_from_c_and_cpp() {
    const USER: &str = r#"
#include <stdio.h>
#include "panda_callstack.h"
static const panda_callstack_api *calls;
static uint64_t told, left;
static void on_event(void *user, panda_cpu *cpu, uint32_t event, const panda_call_info *call)
{
    uint64_t count = 0, caller = 0;
    (void)user;
    calls->callers(calls->context, cpu, NULL, 0, &count);
    if (event == PANDA_CALL_EVENT_CALL && count == call->depth + 1u &&
        calls->caller(calls->context, cpu, &caller) == PANDA_OK && caller == call->returns_to)
        told++;
    if (event == PANDA_CALL_EVENT_RETURN)
        left++;
}
static const panda_host_api *the_host;
static panda_plugin *me;
static uint32_t init(const panda_host_api *host, panda_plugin *self, const panda_init_info *info, void **state)
{
    const void *table = NULL;
    panda_str name = PANDA_STR(PANDA_SERVICE_CALLSTACK);
    panda_id id;
    uint32_t status = host->use_service(host, self, name, (uint32_t)sizeof(panda_callstack_api), &table);
    (void)info; (void)state;
    the_host = host;
    me = self;
    if (status != PANDA_OK)
        return status;
    calls = (const panda_callstack_api *)table;
    return calls->listen(calls->context, PANDA_CALL_EVENT_CALL | PANDA_CALL_EVENT_RETURN, on_event, NULL, &id);
}
static void uninit(void *state)
{
    char line[60];
    panda_str text;
    (void)state;
    text.ptr = line;
    text.len = (uint64_t)snprintf(line, sizeof line, "balance %d", told > 100 && left > 100 && told - left < 20);
    the_host->log(the_host, me, PANDA_INFO, text);
}
static const panda_str requires_ids[] = {PANDA_STR(PANDA_SERVICE_CALLSTACK)};
PANDA_PLUGIN_REQUIRING("counts", "1", "Counts calls", requires_ids, 1, NULL, 0, init, uninit, NULL)
"#;
    for (compiler, language, standard) in [("gcc", "c", "c99"), ("g++", "c++", "c++17")] {
        let dir = TempDir::new();
        e2e::build_dir();
        let source = dir.path().join("counts.src");
        std::fs::write(&source, USER).unwrap();
        let library = dir.path().join("panda_counts.so");
        build(compiler, &["-x", language, &format!("-std={standard}")], &source, &library);
        let out = Case::new(["/bin/true"]).host(["-v", "--plugins"]).host([&library]).hosted();
        assert!(out.stderr.contains("[counts] balance 1"), "{compiler}: {}", out.stderr);
        assert!(out.status.success(), "{}", out.stderr);
    }
}

fn build(compiler: &str, flags: &[&str], source: &Path, library: &Path) {
    let out = Command::new(compiler)
        .args(["-shared", "-fPIC", "-fvisibility=hidden", "-O1"])
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(root().join("plugin-api/include"))
        .args(flags)
        .arg(source)
        .arg("-o")
        .arg(library)
        .output()
        .expect("the compiler starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
