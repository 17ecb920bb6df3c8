//! The table of results, for the terminal and for the document.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;

use crate::table::{Normalizer, Program};

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

/// The document `docs/compatibility.md`: rows of this run, and of earlier ones.
#[derive(Debug)]
pub struct Document {
    /// The version that rows of this run are of.
    version: String,
    /// Line of the table and note, by name of the entry.
    rows: BTreeMap<String, (String, Option<String>)>,
}

impl Document {
    /// What the file has, if there is one.
    pub fn read(path: &Path, version: String) -> anyhow::Result<Document> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Document { version, rows: parse(&text) }),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                Ok(Document { version, rows: BTreeMap::new() })
            }
            Err(e) => Err(e).with_context(|| path.display().to_string()),
        }
    }

    /// Replaces an entry's row.
    pub fn set(&mut self, row: &Row) {
        let [native, hosted, ratio, watched, watched_ratio] = row.cells();
        let (verdict, note) = match &row.outcome {
            Outcome::Same => ("same", None),
            Outcome::Differs(what) => ("**differs**", Some(what)),
            Outcome::Skipped(why) => ("skipped", Some(why)),
        };
        let line = format!(
            "| {} | {verdict} | {native} | {hosted} | {ratio} | {watched} | {watched_ratio} | {} |",
            row.name, self.version
        );
        let note = note.map(|n| n.lines().next().unwrap_or_default().to_owned());
        self.rows.insert(row.name.clone(), (line, note));
    }

    /// The whole text; rows in the order of `names`, the entries there are.
    pub fn text(&self, names: &[String], normalizers: &BTreeMap<String, Normalizer>) -> String {
        let mut text = String::from(
            "# Compatibility\n\n\
             Made by `cargo run --release -p programs -- --install --write docs/compatibility.md`. Each\n\
             row is a script of `programs/table`, run natively, under `host`, and under `host` with the\n\
             plugins `syscalls` and `textprinter`: stdout, stderr and exit status must be equal. Times\n\
             are whole-run wall times of one run each, in seconds, on a machine that other jobs shared; ratios are to the native run. The last\n\
             column is the commit the row is of (`+`: with changes): the command with names of entries\n\
             runs only these and keeps the other rows.\n\n\
             | program | result | native | host | ratio | with plugins | ratio | commit |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        let mut notes = String::new();
        for name in names {
            let Some((line, note)) = self.rows.get(name) else {
                let _ = writeln!(text, "| {name} | not run | - | - | - | - | - | - |");
                continue;
            };
            let _ = writeln!(text, "{line}");
            if let Some(note) = note {
                let _ = writeln!(notes, "* {name}: {note}");
            }
        }
        if !notes.is_empty() {
            let _ = write!(text, "\n{NOTES}\n\n{notes}");
        }
        text.push_str("\n## What is made equal before the comparison\n\n");
        for (name, normalizer) in normalizers {
            let _ = writeln!(
                text,
                "* `{name}`: {} (`sed -E '{}'`)",
                normalizer.why,
                normalizer.sed.trim()
            );
        }
        text
    }
}

/// Heading of the notes.
const NOTES: &str = "## Not the same, or not run";

/// The rows and notes of a document.
fn parse(text: &str) -> BTreeMap<String, (String, Option<String>)> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|l| l.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        if cells.len() == 8 && cells[0] != "program" && cells[1] != "not run" {
            rows.insert(cells[0].to_owned(), (line.to_owned(), None));
        }
    }
    let notes = text.split_once(NOTES).map_or("", |(_, after)| after);
    let notes = notes.split_once("\n## ").map_or(notes, |(before, _)| before);
    for (name, note) in notes.lines().filter_map(|l| l.strip_prefix("* ")?.split_once(": ")) {
        if let Some(row) = rows.get_mut(name) {
            row.1 = Some(note.to_owned());
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn rows_of_entries_that_are_not_run_stay() {
        let mut table = String::new();
        for name in ["first", "second", "third"] {
            table += &format!("[[program]]\nname = '{name}'\nneeds = ['true']\nscript = 'true'\n");
        }
        let table = Table::parse(&table).unwrap();
        let names: Vec<_> = table.programs.iter().map(|p| p.name.clone()).collect();
        let mut old = Document { version: "v1".into(), rows: BTreeMap::new() };
        for p in &table.programs[..2] {
            let outcome = Outcome::Differs(format!("host: {}\nmore", p.name));
            old.set(&Row { outcome, ..Row::new(p) });
        }
        let text = old.text(&names, &table.normalizers);
        let mut new = Document { version: "v2".into(), rows: parse(&text) };
        new.set(&Row { native: Some(0.5), hosted: Some(1.0), ..Row::new(&table.programs[1]) });
        let text = new.text(&names, &table.normalizers);
        assert!(text.contains("| first | **differs** | - | - | - | - | - | v1 |\n"), "{text}");
        assert!(text.contains("| second | same | 0.50 | 1.00 | 2.0 | - | - | v2 |\n"), "{text}");
        assert!(text.contains("| third | not run | - |"), "{text}");
        assert!(text.contains("not run\n\n* first: host: first\n\n"), "{text}");
        assert!(!text.contains("* second"), "{text}");
    }
}
