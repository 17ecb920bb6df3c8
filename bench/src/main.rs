//! The benchmark: `cargo run --release -p bench`.
//!
//! Prints a table of whole-process times as multiples of a native run, for the host and for the
//! other tools that are installed; the cost of an event of each kind; the cost of translation; and
//! memory. `--write docs/performance.md` keeps it.

mod measure;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Parser;

use measure::{installed, median, run};

/// Measures the host against native runs and against other tools.
#[derive(Parser, Debug)]
struct Cli {
    /// Runs of each command; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only workloads whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Leave out the other tools
    #[arg(long)]
    no_peers: bool,
    /// Write the report to this file as well
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// A program and its arguments.
struct Workload {
    name: String,
    argv: Vec<OsString>,
    /// A 32-bit program.
    wide: bool,
}

const GUESTS: [&str; 10] = [
    "nbody", "sieve", "qsort", "collatz", "matmul", "strhash", "bytecode", "calls", "chase",
    "alloc",
];
/// The ones built for i386 too.
const GUESTS_32: [&str; 4] = ["nbody", "qsort", "collatz", "strhash"];

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--workspace"])
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "the host does not build");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let dir = target.join("bench");
    std::fs::create_dir_all(&dir)?;
    let host = target.join("release/host");

    let mut out = String::new();
    header(&mut out)?;
    ratios(&cli, root, &dir, &host, &mut out)?;
    if cli.only.is_none() {
        processes(&cli, &dir, &host, &mut out)?;
        events(&cli, &dir, &host, &mut out)?;
        plugins(&cli, &dir, &host, &mut out)?;
        translation(&dir, &host, &mut out)?;
        say(&mut out, include_str!("notes.md").trim_end());
    }
    if let Some(file) = &cli.write {
        std::fs::write(file, &out).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Prints a piece of the report as soon as it is there.
fn say(out: &mut String, text: &str) {
    println!("{text}");
    out.push_str(text);
    out.push('\n');
}

fn first_line(command: &str, args: &[&str]) -> String {
    Command::new(command)
        .args(args)
        .output()
        .ok()
        .and_then(|o| String::from_utf8(o.stdout).ok()?.lines().next().map(str::to_owned))
        .unwrap_or_default()
}

fn header(out: &mut String) -> anyhow::Result<()> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown processor", |l| l.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism()?;
    say(out, "# Performance\n");
    say(
        out,
        "Made by `cargo run --release -p bench -- --write docs/performance.md`. Whole-process",
    );
    say(out, "wall times; medians; ratios are of runs on the same machine, one after the other.\n");
    say(out, &format!("* machine: {model}, {cores} cores, Linux {}", first_line("uname", &["-r"])));
    say(
        out,
        &format!("* compiler of the C programs: {}, `-O2`", first_line("gcc", &["--version"])),
    );
    say(out, &format!("* host: version {}", env!("CARGO_PKG_VERSION")));
    for tool in ["qemu-x86_64", "valgrind", "strace"] {
        if installed(tool) {
            say(out, &format!("* {tool}: {}", first_line(tool, &["--version"])));
        } else {
            say(
                out,
                &format!(
                    "* {tool}: not installed, left out (Debian: apt-get install {})",
                    if tool == "qemu-x86_64" { "qemu-user" } else { tool }
                ),
            );
        }
    }
    Ok(())
}

fn workloads(cli: &Cli, root: &Path, dir: &Path) -> anyhow::Result<Vec<Workload>> {
    let mut all = Vec::new();
    let mut build = |name: &str, label: String, flags: &[&str]| -> anyhow::Result<()> {
        let exe = dir.join(&label);
        let status = Command::new("gcc")
            .args(["-O2", "-w", "-o"])
            .arg(&exe)
            .arg(root.join(format!("bench/guests/{name}.c")))
            .args(flags)
            .arg("-lm")
            .status()
            .context("gcc is needed")?;
        ensure!(status.success(), "{name}.c does not compile");
        let wide = flags.contains(&"-m32");
        all.push(Workload { name: label, argv: vec![exe.into()], wide });
        Ok(())
    };
    for name in GUESTS {
        build(name, name.to_owned(), &[])?;
    }
    for name in GUESTS_32 {
        build(name, format!("{name}-i386"), &["-m32"])?;
    }
    build("true", "true-static".into(), &["-static"])?;
    build("true", "true-dynamic".into(), &[])?;
    // System calls, switches between processes, between threads.
    build("processes", "pipe-processes".into(), &[])?;
    build("threads", "futex-threads".into(), &["-pthread"])?;

    let data = dir.join("data");
    if !data.exists() {
        // Written piece by piece: a large heap here would count as the children's memory.
        let mut file = std::io::BufWriter::new(std::fs::File::create(&data)?);
        let (mut x, mut written) = (1u32, 0);
        while written < 30 << 20 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let line = format!("line {} of {}\n", x >> 20, x >> 8);
            std::io::Write::write_all(&mut file, line.as_bytes())?;
            written += line.len();
        }
    }
    let mut command = |name: &str, argv: &[&str]| {
        all.push(Workload {
            name: name.into(),
            argv: argv.iter().map(Into::into).collect(),
            wide: false,
        });
    };
    let data = data.to_string_lossy().into_owned();
    command("sha256sum", &["/usr/bin/sha256sum", &data]);
    command("gzip", &["/bin/gzip", "-c1", &data]);
    let bytes = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=500000", "status=none"];
    command("dd-bs1", &bytes);
    let python = first_line("python3", &["-c", "import sys; print(sys.executable)"]);
    if !python.is_empty() {
        command("python-startup", &[&python, "-c", "pass"]);
        let program = "t = 0\nfor i in range(1500000): t += i % 7\nprint(t)";
        command("python-loop", &[&python, "-c", program]);
    }
    if let Some(only) = &cli.only {
        all.retain(|w| w.name.contains(only.as_str()));
    }
    Ok(all)
}

