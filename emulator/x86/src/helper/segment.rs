//! Segment selectors: loading, checking, describing.
//!
//! The descriptor tables are those Linux shows to user code: flat code and data segments, three
//! thread-area entries, and the local table a program has made. Only FS and GS can have a base.

use emu_cpu::CpuHeader;
use emu_ir::TrapKind;

use super::x86;
use crate::X86Cpu;
use crate::state::{TlsDescriptor, seg};

/// GDT entries, as Linux numbers them on x86-64.
mod entry {
    pub const CODE32: u64 = 4;
    pub const DATA: u64 = 5;
    pub const CODE64: u64 = 6;
    pub const TLS_FIRST: u64 = 12;
    pub const TLS_LAST: u64 = 14;
}

/// What a selector refers to.
struct Descriptor {
    present: bool,
    base: u64,
    limit: u32,
    code: bool,
    readable: bool,
    writable: bool,
    /// The second descriptor word's bits that `lar` shows.
    rights: u32,
}

fn flat(code: bool, rights: u32) -> Descriptor {
    Descriptor {
        present: true,
        base: 0,
        limit: u32::MAX,
        code,
        readable: true,
        writable: !code,
        rights,
    }
}

/// The descriptor `selector` names, if user code may use it.
fn descriptor(cpu: &X86Cpu, selector: u64) -> Option<Descriptor> {
    let n = selector >> 3;
    if selector & 4 != 0 {
        return cpu.ldt?.get(n as usize).and_then(described);
    }
    match n {
        entry::CODE32 => Some(flat(true, 0x00cf_fb00)),
        entry::DATA => Some(flat(false, 0x00cf_f300)),
        entry::CODE64 => Some(flat(true, 0x00af_fb00)),
        entry::TLS_FIRST..=entry::TLS_LAST => described(cpu.tls[(n - entry::TLS_FIRST) as usize]),
        _ => None,
    }
}

/// What an entry that a program has made describes.
fn described(t: TlsDescriptor) -> Option<Descriptor> {
    (!t.is_empty()).then(|| Descriptor {
        present: t.is_present(),
        base: u64::from(t.base),
        limit: t.last(),
        code: t.is_code(),
        readable: !(t.is_code() && t.is_restricted()),
        writable: !t.is_code() && !t.is_restricted(),
        rights: (t.raw() >> 32) as u32 & 0x00ff_ff00,
    })
}

fn load(cpu: &mut X86Cpu, number: u64, selector: u64, long_mode: bool) {
    let selector = selector & 0xffff;
    let n = number as usize;
    let null = selector & !3 == 0;
    if !null && descriptor(cpu, selector).is_some_and(|d| !d.present) {
        cpu.hdr.raise(TrapKind::BusError);
        return;
    }
    let base = if null {
        // SS must not be null in 32-bit code; in 64-bit user code it must not either (RPL 3).
        if n == seg::SS { None } else { Some(0) }
    } else {
        descriptor(cpu, selector)
            .filter(|d| if n == seg::SS { d.writable } else { d.readable })
            .map(|d| d.base)
            // Accesses through the other segments do not look at a base.
            .filter(|&base| base == 0 || long_mode || matches!(n, seg::FS | seg::GS))
    };
    let Some(base) = base else {
        cpu.hdr.raise(TrapKind::Protection);
        return;
    };
    cpu.selectors[n] = selector as u16;
    match n {
        seg::FS => cpu.fs_base = base,
        seg::GS => cpu.gs_base = base,
        _ => {}
    }
}

/// Loads (segment number, selector) in 32-bit mode.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn load32(cpu: *mut CpuHeader, n: u64, selector: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    load(unsafe { x86(cpu) }, n, selector, false);
    0
}

/// Loads (segment number, selector) in 64-bit mode, where only FS and GS have a base.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn load64(cpu: *mut CpuHeader, n: u64, selector: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    load(unsafe { x86(cpu) }, n, selector, true);
    0
}

/// Faults unless the selectors (new, current) of CS are equal.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn check_cs(cpu: *mut CpuHeader, new: u64, cs: u64, _: u64, _: u64) -> u64 {
    if new != cs {
        // SAFETY: the caller's promise.
        unsafe { x86(cpu) }.hdr.raise(TrapKind::Protection);
    }
    0
}

const FOUND: u64 = 1 << 32;

/// `lar` of (selector): the access rights with bit 32 set, or 0.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn lar(cpu: *mut CpuHeader, selector: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    descriptor(unsafe { x86(cpu) }, selector).map_or(0, |d| u64::from(d.rights) | FOUND)
}

/// `lsl` of (selector): the limit with bit 32 set, or 0.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn lsl(cpu: *mut CpuHeader, selector: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    descriptor(unsafe { x86(cpu) }, selector).map_or(0, |d| u64::from(d.limit) | FOUND)
}

/// `verr` of (selector): 1 if it can be read.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn verr(cpu: *mut CpuHeader, selector: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    u64::from(descriptor(unsafe { x86(cpu) }, selector).is_some_and(|d| d.readable))
}

/// `verw` of (selector): 1 if it can be written.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn verw(cpu: *mut CpuHeader, selector: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the caller's promise.
    u64::from(descriptor(unsafe { x86(cpu) }, selector).is_some_and(|d| d.writable && !d.code))
}
