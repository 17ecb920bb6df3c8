//! Shows every kind of callback: a starting point for plugins of your own.
//!
//! As PANDA's sample does, it writes a line before and after each block to `sample_tblog.txt`, answers
//! the hypercall with 0xdeadbeef in EAX, and the monitor commands `help` and `sample_foo`. At the
//! end it logs how often each callback came.

use std::collections::BTreeMap;

use plugin_api::{BlockExit, Exec, ForkInfo, GuestExit, Module, Signal, ThreadInfo, prelude::*};

/// The plugin.
pub struct Sample {
    blocks: Output,
    /// The block that ran last, until it is known which one follows.
    last_block: Option<u64>,
    begin_at: u64,
    exit_at: u64,
    accumulator: Reg,
    count: BTreeMap<&'static str, u64>,
}

impl Plugin for Sample {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        let accumulator = if reg.word_size() == 8 { "rax" } else { "eax" };

        reg.before_block_exec(Self::before_block)?;
        reg.after_block_exec(Self::after_block)?;
        reg.guest_hypercall(Self::hypercall)?;
        reg.monitor(Self::monitor)?;

        // These read no registers, and say so.
        let reg_none = reg.no_regs();
        reg_none.before_block_translate(|this, _, _| this.saw("before_block_translate"))?;
        reg_none.after_block_translate(|this, _, _: &BlockInfo| {
            this.saw("after_block_translate");
        })?;
        let user_insns = args.bool("insns");
        reg_none.insn_translate(move |this, cpu, _: &Insn<'_>| {
            this.saw("insn_translate");
            user_insns && !cpu.in_kernel()
        })?;
        reg_none.insn_exec(|this, _, pc| {
            this.saw("insn_exec");
            tracing::info!("User insn {pc:#x} executed.");
        })?;
        reg_none.after_insn_exec(|this, _, _| this.saw("after_insn_exec"))?;
        if args.bool("memory") {
            reg_none.virt_mem_before_read(|this, _, _| this.saw("virt_mem_before_read"))?;
            reg_none.virt_mem_after_read(|this, _, _| this.saw("virt_mem_after_read"))?;
            reg_none.virt_mem_before_write(|this, _, _| this.saw("virt_mem_before_write"))?;
            reg_none.virt_mem_after_write(|this, _, _: &MemAccess<'_>| {
                this.saw("virt_mem_after_write");
            })?;
        }
        reg_none.syscall_enter(|this, _, _: &SyscallInfo| this.saw("syscall_enter"))?;
        reg_none.syscall_return(|this, _, _, _result| this.saw("syscall_return"))?;
        reg_none.module_loaded(|this, _, module: &Module<'_>| {
            this.saw("module_loaded");
            tracing::debug!("{} at {:#x}", module.path, module.base);
        })?;
        reg_none.module_unloaded(|this, _, _| this.saw("module_unloaded"))?;
        reg_none.thread_start(|this, _, _: &ThreadInfo| this.saw("thread_start"))?;
        reg_none.thread_exit(|this, _, _| this.saw("thread_exit"))?;
        reg_none.process_fork(|this, _, _: &ForkInfo| this.saw("process_fork"))?;
        reg_none.process_exec(|this, _, exec: &Exec<'_>| {
            this.saw("process_exec");
            tracing::debug!("now runs {}", exec.path);
        })?;
        reg_none.signal_delivered(|this, _, signal: &Signal| {
            this.saw("signal_delivered");
            tracing::debug!("signal {}", signal.signo);
        })?;
        reg_none.guest_ready(|this, _| this.saw("guest_ready"))?;
        reg_none.guest_exit(|this, _, exit: GuestExit| {
            this.saw("guest_exit");
            tracing::debug!("{exit:?}");
        })?;

        Ok(Sample {
            blocks: reg.output(args.path("file"))?,
            last_block: None,
            begin_at: args.u64("begin_at"),
            exit_at: args.u64("exit_at"),
            accumulator: reg.reg(accumulator)?,
            count: BTreeMap::new(),
        })
    }

    fn uninit(&mut self) {
        if let Some(last) = self.last_block.take() {
            writeln!(self.blocks, "After TB {last:x}, CR3=0 next TB: 0");
        }
        for (callback, count) in &self.count {
            tracing::info!("{callback}: {count}");
        }
    }
}

impl Sample {
    fn saw(&mut self, callback: &'static str) {
        *self.count.entry(callback).or_default() += 1;
    }

    fn before_block(&mut self, cpu: &mut Cpu<'_>, block: &BlockInfo) {
        self.saw("before_block_exec");
        let space = cpu.address_space();
        if let Some(last) = self.last_block.take() {
            writeln!(self.blocks, "After TB {last:x}, CR3={space:x} next TB: {:x}", block.pc);
        }
        if self.exit_at != 0 && cpu.retired() >= self.exit_at {
            // Refused only where stopping is impossible; then the guest goes on.
            let _ = cpu.request_stop(0, "exit_at is reached");
        } else if cpu.retired() >= self.begin_at {
            writeln!(self.blocks, "Next TB: {:x}, CR3={space:x}", block.pc);
        }
    }

    fn after_block(&mut self, cpu: &mut Cpu<'_>, block: &BlockInfo, _: BlockExit) {
        self.saw("after_block_exec");
        if cpu.retired() >= self.begin_at {
            self.last_block = Some(block.pc);
        }
    }

    /// True tells the host that the hypercall was meant for this plugin.
    fn hypercall(&mut self, cpu: &mut Cpu<'_>) -> bool {
        self.saw("guest_hypercall");
        let ours = cpu.reg(self.accumulator).is_ok_and(|eax| eax & 0xffff_ffff == 0xdead_beef);
        if ours {
            tracing::info!("Hypercall called!");
        }
        ours
    }

    fn monitor(&mut self, cpu: &mut Cpu<'_>, command: &str) -> bool {
        self.saw("monitor");
        match command.trim() {
            "help" => cpu.reply("sample_foo: do the foo action"),
            "sample_foo" => cpu.reply("Doing the foo action"),
            _ => return false,
        }
        true
    }
}

export_plugin! {
    Sample,
    name: "sample",
    about: "Shows every kind of callback",
    args: [
        Arg::path("file", "log of executed blocks").default("sample_tblog.txt"),
        Arg::u64("begin_at", "log from this guest instruction on").default("0"),
        Arg::u64("exit_at", "stop the guest at this instruction (0: never)").default("0"),
        Arg::bool("insns", "log each instruction in user space").default("false"),
        Arg::bool("memory", "watch memory, too").default("false"),
    ]
}

#[cfg(test)]
mod tests;
