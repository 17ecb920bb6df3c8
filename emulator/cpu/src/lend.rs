//! The address of a CPU structure as a callback gets it.
//!
//! The structure's alignment leaves low bits of its address free. They say what the subscription did
//! not declare and the callback therefore must not do, so that this travels with the pointer and
//! costs a callback nothing. An address without such bits allows everything.

use crate::CpuHeader;

/// Registers must not be read.
pub const NO_READS: usize = 1;
/// Registers must not be written.
pub const NO_WRITES: usize = 2;

const ALL: usize = NO_READS | NO_WRITES;

const _: () = assert!(core::mem::align_of::<CpuHeader>() > ALL);

/// The bits for a subscription that declared this much.
pub const fn withheld(reads_regs: bool, writes_regs: bool) -> usize {
    (if reads_regs { 0 } else { NO_READS }) | (if writes_regs { 0 } else { NO_WRITES })
}

/// The address to hand out. Null, which says that there is no guest, stays null.
#[inline]
pub fn lend(cpu: *mut CpuHeader, withheld: usize) -> *mut CpuHeader {
    if cpu.is_null() { cpu } else { cpu.map_addr(|a| a | withheld) }
}

/// What was lent: the structure, and the bits it was lent with.
#[inline]
pub fn lent(cpu: *mut CpuHeader) -> (*mut CpuHeader, usize) {
    (cpu.map_addr(|a| a & !ALL), cpu.addr() & ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_withheld_travels_with_the_address() {
        let cpu = core::ptr::without_provenance_mut::<CpuHeader>(0x1000);
        for reads in [false, true] {
            for writes in [false, true] {
                let bits = withheld(reads, writes);
                assert_eq!(bits & NO_READS == 0, reads);
                assert_eq!(bits & NO_WRITES == 0, writes);
                assert_eq!(lent(lend(cpu, bits)), (cpu, bits));
            }
        }
        assert!(lend(core::ptr::null_mut(), ALL).is_null());
    }
}
