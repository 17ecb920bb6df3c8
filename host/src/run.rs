//! Running a guest.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use emu_abi::GivenValue;
use emu_engine::{Engine, EngineConfig, Tier};
use emu_linux::load::{find_program, prepare};
use emu_linux::{ExitStatus, LoadError, LoadRequest, Process};

use crate::cli::{RunArgs, TierArg};
use crate::config::Config;
use crate::descriptors::HighDescriptors;
use crate::discover::SearchPath;
use crate::machine::WatchedMachine;
use crate::plugin::{Plugins, Settings, Wanted};
use crate::{plugin_list, stats};

/// How a run ended, as the host's own end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The guest's end.
    pub status: ExitStatus,
    /// Exit status when the run was stopped.
    pub stopped_code: i32,
}

/// Why a run did not take place, with the exit status that says so.
#[derive(Debug)]
pub struct Failure {
    /// 125 host error, 126 not runnable, 127 not found.
    pub code: i32,
    /// The error.
    pub error: anyhow::Error,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { code: 125, error }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Failure {
        Failure { code: error.exit_code(), error: error.into() }
    }
}

/// Runs the guest of `args` to its end.
pub fn run(args: &RunArgs) -> Result<Outcome, Failure> {
    let (program, _) = args.guest.split_first().context("no guest program is named")?;
    let config = Config::load(args.settings.config.as_deref()).map_err(anyhow::Error::from)?;
    let wanted = wanted(args, &config)?;
    let out_dir = args
        .out_dir
        .clone()
        .or_else(|| config.out_dir.clone())
        .unwrap_or_else(|| PathBuf::from("."));
    let out_dir = absolute(&out_dir)?;

    let path = find_program(&program.to_string_lossy(), std::env::var_os("PATH").as_deref())?;
    let request = LoadRequest {
        path: path.as_os_str().as_bytes().to_vec(),
        argv: args.guest.iter().map(|a| a.as_bytes().to_vec()).collect(),
        envp: std::env::vars_os()
            .map(|(k, v)| [k.as_bytes(), b"=", v.as_bytes()].concat())
            .collect(),
    };
    // A program that cannot be run is reported before any plugin creates a file.
    let abi = prepare(&request, u64::MAX)?.abi();
    let descriptors =
        HighDescriptors::begin().context("no file descriptors can be set aside for the host")?;
    let engine = Engine::new(
        abi.arch(),
        EngineConfig {
            tier: match args.tier {
                TierArg::Auto => Tier::Auto,
                TierArg::Interp => Tier::Interp,
                TierArg::Jit => Tier::Jit,
            },
            max_instructions: args.max_instructions,
            count_callbacks: args.stats,
        },
    );
    let settings = Settings {
        search: SearchPath::new(&args.settings.plugin_path, &config.plugin_path),
        out_dir,
        policy: config.on_plugin_failure,
        continued: false,
    };
    let plugins = Plugins::new(engine.shared().clone(), settings);
    let mut machine = WatchedMachine { engine, plugins };
    machine.plugins.start_all(&wanted).map_err(anyhow::Error::from)?;
    descriptors.end();

    let start = Instant::now();
    let mut process = Process::load(&request, &mut machine)?;
    let status = process.run(&mut machine);
    let stopped = machine.engine.shared().stop_request();
    let plugins_ended = machine.plugins.end();
    if args.stats {
        let report = stats::report(&machine.engine.stats(), start.elapsed(), &machine.plugins);
        eprint!("{report}");
    }
    if let Some(stop) = &stopped {
        tracing::info!("the run was stopped: {}", stop.reason);
    }
    if !plugins_ended {
        tracing::debug!("a plugin failed while it ended");
    }
    Ok(Outcome { status, stopped_code: stopped.map_or(0, |s| s.status) })
}

/// The plugins to load: the command line's list, or the configuration file's.
fn wanted(args: &RunArgs, config: &Config) -> anyhow::Result<Vec<Wanted>> {
    let requests = match &args.plugins {
        Some(list) => plugin_list::parse(list)?,
        None => config
            .plugins
            .iter()
            .map(|name| plugin_list::Request { name: name.clone(), args: Vec::new() })
            .collect(),
    };
    Ok(requests
        .into_iter()
        .map(|r| {
            let mut args = config.plugin.get(&r.name).cloned().unwrap_or_default();
            let given: Vec<_> = r.args.into_iter().map(|(k, v)| (k, GivenValue::Text(v))).collect();
            // A list of the command line replaces the file's, it is not joined to it.
            args.retain(|(k, _)| !given.iter().any(|(g, _)| g == k));
            args.extend(given);
            Wanted { name: r.name, args }
        })
        .collect())
}

fn absolute(dir: &Path) -> anyhow::Result<PathBuf> {
    dir.canonicalize().with_context(|| {
        format!("the output directory {} cannot be used; create it first", dir.display())
    })
}
