//! Threads that plugins started.

use std::collections::BTreeSet;

/// Threads of this process beside the calling one that are not the host's: id and name.
pub fn foreign() -> BTreeSet<(i32, String)> {
    // SAFETY: cannot fail.
    let own = unsafe { libc::gettid() };
    let Ok(dir) = std::fs::read_dir("/proc/self/task") else { return BTreeSet::new() };
    dir.flatten()
        .filter_map(|e| {
            let tid: i32 = e.file_name().to_str()?.parse().ok()?;
            let name = std::fs::read_to_string(e.path().join("comm")).ok()?;
            let name = name.trim_end().to_owned();
            (tid != own && !emu_linux::companion::is_companion(tid)).then_some((tid, name))
        })
        .collect()
}

/// [`foreign`] but for those in `known`, once threads that are just ending are gone: a joined thread's entry
/// goes away a moment after the join.
pub fn left(known: &[i32]) -> BTreeSet<(i32, String)> {
    const PATIENCE: usize = 50;
    for round in 0.. {
        let mut left = foreign();
        left.retain(|(tid, _)| !known.contains(tid));
        if left.is_empty() || round == PATIENCE {
            return left;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    BTreeSet::new()
}
