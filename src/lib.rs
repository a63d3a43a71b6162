//! Musher, a persistent job queue daemon.

pub mod client;
pub mod core;
pub mod engine;
pub mod protocol;
pub mod store;

#[path = "../migrations/mod.rs"]
mod migrations;
