//! Musher, a persistent job queue daemon: a library, and the one program that is made of it.
//!
//! # Layout
//!
//! A request goes down this list and its answer back up; nothing further down knows what is above it.
//!
//! - [`cli`]: the verbs of the program. [`client`]: the library that they, and other programs, speak to a daemon with.
//! - [`daemon`]: puts the parts of the daemon together, also inside another program ([`Embedded`]). [`config`], [`signals`], [`notify`], [`clock`], [`telemetry`],
//!   [`process`]: its surroundings. `written`: what people write to ask for jobs.
//! - `fronts`: the wires that the daemon speaks, a folder each. [`protocol`]: the native one, byte by byte, for both sides.
//! - `http`: JSON over HTTP, on a thread beside the loop, as a client of it.
//! - [`server`]: sockets, connections of any front, the loop, and what operators see ([`views`] has that as plain data).
//!   [`access`]: who may do what.
//! - [`engine`]: collects what arrives into a commit, and lets nobody learn of anything before that is on disk.
//! - [`core`]: decides. A pure state machine; its documentation has the table of states.
//! - [`calendar`]: when the times of schedules are, in time zones.
//! - [`store`]: remembers. A write-ahead log with sled, an embedded database, behind it; what it writes is in
//!   `docs/storage-format.md`, and changes of that are in `migrations`.
//! - [`tally`]: counts what the core tells of, for people. [`spans`]: the same as parts of traces; `otlp`: sends those on.
//! - [`worker`]: claims jobs, runs commands and settles, as a client of the daemon.
//!
//! `docs/architecture.md` says why it is so, and what must always hold.

pub mod access;
pub mod calendar;
pub mod cli;
pub mod client;
pub mod clock;
#[cfg(any(test, feature = "cluster"))]
mod cluster;
pub mod config;
pub mod core;
mod credentials;
pub mod daemon;
pub mod durations;
pub mod engine;
mod fronts;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
#[cfg(test)]
#[path = "../tests/support/nats.rs"]
mod nats;
pub mod notify;
mod otlp;
mod private;
pub mod process;
pub mod protocol;
#[cfg(any(test, feature = "cluster"))]
mod router;
pub mod server;
#[cfg_attr(
    not(any(test, feature = "cluster")),
    allow(dead_code, reason = "configurations are checked by it")
)]
mod shards;
pub mod signals;
pub mod spans;
pub mod store;
mod stream;
pub mod tally;
pub mod telemetry;
mod traceparent;
pub mod views;
mod watched;
mod web_client;
mod words;
pub mod worker;
mod written;

#[cfg(test)]
use store::skipped;

pub use daemon::{Embedded, EmbeddedError};

/// For tests of programs that use a queue.
pub mod testing {
    pub use crate::client::worker::Ran;
    pub use crate::daemon::{Submitted, TestQueue};
}

#[path = "../migrations/mod.rs"]
mod migrations;

/// Its examples are compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct LibraryGuide;