fn under(tool: &[OsString], w: &Workload) -> Vec<OsString> {
    tool.iter().chain(&w.argv).cloned().collect()
}

fn ratios(cli: &Cli, root: &Path, dir: &Path, host: &Path, out: &mut String) -> anyhow::Result<()> {
    let words = |list: &[&str]| -> Vec<OsString> { list.iter().map(Into::into).collect() };
    let mut host_tool = vec![host.as_os_str().to_owned()];
    host_tool.extend(words(&["--plugins", "", "--"]));
    say(out, "\n## Whole programs, as multiples of a native run\n");
    say(
        out,
        "| workload | native s | host | qemu-user | valgrind none | host rss MB | native rss MB |",
    );
    say(out, "|---|---|---|---|---|---|---|");
    let (mut logs, mut peer_logs, mut count, mut peer_count) = (0.0, 0.0, 0, 0);
    for w in workloads(cli, root, dir)? {
        let native = median(&w.argv, dir, cli.runs)?;
        let ours = median(&under(&host_tool, &w), dir, cli.runs);
        let ours = match ours {
            Ok(r) => r,
            Err(e) => {
                say(out, &format!("| {} | {:.3} | failed: {e} | | | | |", w.name, native.seconds));
                continue;
            }
        };
        ensure!(ours.stdout == native.stdout, "{} prints something else under the host", w.name);
        let ratio = ours.seconds / native.seconds;
        logs += ratio.ln();
        count += 1;
        let mut peer = |name: &str, tool: &[&str]| {
            if cli.no_peers || !installed(name) {
                return "–".to_owned();
            }
            match run(&under(&words(tool), &w), dir) {
                Ok(r) => {
                    let ratio = r.seconds / native.seconds;
                    if name.starts_with("qemu") {
                        peer_logs += ratio.ln();
                        peer_count += 1;
                    }
                    format!("{ratio:.1}")
                }
                Err(_) => "failed".to_owned(),
            }
        };
        let qemu = if w.wide { "qemu-i386" } else { "qemu-x86_64" };
        let row = format!(
            "| {} | {:.3} | {ratio:.2} | {} | {} | {:.0} | {:.0} |",
            w.name,
            native.seconds,
            peer(qemu, &[qemu]),
            peer("valgrind", &["valgrind", "-q", "--tool=none"]),
            ours.rss as f64 / 1024.0,
            native.rss as f64 / 1024.0,
        );
        say(out, &row);
    }
    let mut line = String::new();
    write!(line, "| **geometric mean** | | **{:.2}** |", (logs / f64::from(count.max(1))).exp())?;
    if peer_count > 0 {
        write!(line, " {:.2} |", (peer_logs / f64::from(peer_count)).exp())?;
    } else {
        write!(line, " – |")?;
    }
    say(out, &format!("{line} | | |"));
    Ok(())
}

/// Scripts that start programs again and again.
fn processes(cli: &Cli, dir: &Path, host: &Path, out: &mut String) -> anyhow::Result<()> {
    say(out, "\n## Processes\n");
    say(
        out,
        "Scripts of many short processes, followed by each tool, as multiples of a native run.",
    );
    say(out, "qemu-user does not follow a program into those it starts.\n");
    say(out, "| script | processes | native s | host | host with syscalls | valgrind none |");
    say(out, "|---|---|---|---|---|---|");
    let small = "#include <stdio.h>\nint main(int c, char **v) { while (c--) puts(v[c]); }\n";
    std::fs::write(dir.join("small.c"), small)?;
    let each = "ls / | grep b | sed s/b/c/ | sort; expr 1 + $i";
    let shell = format!("for i in $(seq 12); do {each}; done");
    let compile = "for i in $(seq 8); do gcc -O1 -c small.c -o small.o; done".to_owned();
    for (name, count, script) in [("shell", 61, shell), ("compiler", 25, compile)] {
        let argv: Vec<OsString> = ["/bin/sh", "-c", &script].map(Into::into).to_vec();
        let native = median(&argv, dir, cli.runs)?.seconds;
        let words: Vec<&str> = vec!["/bin/sh", "-c", &script];
        let ours = with_plugins(cli, dir, host, "", &words)? / native;
        let watched = with_plugins(cli, dir, host, "syscalls", &words)? / native;
        let mut peer = "–".to_owned();
        if installed("valgrind") && !cli.no_peers {
            let tool = ["valgrind", "-q", "--tool=none", "--trace-children=yes"];
            let all: Vec<OsString> =
                tool.iter().map(Into::into).chain(argv.iter().cloned()).collect();
            peer = format!("{:.1}", run(&all, dir)?.seconds / native);
        }
        let row = format!("| {name} | {count} | {native:.3} | {ours:.1} | {watched:.1} | {peer} |");
        say(out, &row);
    }
    Ok(())
}

