//! Counts, for every tap point, how often each byte value was written there: text stands out by its
//! byte histogram.
//!
//! A tap point is a store instruction together with the function that called the one it is in, and
//! the address space (0 for a user-mode guest).
//!
//! The report is a sequence of records, sorted by pc, caller and address space, all little-endian:
//! caller, pc, address space (a guest word each), then 256 counts of 32 bits. With `header=true` a 32-bit
//! number comes first: the bytes in a guest word.

use std::path::PathBuf;

use plugin_api::{AddrMap, CallStack, FlushReason, abi, prelude::*};

/// The plugin.
pub struct TextFinder {
    reg: Registrar<TextFinder>,
    calls: CallStack,
    taps: AddrMap<Tap, Box<[u32; 256]>>,
    loads: Counter,
    stores: Counter,
    bytes_read: u64,
    bytes_written: u64,
    path: PathBuf,
    header: bool,
    report: Output,
    written: bool,
}

/// In the order of the report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Tap {
    pc: u64,
    caller: u64,
    address_space: u64,
}

impl Plugin for TextFinder {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        reg.no_regs().virt_mem_after_read(|this, _, access| this.bytes_read += access.size)?;
        reg.virt_mem_after_write(Self::count)?;
        reg.no_regs().process_fork(|this, _, fork| {
            if fork.side == abi::fork_side::CHILD
                && let Err(e) = this.start_anew(fork.child)
            {
                tracing::error!("{e}");
            }
        })?;
        let path = args.path("output");
        Ok(TextFinder {
            reg: reg.clone(),
            calls: CallStack::new(reg)?,
            taps: AddrMap::default(),
            loads: reg.counter(CounterKind::Loads)?,
            stores: reg.counter(CounterKind::Stores)?,
            bytes_read: 0,
            bytes_written: 0,
            header: args.bool("header"),
            report: reg.output(&path)?,
            path,
            written: false,
        })
    }

    fn flush(&mut self, reason: FlushReason) {
        if reason == FlushReason::Fatal {
            self.write_report();
        }
    }

    fn uninit(&mut self) {
        self.write_report();
    }
}

impl TextFinder {
    fn count(&mut self, cpu: &mut Cpu<'_>, access: &MemAccess<'_>) {
        self.bytes_written += access.size;
        let tap = Tap {
            pc: access.pc,
            caller: self.calls.caller(cpu).unwrap_or(0),
            address_space: cpu.address_space(),
        };
        let counts = self.taps.entry(tap).or_insert_with(|| Box::new([0; 256]));
        for &byte in access.data {
            let count = &mut counts[usize::from(byte)];
            *count = count.saturating_add(1);
        }
    }

    /// A forked process reports what it writes itself, in a file of its own.
    fn start_anew(&mut self, pid: u32) -> Result<(), Error> {
        self.taps.clear();
        (self.bytes_read, self.bytes_written) = (0, 0);
        self.loads.set(0);
        self.stores.set(0);
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{pid}"));
        self.report = self.reg.output(PathBuf::from(path))?;
        Ok(())
    }

    fn write_report(&mut self) {
        if core::mem::replace(&mut self.written, true) {
            return;
        }
        let word = self.reg.word_size() as usize;
        if self.header {
            self.report.write_all(&(word as u32).to_le_bytes());
        }
        let mut taps: Vec<_> = self.taps.iter().collect();
        taps.sort_unstable_by_key(|(tap, _)| **tap);
        for (tap, counts) in taps {
            for field in [tap.caller, tap.pc, tap.address_space] {
                self.report.write_all(&field.to_le_bytes()[..word]);
            }
            for count in counts.iter() {
                self.report.write_all(&count.to_le_bytes());
            }
        }
        tracing::info!(
            "Memory statistics: {} loads, {} stores, {} bytes read, {} bytes written.",
            self.loads.get(),
            self.stores.get(),
            self.bytes_read,
            self.bytes_written
        );
    }
}

export_plugin! {
    TextFinder,
    name: "textfinder",
    about: "Counts the byte values written at each tap point",
    requires: [CallStack::SERVICE],
    args: [
        Arg::path("output", "file to write").default("mem_report.bin"),
        Arg::bool("header", "begin the file with the size of a guest word").default("false"),
    ]
}

#[cfg(test)]
mod tests;
