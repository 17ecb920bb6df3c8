//! The test tier of real programs: `cargo run --release -p programs`.
//!
//! The entries are data, in `programs/table/*.toml`. Each one runs natively, under the host, and
//! under the host with plugins; stdout, stderr and status of the three must be equal.
//! `--write docs/compatibility.md` keeps the table of results; entries that are not run keep their rows.

mod install;
mod report;
mod run;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::Parser;

use report::{Document, Outcome, Row};
use run::{Mode, Runner};
use table::Table;

/// Runs real programs natively and under the host, and compares.
#[derive(Parser, Debug)]
struct Cli {
    /// Entries to run, by name; all without
    names: Vec<String>,
    /// Install the Debian packages that the entries need (as root, or with sudo)
    #[arg(long)]
    install: bool,
    /// Only the quick entries, meant for CI
    #[arg(long)]
    ci: bool,
    /// List the entries and what they need, and end
    #[arg(long)]
    list: bool,
    /// The host's tier: interp or jit
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,
    /// Leave out the runs with plugins
    #[arg(long)]
    no_plugins: bool,
    /// Write the table of results to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Keep the directories the programs ran in, and what they printed
    #[arg(long)]
    keep: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let mut table = Table::read(&root.join("programs/table"))?;
    let names: Vec<_> = table.programs.iter().map(|p| p.name.clone()).collect();
    table.select(&cli.names, cli.ci)?;
    if cli.list {
        for p in &table.programs {
            println!("{:<22} {}{}", p.name, p.packages.join(" "), if p.ci { "  [ci]" } else { "" });
        }
        return Ok(ExitCode::SUCCESS);
    }
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "-p", "host", "-p", "panda-syscalls"])
        .args(["-p", "panda-textprinter", "-p", "panda-callstack"])
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "the host does not build");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let guests = target.join("guests");
    if cli.install {
        install::packages(&table.programs)?;
        install::foreign(&table.programs, &guests)?;
    }

    let runner = Runner {
        host: target.join("release/host"),
        tier: cli.tier.clone(),
        sources: root.join("programs/guests"),
        guests,
        scratch: std::env::temp_dir().join(format!("programs-{}", std::process::id())),
        keep: cli.keep,
    };
    let mut document = match &cli.write {
        Some(path) => Some(Document::read(path, version(root))?),
        None => None,
    };
    let mut rows = Vec::new();
    for program in &table.programs {
        let row = check(&runner, &table, program, cli.no_plugins)
            .with_context(|| format!("entry {}", program.name))?;
        println!("{}", row.line());
        // A run that is broken off leaves what it has.
        if let (Some(path), Some(document)) = (&cli.write, &mut document) {
            document.set(&row);
            std::fs::write(path, document.text(&names, &table.normalizers))
                .with_context(|| path.display().to_string())?;
        }
        rows.push(row);
    }
    if !cli.keep {
        let _ = std::fs::remove_dir_all(&runner.scratch);
    }
    let count = |f: fn(&Outcome) -> bool| rows.iter().filter(|r| f(&r.outcome)).count();
    let failed = count(|o| matches!(o, Outcome::Differs(_)));
    println!(
        "{} passed, {failed} failed, {} skipped",
        count(|o| matches!(o, Outcome::Same)),
        count(|o| matches!(o, Outcome::Skipped(_)))
    );
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The commit the host is built from; with `+` if something but documents differs from it.
fn version(root: &Path) -> String {
    let git = |args: &[&str]| {
        let out = Command::new("git").args(args).current_dir(root).output().ok()?;
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "-".into() };
    let changed = git(&["status", "--porcelain", "--", ".", ":!docs"]);
    commit + if changed.is_some_and(|c| !c.is_empty()) { "+" } else { "" }
}

/// Runs one entry in every mode.
fn check(
    runner: &Runner,
    table: &Table,
    program: &table::Program,
    no_plugins: bool,
) -> anyhow::Result<Row> {
    let mut row = Row::new(program);
    if let Some(absent) = run::absent(program, &runner.guests) {
        row.outcome = Outcome::Skipped(format!(
            "{absent} is absent; --install gets {}",
            program.packages.iter().chain(&program.foreign).cloned().collect::<Vec<_>>().join(" ")
        ));
        return Ok(row);
    }
    let native = runner.run(table, program, Mode::Native)?;
    row.native = Some(native.seconds);
    if let Some(wrong) = native.unusable(program) {
        row.outcome = Outcome::Differs(format!("the native run is no measure: {wrong}"));
        return Ok(row);
    }
    let hosted = runner.run(table, program, Mode::Hosted)?;
    row.hosted = Some(hosted.seconds);
    let mut differences = hosted.differences(&native, "host");
    if !no_plugins {
        let watched = runner.run(table, program, Mode::Watched)?;
        row.watched = Some(watched.seconds);
        differences.extend(watched.differences(&native, "host with plugins"));
    }
    if !differences.is_empty() {
        row.outcome = Outcome::Differs(differences.join("\n"));
    }
    Ok(row)
}
