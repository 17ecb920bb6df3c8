//! Uses the core table, every table of the host, arguments and eight kinds of callbacks of API 1.0.

use plugin_api::prelude::*;
use plugin_api::GuestExit;

struct Frozen {
    out: Output,
    rax: Reg,
    in_blocks: u64,
    insns: Counter,
    stores: Counter,
}

impl Plugin for Frozen {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        let none = reg.no_regs();
        none.insn_translate(|_, _, insn| insn.bytes == [0x0f, 0x05])?;
        reg.insn_exec(|this, cpu, pc| {
            let number = cpu.reg(this.rax).unwrap_or(0);
            let (right_pc, one_thread) = (u8::from(cpu.pc() == pc), u8::from(cpu.pid() == cpu.tid()));
            let retired = cpu.retired();
            writeln!(this.out, "insn {right_pc} 0 {number} pc {one_thread} retired {retired}");
        })?;
        let store = none.virt_mem_after_write(|this, cpu, access| {
            let mut again = [0; 8];
            let status = u8::from(cpu.read_mem(access.addr, &mut again[..access.data.len().min(8)]).is_err());
            writeln!(this.out, "store {} {} {status} {}", access.size, access.data[0], again[0]);
        })?;
        none.before_block_exec(|this, _, block| this.in_blocks += u64::from(block.insn_count))?;
        none.syscall_enter(|this, cpu, call| {
            let name = cpu.syscall_name(call.abi, call.number).unwrap_or_default();
            writeln!(this.out, "{name}({})", call.args[0]);
        })?;
        none.monitor(|_, cpu, text| {
            let mine = text == "frozen";
            if mine {
                cpu.reply("still here");
            }
            mine
        })?;
        none.guest_ready(|this, _| writeln!(this.out, "ready"))?;
        none.guest_exit(|this, _, exit| {
            let (kind, code) = match exit {
                GuestExit::Exited(code) => (0, code),
                GuestExit::Signaled(code) => (1, code),
                GuestExit::Stopped(code) => (2, code),
                GuestExit::Other(kind, code) => (kind, code),
            };
            let (blocks, insns, stores) = (this.in_blocks, this.insns.get(), this.stores.get());
            writeln!(this.out, "exit {kind} {code}, {blocks} in blocks, {insns} insns, {stores} stores");
        })?;
        reg.disable(store)?;
        reg.enable(store)?;
        let mut out = reg.output("frozen_rust.txt")?;
        writeln!(out, "number {} {}", args.u64("number"), u8::from(args.given("number")));
        let choice = u8::from(args.str("choice") == "second");
        writeln!(out, "choice {choice} {}", u8::from(args.given("choice")));
        tracing::info!("frozen Rust plugin of API 1.0");
        Ok(Frozen {
            out,
            rax: reg.reg("rax")?,
            in_blocks: 0,
            insns: reg.counter(CounterKind::Insns)?,
            stores: reg.counter(CounterKind::Stores)?,
        })
    }

    fn uninit(&mut self) {
        writeln!(self.out, "end");
    }
}

export_plugin! {
    Frozen,
    name: "frozen_rust",
    about: "Built once against API 1.0, in Rust",
    args: [
        Arg::u64("number", "a number").default("7"),
        Arg::choice("choice", "a choice", &[Str::new("first"), Str::new("second")]).default("second"),
    ]
}
