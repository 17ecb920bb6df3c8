//! Segment selectors: loading, checking, describing.
//!
//! The descriptor table is the one Linux shows to user code: flat code and data segments, and three
//! thread-area entries. There is no local descriptor table.

use emu_cpu::CpuHeader;
use emu_ir::TrapKind;

use super::x86;
use crate::X86Cpu;
use crate::state::seg;

/// GDT entries, as Linux numbers them on x86-64.
mod entry {
    pub const CODE32: u64 = 4;
    pub const DATA: u64 = 5;
    pub const CODE64: u64 = 6;
    pub const TLS_FIRST: u64 = 12;
    pub const TLS_LAST: u64 = 14;
}

/// Bits of Linux's `user_desc` flags.
mod user_desc {
    pub const CONTENTS_CODE: u32 = 2 << 1;
    pub const READ_EXEC_ONLY: u32 = 1 << 3;
    pub const LIMIT_IN_PAGES: u32 = 1 << 4;
    pub const NOT_PRESENT: u32 = 1 << 5;
}

/// What a selector refers to.
struct Descriptor {
    base: u64,
    limit: u32,
    code: bool,
    readable: bool,
    writable: bool,
    /// The second descriptor word's bits that `lar` shows.
    rights: u32,
}

fn flat(code: bool, rights: u32) -> Descriptor {
    Descriptor { base: 0, limit: u32::MAX, code, readable: true, writable: !code, rights }
}

/// The descriptor `selector` names, if user code may use it.
fn descriptor(cpu: &X86Cpu, selector: u64) -> Option<Descriptor> {
    if selector & 4 != 0 {
        return None;
    }
    match selector >> 3 {
        entry::CODE32 => Some(flat(true, 0x00cf_fb00)),
        entry::DATA => Some(flat(false, 0x00cf_f300)),
        entry::CODE64 => Some(flat(true, 0x00af_fb00)),
        n @ entry::TLS_FIRST..=entry::TLS_LAST => {
            let t = cpu.tls[(n - entry::TLS_FIRST) as usize];
            if t.flags & user_desc::NOT_PRESENT != 0 || (t.base, t.limit, t.flags) == (0, 0, 0) {
                return None;
            }
            let pages = t.flags & user_desc::LIMIT_IN_PAGES != 0;
            let code = t.flags & user_desc::CONTENTS_CODE != 0;
            let restricted = t.flags & user_desc::READ_EXEC_ONLY != 0;
            let kind = if code { 0xb } else { 3 } - if restricted { 2 } else { 0 };
            let granularity = if pages { 0x0080_0000 } else { 0 };
            Some(Descriptor {
                base: u64::from(t.base),
                limit: if pages { t.limit << 12 | 0xfff } else { t.limit },
                code,
                readable: !(code && restricted),
                writable: !code && !restricted,
                rights: 0x0040_f000 | kind << 8 | granularity,
            })
        }
        _ => None,
    }
}

fn load(cpu: &mut X86Cpu, number: u64, selector: u64, long_mode: bool) {
    let selector = selector & 0xffff;
    let n = number as usize;
    let null = selector & !3 == 0;
    let base = if null {
        // SS must not be null in 32-bit code; in 64-bit user code it must not either (RPL 3).
        if n == seg::SS { None } else { Some(0) }
    } else {
        descriptor(cpu, selector)
            .filter(|d| if n == seg::SS { d.writable } else { d.readable })
            .map(|d| d.base)
    };
    let Some(base) = base else {
        cpu.hdr.raise(TrapKind::Protection);
        return;
    };
    cpu.selectors[n] = selector as u16;
    match n {
        seg::FS => cpu.fs_base = base,
        seg::GS => cpu.gs_base = base,
        _ if !long_mode => cpu.seg_base[n & 3] = base,
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
