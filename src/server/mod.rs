//! The edges: sockets, connections, and the one loop that drives the engine. Connections of any front are served
//! (`front.rs` says what a front is, `crate::fronts` has them); nothing here knows a wire, and nothing is decided here.
//!
//! Everything here runs on one thread (a current-thread tokio runtime). A connection's task reads what has come
//! and hands it to the engine at once; the loop then ends the turn for all of them: one commit, one sync, and as
//! few writes as possible.
//!
//! # Layout, and which way the arrows run
//! Each line uses those below it and none above; `tests/tidy` checks that no two modules use each other.
//! - `listen` (`watch`), `tcp`, `serve`, `shutdown`: the sockets; one connection from its first byte to its last; all of
//!   them at the end.
//! - `front`: what a front is.
//! - `event_loop` (`timer`, `clock_set`): the turns, whoever asks, and whatever is asked.
//! - `operators`, `follow`, `changes`, `handling`, `submit`, `beside`, `take_up`, `requests`: what may be asked for, whatever the front.
//! - `former_pools`: what the pools of former daemons still run.
//! - `hub`: what all tasks share.
//! - `connections`, `sessions`, `permissions`, `journal`, `holds`, `followers`, `viewers`, `output`: its parts. All open
//!   connections; those of workers that outlive the daemon; who may do what; what is logged; what workers report of
//!   themselves; who reads what jobs print, or what becomes of them, and where the former is kept.
//! - `connection`: one of them, as the loop sees it.
//! - `encoder`, `scheduler`, `budget`, `outbox`, `stream`, `background`, `service`, `peer`, `fault`: plain parts.

mod background;
pub(crate) mod beside;
mod budget;
mod changes;
mod clock_set;
mod connection;
mod connections;
mod encoder;
mod event_loop;
mod fault;
mod follow;
mod followers;
mod former_pools;
mod front;
pub(crate) mod handling;
mod hangup;
mod holds;
mod hub;
mod journal;
mod listen;
mod looks;
pub(crate) mod operators;
mod outbox;
mod output;
mod peer;
mod permissions;
pub(crate) mod requests;
mod scheduler;
mod serve;
mod service;
mod sessions;
mod shutdown;
pub(crate) mod submit;
mod take_up;
mod tcp;
mod timer;
mod viewers;
mod watch;

pub(crate) use budget::FREE;
pub(crate) use changes::start as start_changes;
pub(crate) use connection::Connection;
pub(crate) use encoder::{Encoder, Moved, Notice, Part};
pub use event_loop::{Fatal, run};
pub(crate) use fault::{Fault, Kind};
pub(crate) use follow::start as start_logs;
pub(crate) use front::{Close, Front};
pub use hub::{Hub, Wiring};
#[cfg(any(test, feature = "cluster"))]
pub(crate) use listen::Taker;
pub use listen::{ListenError, Listening, listen};
pub(crate) use listen::{listen_at, serve_as, serve_one, serve_pool};
pub(crate) use outbox::Outbox;
pub(crate) use output::Piece;
pub use output::{OutputStore, OutputThread};
#[cfg(any(test, feature = "cluster"))]
pub(crate) use peer::Peer;
pub use service::{Limits, Service};
pub use shutdown::close_connections;
pub(crate) use take_up::{leave, take_up};
pub(crate) use tcp::accept_tcp;
pub(crate) use viewers::Wanted;
