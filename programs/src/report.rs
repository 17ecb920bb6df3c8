//! The table of results, for the terminal and for the document.

use std::fmt::Write as _;

use crate::table::{Program, Table};

/// How an entry ended.
#[derive(Debug)]
pub enum Outcome {
    /// All runs were equal.
    Same,
    /// Something differed: what.
    Differs(String),
    /// It did not run: why.
    Skipped(String),
}

/// Results of one entry; times in seconds.
#[derive(Debug)]
pub struct Row {
    name: String,
    /// Time of the native run.
    pub native: Option<f64>,
    /// Time under the host.
    pub hosted: Option<f64>,
    /// Time under the host with plugins.
    pub watched: Option<f64>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Row {
    /// A row without results.
    pub fn new(program: &Program) -> Row {
        let (native, hosted, watched) = (None, None, None);
        Row { name: program.name.clone(), native, hosted, watched, outcome: Outcome::Same }
    }

    fn cells(&self) -> [String; 5] {
        let time = |t: Option<f64>| t.map_or("-".into(), |t| format!("{t:.2}"));
        let ratio = |t: Option<f64>| match (t, self.native) {
            (Some(t), Some(native)) => format!("{:.1}", t / native.max(0.001)),
            _ => "-".into(),
        };
        [
            time(self.native),
            time(self.hosted),
            ratio(self.hosted),
            time(self.watched),
            ratio(self.watched),
        ]
    }

    /// For the terminal.
    pub fn line(&self) -> String {
        let [native, hosted, ratio, watched, watched_ratio] = self.cells();
        let verdict = match &self.outcome {
            Outcome::Same => "same".into(),
            Outcome::Skipped(why) => format!("skipped: {why}"),
            Outcome::Differs(what) => format!("DIFFERS\n{what}"),
        };
        format!(
            "{:<22} {native:>7} {hosted:>7} {ratio:>6}x {watched:>7} {watched_ratio:>6}x  {verdict}",
            self.name
        )
    }
}

/// The document `docs/compatibility.md`.
pub fn document(rows: &[Row], table: &Table) -> String {
    let mut text = String::from(
        "# Compatibility\n\n\
         Made by `cargo run --release -p programs -- --install --write docs/compatibility.md`. Each\n\
         row is a script of `programs/table`, run natively, under `host`, and under `host` with the\n\
         plugins `syscalls` and `textprinter`: stdout, stderr and exit status must be equal. Times\n\
         are whole-run wall times of one run each, in seconds; ratios are to the native run.\n\n\
         | program | result | native | host | ratio | with plugins | ratio |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let mut notes = String::new();
    for row in rows {
        let [native, hosted, ratio, watched, watched_ratio] = row.cells();
        let (verdict, note) = match &row.outcome {
            Outcome::Same => ("same", None),
            Outcome::Differs(what) => ("**differs**", Some(what)),
            Outcome::Skipped(why) => ("skipped", Some(why)),
        };
        let _ = writeln!(
            text,
            "| {} | {verdict} | {native} | {hosted} | {ratio} | {watched} | {watched_ratio} |",
            row.name
        );
        if let Some(note) = note {
            let _ = writeln!(notes, "* {}: {}", row.name, note.lines().next().unwrap_or_default());
        }
    }
    if !notes.is_empty() {
        let _ = write!(text, "\n## Not the same, or not run\n\n{notes}");
    }
    text.push_str("\n## What is made equal before the comparison\n\n");
    for (name, normalizer) in &table.normalizers {
        let _ =
            writeln!(text, "* `{name}`: {} (`sed -E '{}'`)", normalizer.why, normalizer.sed.trim());
    }
    text
}
