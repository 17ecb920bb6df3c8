//! What the engine counted.

use crate::OwnerId;

/// Calls of one subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallbackCount {
    /// The plugin.
    pub owner: OwnerId,
    /// The callback kind.
    pub kind: u32,
    /// How often it was called.
    pub calls: u64,
}

/// Totals since the engine was made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Guest instructions retired.
    pub instructions: u64,
    /// Blocks translated.
    pub blocks_translated: u64,
    /// Guest instructions translated.
    pub instructions_translated: u64,
    /// Blocks compiled to machine code.
    pub blocks_compiled: u64,
    /// Blocks compiled once more, for the flags that a block jumping to them leaves.
    pub block_versions: u64,
    /// Blocks whose machine code another process of the run had made.
    pub blocks_reused: u64,
    /// Bytes of machine code written.
    pub code_bytes: u64,
    /// Time spent compiling.
    pub compilation: std::time::Duration,
    /// Entries into machine code from the run loop; linked blocks go on without.
    pub code_entries: u64,
    /// Blocks executed by tier 0.
    pub blocks_interpreted: u64,
    /// Blocks dropped because their code or the subscriptions changed.
    pub blocks_dropped: u64,
    /// Stores into pages with translated code.
    pub code_writes: u64,
    /// Time spent translating.
    pub translation: std::time::Duration,
    /// Calls by subscription, when counting was asked for.
    pub callbacks: Vec<CallbackCount>,
}
