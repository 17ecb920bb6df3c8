//! Subscribes to one kind of event and counts how often it fires, so that the benchmark can say
//! what one costs. Writes `KIND COUNT` when the guest ends.

use plugin_api::prelude::*;

/// The plugin.
pub struct EventCost {
    kind: String,
    count: u64,
    output: Output,
}

impl Plugin for EventCost {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        let kind = args.str("kind").to_owned();
        let on = if args.bool("regs") { reg.clone() } else { reg.no_regs() };
        match kind.as_str() {
            "insn_exec" => {
                reg.insn_translate(|_, _, _| true)?;
                on.insn_exec(|this, _, _| this.count += 1)?;
            }
            "before_block_exec" => {
                on.before_block_exec(|this, _, _| this.count += 1)?;
            }
            "memory" => {
                on.virt_mem_after_read(|this, _, _| this.count += 1)?;
                on.virt_mem_after_write(|this, _, _| this.count += 1)?;
            }
            "syscall" => {
                on.syscall_enter(|this, _, _| this.count += 1)?;
            }
            other => return Err(Error::Message(format!("no kind {other}"))),
        }
        Ok(EventCost { kind, count: 0, output: reg.output("eventcost.txt")? })
    }

    fn uninit(&mut self) {
        writeln!(self.output, "{} {}", self.kind, self.count);
    }
}

export_plugin! {
    EventCost,
    name: "eventcost",
    about: "Counts the events of one kind, for benchmarks",
    args: [
        Arg::string("kind", "insn_exec, before_block_exec, memory or syscall").default("insn_exec"),
        Arg::bool("regs", "ask for registers in the callback").default("false"),
    ]
}
