//! Decimal adjustments (SDM vol. 2): of (AX, flags before); the result has AX in its low 16 bits
//! and the flags above.

use emu_cpu::CpuHeader;
use emu_ir::{FlagKind, Ty, flags};

const CF: u64 = flags::CF as u64;
const AF: u64 = flags::AF as u64;

fn result(ax: u16, adjusted: bool, carry: bool) -> u64 {
    let zsp = flags::evaluate(FlagKind::Logic, Ty::I8, u64::from(ax), 0, 0);
    let f = u64::from(zsp) | if adjusted { AF } else { 0 } | if carry { CF } else { 0 };
    u64::from(ax) | f << 16
}

/// `aaa`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn aaa(_: *mut CpuHeader, ax: u64, before: u64, _: u64, _: u64) -> u64 {
    let ax = ax as u16;
    let adjust = ax & 15 > 9 || before & AF != 0;
    let ax = if adjust { ax.wrapping_add(0x106) } else { ax };
    result(ax & 0xff0f, adjust, adjust)
}

/// `aas`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn aas(_: *mut CpuHeader, ax: u64, before: u64, _: u64, _: u64) -> u64 {
    let ax = ax as u16;
    let adjust = ax & 15 > 9 || before & AF != 0;
    let ax = if adjust { ax.wrapping_sub(0x106) } else { ax };
    result(ax & 0xff0f, adjust, adjust)
}

/// `daa`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn daa(_: *mut CpuHeader, ax: u64, before: u64, _: u64, _: u64) -> u64 {
    let al = ax as u8;
    let low = al & 15 > 9 || before & AF != 0;
    let high = al > 0x99 || before & CF != 0;
    let r = al.wrapping_add(if low { 6 } else { 0 }).wrapping_add(if high { 0x60 } else { 0 });
    result(ax as u16 & 0xff00 | u16::from(r), low, high)
}

/// `das`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn das(_: *mut CpuHeader, ax: u64, before: u64, _: u64, _: u64) -> u64 {
    let al = ax as u8;
    let low = al & 15 > 9 || before & AF != 0;
    let high = al > 0x99 || before & CF != 0;
    let borrow = low && al < 6;
    let r = al.wrapping_sub(if low { 6 } else { 0 }).wrapping_sub(if high { 0x60 } else { 0 });
    result(ax as u16 & 0xff00 | u16::from(r), low, high || borrow)
}
