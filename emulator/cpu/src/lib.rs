//! What every guest processor has in common: the header of its state structure, traps, the calling
//! convention of helpers, and the description of an architecture that engine and tiers work with.
//!
//! Start at [`GuestArch`].

mod arch;
mod header;
mod helper;
mod lend;
mod mxcsr;
mod watch;
mod x87;

pub use arch::{CodeSource, GuestArch, LiftOptions, RegDesc, RegKind};
pub use emu_ir::Effects;
pub use header::{CpuHeader, FetchInfo, Kernel, Trap, WITHDRAWAL, no_kernel, slots};
pub use helper::{HelperDesc, HelperFn, may_bulk, read_guest, report_bulk, write_guest};
pub use lend::{NO_READS, NO_WRITES, lend, lent, withheld};
pub use mxcsr::{HOST_MXCSR, host_mxcsr, set_host_mxcsr};
pub use watch::{MemCall, MemWatch, Reporter};
pub use x87::{X87Op, X87Unit, X87Use};
