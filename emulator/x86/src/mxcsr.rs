//! The guest's MXCSR in the host's.
//!
//! While guest code runs, the host's MXCSR holds the guest's rounding and denormal controls and its
//! sticky flags, with all exceptions masked; the guest's own masks are only in [`X86Cpu::mxcsr`].
//! Machine code takes them over while it runs, until a helper loads others.

use emu_cpu::{HOST_MXCSR, host_mxcsr, set_host_mxcsr};

use crate::X86Cpu;

/// MXCSR at program start.
pub const DEFAULT: u32 = 0x1f80;
/// The sticky exception flags.
pub const FLAGS: u32 = 0x3f;
/// The exception masks.
pub const MASKS: u32 = 0x1f80;

/// Before guest code: loads the guest's controls and flags.
#[inline(always)]
pub fn enter(cpu: &mut X86Cpu) {
    cpu.hdr.simd_unmasked = !cpu.mxcsr & MASKS;
    cpu.hdr.mxcsr_loaded = u8::from(cpu.hdr.simd_unmasked != 0);
    let value = cpu.mxcsr & 0xffff | MASKS;
    // Loading takes longer than looking. The host's own arithmetic may have left flags.
    if host_mxcsr() != value {
        // SAFETY: the guest's value was checked when it was written; Rust code between here and the
        // restore does no floating-point arithmetic whose result depends on it.
        unsafe { set_host_mxcsr(value) };
    }
}

/// After guest code: keeps the guest's flags and restores the host's default.
#[inline(always)]
pub fn leave(cpu: &mut X86Cpu) {
    let host = host_mxcsr();
    cpu.mxcsr = with_flags(cpu, host);
    if host != HOST_MXCSR {
        // SAFETY: the ABI's own value.
        unsafe { set_host_mxcsr(HOST_MXCSR) };
    }
}

/// While guest code runs (in a helper): brings [`X86Cpu::mxcsr`] up to date.
#[inline(always)]
pub fn sync(cpu: &mut X86Cpu) {
    cpu.mxcsr = current(cpu);
}

/// While guest code runs (in a helper): the guest's MXCSR.
#[inline(always)]
pub fn current(cpu: &X86Cpu) -> u32 {
    with_flags(cpu, host_mxcsr())
}

/// The guest's MXCSR while the host's is `host`.
#[inline(always)]
fn with_flags(cpu: &X86Cpu, host: u32) -> u32 {
    let live = if cpu.hdr.mxcsr_parked != 0 { cpu.hdr.mxcsr } else { host };
    cpu.mxcsr | live & FLAGS
}

/// While guest code runs (in a helper): makes `value` the guest's MXCSR. `value` has no reserved
/// bits.
#[inline(always)]
pub fn load(cpu: &mut X86Cpu, value: u32) {
    cpu.mxcsr = value;
    cpu.hdr.mxcsr_parked = 0;
    enter(cpu);
}

#[cfg(test)]
mod tests {
    use core::arch::asm;

    use super::*;

    #[test]
    fn controls_reach_the_host_and_flags_come_back() {
        let mut cpu = X86Cpu { mxcsr: 0x0001 | 0x6000, ..X86Cpu::default() };
        enter(&mut cpu);
        let seen = host_mxcsr();
        // SAFETY: divides 1 by 3 in registers.
        unsafe {
            asm!("cvtsi2sd {a}, {one:e}", "cvtsi2sd {b}, {three:e}", "divsd {a}, {b}",
                a = out(xmm_reg) _, b = out(xmm_reg) _, one = in(reg) 1, three = in(reg) 3);
        }
        leave(&mut cpu);
        assert_eq!(seen, 0x7f81);
        assert_eq!(host_mxcsr() & !FLAGS, DEFAULT);
        assert_eq!(cpu.mxcsr, 0x6021, "the precision flag was added, the masks kept");
    }
}
