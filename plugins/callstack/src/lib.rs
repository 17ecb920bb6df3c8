//! Follows calls and returns on every guest thread, and tells other plugins who called the running function.
//!
//! It writes nothing. Plugins that need it list the service `panda.callstack/1`, which makes the host load it;
//! in Rust they use `plugin_api::CallStack`, in C `panda_callstack.h`.
//!
//! Only call instructions cost anything, and return instructions once somebody listens to returns.

mod insn;
mod service;
mod stacks;
mod table;

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use plugin_api::abi::{arch, fork_side};
use plugin_api::{AddrMap, prelude::*};

use service::Calls;

/// The plugin.
pub struct CallStackPlugin {
    shared: Rc<Shared>,
}

/// What callbacks and the table's functions both use.
struct Shared {
    reg: Registrar<CallStackPlugin>,
    calls: Calls,
    sp: Reg,
    following_returns: Cell<bool>,
    /// Where return instructions are, when they are followed.
    returns: RefCell<AddrMap<u64, ()>>,
}

impl Plugin for CallStackPlugin {
    fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
        if !matches!(reg.arch(), arch::I386 | arch::X86_64) {
            return Err("calls are known only of x86 guests".into());
        }
        let shared = Rc::new(Shared {
            reg: reg.clone(),
            calls: Calls::default(),
            sp: reg.reg(if reg.word_size() == 8 { "rsp" } else { "esp" })?,
            following_returns: Cell::new(false),
            returns: RefCell::default(),
        });
        reg.no_regs().insn_translate(|_, _, insn| insn::is_call(insn.bytes))?;
        reg.after_insn_exec(|this, cpu, pc| this.shared.after(cpu, pc))?;
        let none = reg.no_regs();
        none.thread_exit(|this, _, thread| this.shared.calls.forget(Some(thread.tid)))?;
        none.process_exec(|this, _, _| this.shared.calls.forget(None))?;
        reg.process_fork(|this, cpu, fork| {
            if fork.side == fork_side::CHILD {
                this.shared.calls.forked(fork.child, cpu.sp());
            }
        })?;
        reg.provide_service(shared.clone(), table::table)?;
        Ok(CallStackPlugin { shared })
    }
}

impl Shared {
    /// Whether the asking plugin's callback may read registers, without which the stack is not known.
    fn reads_registers(&self, cpu: &Cpu<'_>) -> bool {
        cpu.sp() != 0 || cpu.reg(self.sp).is_ok()
    }

    /// After a call, or a return if these are followed.
    fn after(&self, cpu: &mut Cpu<'_>, pc: u64) {
        if self.following_returns.get() && self.returns.borrow().contains_key(&pc) {
            if self.calls.follows_returns() {
                self.calls.returned(cpu);
            }
        } else {
            self.calls.called(cpu, pc);
        }
    }

    /// Asks for return instructions, too; whether that was possible.
    fn follow_returns(&self) -> bool {
        if self.following_returns.get() {
            return true;
        }
        let asked = self.reg.no_regs().insn_translate(|this, _, insn| {
            let yes = insn::is_return(insn.bytes);
            let mut returns = this.shared.returns.borrow_mut();
            // The code at an address may change.
            if yes {
                returns.insert(insn.pc, ());
            } else {
                returns.remove(&insn.pc);
            }
            yes
        });
        self.following_returns.set(asked.is_ok());
        asked.is_ok()
    }
}

export_plugin! {
    CallStackPlugin,
    name: "callstack",
    about: "Tells other plugins who called the running function"
}

#[cfg(test)]
mod tests;
