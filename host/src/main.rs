//! `host`: runs a guest program under the emulator with plugins.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use panda_host::cli::{Cli, Command, PluginCommand};
use panda_host::monitor::{client, repl, watch};
use panda_host::run::Failure;
use panda_host::scaffold::{self, Project};
use panda_host::{log, panda_options, room, run, show, validate};

/// Exit status of an error of the host itself.
const HOST_ERROR: u8 = 125;

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(panda_options::respell(std::env::args_os())) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(HOST_ERROR) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(f) => {
            log::say(&format!("host: error: {}\n", run::with_causes(&f.error)));
            ExitCode::from(f.code as u8)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Some(Command::Plugin { command }) => {
            if let PluginCommand::List { settings } | PluginCommand::Help { settings, .. } = command
            {
                log::start(settings.verbose, settings.log_file.as_deref())?;
            }
            let text = match command {
                PluginCommand::List { settings } => show::list(settings)?,
                PluginCommand::Help { name, settings } => show::help(name, settings)?,
                PluginCommand::Validate { list: true, .. } => validate::list(),
                PluginCommand::Validate { files, include, exclude, timeout, json, .. } => {
                    let (include, exclude) = (include.clone(), exclude.clone());
                    let options =
                        validate::Options { include, exclude, timeout: *timeout, json: *json };
                    let (report, failed) = validate::validate(files, &options)?;
                    let _ = std::io::stdout().write_all(report.as_bytes());
                    if failed > 0 {
                        let error = anyhow::anyhow!("{failed} checks failed");
                        return Err(Failure { code: 1, error });
                    }
                    return Ok(());
                }
                PluginCommand::CheckHere { check, file, dir } => {
                    validate::check_here(check, file, dir)
                }
                PluginCommand::New { name, lang, dir, api } => {
                    let (dir, api) = (dir.as_deref(), api.as_deref());
                    scaffold::write(&Project { name, language: *lang, dir, api })
                        .map_err(anyhow::Error::from)?
                }
            };
            // A reader that has seen enough (`| head`) is no error.
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(())
        }
        Some(Command::Monitor { socket, command }) => {
            if client::talk(socket, command)? {
                return Ok(());
            }
            Err(Failure { code: 1, error: anyhow::anyhow!("a command failed") })
        }
        None if cli.run.repl => {
            log::start(cli.run.settings.verbose, cli.run.settings.log_file.as_deref())?;
            room::make(cli.run.layout_inputs.as_deref())?;
            if repl::run(&cli.run)? {
                return Ok(());
            }
            Err(Failure { code: 1, error: anyhow::anyhow!("a command failed") })
        }
        None if cli.run.guest.is_empty() => {
            let error =
                anyhow::anyhow!("no guest program is named\n{}", Cli::command().render_usage());
            Err(error.into())
        }
        None => {
            log::start(cli.run.settings.verbose, cli.run.settings.log_file.as_deref())?;
            room::make(cli.run.layout_inputs.as_deref())?;
            if cli.run.watch {
                watch::run(&cli.run)?;
                return Ok(());
            }
            let outcome = run::run(&cli.run)?;
            emu_linux::end_host_process(outcome.status, outcome.stopped_code)
        }
    }
}