/// Seconds of a run of qsort (or another guest) with these plugins.
fn with_plugins(
    cli: &Cli,
    dir: &Path,
    host: &Path,
    plugins: &str,
    argv: &[&str],
) -> anyhow::Result<f64> {
    let mut all: Vec<OsString> = vec![host.into()];
    all.extend(["--plugins", plugins, "--out-dir"].map(Into::into));
    all.push(dir.into());
    all.push("--".into());
    all.extend(argv.iter().map(Into::into));
    Ok(median(&all, dir, cli.runs)?.seconds)
}

fn events(cli: &Cli, dir: &Path, host: &Path, out: &mut String) -> anyhow::Result<()> {
    say(out, "\n## Cost of an event\n");
    say(out, "qsort of 500,000 integers; `dd bs=1` for system calls. The time above a run without");
    say(out, "plugins, divided by the number of events.\n");
    say(out, "| event | registers asked for | events | ns each |");
    say(out, "|---|---|---|---|");
    let qsort = dir.join("qsort").to_string_lossy().into_owned();
    let sort = [qsort.as_str(), "500000"];
    let dd = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=300000", "status=none"];
    for (kind, regs, argv) in [
        ("insn_exec", false, &sort[..]),
        ("insn_exec", true, &sort[..]),
        ("before_block_exec", false, &sort[..]),
        ("memory", false, &sort[..]),
        ("syscall", false, &dd[..]),
    ] {
        let none = with_plugins(cli, dir, host, "", argv)?;
        let spec = format!("eventcost:kind={kind},regs={regs}");
        let some = with_plugins(cli, dir, host, &spec, argv)?;
        let text = std::fs::read_to_string(dir.join("eventcost.txt"))?;
        let n: f64 = text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0.0);
        let each = (some - none) / n.max(1.0) * 1e9;
        say(out, &format!("| {kind} | {regs} | {n} | {each:.2} |"));
    }
    Ok(())
}

fn plugins(cli: &Cli, dir: &Path, host: &Path, out: &mut String) -> anyhow::Result<()> {
    say(out, "\n## Plugins\n");
    say(out, "| plugin | guest | ratio to no plugin | µs per call above none |");
    say(out, "|---|---|---|---|");
    let qsort = dir.join("qsort").to_string_lossy().into_owned();
    let sort = [qsort.as_str()];
    for plugin in ["syscalls", "insncount"] {
        let none = with_plugins(cli, dir, host, "", &sort)?;
        let some = with_plugins(cli, dir, host, plugin, &sort)?;
        say(out, &format!("| {plugin} | qsort | {:.3} | |", some / none));
    }
    let count = 300_000.0;
    let dd = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=300000", "status=none"];
    let none = with_plugins(cli, dir, host, "", &dd)?;
    let some = with_plugins(cli, dir, host, "syscalls", &dd)?;
    let each = (some - none) / (2.0 * count) * 1e6;
    say(out, &format!("| syscalls | dd bs=1 | {:.3} | {each:.3} |", some / none));
    if installed("strace") && !cli.no_peers {
        let native = median(&dd.map(Into::into), dir, cli.runs)?.seconds;
        let mut argv: Vec<OsString> = ["strace", "-o", "/dev/null"].map(Into::into).to_vec();
        argv.extend(dd.map(OsString::from));
        let traced = run(&argv, dir)?.seconds;
        let each = (traced - native) / (2.0 * count) * 1e6;
        say(out, &format!("| (strace, above native) | dd bs=1 | | {each:.3} |"));
        let each = (none - native) / (2.0 * count) * 1e6;
        say(
            out,
            &format!(
                "| (no plugin, above native) | dd bs=1 | {:.2} of native | {each:.3} |",
                none / native
            ),
        );
    }
    Ok(())
}

/// The figures of `--stats` on a program that runs much code a few times.
fn translation(dir: &Path, host: &Path, out: &mut String) -> anyhow::Result<()> {
    let python = first_line("python3", &["-c", "import sys; print(sys.executable)"]);
    if python.is_empty() {
        return Ok(());
    }
    let result = Command::new(host)
        .args(["--stats", "--plugins", "", "--", &python, "-c", "import json, re"])
        .current_dir(dir)
        .output()?;
    say(out, "\n## Translation\n");
    say(out, "`host --stats -- python3 -c 'import json, re'`:\n\n```");
    say(out, String::from_utf8_lossy(&result.stderr).trim_end());
    say(out, "```");
    Ok(())
}
