//! Musher, a persistent job queue daemon.

pub mod core;
pub mod store;
