//! The run loop: guest code, system calls, faults, signals, until the process ends.

use emu_cpu::Trap;
use emu_ir::TrapKind;
use emu_mem::access;
use emu_x86::state::gpr;

use crate::sched::Call;
use crate::seccomp::Confinement;
use crate::signal::{deliver, host};
use crate::thread::Interrupted;
use crate::{Abi, Errno, Event, ExitStatus, Machine, Process, Stop, SysResult, load, sys, trap};

impl Process {
    /// Runs the guest to its end. The caller ends the host process accordingly:
    /// [`end_host_process`].
    pub fn run(&mut self, m: &mut dyn Machine) -> ExitStatus {
        load::announce(self, m);
        let tid = self.thread().tid;
        self.emit(m, &Event::ThreadStart { tid });
        let mut slice_over = false;
        let status = loop {
            if let Some(status) = self.exit {
                break status;
            }
            if self.thread().wait.is_none() && deliver::is_due(self) {
                deliver::deliver(self, m);
                continue;
            }
            if !self.schedule(m, core::mem::take(&mut slice_over)) {
                self.attend(m);
                continue;
            }
            if deliver::is_due(self) {
                continue;
            }
            let stop = self.run_guest(m);
            match stop {
                Stop::Trap(t) => self.on_trap(m, &t),
                Stop::Budget => slice_over = true,
                Stop::Interrupted => {}
                Stop::Requested => self.exit = Some(ExitStatus::Stopped),
            }
        };
        for i in 0..self.threads.len() {
            self.current = i;
            let tid = self.thread().tid;
            self.emit(m, &Event::ThreadExit { tid });
        }
        self.emit(m, &Event::Exit { status });
        status
    }

    fn on_trap(&mut self, m: &mut dyn Machine, t: &Trap) {
        match (t.kind, self.abi) {
            (TrapKind::Syscall, Abi::X86_64) => self.call64(m),
            (TrapKind::Int80, _) => self.call_int80(m),
            (TrapKind::Sysenter, Abi::I386) => self.call_sysenter(m),
            _ => trap::raise(self, m, t),
        }
    }

    /// `syscall` of a 64-bit guest: arguments in rdi rsi rdx r10 r8 r9.
    fn call64(&mut self, m: &mut dyn Machine) {
        let cpu = self.cpu();
        let call = Call {
            abi: Abi::X86_64,
            pc: cpu.hdr.pc,
            number: cpu.gpr[gpr::RAX],
            registers: sys::inline::registers(cpu),
        };
        self.call_or_left(m, &call);
    }

    /// Makes a call, or finishes it if generated code has had it made.
    fn call_or_left(&mut self, m: &mut dyn Machine, call: &Call) {
        match sys::inline::take_left() {
            Some(e) => self.complete(m, call, Err(e)),
            None => self.call(m, call),
        }
    }

    /// `int 0x80`: arguments in ebx ecx edx esi edi ebp.
    fn call_int80(&mut self, m: &mut dyn Machine) {
        let cpu = self.cpu();
        let call = Call {
            abi: Abi::I386,
            pc: cpu.hdr.pc,
            number: u64::from(cpu.gpr[gpr::RAX] as u32),
            registers: sys::inline::narrow_registers(cpu),
        };
        self.call_or_left(m, &call);
    }

    /// `sysenter`: as `int 0x80`, but ebp points to the sixth argument and the guest resumes at the
    /// vDSO's landing pad.
    fn call_sysenter(&mut self, m: &mut dyn Machine) {
        let landing = self.layout.sysenter_return;
        let cpu = self.cpu();
        let sp = cpu.gpr[gpr::RBP];
        cpu.gpr[gpr::RSP] = sp;
        cpu.hdr.pc = landing;
        match access::load::<u32>(sp) {
            Ok(arg6) => {
                cpu.gpr[gpr::RBP] = u64::from(arg6);
                self.call_int80(m);
            }
            Err(_) => cpu.gpr[gpr::RAX] = deliver::result_word(Abi::I386, Errno::EFAULT.value()),
        }
    }

    /// Takes the call by reference throughout: words just written are slow to copy.
    fn call(&mut self, m: &mut dyn Machine, call: &Call) {
        let &Call { abi, pc, number, .. } = call;
        if m.watches_calls() {
            self.emit(m, &Event::SyscallEnter { abi, pc, number, args: call.registers });
        }
        let judged = match self.thread().confinement {
            Confinement::Free => None,
            _ => sys::seccomp::judge(self, m, call),
        };
        let result = judged.unwrap_or_else(|| sys::dispatch(self, m, abi, number, &call.registers));
        self.complete(m, call, result);
    }

    /// Brings a call's result to the current thread, which made it.
    pub(crate) fn complete(&mut self, m: &mut dyn Machine, call: &Call, result: SysResult) {
        let &Call { abi, pc, number, .. } = call;
        if !matches!(result, Err(Errno::PARKED | Errno::THREAD_GONE)) {
            self.thread().signals.awaited = 0;
        }
        let result = match result {
            Err(Errno::PARKED) => {
                self.thread().call = Some(*call);
                self.end_turn();
                return;
            }
            Err(Errno::THREAD_GONE) => return,
            Ok(value) => value as i64,
            Err(Errno::REGISTERS_SET) => {
                // sigreturn and execve: the register says what the guest will see.
                let result = self.cpu().gpr[gpr::RAX] as i64;
                if self.exit.is_none() {
                    let args = call.registers;
                    self.emit(m, &Event::SyscallReturn { abi, pc, number, args, result });
                }
                return;
            }
            Err(e) => {
                if e.restarts() {
                    self.thread().interrupted = Some(Interrupted { errno: e, number });
                }
                e.value()
            }
        };
        if self.exit.is_some() {
            return;
        }
        // A 64-bit guest's `int 0x80` returns a sign-extended value.
        self.cpu().gpr[gpr::RAX] = deliver::result_word(self.abi, sign_extended(abi, result));
        if m.watches_calls() {
            let args = call.registers;
            self.emit(m, &Event::SyscallReturn { abi, pc, number, args, result });
        }
    }
}

/// A call's result as a 64-bit number: that of the i386 ABI is 32 bits wide.
fn sign_extended(abi: Abi, result: i64) -> i64 {
    match abi {
        Abi::X86_64 => result,
        Abi::I386 => i64::from(result as i32),
    }
}

/// Ends the host process as the guest ended: with its exit status, or by the same signal. Call it
/// when everything that must be written is written.
pub fn end_host_process(status: ExitStatus, stopped_code: i32) -> ! {
    let code = match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal { signal, .. } => {
            host::die(signal);
            128 + signal
        }
        ExitStatus::Stopped => stopped_code,
    };
    std::process::exit(code & 0xff)
}
