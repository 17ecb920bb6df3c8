//! The engine as the personality sees it.

use emu_cpu::{CpuHeader, Trap};
use emu_engine::Slice;
use emu_mem::AddressSpace;

use crate::{Abi, Event};

/// Why the engine returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The guest needs the kernel: a system call or a fault.
    Trap(Trap),
    /// The budget is used up.
    Budget,
    /// A host signal handler asked for attention.
    Interrupted,
    /// Somebody (a plugin, the user) asked the run to end.
    Requested,
}

/// What the personality needs of an engine.
pub trait Machine {
    /// The guest's address space.
    fn space(&self) -> std::cell::RefMut<'_, AddressSpace>;
    /// Runs guest code on `cpu` until something needs the personality or the slice ends.
    fn run(&mut self, cpu: &mut emu_x86::X86Cpu, slice: Slice) -> Stop;
    /// Guest instructions that all threads have run so far.
    fn retired(&self) -> u64;
    /// Whether anybody wants [`Event::SyscallEnter`] or [`Event::SyscallReturn`]: others are not
    /// made.
    fn watches_calls(&self) -> bool;
    /// Forgets translations of `start..end`: the code there changed or went away. Called before
    /// the space's record of the range changes.
    fn invalidate(&mut self, start: u64, end: u64);
    /// Makes watched code pages in `start..end` writable again, dropping their translations. Called
    /// before a host system call writes there.
    fn release_code(&mut self, start: u64, end: u64);
    /// The guest is now of another architecture; nothing of the old one is translated any more.
    fn set_abi(&mut self, abi: Abi);
    /// Somebody asked for attention ([`crate::attention`]) while no guest code runs. True when the
    /// run is to end.
    fn attend(&mut self, _cpu: &mut emu_x86::X86Cpu) -> bool {
        false
    }
    /// Tells the watchers what happened.
    fn event(&mut self, cpu: &mut emu_x86::X86Cpu, event: &Event<'_>);
}

/// A CPU's header as the raw pointer engines take: it may be used to reach the whole structure.
pub fn header(cpu: &mut emu_x86::X86Cpu) -> *mut CpuHeader {
    (cpu as *mut emu_x86::X86Cpu).cast()
}
