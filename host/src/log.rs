//! The host's log: through `tracing`, to stderr or a file.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Environment variable with a filter in the syntax of `tracing_subscriber`, instead of `-v`.
const FILTER_VARIABLE: &str = "PANDA_LOG";

/// Starts the log. `verbose` is the number of `-v`.
pub fn start(verbose: u8, file: Option<&Path>) -> anyhow::Result<()> {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .without_time()
        .with_ansi(false);
    match file {
        Some(path) => {
            let file = File::create(path)
                .with_context(|| format!("cannot write the log file {}", path.display()))?;
            log.with_writer(Mutex::new(file)).init();
        }
        None => log.with_writer(std::io::stderr).init(),
    }
    Ok(())
}
