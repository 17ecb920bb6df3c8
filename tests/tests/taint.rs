//! `taintcap` on a C program: labels follow data through the C library, vectors, handlers, threads and forks.

use std::collections::BTreeMap;

use e2e::{BOTH, Case, TempDir, compile};

const GUEST: &str = include_str!("../guests/taint.c");

/// The log with the buffers' names instead of addresses.
fn named(log: &str, stdout: &str) -> Vec<String> {
    let names: BTreeMap<u64, &str> = stdout
        .lines()
        .filter_map(|line| {
            let (name, address) = line.split_once(' ')?;
            Some((address.parse().ok()?, name))
        })
        .collect();
    let place = |word: &str| {
        let address: u64 = word.parse().unwrap_or_else(|e| panic!("{word:?}: {e}"));
        let (start, name) = names.range(..=address).next_back().expect("a buffer");
        if address == *start { (*name).to_owned() } else { format!("{name}+{}", address - start) }
    };
    let line = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [what, address, ref rest @ ..] => format!("{what} {} {}", place(address), rest.join(" ")),
        _ => line.to_owned(),
    };
    log.lines().map(line).collect()
}

const ANSWERS: &str = "\
label secret 16
label key 16
label table+100 8
query copy 16
tainted copy 4 labels 1
tainted copy+12 4 labels 1
query mixed 16
tainted mixed 8 labels 1,2
query vectors 256
tainted vectors+100 8 labels 3
query text 32
tainted text+1 10 labels 1
query encoded 32
tainted encoded 8 labels 1
query back 16
tainted back+8 8 labels 1
query handled 16
tainted handled 4 labels 1
query threaded 16
tainted threaded 8 labels 1
query forked 16
tainted forked 4 labels 2
query forked 16
clean
";

#[test]
fn labels_follow_data_through_a_c_program() {
    for width in BOTH {
        let dir = TempDir::new();
        let exe = compile(&dir, "taint", GUEST, width, &["-msse2", "-pthread"]);
        for tier in ["interp", "jit"] {
            let out = Case::new([exe.clone()])
                .host(["--tier", tier, "--plugins", "taintcap", "--out-dir"])
                .host([dir.path()])
                .hosted();
            assert_eq!((out.status.code(), &*out.stderr), (Some(0), ""), "{width:?} {tier}");
            assert!(out.stdout.ends_with("16 <1053682963>tail MDEyMzQ1\n"), "{}", out.stdout);
            let log = named(&dir.read("taintcap.txt"), &out.stdout);
            assert_eq!(log.join("\n") + "\n", ANSWERS, "{width:?} {tier}");
        }
    }
}

#[test]
fn a_program_without_hypercalls_is_left_alone() {
    let dir = TempDir::new();
    Case::new(["/bin/ls", "-l", "/usr"])
        .host(["--plugins", "taintcap", "--out-dir"])
        .host([dir.path()])
        .same_as_native();
    assert_eq!(dir.read("taintcap.txt"), "");
}
