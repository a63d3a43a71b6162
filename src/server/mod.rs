//! The edges: sockets, frames, and the one loop that drives the engine. A front turns bytes into calls of the
//! engine and its answers into bytes; nothing is decided here.
//!
//! Everything here runs on one thread (a current-thread tokio runtime). A connection's task reads what has come
//! and hands it to the engine at once; the driver then ends the turn for all of them: one commit, one sync, and as
//! few writes as possible.

mod admin;
mod backup;
mod beside;
mod budget;
mod commands;
mod driver;
mod explain;
mod gate;
mod holds;
mod hub;
mod last_call;
mod list;
mod listen;
mod native;
mod outbox;
mod output;
mod peer;
mod session;
mod submit;
mod timer;
mod turns;
mod watch;

pub use driver::{Fatal, run};
pub use hub::{Hub, Limits, Service, Wiring};
pub use last_call::last_call;
pub use listen::{ListenError, Listening, listen, serve_pool};
pub use output::{OutputStore, OutputThread};
