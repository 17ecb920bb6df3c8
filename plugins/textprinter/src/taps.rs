//! The file of tap points.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

use plugin_api::prelude::*;

/// A place in the guest that writes memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tap {
    /// Return address of the function; 0 when its call was not seen.
    pub caller: u64,
    /// The store instruction.
    pub pc: u64,
    /// 0 for a user-mode guest.
    pub address_space: u64,
}

/// The tap points to watch.
#[derive(Default, Debug)]
pub struct TapList {
    taps: HashSet<Tap>,
    pcs: HashSet<u64>,
}

impl TapList {
    /// Reads the file; `None` if it is not there, unless it must be.
    pub fn read(path: &Path, required: bool) -> Result<Option<TapList>, Error> {
        match std::fs::read_to_string(path) {
            Ok(text) => TapList::parse(&text)
                .map(Some)
                .map_err(|e| format!("{}:{e}", path.display()).into()),
            Err(e) if e.kind() == ErrorKind::NotFound && !required => Ok(None),
            Err(e) => Err(format!("cannot read {}: {e}", path.display()).into()),
        }
    }

    /// Reads lines of three hexadecimal numbers. The error begins with the line's number.
    pub fn parse(text: &str) -> Result<TapList, String> {
        let mut list = TapList::default();
        for (line, at) in text.lines().zip(1..) {
            let numbers: Option<Vec<u64>> = line
                .split_whitespace()
                .map(|n| u64::from_str_radix(n.strip_prefix("0x").unwrap_or(n), 16).ok())
                .collect();
            match numbers.as_deref() {
                Some([]) => {}
                Some(&[caller, pc, address_space]) => {
                    list.taps.insert(Tap { caller, pc, address_space });
                    list.pcs.insert(pc);
                }
                _ => {
                    return Err(format!(
                        "{at}: \"{line}\" is not three hexadecimal numbers (caller pc addressspace)"
                    ));
                }
            }
        }
        Ok(list)
    }

    /// Whether any tap point is at `pc`.
    pub fn has_pc(&self, pc: u64) -> bool {
        self.pcs.contains(&pc)
    }

    /// Whether it is one of them.
    pub fn has(&self, tap: Tap) -> bool {
        self.taps.contains(&tap)
    }
}
