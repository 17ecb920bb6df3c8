//! Text that grows at tap points, store by store.

use plugin_api::{AddrMap, Word, prelude::*};

use crate::open::OpenAt;
use crate::taps::Tap;

/// A longer text is printed in pieces.
const LONGEST: usize = 4096;

/// How many texts' memory is kept for others.
const SPARE: usize = 64;

/// The texts being written.
#[derive(Debug)]
pub struct Texts {
    min: usize,
    open: AddrMap<Tap, Text>,
    open_at: OpenAt,
    /// Memory of texts that have ended.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Text {
    bytes: Vec<u8>,
    /// Where the last store began and ended.
    last: (u64, u64),
    word_size: u32,
}

fn printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\t' | b'\r')
}

/// Whether `min` printable bytes follow each other in `data`.
fn has_run(data: &[u8], min: usize) -> bool {
    // Such a run covers one of every `min` bytes.
    let mut at = min - 1;
    while let Some(&byte) = data.get(at) {
        if printable(byte) {
            return data.split(|b| !printable(*b)).any(|run| run.len() >= min);
        }
        at += min;
    }
    false
}

impl Texts {
    pub fn new(min: usize) -> Texts {
        Texts {
            min: min.max(1),
            open: AddrMap::default(),
            open_at: OpenAt::default(),
            spare: Vec::new(),
        }
    }

    /// Whether a store can begin, continue or end a text that will be printed. Cheap, for the many that
    /// cannot.
    pub fn concerned(&self, pc: u64, data: &[u8]) -> bool {
        // What neither begins before the store nor goes on after it is within it, and long enough.
        data.last().is_some_and(|b| printable(*b))
            || (data.len() > self.min && has_run(data, self.min))
            || self.open_at.contains(pc)
    }

    /// A store of `data` to `addr`.
    pub fn write(&mut self, tap: Tap, addr: u64, data: &[u8], word_size: u32, output: &mut Output) {
        // A text goes on behind the last store, or in the same place for text that passes through
        // one buffer.
        if let Some(text) = self.open.get(&tap)
            && text.last.1 != addr
            && text.last.0 != addr
        {
            self.end(tap, output);
        }
        for run in data.chunk_by(|a, b| printable(*a) == printable(*b)) {
            if !printable(run[0]) {
                self.end(tap, output);
                continue;
            }
            let mut rest = run;
            while !rest.is_empty() {
                let text = self.open.entry(tap).or_insert_with(|| {
                    self.open_at.begin(tap.pc);
                    let bytes = self.spare.pop().unwrap_or_default();
                    Text { bytes, last: (addr, addr), word_size }
                });
                let (now, later) = rest.split_at(rest.len().min(LONGEST - text.bytes.len()));
                text.bytes.extend_from_slice(now);
                rest = later;
                if text.bytes.len() >= LONGEST {
                    self.end(tap, output);
                }
            }
        }
        if let Some(text) = self.open.get_mut(&tap) {
            text.last = (addr, addr.wrapping_add(data.len() as u64));
        }
    }

    fn end(&mut self, tap: Tap, output: &mut Output) {
        let Some(mut text) = self.open.remove(&tap) else { return };
        self.open_at.end(tap.pc);
        self.print(tap, &text, output);
        if self.spare.len() < SPARE {
            text.bytes.clear();
            self.spare.push(text.bytes);
        }
    }

    fn print(&self, tap: Tap, text: &Text, output: &mut Output) {
        if text.bytes.len() < self.min {
            return;
        }
        let word = |value| Word::new(value, text.word_size);
        writeln!(
            output,
            "{} {} {} \"{}\"",
            word(tap.caller),
            word(tap.pc),
            word(tap.address_space),
            text.bytes.escape_ascii()
        );
    }

    /// Prints what is still open.
    pub fn finish(&mut self, output: &mut Output) {
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_unstable_by_key(|(tap, _)| *tap);
        self.open_at.clear();
        for (tap, text) in open {
            self.print(tap, &text, output);
        }
    }
}
