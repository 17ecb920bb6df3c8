//! Helpers: instructions too complex for IR ops, as functions on the CPU structure.

use emu_ir::Effects;
use emu_mem::{MemFault, access};

use crate::{CpuHeader, X87Use};

/// A helper: gets the CPU structure and up to four arguments (0 where absent).
///
/// A helper that fails raises a trap in the header and returns; it must not have changed guest
/// state before (string instructions: exactly the part that completed). Helpers access guest
/// memory only through [`read_guest`] and [`write_guest`], or `emu_mem::access` plus the hook.
///
/// # Safety
/// The pointer is the header of a live CPU structure of the architecture the helper belongs to,
/// not otherwise borrowed.
pub type HelperFn = unsafe extern "C" fn(*mut CpuHeader, u64, u64, u64, u64) -> u64;

/// Reports an access a helper made: (cpu, address, size, data, is_write, before).
/// `before` is true ahead of the access (writes: data is what will be written; reads: null).
pub type MemHook = unsafe extern "C" fn(*mut CpuHeader, u64, u64, *const u8, bool, bool);

/// Who wants to know of the accesses helpers make.
#[derive(Clone, Copy, Debug)]
pub struct MemWatch {
    /// Gets each access.
    pub access: MemHook,
    /// Where nobody wants more than the number of accesses, a helper that makes many at once may
    /// give it here instead: (cpu, loads, stores).
    pub count: Option<unsafe extern "C" fn(*mut CpuHeader, u64, u64)>,
}

impl MemWatch {
    /// For somebody who gets each access.
    pub const fn each(access: MemHook) -> MemWatch {
        MemWatch { access, count: None }
    }
}

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
    match cpu.mem_hook {
        None => access::read(addr, buf),
        Some(&MemWatch { access: hook, .. }) => {
            access::read(addr, buf)?;
            let (len, data) = (buf.len() as u64, buf.as_ptr());
            // SAFETY: the hook was installed by the engine that owns this CPU.
            unsafe {
                hook(cpu, addr, len, data, false, true);
                hook(cpu, addr, len, data, false, false);
            }
            Ok(())
        }
    }
}

/// Writes guest memory for a helper and reports the access.
pub fn write_guest(cpu: &mut CpuHeader, addr: u64, data: &[u8]) -> Result<(), MemFault> {
    match cpu.mem_hook {
        None => {
            // All or nothing: a write that straddles into a bad page must not be half done.
            if let Some(page) = second_page(addr, data.len()) {
                access::probe_write(addr)?;
                access::probe_write(page)?;
            }
            access::write(addr, data)
        }
        Some(&MemWatch { access: hook, .. }) => {
            access::probe_write(addr)?;
            if let Some(page) = second_page(addr, data.len()) {
                access::probe_write(page)?;
            }
            // SAFETY: the hook was installed by the engine that owns this CPU.
            unsafe { hook(cpu, addr, data.len() as u64, data.as_ptr(), true, true) };
            access::write(addr, data)?;
            // SAFETY: as above.
            unsafe { hook(cpu, addr, data.len() as u64, data.as_ptr(), true, false) };
            Ok(())
        }
    }
}

/// Whether a helper may make many accesses at once, to tell their number by [`report_bulk`].
pub fn may_bulk(cpu: &CpuHeader) -> bool {
    cpu.mem_hook.is_none_or(|w| w.count.is_some())
}

/// Reports accesses a helper made at once.
pub fn report_bulk(cpu: &mut CpuHeader, loads: u64, stores: u64) {
    if let Some(count) = cpu.mem_hook.and_then(|w| w.count) {
        // SAFETY: it was installed by the engine that owns this CPU.
        unsafe { count(cpu, loads, stores) };
    }
}

/// Start of the last page of an access that crosses into one: the address its fault reports.
fn second_page(addr: u64, len: usize) -> Option<u64> {
    let last = addr.wrapping_add(len.saturating_sub(1) as u64) & !(emu_mem::PAGE - 1);
    (last != addr & !(emu_mem::PAGE - 1)).then_some(last)
}
