//! `host --watch`: runs the guest again whenever the file of a plugin changes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::os;
use super::session::Session;
use crate::cli::RunArgs;
use crate::log;

/// Milliseconds without a change after which a file is taken for complete.
const QUIET: i32 = 200;

/// Runs the guest, and again after each change, until the user ends the host.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let mut session = Session::new(args, false)?;
    let files = session.files();
    anyhow::ensure!(!files.is_empty(), "no plugin is loaded, so there is nothing to watch");
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .context("files cannot be watched")?;
    // A new file usually takes the old one's place, so it is the directories that tell.
    let mut names: BTreeSet<OsString> = BTreeSet::new();
    for file in &files {
        names.extend(file.file_name().map(ToOwned::to_owned));
        let dir = file.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let what = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE;
        inotify::add_watch(&events, dir, what)
            .with_context(|| format!("the directory {} cannot be watched", dir.display()))?;
    }
    session.start(&[], false).map_err(anyhow::Error::msg)?;
    loop {
        let mut fds = vec![events.as_fd()];
        fds.extend(session.running_fd());
        os::poll(&fds, -1);
        if !changed(events.as_fd(), &names) {
            session.reap();
            continue;
        }
        // Until it is written.
        while os::poll(&[events.as_fd()], QUIET) == [true] {
            changed(events.as_fd(), &names);
        }
        match session.check_all() {
            Err(e) => log::say(&format!("host: error: {e}; waiting for the next change\n")),
            Ok(()) => {
                session.stop()?;
                log::say("host: a plugin changed: the guest is run again\n");
                session.start(&[], false).map_err(anyhow::Error::msg)?;
            }
        }
    }
}

/// Takes what there is to read: whether one of the files is concerned.
fn changed(events: std::os::fd::BorrowedFd<'_>, names: &BTreeSet<OsString>) -> bool {
    let mut buffer = [core::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events, &mut buffer);
    let mut found = false;
    while let Ok(event) = reader.next() {
        let overflow = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
        let name = event.file_name().map(|n| PathBuf::from(n.to_string_lossy().into_owned()));
        found |= overflow || name.is_some_and(|n| names.contains(n.as_os_str()));
    }
    found
}
