//! Starting and ending to watch, and what changes labels besides instructions.

use plugin_api::abi::{fork_side, syscall_entry};
use plugin_api::{ForkInfo, Signal, Subscription, ThreadInfo, prelude::*};

use crate::TaintCap;
use crate::kernel;
use crate::registers::Registers;

/// More handlers within handlers than these are those that were left by `siglongjmp`.
const INTERRUPTED: usize = 32;

impl TaintCap {
    /// Begins to watch every instruction that moves data.
    pub(crate) fn watch(&self) -> Result<Vec<Subscription>, Error> {
        let reg = &self.reg;
        let none = reg.no_regs();
        Ok(vec![
            none.insn_translate(|this, _, insn| this.translated(insn))?,
            reg.insn_exec(Self::execute)?,
            none.syscall_enter(Self::entered)?,
            none.syscall_return(Self::returned)?,
            none.signal_delivered(|this, _, signal| this.interrupted(signal))?,
            none.thread_exit(|this, _, thread| this.ended(thread))?,
            none.process_fork(|this, cpu, fork| this.forked(cpu, fork))?,
            none.process_exec(|this, _, _| this.forget())?,
        ])
    }

    /// Ends watching if no thread's registers have labels; memory has none.
    pub(crate) fn rest(&mut self) {
        if !self.threads.waiting.is_empty() || !self.threads.interrupted.is_empty() {
            return;
        }
        for subscription in self.watching.drain(..) {
            if let Err(e) = self.reg.unsubscribe(subscription) {
                tracing::warn!("watching does not end: {e}");
            }
        }
        self.recipes.clear();
    }

    fn entered(&mut self, cpu: &mut Cpu<'_>, call: &SyscallInfo) {
        self.switch_to(call.tid);
        let name = cpu.syscall_name(call.abi, call.number);
        if matches!(name.as_deref(), Some("rt_sigreturn" | "sigreturn"))
            && let Some(stack) = self.threads.interrupted.get_mut(&call.tid)
        {
            self.registers = stack.pop().unwrap_or_default();
            if stack.is_empty() {
                self.threads.interrupted.remove(&call.tid);
            }
        }
    }

    fn returned(&mut self, cpu: &mut Cpu<'_>, call: &SyscallInfo, result: i64) {
        self.switch_to(call.tid);
        self.clear_general(0);
        if call.entry == syscall_entry::SYSCALL {
            self.clear_general(1);
            self.clear_general(11);
        }
        kernel::returned(&mut self.memory, cpu, call, result);
    }

    fn interrupted(&mut self, signal: &Signal) {
        if signal.handler.is_none() {
            return;
        }
        self.switch_to(signal.tid);
        // The handler's arguments are the kernel's.
        let before = self.registers.clone();
        for argument in [0, 1, 2, 6, 7] {
            self.clear_general(argument);
        }
        let stack = self.threads.interrupted.entry(signal.tid).or_default();
        if stack.len() == INTERRUPTED {
            stack.remove(0);
        }
        stack.push(before);
    }

    fn ended(&mut self, thread: &ThreadInfo) {
        self.threads.waiting.remove(&thread.tid);
        self.threads.interrupted.remove(&thread.tid);
        if self.tid == thread.tid {
            self.registers = Registers::default();
        }
    }

    /// In the child, the thread that forked is the only one, under another id.
    fn forked(&mut self, cpu: &mut Cpu<'_>, fork: &ForkInfo) {
        if fork.side == fork_side::CHILD {
            let interrupted = self.threads.interrupted.remove(&self.tid);
            self.threads.waiting.clear();
            self.threads.interrupted.clear();
            self.tid = cpu.tid();
            if let Some(stack) = interrupted {
                self.threads.interrupted.insert(self.tid, stack);
            }
        }
    }

    /// The program is another one.
    fn forget(&mut self) {
        self.memory = Default::default();
        self.registers = Registers::default();
        self.threads = Default::default();
        self.rest();
    }
}
