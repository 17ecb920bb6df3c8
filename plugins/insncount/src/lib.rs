//! Counts instructions, blocks, loads and stores, with counters that generated code adds to: no
//! callback runs for any of them.
//!
//! One line for each process of the guest, when it ends:
//! `pid 7: 123 instructions, 45 blocks, 67 loads, 8 stores`. Instructions alone cost nothing:
//! `blocks=false` and `memory=false` leave the others out.

use plugin_api::{FlushReason, abi, prelude::*};

/// The plugin.
pub struct InsnCount {
    /// What is counted, in the order of the line.
    counters: Vec<(Counter, &'static str)>,
    pid: u32,
    output: Output,
    written: bool,
}

impl Plugin for InsnCount {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        let events = reg.no_regs();
        events.guest_ready(|this, cpu| this.pid = cpu.pid())?;
        events.process_fork(|this, _, fork| {
            if fork.side == abi::fork_side::CHILD {
                this.pid = fork.child;
                this.restart();
            }
        })?;
        let mut counters = vec![(reg.counter(CounterKind::Insns)?, "instructions")];
        if args.bool("blocks") {
            counters.push((reg.counter(CounterKind::Blocks)?, "blocks"));
        }
        if args.bool("memory") {
            counters.push((reg.counter(CounterKind::Loads)?, "loads"));
            counters.push((reg.counter(CounterKind::Stores)?, "stores"));
        }
        Ok(InsnCount { counters, pid: 0, output: reg.output(args.path("output"))?, written: false })
    }

    fn flush(&mut self, reason: FlushReason) {
        if reason == FlushReason::Fatal {
            self.report();
        }
    }

    fn uninit(&mut self) {
        self.report();
    }
}

impl InsnCount {
    /// What was counted before a fork is the parent's.
    fn restart(&mut self) {
        for (counter, _) in &self.counters {
            counter.set(0);
        }
    }

    fn report(&mut self) {
        if core::mem::replace(&mut self.written, true) {
            return;
        }
        let counts: Vec<_> =
            self.counters.iter().map(|(c, of)| format!("{} {of}", c.get())).collect();
        let text = format!("pid {}: {}", self.pid, counts.join(", "));
        tracing::info!("{text}");
        writeln!(self.output, "{text}");
    }
}

export_plugin! {
    InsnCount,
    name: "insncount",
    about: "Counts instructions, blocks, loads and stores",
    args: [
        Arg::path("output", "file to write").default("insncount.txt"),
        Arg::bool("blocks", "count basic blocks").default("true"),
        Arg::bool("memory", "count loads and stores").default("true"),
    ]
}

#[cfg(test)]
mod tests;
