//! `docs/syscalls.md` says of every system call what becomes of it; it is made from the table that
//! the dispatcher uses. `BLESS=1` writes it.

use std::fmt::Write;
use std::path::Path;

use emu_linux::sys::Run;
use emu_linux::sys::table::ROWS;

const HEAD: &str = "\
# System calls

Every system call of x86-64 and i386, and what becomes of it. This page is made from
`emulator/linux/src/sys/table.rs`, which the dispatcher uses: `BLESS=1 cargo test -p emu-linux --test
syscall_table` writes it.

* **host**: arguments are checked and structures converted by kind, then the host kernel does the rest.
  With a name: the host's call of that name.
* **own**: code of the personality, which uses the host's calls where it needs them.
* **refused**: the call fails with that error, as in a kernel that was built without the feature
  (ENOSYS) or for a program that lacks the privilege (EPERM, EACCES).

Numbers that are in neither column fail with ENOSYS, and the log says so once.

";

fn page() -> String {
    let mut out = HEAD.to_owned();
    let (mut host, mut own, mut refused) = (0, 0, 0);
    let mut rows = String::new();
    for row in ROWS {
        let number = |n: Option<u16>| n.map_or("–".to_owned(), |n| n.to_string());
        let how = match row.run {
            Run::Pass(n) if row.x86_64.map(i64::from) == Some(n) => {
                host += 1;
                "host".to_owned()
            }
            Run::Pass(n) => {
                host += 1;
                let name = syscalls::x86_64::Sysno::new(n as usize).map_or("?", |s| s.name());
                format!("host: `{name}`")
            }
            Run::Call(_) if row.name == "ptrace" => {
                refused += 1;
                "refused: EPERM (the traced process would be the emulator; the log says so)"
                    .to_owned()
            }
            Run::Call(_) | Run::Host(_) => {
                own += 1;
                "own".to_owned()
            }
            Run::Refuse(e, why) => {
                assert!(!why.is_empty(), "{} has no reason", row.name);
                refused += 1;
                let name = syscalls::Errno::new(e.0).name().unwrap_or("?");
                format!("refused: {name} ({why})")
            }
        };
        let (a, b) = (number(row.x86_64), number(row.i386));
        writeln!(rows, "| `{}` | {a} | {b} | {how} |", row.name).expect("a string");
    }
    writeln!(out, "{} calls: {host} host, {own} own, {refused} refused.\n", ROWS.len())
        .expect("a string");
    out.push_str("| call | x86-64 | i386 | |\n|---|---|---|---|\n");
    out + &rows
}

#[test]
fn the_page_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/syscalls.md");
    let page = page();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).expect("the page is written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/syscalls.md is out of date: run this test with BLESS=1");
}

/// Linux 6.1 has the calls up to `set_mempolicy_home_node` (450) in both tables.
#[test]
fn every_number_of_linux_6_1_has_a_row() {
    use emu_linux::Abi;
    use emu_linux::sys::table::lookup;
    let decided = |abi, n| lookup(abi, n).is_some();
    let x86_64 = (0..=334).chain(424..=450);
    let missing: Vec<u64> = x86_64.filter(|&n| !decided(Abi::X86_64, n)).collect();
    assert!(missing.is_empty(), "x86-64: {missing:?}");
    // Never used, or reserved for calls that were not added (arch/x86/entry/syscalls/syscall_32.tbl).
    const HOLES: [u64; 6] = [222, 223, 251, 285, 415, 0xffff];
    let i386 = (0..=386).chain(393..=450);
    let missing: Vec<u64> =
        i386.filter(|n| !HOLES.contains(n) && !decided(Abi::I386, *n)).collect();
    assert!(missing.is_empty(), "i386: {missing:?}");
}
