//! Running a guest.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use emu_abi::GivenValue;
use emu_engine::{Engine, EngineConfig, Tier};
use emu_linux::load::{find_program, prepare};
use emu_linux::{Abi, ExitStatus, LoadError, LoadRequest, Process};
use emu_x86::Level;

use crate::cli::{CpuArg, RunArgs, TierArg};
use crate::config::{Config, PluginTable};
use crate::containment::{self, watchdog};
use crate::descriptors::HighDescriptors;
use crate::discover::SearchPath;
use crate::machine::WatchedMachine;
use crate::monitor::console::Console;
use crate::plugin::{Plugins, Settings, Wanted};
use crate::sandbox::{self, Permissions};
use crate::{discover, log, panda_options, plugin_list, stats, suggest};

/// Seconds of processor time a callback may take before a warning.
const WATCHDOG: f64 = 10.0;

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

/// The messages of an error and its causes, each once.
pub fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Runs the guest of `args` to its end.
pub fn run(args: &RunArgs) -> Result<Outcome, Failure> {
    let config = Config::load(args.settings.config.as_deref()).map_err(anyhow::Error::from)?;
    let wanted = wanted(args, &config)?;
    run_with(args, &config, &wanted, None)
}

/// Where a run with these settings looks for plugins.
pub fn search_path(args: &RunArgs, config: &Config) -> SearchPath {
    let mut plugin_path = args.settings.plugin_path.clone();
    if !args.panda.is_empty() {
        plugin_path.push(PathBuf::from("."));
    }
    SearchPath::new(&plugin_path, &config.plugin_path)
}

/// Runs the guest of `args` under these plugins to its end. `asker` may send the monitor's commands.
pub fn run_with(
    args: &RunArgs,
    config: &Config,
    wanted: &[Wanted],
    asker: Option<UnixStream>,
) -> Result<Outcome, Failure> {
    containment::keeping_exceptions_in(|| run_here(args, config, wanted, asker))
}

fn run_here(
    args: &RunArgs,
    config: &Config,
    wanted: &[Wanted],
    asker: Option<UnixStream>,
) -> Result<Outcome, Failure> {
    let (program, _) = args.guest.split_first().context("no guest program is named")?;
    let search = search_path(args, config);
    check_tables(config, wanted, &search)?;
    let out_dir = args
        .out_dir
        .clone()
        .or_else(|| config.out_dir.clone())
        .unwrap_or_else(|| PathBuf::from("."));
    let out_dir = absolute(&out_dir)?;

    if program.is_empty() {
        let error = anyhow::anyhow!("the name of the guest program is empty");
        return Err(Failure { code: 127, error });
    }
    let path = find_program(&program.to_string_lossy(), std::env::var_os("PATH").as_deref())?;
    let request = LoadRequest {
        path: path.as_os_str().as_bytes().to_vec(),
        place: None,
        argv: args.guest.iter().map(|a| a.as_bytes().to_vec()).collect(),
        envp: std::env::vars_os()
            .map(|(k, v)| [k.as_bytes(), b"=", v.as_bytes()].concat())
            .collect(),
    };
    if let Some(cpu) = args.cpu {
        let level = match cpu {
            CpuArg::V1 => Level::V1,
            CpuArg::V2 => Level::V2,
            CpuArg::V3 => Level::V3,
        };
        level.select().map_err(anyhow::Error::from)?;
    }
    // A program that cannot be run is reported before any plugin creates a file.
    let abi = prepare(&request, u64::MAX)?.abi();
    // Without plugins nothing the host opens from here on outlives the guest's start.
    let descriptors = match wanted {
        [] => None,
        _ => Some(
            HighDescriptors::begin()
                .context("no file descriptors can be set aside for the host")?,
        ),
    };
    let search = search.for_target(target_dir(abi));
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
            measure: args.stats,
        },
    );
    let settings = Settings {
        search,
        out_dir,
        policy: config.on_plugin_failure,
        continued: false,
        configured: configured_tables(config),
        close: config.close_plugins.clone(),
    };
    let plugins = Plugins::new(engine.shared().clone(), settings);
    watchdog::start(args.watchdog.or(config.watchdog).unwrap_or(WATCHDOG));
    let console = if args.monitor.is_some() || asker.is_some() {
        Some(Console::new(args, asker, config)?)
    } else {
        None
    };
    let mut machine = WatchedMachine { engine, plugins, console };
    machine.plugins.start_all(wanted).map_err(anyhow::Error::from)?;
    if let Some(descriptors) = descriptors {
        descriptors.end();
    }

    let start = Instant::now();
    let mut process = Process::load(&request, &mut machine)?;
    if args.sandbox {
        let permissions = Permissions {
            read: args.allow_read.clone(),
            write: args.allow_write.clone(),
            net: args.allow_net,
        };
        sandbox::enter(&permissions, &process.program.exe)?;
    }
    for text in &args.plugin_cmd {
        if !machine.plugins.command(text) {
            tracing::warn!("no plugin understands the command `{text}`; try the command `help`");
        }
    }
    let status = process.run(&mut machine);
    let stopped = machine.engine.shared().stop_request();
    // Before the plugins end: their callbacks' counts go with them.
    let mut counts = machine.engine.stats();
    for &pc in &args.show_block {
        match machine.engine.explain(pc) {
            Some(text) => log::say(&text),
            None => tracing::warn!("there is no block at {pc:#x}"),
        }
    }
    let retired = machine.plugins.retired_memory();
    let plugins_ended = machine.plugins.end();
    if let Some(console) = machine.console.take() {
        if !args.stats {
            counts.callbacks.clear();
        }
        console.farewell(&(stats::report(&counts, start.elapsed(), &machine.plugins) + &retired));
    }
    if args.stats && !log::is_forked() {
        let report = stats::report(&counts, start.elapsed(), &machine.plugins);
        log::say(&report);
    }
    // The process ends: taking its blocks apart one by one would be wasted.
    core::mem::forget(machine.engine);
    if let Some(stop) = &stopped {
        tracing::info!("the run was stopped: {}", stop.reason);
    }
    if !plugins_ended {
        tracing::debug!("a plugin failed while it ended");
    }
    Ok(Outcome { status, stopped_code: stopped.map_or(0, |s| s.status) })
}

