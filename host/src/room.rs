//! Starting again when the kernel has put the host where guests have their room.
//!
//! The new process has no randomized addresses and a usual stack limit, so its layout is the usual
//! one. What the old process had is put back there before anything looks at it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use emu_linux::limits::LayoutInputs;
use emu_linux::room;

/// The option that tells the new process what to put back, and that it is the new one.
const OPTION: &str = "--layout-inputs";

/// Returns in a process that leaves guests their room, or says why that cannot be had. `before` is
/// the option's value. To be called before the host has opened or started anything.
pub fn make(before: Option<&str>) -> anyhow::Result<()> {
    if let Some(text) = before {
        let inputs = text.parse::<LayoutInputs>().context(OPTION)?;
        return inputs.set().context("the host's stack limit and personality cannot be put back");
    }
    let taken = room::taken().context("the host's own mappings are not known")?;
    if taken.is_empty() {
        return Ok(());
    }
    let inputs = LayoutInputs::current()?;
    let mut args = std::env::args_os();
    let mut again = Command::new(std::env::current_exe()?);
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    again.arg(OPTION).arg(inputs.to_string()).args(args);
    // Only a failure gets further. Guests then find less room.
    let failure = inputs.usual().set().map(|()| again.exec());
    inputs.set()?;
    tracing::warn!(
        "guests cannot map {taken:x?}, where the host is: it could not start again: {failure:?}"
    );
    Ok(())
}
