//! Tier 0: the IR interpreter, the reference semantics.

mod value;
pub mod vec;

pub use value::Value;
