//! Getting the Debian packages that the entries need.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::table::Program;

/// Installs the packages that are not installed. A package that this Debian does not have is named
/// and left out; its entries will be skipped.
pub fn packages(programs: &[Program]) -> anyhow::Result<()> {
    let wanted: BTreeSet<_> = programs.iter().flat_map(|p| &p.packages).collect();
    let missing: Vec<_> = wanted.into_iter().filter(|p| !installed(p)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    update();
    let (known, unknown): (Vec<_>, Vec<_>) = missing.into_iter().partition(|p| available(p));
    for package in unknown {
        eprintln!("no package {package} to be had: its entries will be skipped");
    }
    let mut argv = vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-q", "-y"];
    argv.push("--no-install-recommends");
    argv.extend(known.iter().map(|p| p.as_str()));
    if known.is_empty() { Ok(()) } else { root(&argv) }
}

/// Unpacks packages of another architecture to `guests`/NAME; they are not installed.
pub fn foreign(programs: &[Program], guests: &Path) -> anyhow::Result<()> {
    let wanted: BTreeSet<_> = programs.iter().flat_map(|p| &p.foreign).collect();
    let mut updated = false;
    for package in wanted {
        let (name, arch) = package.split_once(':').context("a foreign package is NAME:ARCH")?;
        let dir = guests.join(package.replace(':', "-"));
        if dir.is_dir() {
            continue;
        }
        if !updated {
            root(&["dpkg", "--add-architecture", arch])?;
            update();
            updated = true;
        }
        let part = guests.join(format!("{name}.part"));
        let _ = std::fs::remove_dir_all(&part);
        std::fs::create_dir_all(&part)?;
        let script = "apt-get download -q \"$0\" && dpkg-deb -x ./*.deb . && rm ./*.deb";
        let mut bash = Command::new("bash");
        if bash.args(["-c", script, package]).current_dir(&part).status()?.success() {
            std::fs::rename(&part, &dir)?;
        } else {
            eprintln!("no package {package} to be had: its entries will be skipped");
        }
    }
    Ok(())
}

/// Fetches the lists of packages. One list that cannot be had need not matter.
fn update() {
    if let Err(e) = root(&["apt-get", "update", "-q"]) {
        eprintln!("{e}: the lists of packages may be old");
    }
}

fn installed(package: &str) -> bool {
    let out =
        Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]).output();
    out.is_ok_and(|o| o.stdout == b"installed")
}

fn available(package: &str) -> bool {
    let out = Command::new("apt-cache").args(["show", "--no-all-versions", package]).output();
    out.is_ok_and(|o| o.status.success())
}

/// Runs a command as root.
fn root(argv: &[&str]) -> anyhow::Result<()> {
    // SAFETY: takes nothing and cannot fail.
    let sudo = unsafe { libc::geteuid() } != 0;
    let mut command = Command::new(if sudo { "sudo" } else { argv[0] });
    command.args(&argv[if sudo { 0 } else { 1 }..]);
    match command.status() {
        Ok(status) => ensure!(status.success(), "{} failed", argv.join(" ")),
        Err(e) => bail!("{}: {e}; install the packages by hand", argv.join(" ")),
    }
    Ok(())
}
