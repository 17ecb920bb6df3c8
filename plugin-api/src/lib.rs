//! The plugin contract: what a plugin and its host may assume about each other.
//!
//! [`abi`] is the wire format, a C ABI with a version of its own.
//!
//! This crate depends on nothing else of the project, so that a plugin outside the workspace needs
//! this crate and nothing more.

pub mod abi;
