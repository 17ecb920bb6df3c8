//! Programs with a sanitizer's run time in them, which takes for granted where a kernel puts a
//! program, its libraries and its stack, and maps most of the address space.

use std::process::Command;

use e2e::{Case, TempDir, Width, build_dir, compile};

#[test]
fn the_layout_is_a_kernels() {
    let dir = TempDir::new();
    let exe = compile(&dir, "layout", include_str!("../guests/layout.c"), Width::W64, &["-pie"]);
    let out = Case::new([&exe]).same_as_native();
    assert!(out.stdout.contains("heap: 0 2 3, 0, -1\n"), "{}", out.stdout);
}

/// With each kind of error that a sanitizer finds and with none. Reports name addresses and
/// processes; the lines compared are those that say what is wrong, and where in the source.
#[test]
fn sanitizers_find_what_they_find_natively() {
    let dir = TempDir::new();
    let source = include_str!("../guests/sanitized.c");
    for (sanitizer, kinds, found) in [
        ("address", &["none", "heap", "freed", "stack"][..], "AddressSanitizer"),
        ("undefined", &["none", "overflow"], "signed integer overflow"),
        ("thread", &["none", "race", "freed"], "ThreadSanitizer"),
    ] {
        let flags = [&format!("-fsanitize={sanitizer}"), "-g", "-pthread", "-pie", "-fPIE"];
        let exe = compile(&dir, sanitizer, source, Width::W64, &flags);
        for &kind in kinds {
            let case = Case::new([exe.as_os_str(), kind.as_ref()]);
            let (native, hosted) = (case.native(), case.hosted());
            let told = |text: &str| {
                let telling = |l: &&str| ["SUMMARY", "runtime error"].iter().any(|w| l.contains(w));
                text.lines().filter(telling).map(str::to_owned).collect::<Vec<_>>()
            };
            let what = format!("{sanitizer} {kind}: {}", hosted.stderr);
            assert_eq!(hosted.stdout, native.stdout, "{what}");
            assert_eq!(told(&hosted.stderr), told(&native.stderr), "{what}");
            assert_eq!(hosted.status, native.status, "{what}");
            assert_eq!(hosted.stderr.contains(found), kind != "none", "{what}");
        }
    }
}

/// A stack limit that makes the kernel put the host where guests have their stack, and the one that
/// makes it use the layout of old kernels: the host makes room, and the guest sees the limit.
#[test]
fn the_host_makes_room() {
    let script =
        r#"ulimit -S -s $1 && exec "$0" -- /bin/bash -c 'ulimit -s; tail -n1 /proc/self/maps'"#;
    for limit in ["8192", "4294967296", "unlimited"] {
        let host = build_dir().join("host");
        let out = Command::new("/bin/bash").args(["-c", script]).arg(host).arg(limit).output();
        let out = out.expect("bash starts");
        let text = String::from_utf8_lossy(&out.stdout);
        let (first, rest) = text.split_once('\n').expect("two lines");
        assert_eq!(first, limit);
        assert!(rest.contains("-7ec000000000 ") && rest.contains("[stack]"), "{rest}");
        assert_eq!(String::from_utf8_lossy(&out.stderr), "");
        assert!(out.status.success());
    }
}
