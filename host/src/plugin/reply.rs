//! Where the lines go that plugins answer a monitor command with.

use std::cell::RefCell;

thread_local! {
    /// The lines of the command that is being served, if somebody waits for them.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Takes a line of a plugin: for the asker, or for the log when nobody asked.
pub fn take_line(plugin: &str, line: &str) {
    LINES.with_borrow_mut(|lines| match lines {
        Some(lines) => lines.push(line.to_owned()),
        None => tracing::info!("[{plugin}] {line}"),
    });
}

/// Runs `go` and collects what plugins answer meanwhile.
pub fn collect<R>(go: impl FnOnce() -> R) -> (R, Vec<String>) {
    LINES.set(Some(Vec::new()));
    let result = go();
    (result, LINES.take().unwrap_or_default())
}
