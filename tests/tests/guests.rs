//! Our own C programs on what a kernel does for a program: signals, faults, memory, processes. Both
//! widths, static and dynamic, against a native run.

use e2e::{BOTH, Case, TempDir, compile};

#[track_caller]
fn check(name: &str, source: &str) {
    let dir = TempDir::new();
    for width in BOTH {
        for flags in [&[][..], &["-static"], &["-static-pie", "-fPIE"]] {
            let exe = compile(&dir, name, source, width, flags);
            Case::new([&exe]).same_as_native();
        }
    }
}

#[test]
fn signals() {
    check("signals", include_str!("../guests/signals.c"));
}

#[test]
fn faults() {
    check("faults", include_str!("../guests/faults.c"));
}

#[test]
fn memory() {
    check("memory", include_str!("../guests/memory.c"));
}

#[test]
fn processes() {
    check("processes", include_str!("../guests/processes.c"));
}
