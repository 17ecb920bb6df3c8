//! System calls made without leaving generated code.
//!
//! A call that is passed to the host as it is needs nothing of the engine's loop or the process. Generated
//! code asks here first ([`Kernel`]); what this declines is a trap and takes the long way.

use core::cell::Cell;

use emu_cpu::{CpuHeader, Kernel, no_kernel};
use emu_engine::Shared;
use emu_x86::X86Cpu;
use emu_x86::state::gpr;
use plugin_api::abi::kind;

use crate::seccomp::Confinement;
use crate::sys::pass::Guest;
use crate::sys::plain::Plain;
use crate::sys::{host_call, interrupted, table};
use crate::{Abi, Errno, Process};

thread_local! {
    /// How a call made here ended that has to be finished the long way.
    static LEFT: Cell<Option<Errno>> = const { Cell::new(None) };
}

impl Process {
    /// What makes calls of the current thread in place.
    pub(crate) fn kernel(&mut self) -> Kernel {
        let free = matches!(self.thread().confinement, Confinement::Free);
        match self.abi {
            Abi::X86_64 if free && self.threads.len() == 1 => alone,
            Abi::X86_64 if free => among_others,
            _ => no_kernel,
        }
    }
}

/// The result of the call that the trap at hand stands for, if it has been made already.
pub fn take_left() -> Option<Errno> {
    LEFT.take()
}

/// The [`Kernel`] of a process with one thread.
///
/// # Safety
/// As [`make`].
unsafe extern "sysv64" fn alone(cpu: *mut CpuHeader) -> bool {
    // SAFETY: the caller's promise.
    unsafe { make(cpu, true) }
}

/// The [`Kernel`] of a process with several threads, of which none may wait on the run thread.
///
/// # Safety
/// As [`make`].
unsafe extern "sysv64" fn among_others(cpu: *mut CpuHeader) -> bool {
    // SAFETY: the caller's promise.
    unsafe { make(cpu, false) }
}

/// Makes the call, if it is passed to the host as it is and nobody watches calls.
///
/// # Safety
/// `cpu` is the header of an [`X86Cpu`] that an engine runs, which has just executed `syscall`.
unsafe fn make(cpu: *mut CpuHeader, may_block: bool) -> bool {
    // SAFETY: the caller's promise; generated code uses nothing of the structure meanwhile.
    let (cpu, shared) = unsafe { (&mut *cpu.cast::<X86Cpu>(), Shared::of(cpu)) };
    let number = cpu.gpr[gpr::RAX];
    let Some(plain) = Plain::of(Abi::X86_64, number) else { return false };
    if plain.may_block && !may_block
        || shared.wants_either(kind::SYSCALL_ENTER, kind::SYSCALL_RETURN)
    {
        return false;
    }
    let mut args = [0; 6];
    if !plain.prepare(&registers(cpu), &mut args, &mut Caller(shared)) {
        return false;
    }
    cpu.gpr[gpr::RAX] = match host_call::syscall(plain.number.into(), &args, plain.may_block) {
        Ok(value) => value,
        Err(Errno::EINTR) => {
            LEFT.set(table::lookup(Abi::X86_64, number).map(|row| interrupted(row, Errno::EINTR)));
            return false;
        }
        Err(e) if e.restarts() => {
            LEFT.set(Some(e));
            return false;
        }
        Err(e) => e.value() as u64,
    };
    true
}

/// The argument registers of a 64-bit call.
#[inline]
pub fn registers(cpu: &X86Cpu) -> [u64; 6] {
    let g = &cpu.gpr;
    [g[gpr::RDI], g[gpr::RSI], g[gpr::RDX], g[10], g[8], g[9]]
}

/// A 64-bit guest, as far as its calls can be made here.
struct Caller<'a>(&'a Shared);

impl Guest for Caller<'_> {
    fn abi(&self) -> Abi {
        Abi::X86_64
    }

    fn prepare_write(&mut self, addr: u64, len: u64) -> Result<(), Errno> {
        self.check_range(addr, len)?;
        if len != 0 && addr != 0 {
            self.0.release_code(addr, addr + len);
        }
        Ok(())
    }

    fn tid(&mut self) -> Option<u64> {
        None
    }
}
