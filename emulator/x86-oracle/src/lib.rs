//! The host processor as an oracle for x86 instructions.
//!
//! [`check`] runs a few bytes of code on the host processor and through lifter and interpreter,
//! from the same states, and compares registers, flags, vector and x87 state, memory, the next pc
//! and the trap. States come from [`State::generate`] or are written by hand.
//!
//! Code runs at [`CODE`], data lies at [`DATA`]; both are below 4 GiB, so the same code runs in
//! 64-bit and in 32-bit mode (through the kernel's 32-bit code segment). Everything after the code
//! is `int3`, so control that leaves it, by falling through or by a branch within the page, stops
//! there.
//!
//! ```
//! use emu_x86_oracle::{Bits, State, check};
//! check(Bits::B64, &[0x48, 0x01, 0xd8], &State::generate(1, 50)); // add rax, rbx
//! ```

mod check;
mod emulated;
mod native;
mod state;

pub use check::{Ignore, check, check_with, compare};
pub use emulated::run as run_emulated;
pub use native::run as run_native;
pub use state::{Bits, CODE, DATA, DATA_LEN, GS_BASE, Outcome, Rng, State, boundary};
