//! Musher, a persistent job queue daemon.

pub mod access;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod core;
pub mod daemon;
pub mod durations;
pub mod engine;
mod fronts;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod notify;
mod private;
pub mod process;
pub mod protocol;
pub mod server;
pub mod signals;
pub mod store;
pub mod telemetry;
pub mod views;
mod words;
pub mod worker;

#[path = "../migrations/mod.rs"]
mod migrations;
