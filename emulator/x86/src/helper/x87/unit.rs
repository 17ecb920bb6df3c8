//! The guest's x87 state in the host's x87 unit, for a tier that executes x87 instructions as such.

use core::arch::asm;

use emu_cpu::{CpuHeader, X87Unit};

use crate::fxsave::{read_fsave, write_fsave};
use crate::helper::x86;
use crate::state::{X87, slot};

/// The unit of both x86 architectures.
pub static UNIT: X87Unit = X87Unit {
    slots: slot::X87,
    control: slot::X87_CONTROL,
    last_ip: slot::X87_LAST_IP,
    load,
    store,
};

/// Moves the state into the host's unit: 1, or 0 if the guest has an exception unmasked.
///
/// # Safety
/// `cpu` is the header of a live [`crate::X86Cpu`]; the host's stack is empty, and nothing but this
/// state's instructions uses it until [`store`].
unsafe extern "C" fn load(cpu: *mut CpuHeader) -> u64 {
    // SAFETY: as the caller promises.
    let x = unsafe { &x86(cpu).x87 };
    if x.control & X87::EXCEPTIONS != X87::EXCEPTIONS {
        return 0;
    }
    let mut image = [0u8; 108];
    write_fsave(x, &mut image, true);
    // SAFETY: a whole image, with every exception masked. The compiler makes no x87 code for this
    // target, and the caller calls nothing else before [`store`].
    unsafe { asm!("frstor [{}]", in(reg) &raw const image, options(nostack, readonly)) };
    1
}

/// Moves the state back and resets the host's unit.
///
/// # Safety
/// As for [`load`], which was called before.
unsafe extern "C" fn store(cpu: *mut CpuHeader) -> u64 {
    // SAFETY: as the caller promises.
    let x = unsafe { &mut x86(cpu).x87 };
    let mut image = [0u8; 108];
    // SAFETY: writes 108 bytes and leaves the unit initialized, as the calling convention wants.
    unsafe { asm!("fnsave [{}]", in(reg) &raw mut image, options(nostack)) };
    let (ip, dp, opcode) = (x.last_ip, x.last_dp, x.last_opcode);
    read_fsave(x, &image, true);
    (x.last_ip, x.last_dp, x.last_opcode) = (ip, dp, opcode);
    0
}
