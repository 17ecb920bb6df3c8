//! x87 instructions.
//!
//! Waiting instructions take the 11-bit opcode as their last used argument: with it any helper
//! that meets something unusual hands the whole instruction to [`exact`]. The short ways are
//! right when the stack is as the instruction wants it, all exceptions are masked, and the
//! instruction raises no exception whose sticky flag is not set already; every helper checks
//! that before it changes anything. The host's own sticky flags may be stale, which only costs a
//! detour.

pub mod arith;
pub mod compare;
pub mod control;
pub mod exact;
pub mod load;
pub mod stack;
pub mod store;
pub mod unit;

use core::arch::asm;

use crate::X86Cpu;
use crate::state::{St, X87};

/// Condition code bits of the status word.
mod code {
    pub const C0: u16 = 1 << 8;
    pub const C1: u16 = 1 << 9;
    pub const C2: u16 = 1 << 10;
    pub const C3: u16 = 1 << 14;
}

/// The host's control word outside helpers, and the guest's most of the time.
const DEFAULT_CONTROL: u16 = 0x37f;

/// The host's control word set to the guest's; the guard sets it back.
struct ControlGuard(bool);

/// Loads the guest's control word if it differs from the host's; `None` when the guest has an
/// exception unmasked, which only [`exact`] handles.
#[inline(always)]
fn enter(x: &X87) -> Option<ControlGuard> {
    if x.control == DEFAULT_CONTROL {
        return Some(ControlGuard(false));
    }
    if x.control & X87::EXCEPTIONS != X87::EXCEPTIONS {
        return None;
    }
    load_control(x.control);
    Some(ControlGuard(true))
}

impl Drop for ControlGuard {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0 {
            load_control(DEFAULT_CONTROL);
        }
    }
}

/// Sets the host's control word. `control` masks all exceptions.
#[inline(always)]
fn load_control(control: u16) {
    // SAFETY: the compiler makes no x87 code for this target, so nothing but the asm blocks of
    // this module depends on the control word; [`ControlGuard`] restores it.
    unsafe {
        asm!("fldcw [{}]", in(reg) &control, options(nostack, preserves_flags, readonly));
    }
}

/// Executes an instruction the short way, with `short`, which returns `None` and changes nothing
/// when that does not do; else the exact way. The result is a helper's.
#[inline(always)]
fn quickly(
    cpu: &mut X86Cpu,
    fop: u64,
    operand: u64,
    addr: u64,
    short: impl FnOnce(&mut X87) -> Option<()>,
) -> u64 {
    if short(&mut cpu.x87).is_some() {
        cpu.x87.last_ip = cpu.hdr.insn_pc;
    } else {
        exact::instruction(cpu, fop, operand, addr);
    }
    0
}

impl X87 {
    /// The number of the physical register that is ST(i), if it holds a value.
    #[inline(always)]
    fn full(&self, i: u8) -> Option<usize> {
        let p = self.phys(i);
        self.is_valid(p).then_some(p)
    }

    #[inline(always)]
    fn is_valid(&self, phys: usize) -> bool {
        self.valid >> phys & 1 != 0
    }

    /// The exception flags that would be new.
    #[inline(always)]
    fn fresh(&self) -> u16 {
        !self.status & Self::EXCEPTIONS
    }

    /// Takes the condition bits in `mask` from the host's status word.
    #[inline(always)]
    fn take(&mut self, mask: u16, host: u16) {
        self.status = self.status & !mask | host & mask;
    }

    #[inline(always)]
    fn pop(&mut self) {
        let top = self.top_now();
        self.valid &= !(1 << (top & 7));
        self.top = (top + 1) & 7;
    }

    /// Pushes a value onto a register that is known to be empty.
    #[inline(always)]
    fn push(&mut self, mantissa: u64, sign_exponent: u16) {
        let top = self.top_now().wrapping_sub(1) & 7;
        self.top = top;
        let p = usize::from(top);
        self.valid |= 1 << p;
        self.st[p].set(mantissa, sign_exponent);
    }

    /// Whether a push would not overflow the stack.
    #[inline(always)]
    fn has_room(&self) -> bool {
        !self.is_valid(self.phys(7))
    }
}

impl St {
    #[inline(always)]
    fn mantissa(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    #[inline(always)]
    fn sign_exponent(&self) -> u16 {
        u16::from_le_bytes([self.0[8], self.0[9]])
    }

    /// Neither infinity nor NaN.
    #[inline(always)]
    fn is_finite(&self) -> bool {
        self.sign_exponent() & 0x7fff != 0x7fff
    }

    #[inline(always)]
    fn set(&mut self, mantissa: u64, sign_exponent: u16) {
        self.0[..8].copy_from_slice(&mantissa.to_le_bytes());
        self.0[8..10].copy_from_slice(&sign_exponent.to_le_bytes());
    }
}

/// An asm block that may use the whole x87 stack, which is empty before and after.
macro_rules! x87_asm {
    ($($body:tt)*) => {
        core::arch::asm!($($body)*,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nostack))
    };
}
use x87_asm;

/// `unless_fresh!(fresh; run; keep; discard; operands)`: executes the instructions `run` and, if they
/// raise none of the exceptions `fresh`, `keep`, which stores the results; else `discard`. Both
/// leave the stack empty. The status word, or `None` after `discard`.
macro_rules! unless_fresh {
    ($fresh:expr; $($run:literal),*; $($keep:literal),*; $($discard:literal),*; $($operands:tt)*) => {{
        let fresh: u16 = $fresh;
        let sw: u16;
        super::x87_asm!($($run,)* "fnstsw ax", "test al, {fresh}", "jnz 2f", $($keep,)* "jmp 3f",
            "2:", $($discard,)* "3:", $($operands)*,
            fresh = in(reg_byte) fresh as u8, out("ax") sw);
        (sw & fresh == 0).then_some(sw)
    }};
}
use unless_fresh;
