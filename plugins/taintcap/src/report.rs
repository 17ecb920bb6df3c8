//! The log: what was labelled, and what queries found.

use plugin_api::prelude::*;

use crate::labels::{Labels, Set};

/// Where a label or query came from.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub pid: u32,
    pub tid: u32,
    pub address: u64,
    pub length: u64,
}

/// The log file and its format.
#[derive(Debug)]
pub struct Report {
    pub log: Output,
    pub json: bool,
}

impl Report {
    /// A buffer got labels: the first and how many.
    pub fn label(&mut self, r: &Request, first: u32, count: u64) {
        if self.json {
            self.begin("label", r);
            writeln!(self.log, ",\"first\":{first},\"count\":{count}}}");
        } else {
            writeln!(self.log, "label {} {}", r.address, r.length);
        }
    }

    /// A query and its answer: runs of bytes with the same labels.
    pub fn query(&mut self, r: &Request, runs: &[(u64, u64, Set)], labels: &Labels) {
        if self.json {
            self.begin("query", r);
            write!(self.log, ",\"tainted\":[");
            for (n, (address, length, set)) in runs.iter().enumerate() {
                let comma = if n > 0 { "," } else { "" };
                let all: Vec<String> = labels.of(*set).map(|l| l.to_string()).collect();
                write!(
                    self.log,
                    "{comma}{{\"address\":\"{address:#x}\",\"length\":{length},\"labels\":[{}]}}",
                    all.join(",")
                );
            }
            writeln!(self.log, "]}}");
            return;
        }
        writeln!(self.log, "query {} {}", r.address, r.length);
        if runs.is_empty() {
            writeln!(self.log, "clean");
        }
        for (address, length, set) in runs {
            writeln!(self.log, "tainted {address} {length} labels {}", listed(labels.of(*set)));
        }
    }

    fn begin(&mut self, event: &str, r: &Request) {
        write!(
            self.log,
            "{{\"event\":\"{event}\",\"pid\":{},\"tid\":{},\"address\":\"{:#x}\",\"length\":{}",
            r.pid, r.tid, r.address, r.length
        );
    }
}

/// Ascending numbers with commas between them; three and more in a row as `first-last`.
fn listed(labels: impl Iterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for label in labels {
        match runs.last_mut() {
            Some(run) if run.1 + 1 == label => run.1 = label,
            _ => runs.push((label, label)),
        }
    }
    let texts: Vec<String> = runs
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_are_a_range() {
        assert_eq!(listed([1, 2, 4, 5, 6, 9].into_iter()), "1,2,4-6,9");
    }
}
