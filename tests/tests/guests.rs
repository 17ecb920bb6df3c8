//! Our own C programs on what a kernel does for a program: signals, faults, memory, processes. Both
//! widths, static and dynamic, against a native run.

use e2e::{BOTH, Case, TempDir, Width, compile};

#[track_caller]
fn check(name: &str, source: &str) {
    let dir = TempDir::new();
    for width in BOTH {
        for flags in
            [&["-pthread"][..], &["-pthread", "-static"], &["-pthread", "-static-pie", "-fPIE"]]
        {
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

/// In both widths; whether it is static makes no difference.
#[test]
fn exceptions() {
    let dir = TempDir::new();
    let source = include_str!("../guests/exceptions.c");
    for width in BOTH {
        let exe = compile(&dir, "exceptions", source, width, &["-msse2", "-lm"]);
        for tier in ["auto", "interp", "jit"] {
            Case::new([&exe]).host(["--tier", tier]).same_as_native();
        }
    }
}

/// Each tier finds its way back on its own.
#[test]
fn returns() {
    let dir = TempDir::new();
    let source = include_str!("../guests/returns.c");
    for width in BOTH {
        let exe = compile(&dir, "returns", source, width, &["-O2"]);
        for tier in ["auto", "interp", "jit"] {
            Case::new([&exe]).host(["--tier", tier]).same_as_native();
        }
    }
}

/// The 32-bit calls of a 64-bit program.
#[test]
fn narrow_calls() {
    let dir = TempDir::new();
    let source = include_str!("../guests/narrow_calls.c");
    let exe = compile(&dir, "narrow_calls", source, Width::W64, &[]);
    Case::new([&exe]).same_as_native();
}

/// CPU clocks of threads, and timers that go by them.
#[test]
fn cputime() {
    check("cputime", include_str!("../guests/cputime.c"));
}

#[test]
fn memory() {
    check("memory", include_str!("../guests/memory.c"));
}

#[test]
fn filtered_calls() {
    check("seccomp", include_str!("../guests/seccomp.c"));
}

#[test]
fn code_mapped_twice() {
    let dir = TempDir::new();
    for width in BOTH {
        let exe = compile(&dir, "twice", include_str!("../guests/twice.c"), width, &[]);
        for tier in ["auto", "interp", "jit"] {
            Case::new([&exe]).host(["--tier", tier]).same_as_native();
        }
    }
}

#[test]
fn calls_in_place() {
    check("in_place", include_str!("../guests/in_place.c"));
}

/// Companions that wait for signals are no threads of a plugin, whose end would be waited for in vain.
#[test]
fn waiting_threads() {
    let dir = TempDir::new();
    let source = include_str!("../guests/waiting.c");
    for width in BOTH {
        let exe = compile(&dir, "waiting", source, width, &["-pthread"]);
        Case::new([&exe]).dir(dir.path()).host(["--plugins", "syscalls"]).same_as_native();
    }
}

#[test]
fn awaited_signals() {
    let source = include_str!("../guests/awaited.c");
    check("awaited", source);
    // Nor is a companion that took a signal mistaken for a thread of a plugin.
    let dir = TempDir::new();
    let exe = compile(&dir, "awaited", source, Width::W64, &["-pthread"]);
    Case::new([&exe]).dir(dir.path()).host(["--plugins", "syscalls"]).same_as_native();
}

#[test]
fn processes() {
    check("processes", include_str!("../guests/processes.c"));
}

#[test]
fn forks() {
    check("forks", include_str!("../guests/forks.c"));
}

#[test]
fn credentials_across_exec() {
    check("credentials", include_str!("../guests/credentials.c"));
}

#[test]
fn vfork_children_out_of_reach() {
    check("vforks", include_str!("../guests/vforks.c"));
}

#[test]
fn programs_without_a_name() {
    check("unlinked", include_str!("../guests/unlinked.c"));
}

#[test]
fn other_processes_in_proc() {
    check("others", include_str!("../guests/others.c"));
}

/// Where priorities are refused, that is compared.
#[test]
fn priorities() {
    check("priorities", include_str!("../guests/priorities.c"));
}

#[test]
fn calls() {
    let source = include_str!("../guests/calls.c");
    let large = "-D_FILE_OFFSET_BITS=64";
    let dir = TempDir::new();
    for (width, flags) in [
        (Width::W64, &[][..]),
        (Width::W32, &[]),
        (Width::W32, &[large]),
        (Width::W32, &[large, "-D_TIME_BITS=64", "-static"]),
    ] {
        let exe = compile(&dir, "calls", source, width, flags);
        // What the guest asks for in vain is said in the host's log, once, and nowhere else.
        let log = dir.path().join("host.log");
        Case::new([&exe]).host(["--log-file".as_ref(), log.as_os_str()]).same_as_native();
        let log = dir.read("host.log");
        let unknown = log.matches("unknown system call").count();
        assert_eq!(unknown, 1, "{log}");
        assert!(!log.contains('\u{1b}'), "{log:?}");
    }
}

/// A fixed number of random calls with hostile arguments: all children survive it, as natively, so
/// the host did.
#[test]
fn random_calls() {
    let source = include_str!("../guests/fuzz.c");
    let dir = TempDir::new();
    for width in BOTH {
        let exe = compile(&dir, "fuzz", source, width, &["-static"]);
        for seed in ["1", "1000"] {
            let argv = [exe.as_os_str(), seed.as_ref(), "5000".as_ref(), "4".as_ref()];
            let out = Case::new(argv).hosted();
            assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("4 of 4 finished\n", ""));
            assert!(out.status.success());
        }
    }
}

#[test]
fn threads() {
    check("threads", include_str!("../guests/threads.c"));
}

#[test]
fn aio() {
    check("aio", include_str!("../guests/aio.c"));
}

#[test]
fn ldt() {
    check("ldt", include_str!("../guests/ldt.c"));
}

#[test]
fn directed() {
    check("directed", include_str!("../guests/directed.c"));
}

/// Also with each processor model: `/proc/cpuinfo` follows it.
#[test]
fn proc() {
    let source = include_str!("../guests/proc.c");
    check("proc", source);
    let dir = TempDir::new();
    let exe = compile(&dir, "proc", source, Width::W64, &["-pthread"]);
    for model in ["v1", "v2"] {
        Case::new([&exe]).host(["--cpu", model]).same_as_native();
    }
}

#[test]
fn structs() {
    check("structs", include_str!("../guests/structs.c"));
}

#[test]
fn pointers() {
    let source = include_str!("../guests/pointers.c");
    let dir = TempDir::new();
    for width in BOTH {
        let exe = compile(&dir, "pointers", source, width, &[]);
        let log = dir.path().join("host.log");
        Case::new([&exe]).host(["--log-file".as_ref(), log.as_os_str()]).same_as_native();
    }
}

/// At fixed addresses, which the frames hold.
#[test]
fn frames() {
    let dir = TempDir::new();
    for width in BOTH {
        let flags = ["-static", "-no-pie", "-fno-pie"];
        let exe = compile(&dir, "frames", include_str!("../guests/frames.c"), width, &flags);
        Case::new([&exe]).same_as_native();
    }
}

#[test]
fn shared() {
    check("shared", include_str!("../guests/shared.c"));
}

#[test]
fn futexes() {
    check("futexes", include_str!("../guests/futexes.c"));
}

#[test]
fn delivery() {
    check("delivery", include_str!("../guests/delivery.c"));
}
