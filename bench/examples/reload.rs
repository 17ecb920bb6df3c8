//! What exchanging plugins costs: `cargo run --release -p bench --example reload`.
//!
//! Start-up with five plugins against none; a thousand reloads while a guest runs, with the old libraries
//! retired and with them unmapped: time and memory; and the time from the command to the first callback of
//! the new plugin. Needs gcc.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

const RELOADS: usize = 1000;
const OURS: &str = "syscalls,textprinter,textfinder,insncount,sample";

/// Notes when its first callback runs.
const FIRST: &str = r#"
#include "panda_plugin.h"
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
static panda_id id;
static int done;
static void first(void *u, panda_cpu *c, const panda_block_info *b)
{
    struct timespec now;
    int fd;
    (void)u, (void)c, (void)b;
    if (done++)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    fd = open("first", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (write(fd, &now, sizeof now) == sizeof now)
        close(fd);
}
static uint32_t init(const panda_host_api *h, panda_plugin *p, const panda_init_info *i, void **s)
{
    (void)i, (void)s;
    return panda_on_before_block_exec(h, p, first, NULL, PANDA_CB_NONE, &id);
}
static void uninit(void *s) { (void)s; }
PANDA_PLUGIN("first", "1", "Notes when its first callback runs", NULL, 0, init, uninit, NULL)
"#;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--workspace"])
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "the host does not build");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let host = target.join("release/host");
    let dir = target.join("bench/reload");
    std::fs::create_dir_all(&dir)?;
    compile(root, &dir)?;

    let [without, with] = ["", OURS].map(|plugins| start_up(&host, &dir, plugins));
    let (without, with) = (without?, with?);
    println!(
        "start-up: {:.1} ms without plugins, {:.1} ms with five: {:.1} ms more",
        ms(without),
        ms(with),
        ms(with) - ms(without)
    );
    for close in [false, true] {
        reloads(&host, &dir, "syscalls", close)?;
    }
    reloads(&host, &dir, "./panda_first.so", true)?;
    first_callback(&host, &dir)
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn compile(root: &Path, dir: &Path) -> anyhow::Result<()> {
    std::fs::write(dir.join("first.c"), FIRST)?;
    let status = Command::new("gcc")
        .args(["-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-o", "panda_first.so", "first.c"])
        .arg("-I")
        .arg(root.join("plugin-api/include"))
        .current_dir(dir)
        .status()?;
    ensure!(status.success(), "the plugin does not compile");
    Ok(())
}

/// A run that ends at its first instruction.
fn start_up(host: &Path, dir: &Path, plugins: &str) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        let status = Command::new(host)
            .args(["--max-instructions", "1", "--plugins", plugins, "--", "/bin/true"])
            .current_dir(dir)
            .status()?;
        times.push(start.elapsed());
        ensure!(status.success(), "the host fails");
    }
    Ok(median(times))
}

/// A guest that computes for ever, and a connection to its monitor.
struct Guest {
    child: Child,
    monitor: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Guest {
    fn start(host: &Path, dir: &Path, plugin: &str) -> anyhow::Result<Guest> {
        let mut child = Command::new(host)
            .args(["--monitor", "socket", "--plugins", plugin])
            .args(["--", "/bin/sh", "-c", "echo ready; while :; do :; done"])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        // What the guest needs to get going is no growth.
        let mut ready = [0; 6];
        child.stdout.as_mut().context("a pipe")?.read_exact(&mut ready)?;
        let monitor = loop {
            if let Ok(stream) = UnixStream::connect(dir.join("socket")) {
                break stream;
            }
        };
        let answers = BufReader::new(monitor.try_clone()?);
        Ok(Guest { child, monitor, answers })
    }

    fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        self.monitor.write_all(format!("{command}\n").as_bytes())?;
        let mut all = String::new();
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line)?;
            match line.strip_prefix("  ") {
                Some(text) => all.push_str(text),
                None if line == "ok\n" => return Ok(all),
                None => anyhow::bail!("{command}: {line}"),
            }
        }
    }

    fn resident_kb(&self) -> anyhow::Result<i64> {
        let all = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = all.lines().find_map(|l| l.strip_prefix("Rss:")).context("no Rss")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    fn end(mut self) -> anyhow::Result<()> {
        self.ask("stop")?;
        self.child.wait()?;
        Ok(())
    }
}

fn reloads(host: &Path, dir: &Path, plugin: &str, close: bool) -> anyhow::Result<()> {
    let mut guest = Guest::start(host, dir, plugin)?;
    let name = if plugin.contains('/') { "first" } else { plugin };
    let command = format!("plugin reload {name}{}", if close { " --close" } else { "" });
    for _ in 0..20 {
        guest.ask(&command)?;
    }
    let before = guest.resident_kb()?;
    let start = Instant::now();
    for _ in 0..RELOADS {
        guest.ask(&command)?;
    }
    let each = start.elapsed() / RELOADS as u32;
    let grown = guest.resident_kb()? - before;
    let list = guest.ask("plugin list")?;
    let retired = list.lines().find(|l| l.starts_with("retired")).unwrap_or("nothing retired");
    println!("{RELOADS} times `{command}`: {:.2} ms each, {grown} kB more; {retired}", ms(each));
    guest.end()
}

fn first_callback(host: &Path, dir: &Path) -> anyhow::Result<()> {
    let mut guest = Guest::start(host, dir, "./panda_first.so")?;
    let mut times = Vec::new();
    for _ in 0..101 {
        let _ = std::fs::remove_file(dir.join("first"));
        let start = monotonic();
        guest.ask("plugin reload first")?;
        let note = loop {
            match std::fs::read(dir.join("first")) {
                Ok(bytes) if bytes.len() == 16 => break bytes,
                _ => {}
            }
        };
        let part = |at: usize| u64::from_le_bytes(note[at..at + 8].try_into().unwrap_or_default());
        times.push(Duration::new(part(0), part(8) as u32).saturating_sub(start));
    }
    let worst = times.iter().max().copied().unwrap_or_default();
    println!(
        "from the command to the first callback: {:.2} ms, at worst {:.2} ms",
        ms(median(times)),
        ms(worst)
    );
    guest.end()
}

/// The clock plugins read as well.
fn monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes a local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
