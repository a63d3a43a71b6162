//! The HTTP front: JSON over HTTP/1.1, for those who do not speak the native wire (docs/http.md). It runs on a thread of its own beside
//! the loop and talks to it as any client does, over connections inside the process, each as the user whose token a request has.
//! So it has the rights, the bounds and the errors of the native wire, and decides nothing. It must not know the state or the store.
//!
//! # Layout
//! - `serving`: the thread, connections, and their end; `listener`: the socket; `places`: which connection gives way;
//!   `unread`: how one ends that still sends.
//! - `bodies`: those of requests, and the room for them.
//! - `described`: routes with what the document says of them.
//! - `guard`: which requests are let through, and whose they are; `tokens` has the users.
//! - `secrets`: what is read from files at the start and at a reload: `tokens`, and what `tls` needs; `files`: how.
//! - `api`: what may be asked for, by folder of the address; `health` and `metrics`: for whoever watches the daemon.
//! - `dashboard`: pages for browsers.
//! - `streams`: answers that go on.
//! - `link`: the way to the loop. `answer`: what is said of errors, and how.

mod answer;
mod api;
mod bodies;
mod dashboard;
mod described;
mod files;
mod guard;
mod health;
mod link;
mod listener;
mod metrics;
mod places;
mod secrets;
mod serving;
mod streams;
mod tls;
mod tokens;
mod unread;

#[cfg(any(test, feature = "cluster"))]
pub(crate) use link::Call;
pub(crate) use link::Calls;
pub(crate) use listener::Listener;
pub(crate) use secrets::{Secrets, SecretsError};
pub(crate) use serving::{Serving, Sight, serve};

/// The document of all that may be asked for: OpenAPI 3.1.
fn document() -> serde_json::Value {
    api::routes().and(metrics::routes()).and(health::routes()).into_document()
}
