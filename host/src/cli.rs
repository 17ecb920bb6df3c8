//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  host --plugins syscalls,textprinter -- /bin/ls -l /usr
  host --plugins syscalls:output=calls.txt,names=true -- bash -c 'echo hi'
  host plugin list
  host plugin help syscalls
  host plugin new my-plugin --lang c
  host plugin validate ./panda_my_plugin.so

Exit status: the guest's own; 128+N when signal N ended it (and the host ends by the same signal);
125 host error, 126 guest cannot be run, 127 guest not found.";

/// Runs a Linux program (x86-64 or i386) in the emulator, watched by plugins.
#[derive(Parser, Debug)]
#[command(name = "host", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of running a guest.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run the guest.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Where settings come from; shared by all commands.
#[derive(Args, Debug, Clone, Default)]
pub struct Settings {
    /// Configuration file [default: config.panda.toml in the current directory, if there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory to look for plugins in, before all others; may be repeated
    #[arg(long, value_name = "DIR")]
    pub plugin_path: Vec<PathBuf>,
    /// Say more in the log: -v info, -vv debug, -vvv everything
    #[arg(short, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write the log to this file instead of stderr
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// Arguments of a run.
#[derive(Args, Debug, Clone, Default)]
pub struct RunArgs {
    /// Settings.
    #[command(flatten)]
    pub settings: Settings,
    /// Plugins to load, in this order: NAME[:KEY=VALUE],… (an item with `=` belongs to the plugin
    /// before it); overrides the configuration file's list
    #[arg(long, value_name = "LIST")]
    pub plugins: Option<String>,
    /// Plugins as PANDA lists them; also spelled -panda: 'NAME:KEY=VALUE,…;NAME…'. Looks in the current
    /// directory, too; may be repeated
    #[arg(long, value_name = "LIST")]
    pub panda: Vec<String>,
    /// An argument of a plugin as PANDA gives it; also spelled -panda-arg; may be repeated
    #[arg(long, value_name = "NAME:KEY=VALUE")]
    pub panda_arg: Vec<String>,
    /// Directory for the files plugins write [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<PathBuf>,
    /// Send TEXT to the plugins' monitor callbacks once the guest is loaded; may be repeated. Answers
    /// go to the log
    #[arg(long, value_name = "TEXT")]
    pub plugin_cmd: Vec<String>,
    /// Read commands: from the terminal, or line by line from stdin; `help` lists them. `run` runs the guest
    #[arg(long, conflicts_with = "watch")]
    pub repl: bool,
    /// While the guest runs, take the commands of --repl on this UNIX socket (`host monitor SOCKET …`)
    #[arg(long, value_name = "SOCKET")]
    pub monitor: Option<PathBuf>,
    /// Run the guest again whenever the file of a plugin changes
    #[arg(long)]
    pub watch: bool,
    /// Warn when a callback uses more than this processor time, or waits for longer; 0: never [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub watchdog: Option<f64>,
    /// Print what was executed when the guest has ended (not: in processes it forks)
    #[arg(long)]
    pub stats: bool,
    /// End the run after N guest instructions
    #[arg(long, value_name = "N")]
    pub max_instructions: Option<u64>,
    /// Confine the guest, for programs you do not trust: only the guest program, libraries and /proc
    /// can be read, nothing written, no socket opened, unless allowed (see docs/isolation.md)
    #[arg(long)]
    pub sandbox: bool,
    /// With --sandbox: this tree (or file) may be read, and programs run from it; may be repeated
    #[arg(long, value_name = "PATH", requires = "sandbox")]
    pub allow_read: Vec<PathBuf>,
    /// With --sandbox: this tree (or file) may be read and changed; may be repeated
    #[arg(long, value_name = "PATH", requires = "sandbox")]
    pub allow_write: Vec<PathBuf>,
    /// With --sandbox: sockets may be opened
    #[arg(long, requires = "sandbox")]
    pub allow_net: bool,
    /// When the guest has ended, print the block at this guest pc: its instructions, IR and machine
    /// code; may be repeated
    #[arg(long, value_name = "PC", value_parser = parse_pc)]
    pub show_block: Vec<u64>,
    /// The processor the guest sees: v1, v2 or v3, an x86-64 micro-architecture level [default: the
    /// newest that this computer's processor can execute]
    #[arg(long, value_name = "LEVEL")]
    pub cpu: Option<CpuArg>,
    /// What a host that started itself again puts back, PERSONALITY:STACK (see `room`)
    #[arg(long, value_name = "INPUTS", hide = true)]
    pub layout_inputs: Option<String>,
    /// Which tier executes guest code: auto, interp (the interpreter only) or jit (machine code at
    /// once)
    #[arg(long, value_name = "TIER", default_value = "auto", hide = true)]
    pub tier: TierArg,
    /// The program to run, and its arguments
    #[arg(trailing_var_arg = true, value_name = "GUEST [ARGS]")]
    pub guest: Vec<OsString>,
}

/// Values of `--cpu`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum CpuArg {
    /// SSE2.
    V1,
    /// SSE4.2.
    V2,
    /// AVX2.
    V3,
}

