//! Running a command and what it cost.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Wall time in seconds.
    pub seconds: f64,
    /// Largest resident set of the process, in kB.
    pub rss: i64,
    /// What it printed.
    pub stdout: Vec<u8>,
}

/// Runs a command to its end; an exit status other than 0 is an error.
pub fn run(argv: &[OsString], dir: &Path) -> anyhow::Result<Run> {
    let start = Instant::now();
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{argv:?} does not start"))?;
    let mut stdout = Vec::new();
    if let Some(mut out) = child.stdout.take() {
        std::io::Read::read_to_end(&mut out, &mut stdout)?;
    }
    let mut status = 0;
    // SAFETY: plain out-parameters; the child is waited for exactly once, here.
    let (reaped, usage) = unsafe {
        let mut usage: libc::rusage = core::mem::zeroed();
        (libc::wait4(child.id() as i32, &mut status, 0, &mut usage), usage)
    };
    let seconds = start.elapsed().as_secs_f64();
    let status = ExitStatus::from_raw(status);
    if reaped < 0 || !status.success() {
        bail!("{argv:?} ended with {status}");
    }
    Ok(Run { seconds, rss: usage.ru_maxrss, stdout })
}

/// The middle one by time, after `n` runs.
pub fn median(argv: &[OsString], dir: &Path, n: usize) -> anyhow::Result<Run> {
    let mut runs = (0..n.max(1)).map(|_| run(argv, dir)).collect::<anyhow::Result<Vec<_>>>()?;
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Ok(runs.swap_remove(runs.len() / 2))
}

/// Whether a program of that name can be found.
pub fn installed(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|p| std::env::split_paths(&p).any(|d| d.join(name).is_file()))
}
