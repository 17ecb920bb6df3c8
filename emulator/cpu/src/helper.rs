//! Helpers: instructions too complex for IR ops, as functions on the CPU structure.

use emu_ir::Effects;
use emu_mem::{MemFault, access};

use crate::{CpuHeader, MemWatch, X87Use};

/// A helper: gets the CPU structure and up to four arguments (0 where absent).
///
/// A helper that fails raises a trap in the header and returns; it must not have changed guest
/// state before (string instructions: exactly the part that completed). Helpers access guest
/// memory only through [`read_guest`] and [`write_guest`], or `emu_mem::access` plus a [`crate::Reporter`].
///
/// # Safety
/// The pointer is the header of a live CPU structure of the architecture the helper belongs to,
/// not otherwise borrowed.
pub type HelperFn = unsafe extern "C" fn(*mut CpuHeader, u64, u64, u64, u64) -> u64;

/// A row of an architecture's helper table; IR names helpers by row number.
#[derive(Clone, Copy, Debug)]
pub struct HelperDesc {
    /// Name in IR text.
    pub name: &'static str,
    /// The function.
    pub func: HelperFn,
    /// What it touches.
    pub effects: Effects,
    /// What it has to do with the guest's x87 state.
    pub x87: X87Use,
}

/// Reads guest memory for a helper and reports the access.
pub fn read_guest(cpu: &mut CpuHeader, addr: u64, buf: &mut [u8]) -> Result<(), MemFault> {
    access::read(addr, buf)?;
    if let Some(watch) = cpu.mem_hook {
        watch.reporter(cpu).loaded(cpu, addr, buf);
    }
    Ok(())
}

/// Writes guest memory for a helper and reports the access.
pub fn write_guest(cpu: &mut CpuHeader, addr: u64, data: &[u8]) -> Result<(), MemFault> {
    // All or nothing: a write that straddles into a bad page must not be half done.
    let second = second_page(addr, data.len());
    if second.is_some() || cpu.mem_hook.is_some() {
        access::probe_write(addr)?;
    }
    if let Some(page) = second {
        access::probe_write(page)?;
    }
    if let Some(watch) = cpu.mem_hook {
        watch.reporter(cpu).storing(cpu, addr, data);
    }
    access::write(addr, data)?;
    if let Some(watch) = cpu.mem_hook {
        watch.reporter(cpu).stored(cpu, addr, data);
    }
    Ok(())
}

/// Whether a helper may make many accesses at once, to tell their number by [`report_bulk`].
pub fn may_bulk(cpu: &CpuHeader) -> bool {
    cpu.mem_hook.is_none_or(MemWatch::only_counts)
}

/// Reports accesses a helper made at once.
pub fn report_bulk(cpu: &mut CpuHeader, loads: u64, stores: u64) {
    if let Some(watch) = cpu.mem_hook {
        watch.count(loads, stores);
    }
}

/// Start of the last page of an access that crosses into one: the address its fault reports.
fn second_page(addr: u64, len: usize) -> Option<u64> {
    let last = addr.wrapping_add(len.saturating_sub(1) as u64) & !(emu_mem::PAGE - 1);
    (last != addr & !(emu_mem::PAGE - 1)).then_some(last)
}