/// Values of `--tier`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum TierArg {
    /// The interpreter at first, machine code for what runs often.
    #[default]
    Auto,
    /// The interpreter only.
    Interp,
    /// Machine code at once, wherever possible.
    Jit,
}

/// What to do instead of running a guest.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Ask about plugins
    #[command(disable_help_subcommand = true)]
    Plugin {
        /// What about them.
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Send commands to a host that runs with --monitor
    Monitor {
        /// Its socket
        socket: PathBuf,
        /// One command; without it, commands are read from stdin, one a line
        #[arg(trailing_var_arg = true)]
        command: Vec<String>,
    },
}

/// What can be done with plugins.
#[derive(Subcommand, Debug)]
pub enum PluginCommand {
    /// List the plugins that can be found: name, version, API, path and what they do
    List {
        /// Settings.
        #[command(flatten)]
        settings: Settings,
    },
    /// Write a small complete plugin project: source, test, README
    New {
        /// Name of the plugin
        name: String,
        /// Language to write it in
        #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
        lang: Language,
        /// Directory of the project [default: ./NAME]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Where the plugin-api crate is, for Rust [default: the source tree of this host]
        #[arg(long, value_name = "DIR")]
        api: Option<PathBuf>,
    },
    /// Check that plugins keep to the contract, each check in a process of its own
    Validate {
        /// Libraries to check
        #[arg(value_name = "FILE", required_unless_present = "list")]
        files: Vec<PathBuf>,
        /// List the checks
        #[arg(long)]
        list: bool,
        /// Do this check; may be repeated [default: all]
        #[arg(long, value_name = "CHECK")]
        include: Vec<String>,
        /// Do not do this check; may be repeated
        #[arg(long, value_name = "CHECK")]
        exclude: Vec<String>,
        /// Seconds a check may take
        #[arg(long, value_name = "SECONDS", default_value_t = 20)]
        timeout: u64,
        /// Write the results as JSON
        #[arg(long)]
        json: bool,
    },
    /// Do one check in this process
    #[command(hide = true)]
    CheckHere {
        /// The check.
        check: String,
        /// The plugin.
        file: PathBuf,
        /// Directory for files.
        dir: PathBuf,
    },
    /// Show the arguments a plugin takes
    Help {
        /// Name or path of the plugin
        name: String,
        /// Settings.
        #[command(flatten)]
        settings: Settings,
    },
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if (0.0..=1e6).contains(&s) => Ok(s),
        _ => Err("give a number of seconds from 0 to 1000000".to_owned()),
    }
}

fn parse_pc(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "give a hexadecimal address".to_owned())
}

/// Languages of new plugin projects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Language {
    /// Rust.
    Rust,
    /// C99.
    C,
    /// C++11.
    Cpp,
}
