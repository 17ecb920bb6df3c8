//! The JSON format: one object per call, written when the call returns.
//!
//! ```json
//! {"pid":7,"tid":7,"pc":"0x401000","number":1,"name":"write","args":["0x1","0x402000","0x5"],"result":5}
//! ```
//! A call that never returns (`exit_group`, a successful `execve`) has the result `null`.

use std::collections::BTreeMap;

use plugin_api::prelude::*;

use crate::Syscalls;

/// Calls that have not returned, by thread, with the name.
pub type Calls = BTreeMap<u32, (SyscallInfo, String)>;

impl Syscalls {
    /// Subscribes to calls and their returns.
    pub(crate) fn watch_calls(reg: &Registrar<Self>) -> Result<(), Error> {
        let reg = reg.no_regs();
        reg.syscall_enter(|this, cpu, call| {
            if let Some((old, name)) = this.calls.remove(&call.tid) {
                this.write_call(&old, &name, None);
            }
            let name = name_of(cpu, call);
            if this.filter.wants(call.number, &name) {
                this.calls.insert(call.tid, (*call, name));
            }
        })?;
        reg.syscall_return(|this, cpu, call, result| {
            this.calls.remove(&call.tid);
            let name = name_of(cpu, call);
            if this.filter.wants(call.number, &name) {
                this.write_call(call, &name, Some(result));
            }
        })?;
        reg.process_fork(|this, _, fork| {
            if fork.side == plugin_api::abi::fork_side::CHILD {
                // These calls are the parent's.
                this.calls.clear();
            }
        })?;
        Ok(())
    }

    /// Writes the calls that will never return.
    pub(crate) fn finish_calls(&mut self) {
        for (call, name) in core::mem::take(&mut self.calls).into_values() {
            self.write_call(&call, &name, None);
        }
    }

    fn write_call(&mut self, call: &SyscallInfo, name: &str, result: Option<i64>) {
        // The host may not know how many arguments a call has; no Linux call has more than six.
        let count = if call.arg_count == u32::MAX { 6 } else { call.arg_count.min(8) };
        let args: Vec<String> =
            call.args[..count as usize].iter().map(|a| format!("\"{a:#x}\"")).collect();
        let result = result.map_or("null".to_owned(), |r| r.to_string());
        writeln!(
            self.log,
            "{{\"pid\":{},\"tid\":{},\"pc\":\"{:#x}\",\"number\":{},\"name\":\"{name}\",\"args\":[{}],\
             \"result\":{result}}}",
            call.pid,
            call.tid,
            call.pc,
            call.number,
            args.join(",")
        );
    }
}

fn name_of(cpu: &Cpu<'_>, call: &SyscallInfo) -> String {
    cpu.syscall_name(call.abi, call.number).map_or("unknown".to_owned(), |n| n.into_owned())
}
