//! Processes of a run use the machine code that others of it have made.

use e2e::{BOTH, Case, TempDir, compile};

/// The blocks that the last program of a script found compiled.
fn reused(stderr: &str) -> u64 {
    let line = stderr.lines().find(|l| l.starts_with("blocks reused:")).unwrap_or_default();
    line.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{stderr}"))
}

#[test]
fn a_program_run_again_finds_its_code() {
    for width in BOTH {
        let dir = TempDir::new();
        let source = include_str!("../guests/shared_code.c");
        for (name, value) in [("one", "-DV=1234567"), ("two", "-DV=7654321")] {
            let built = compile(&dir, name, source, width, &["-O2", value]);
            std::fs::rename(built, dir.path().join(name)).unwrap();
        }
        // The same place holds the one program, then the other, then both at once.
        let script = "for i in 1 2 3 4; do ./one; done; cp one p; ./p; cp two p; ./p; ./p; ./two; \
                      ./one & ./two & wait; (./one; ./two) | cat; exec ./one";
        let sorted = |out: &str| {
            let mut lines: Vec<_> = out.lines().map(String::from).collect();
            lines.sort();
            lines
        };
        let native = Case::bash(script).dir(dir.path()).native();
        for plugins in ["", "syscalls", "insncount", "syscalls,textprinter"] {
            let args = ["--stats", "--plugins", plugins, "--out-dir"];
            let case = Case::bash(script).dir(dir.path()).host(args);
            let hosted = case.host([dir.path()]).hosted();
            assert_eq!(sorted(&hosted.stdout), sorted(&native.stdout), "{width:?} {plugins}");
            assert_eq!(hosted.status, native.status, "{width:?} {plugins}");
            assert!(
                reused(&hosted.stderr) > 100,
                "{width:?} {plugins}: {}",
                reused(&hosted.stderr)
            );
        }
    }
}