/// The plugins to load: the command line's list, or the configuration file's.
pub fn wanted(args: &RunArgs, config: &Config) -> anyhow::Result<Vec<Wanted>> {
    let listed = match &args.plugins {
        Some(list) => plugin_list::parse(list)?,
        None if !args.panda.is_empty() => Vec::new(),
        None => config
            .plugins
            .iter()
            .map(|name| plugin_list::Request { name: name.clone(), args: Vec::new() })
            .collect(),
    };
    let requests = panda_options::requests(listed, &args.panda, &args.panda_arg)?;
    Ok(configured(requests, config))
}

/// The plugins of a list as on the command line.
pub fn wanted_from(list: &str, config: &Config) -> Result<Vec<Wanted>, plugin_list::ListError> {
    Ok(configured(plugin_list::parse(list)?, config))
}

/// Adds the arguments the configuration has for them.
fn configured(requests: Vec<plugin_list::Request>, config: &Config) -> Vec<Wanted> {
    requests
        .into_iter()
        .map(|r| {
            let given: Vec<_> = r.args.into_iter().map(|(k, v)| (k, GivenValue::Text(v))).collect();
            let table = config.plugin.get(&discover::table_name(&r.name));
            from_table(r.name, table, given)
        })
        .collect()
}

/// QEMU's name of a guest's architecture, for directories of plugins that are compiled for one.
fn target_dir(abi: Abi) -> &'static str {
    match abi {
        Abi::X86_64 => "x86_64-linux-user",
        Abi::I386 => "i386-linux-user",
    }
}

/// A plugin with the arguments of its table, and those of the command line.
fn from_table(
    name: String,
    table: Option<&PluginTable>,
    given: Vec<(String, GivenValue)>,
) -> Wanted {
    let mut wanted = Wanted { name, ..Wanted::default() };
    for arg in table.iter().flat_map(|t| &t.args) {
        // The command line replaces a list of the file, it does not add to it.
        if !given.iter().any(|(k, _)| *k == arg.key) {
            wanted.args.push((arg.key.clone(), arg.value.clone()));
            wanted.places.insert(arg.key.clone(), arg.place.clone());
        }
    }
    wanted.args.extend(given);
    wanted
}

/// The plugins of the configuration's tables, for those that are loaded because others need them.
fn configured_tables(config: &Config) -> BTreeMap<String, Wanted> {
    let plugin = |(name, table): (&String, &PluginTable)| {
        (name.clone(), from_table(name.clone(), Some(table), Vec::new()))
    };
    config.plugin.iter().map(plugin).collect()
}

/// Refuses arguments for a plugin that does not exist: a slip in its name.
fn check_tables(config: &Config, wanted: &[Wanted], search: &SearchPath) -> anyhow::Result<()> {
    for (name, table) in &config.plugin {
        let known = |w: &Wanted| discover::table_name(&w.name) == *name;
        if wanted.iter().any(known) || search.find(name).is_some() {
            continue;
        }
        let all = search.all();
        let hint = suggest::nearest(name, all.iter().map(|(n, _)| n.as_str()))
            .map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
        anyhow::bail!("{}: there is no plugin `{name}`{hint}", table.place);
    }
    Ok(())
}

fn absolute(dir: &Path) -> anyhow::Result<PathBuf> {
    let path = dir.canonicalize().with_context(|| {
        format!("the output directory {} cannot be used; create it first", dir.display())
    })?;
    if !path.is_dir() {
        anyhow::bail!("the output directory {} is not a directory", dir.display());
    }
    Ok(path)
}
