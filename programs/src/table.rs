//! The entries, as `programs/table/*.toml` has them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

/// One program, or one family of them.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Name of the row.
    pub name: String,
    /// Debian packages it needs, for the machine's own architecture.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Debian packages of another architecture (`bash-static:i386`), which are not installed but
    /// unpacked to `$GUESTS`.
    #[serde(default)]
    pub foreign: Vec<String>,
    /// Files that must exist, or commands that must be found; else the entry is skipped by name.
    /// `$GUESTS` stands for the directory of the unpacked packages.
    pub needs: Vec<String>,
    /// Runs in `.ci/run`, too.
    #[serde(default)]
    pub ci: bool,
    /// Script for `bash` that prepares the directory, natively, before each run.
    #[serde(default)]
    pub setup: String,
    /// Script for `bash` whose run is compared: bash itself and all it starts run under the host.
    pub script: String,
    /// Names of the normalizers that apply to what it prints, in order.
    #[serde(default)]
    pub normalize: Vec<String>,
    /// Status the script ends with.
    #[serde(default)]
    pub status: i32,
    /// Limit of one run, in seconds; a run that takes longer is killed and counts as failed.
    #[serde(default = "limit")]
    pub limit: u64,
}

fn limit() -> u64 {
    120
}

/// Makes equal what differs from run to run.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Normalizer {
    /// Program for `sed -E`, applied to stdout and stderr of each run.
    pub sed: String,
    /// What it makes equal, and why that is unstable.
    pub why: String,
}

/// One file of the table.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Normalizers by name.
    #[serde(default, rename = "normalizer")]
    pub normalizers: BTreeMap<String, Normalizer>,
    /// Entries in the order of the files' names, then of the file.
    #[serde(default, rename = "program")]
    pub programs: Vec<Program>,
}

impl Table {
    /// Reads and joins the files of a directory.
    pub fn read(dir: &Path) -> anyhow::Result<Table> {
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .with_context(|| dir.display().to_string())?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        files.retain(|p| p.extension().is_some_and(|e| e == "toml"));
        files.sort();
        let mut all = Table::default();
        for path in files {
            let text = std::fs::read_to_string(&path)?;
            let part = Table::parse(&text).with_context(|| path.display().to_string())?;
            all.normalizers.extend(part.normalizers);
            all.programs.extend(part.programs);
        }
        all.validate()?;
        Ok(all)
    }

    /// Parses one file.
    pub fn parse(text: &str) -> anyhow::Result<Table> {
        Ok(toml::from_str(text)?)
    }

    fn validate(&self) -> anyhow::Result<()> {
        for (i, p) in self.programs.iter().enumerate() {
            ensure!(
                !self.programs[..i].iter().any(|q| q.name == p.name),
                "two entries are named {}",
                p.name
            );
            for n in &p.normalize {
                ensure!(
                    self.normalizers.contains_key(n),
                    "entry {} names the normalizer {n}, which no file has",
                    p.name
                );
            }
        }
        Ok(())
    }

    /// Keeps the entries of these names (all without names), and of CI only if so asked.
    pub fn select(&mut self, names: &[String], ci: bool) -> anyhow::Result<()> {
        for name in names {
            if !self.programs.iter().any(|p| p.name == *name) {
                bail!("no entry is named {name}; --list shows the names");
            }
        }
        self.programs.retain(|p| (names.is_empty() || names.contains(&p.name)) && (p.ci || !ci));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "[[program]]\nname = 'a'\nneeds = ['true']\nscript = 'true'\n";

    #[test]
    fn committed_table_is_valid() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("table");
        let table = Table::read(&dir).unwrap();
        assert!(table.programs.iter().any(|p| p.ci));
        assert!(table.programs.iter().all(|p| !p.needs.is_empty()));
    }

    #[test]
    fn mistakes_are_named() {
        let twice = Table::parse(&ENTRY.repeat(2)).unwrap().validate().unwrap_err();
        assert_eq!(twice.to_string(), "two entries are named a");
        let unknown = Table::parse(&format!("{ENTRY}normalize = ['x']\n")).unwrap();
        assert!(unknown.validate().unwrap_err().to_string().contains("normalizer x"));
        assert!(Table::parse(&format!("{ENTRY}skript = 'x'\n")).is_err());
        let mut table = Table::parse(ENTRY).unwrap();
        assert!(table.select(&["b".into()], false).is_err());
        table.select(&[], true).unwrap();
        assert!(table.programs.is_empty());
    }
}
