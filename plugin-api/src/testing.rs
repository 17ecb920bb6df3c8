//! A host for unit tests of plugins: it runs no guest, the test makes the events.
//!
//! ```
//! use plugin_api::testing::MockHost;
//! use plugin_api::{Value, prelude::*};
//!
//! struct Blocks(Output);
//!
//! impl Plugin for Blocks {
//!     fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
//!         reg.before_block_exec(|this, cpu, block| writeln!(this.0, "{}", cpu.word(block.pc)))?;
//!         Ok(Blocks(reg.output("blocks.txt")?))
//!     }
//! }
//!
//! export_plugin!(Blocks, name: "blocks", about: "Lists executed blocks");
//!
//! # fn main() {
//! let mut host = MockHost::new();
//! host.load(&panda_plugin_entry_v1, &[]).unwrap();
//! host.block(0x1000, 3);
//! host.unload();
//! assert_eq!(host.file("blocks.txt"), "0000000000001000\n");
//! # }
//! ```

mod conditions;
mod host;
mod services;
mod tables;

pub use host::MockHost;
