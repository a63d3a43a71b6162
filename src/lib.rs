//! Musher, a persistent job queue daemon.

pub mod client;
pub mod core;
pub mod protocol;
pub mod store;
pub mod worker;
