//! System calls made without leaving generated code.
//!
//! A call that is passed to the host as it is needs nothing of the engine's loop or the process. Generated
//! code asks here first ([`Kernel`]); what this declines is a trap and takes the long way.

use core::cell::Cell;

use emu_cpu::{CpuHeader, Kernel, no_kernel};
use emu_engine::Shared;
use emu_ir::TrapKind;
use emu_mem::access;
use emu_x86::X86Cpu;
use emu_x86::state::gpr;
use plugin_api::abi::kind;

use crate::seccomp::Confinement;
use crate::signal::deliver::result_word;
use crate::sys::pass::Guest;
use crate::sys::plain::Plain;
use crate::sys::{host_call, interrupted, table};
use crate::{Abi, Errno, Process};

thread_local! {
    /// How a call made here ended that has to be finished the long way.
    static LEFT: Cell<Option<Errno>> = const { Cell::new(None) };
    /// Where a `sysenter` of the process resumes.
    static LANDING: Cell<u64> = const { Cell::new(0) };
}

impl Process {
    /// What makes calls of the current thread in place.
    pub(crate) fn kernel(&mut self) -> Kernel {
        LANDING.set(self.layout.sysenter_return);
        if !matches!(self.thread().confinement, Confinement::Free) {
            return no_kernel;
        }
        match (self.abi, self.threads.len()) {
            (Abi::X86_64, 1) => wide_alone,
            (Abi::X86_64, _) => wide_among_others,
            (Abi::I386, 1) => narrow_alone,
            (Abi::I386, _) => narrow_among_others,
        }
    }
}

/// The result of the call that the trap at hand stands for, if it has been made already.
pub fn take_left() -> Option<Errno> {
    LEFT.take()
}

/// The [`Kernel`] of a 64-bit process with one thread.
///
/// # Safety
/// As [`make_wide`].
unsafe extern "sysv64" fn wide_alone(cpu: *mut CpuHeader, trap: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { make_wide(cpu, trap, true) }
}

/// The [`Kernel`] of one with several threads, of which none may wait on the run thread.
///
/// # Safety
/// As [`make_wide`].
unsafe extern "sysv64" fn wide_among_others(cpu: *mut CpuHeader, trap: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { make_wide(cpu, trap, false) }
}

/// The [`Kernel`] of a 32-bit process with one thread.
///
/// # Safety
/// As [`make_narrow`].
unsafe extern "sysv64" fn narrow_alone(cpu: *mut CpuHeader, trap: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { make_narrow(cpu, trap, true) }
}

/// The [`Kernel`] of one with several threads.
///
/// # Safety
/// As [`make_narrow`].
unsafe extern "sysv64" fn narrow_among_others(cpu: *mut CpuHeader, trap: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { make_narrow(cpu, trap, false) }
}

/// Makes a 64-bit process's call.
///
/// # Safety
/// `cpu` is the header of an [`X86Cpu`] that an engine runs, which has just executed an instruction for system
/// calls.
unsafe fn make_wide(cpu: *mut CpuHeader, trap: u64, may_block: bool) -> bool {
    if trap != TrapKind::Syscall as u64 {
        return false;
    }
    // SAFETY: the caller's promise; generated code uses nothing of the structure meanwhile.
    let (cpu, shared) = unsafe { (&mut *cpu.cast::<X86Cpu>(), Shared::of(cpu)) };
    let caller = Caller { abi: Abi::X86_64, shared, may_block };
    let Some(result) = caller.call(cpu.gpr[gpr::RAX], &registers(cpu)) else { return false };
    cpu.gpr[gpr::RAX] = result as u64;
    true
}

/// Makes a 32-bit process's call.
///
/// # Safety
/// As [`make_wide`].
unsafe fn make_narrow(cpu: *mut CpuHeader, trap: u64, may_block: bool) -> bool {
    // SAFETY: the caller's promise; generated code uses nothing of the structure meanwhile.
    let (cpu, shared) = unsafe { (&mut *cpu.cast::<X86Cpu>(), Shared::of(cpu)) };
    let mut registers = narrow_registers(cpu);
    let sp = registers[5];
    let enters = trap == TrapKind::Sysenter as u64;
    if enters {
        let Ok(sixth) = access::load::<u32>(sp) else { return false };
        registers[5] = sixth.into();
    }
    let caller = Caller { abi: Abi::I386, shared, may_block };
    let Some(result) = caller.call(cpu.gpr[gpr::RAX] as u32 as u64, &registers) else {
        return false;
    };
    cpu.gpr[gpr::RAX] = result_word(Abi::I386, result);
    if enters {
        (cpu.gpr[gpr::RSP], cpu.gpr[gpr::RBP]) = (sp, registers[5]);
        cpu.hdr.pc = LANDING.get();
    }
    true
}

/// The argument registers of a 64-bit call.
#[inline]
pub fn registers(cpu: &X86Cpu) -> [u64; 6] {
    let g = &cpu.gpr;
    [g[gpr::RDI], g[gpr::RSI], g[gpr::RDX], g[10], g[8], g[9]]
}

/// The argument registers of a 32-bit call.
#[inline]
pub fn narrow_registers(cpu: &X86Cpu) -> [u64; 6] {
    let word = |r: usize| u64::from(cpu.gpr[r] as u32);
    [gpr::RBX, gpr::RCX, gpr::RDX, gpr::RSI, gpr::RDI, gpr::RBP].map(word)
}

/// A guest, as far as its calls can be made here.
struct Caller<'a> {
    abi: Abi,
    shared: &'a Shared,
    /// Nobody else waits meanwhile.
    may_block: bool,
}

impl Caller<'_> {
    /// Makes the call, if it is passed to the host as it is and nobody watches calls: its result.
    #[inline(always)]
    fn call(mut self, number: u64, registers: &[u64; 6]) -> Option<i64> {
        let plain = Plain::of(self.abi, number)?;
        if plain.may_block && !self.may_block
            || self.shared.wants_either(kind::SYSCALL_ENTER, kind::SYSCALL_RETURN)
        {
            return None;
        }
        let mut args = [0; 6];
        if !plain.prepare(registers, &mut args, &mut self) {
            return None;
        }
        match host_call::syscall(plain.number.into(), &args, plain.may_block) {
            Ok(value) => Some(value as i64),
            Err(e) if e == Errno::EINTR || e.restarts() => {
                let row = table::lookup(self.abi, number)?;
                LEFT.set(Some(interrupted(row, e)));
                None
            }
            Err(e) => Some(e.value()),
        }
    }
}

impl Guest for Caller<'_> {
    fn abi(&self) -> Abi {
        self.abi
    }

    fn prepare_write(&mut self, addr: u64, len: u64) -> Result<(), Errno> {
        self.check_range(addr, len)?;
        if len != 0 && addr != 0 {
            self.shared.release_code(addr, addr + len);
        }
        Ok(())
    }

    fn tid(&mut self) -> Option<u64> {
        None
    }
}
