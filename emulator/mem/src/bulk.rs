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
