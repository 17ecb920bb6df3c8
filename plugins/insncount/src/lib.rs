//! Counts instructions, blocks, loads and stores, with counters that generated code adds to: no
//! callback runs for any of them.
//!
//! One line for each process of the guest, when it ends:
//! `pid 7: 123 instructions, 45 blocks, 67 loads, 8 stores`.

use plugin_api::{FlushReason, abi, prelude::*};

/// The plugin.
pub struct InsnCount {
    insns: Counter,
    blocks: Counter,
    loads: Counter,
    stores: Counter,
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
        Ok(InsnCount {
            insns: reg.counter(CounterKind::Insns)?,
            blocks: reg.counter(CounterKind::Blocks)?,
            loads: reg.counter(CounterKind::Loads)?,
            stores: reg.counter(CounterKind::Stores)?,
            pid: 0,
            output: reg.output(args.path("output"))?,
            written: false,
        })
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
        for counter in [&self.insns, &self.blocks, &self.loads, &self.stores] {
            counter.set(0);
        }
    }

    fn report(&mut self) {
        if core::mem::replace(&mut self.written, true) {
            return;
        }
        let text = format!(
            "pid {}: {} instructions, {} blocks, {} loads, {} stores",
            self.pid,
            self.insns.get(),
            self.blocks.get(),
            self.loads.get(),
            self.stores.get()
        );
        tracing::info!("{text}");
        writeln!(self.output, "{text}");
    }
}

export_plugin! {
    InsnCount,
    name: "insncount",
    about: "Counts instructions, blocks, loads and stores",
    args: [Arg::path("output", "file to write").default("insncount.txt")]
}

#[cfg(test)]
mod tests;
