//! Repeated string moves between guest addresses, at the host's speed.
//!
//! The host's own `rep movs` and `rep stos` do the work, so element order, overlap and the exact
//! point of a fault are the processor's.

use core::arch::asm;

use crate::access::{self, MemFault, ex, fault};

/// How far a repeated operation got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Elements not done.
    pub left: u64,
    /// Why it stopped early.
    pub fault: Option<MemFault>,
}

/// A repeated instruction, in the direction DF asks for. The kernel keeps DF across the signal of a
/// fault, so the fix-up can clear it in either case.
macro_rules! rep {
    ($insn:literal, $down:expr, $si:ident, $di:ident, $n:ident, $acc:expr) => {{
        let err: u64;
        // SAFETY: touches guest memory only, which no Rust reference covers; a fault continues at
        // 3 with the registers holding the progress and r11 the cause. DF is clear afterwards.
        unsafe {
            if $down {
                asm!("xor r11d, r11d", "std", concat!("2: ", $insn), "3:", "cld", ex!(),
                    inout("rsi") $si, inout("rdi") $di, inout("rcx") $n,
                    in("rax") $acc, out("r11") err, options(nostack));
            } else {
                asm!("xor r11d, r11d", concat!("2: ", $insn), "3:", ex!(),
                    inout("rsi") $si, inout("rdi") $di, inout("rcx") $n,
                    in("rax") $acc, out("r11") err, options(nostack));
            }
        }
        err
    }};
}

/// Moves `count` elements of `size` bytes (1, 2, 4 or 8) from `src` to `dst`, one after the other,
/// to lower addresses when `down`.
pub fn movs(size: u32, mut dst: u64, mut src: u64, count: u64, down: bool) -> Progress {
    let mut left = count;
    let err = match size {
        1 => rep!("rep movsb", down, src, dst, left, 0u64),
        2 => rep!("rep movsw", down, src, dst, left, 0u64),
        4 => rep!("rep movsd", down, src, dst, left, 0u64),
        _ => rep!("rep movsq", down, src, dst, left, 0u64),
    };
    let fault = (err != 0).then(|| {
        // The fault does not say which side it was on; if the element can be read it was the store.
        let readable = access::read(src, &mut [0u8; 8][..size.min(8) as usize]);
        match readable {
            Ok(()) => fault(err, dst, true),
            Err(f) => f,
        }
    });
    Progress { left, fault }
}

/// Stores `count` elements of `size` bytes with the value `value` at `dst`, to lower addresses when
/// `down`.
pub fn stos(size: u32, mut dst: u64, value: u64, count: u64, down: bool) -> Progress {
    let mut left = count;
    let mut unused = 0u64;
    let err = match size {
        1 => rep!("rep stosb", down, unused, dst, left, value),
        2 => rep!("rep stosw", down, unused, dst, left, value),
        4 => rep!("rep stosd", down, unused, dst, left, value),
        _ => rep!("rep stosq", down, unused, dst, left, value),
    };
    let _ = unused;
    let fault = (err != 0).then(|| fault(err, dst, true));
    Progress { left, fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_moves_repeat_their_elements() {
        let mut b: Vec<u8> = (0..16).collect();
        let at = b.as_mut_ptr() as u64;
        assert_eq!(movs(1, at + 2, at, 6, false), Progress { left: 0, fault: None });
        assert_eq!(b[..9], [0, 1, 0, 1, 0, 1, 0, 1, 8]);
        assert_eq!(movs(2, at + 14, at + 8, 2, true), Progress { left: 0, fault: None });
        assert_eq!(b[10..], [10, 11, 0, 1, 8, 9]);
        assert_eq!(stos(4, at, 0x0102_0304, 2, false), Progress { left: 0, fault: None });
        assert_eq!(b[..9], [4, 3, 2, 1, 4, 3, 2, 1, 8]);
    }

    #[test]
    fn a_fault_reports_what_is_left_and_which_side_it_was() {
        crate::host_fault::install();
        let mut b = [7u8; 8];
        let at = b.as_mut_ptr() as u64;
        // The first page is never mapped.
        let p = movs(1, at, 0x10, 4, false);
        assert_eq!((p.left, p.fault.map(|f| (f.addr, f.write))), (4, Some((0x10, false))));
        let p = movs(1, 0x10, at, 4, true);
        assert_eq!((p.left, p.fault.map(|f| (f.addr, f.write))), (4, Some((0x10, true))));
        let p = stos(8, 0x20, 0, 3, false);
        assert_eq!((p.left, p.fault.map(|f| (f.addr, f.write))), (3, Some((0x20, true))));
        assert_eq!(b, [7; 8]);
    }
}
