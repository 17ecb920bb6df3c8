//! Blocks as text: for tests, debugging output and reading.
//!
//! ```text
//! block 0x401000 {
//!   insn 0x401000 len 3
//!   v1 = get.i64 @rax
//!   v2 = add.i64 v1, 8
//!   put.i64 @rax, v2
//!   flags.set add.i64 v1, 8
//!   v5 = flags.cond ne
//!   exit_if v5, 0x401010
//!   jump 0x401020
//! }
//! ```
//!
//! One op a line; `;` begins a comment. A value is named by the number of the op that defines it;
//! the parser takes any numbers and renumbers. Slots print by name where the target has one
//! (`@rax`, `@rax+1`), else by offset (`@0x80`). Sites come before the ops:
//!
//! ```text
//!   hook_site insn_exec pc 0x401000 cell 0x7f00 info 0x0 detail 0 reads writes
//!   counter_site cell 0x7f08 amount 3
//! ```
//!
//! For every block that passes the verifier, parsing what was printed gives the block again.

mod lex;
mod names;
mod parse;
mod print;

pub use parse::{ParseError, Problem, parse};
pub use print::{Printed, print};
