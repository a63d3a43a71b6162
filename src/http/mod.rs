//! The HTTP front: JSON over HTTP/1.1, for those who do not speak the native wire (docs/http.md). It runs on a thread of its own beside
//! the loop and talks to it as any client does, over connections inside the process, each as the user whose token a request has.
//! So it has the rights, the bounds and the errors of the native wire, and decides nothing. It must not know the state or the store.
//!
//! # Layout
//! - `serving`: the thread, the socket, connections, and their end.
//! - `guard`: which requests are let through, and whose they are; `tokens` has the users.
//! - `api`: what may be asked for, by folder of the address; `health`: for whoever watches the daemon.
//! - `link`: the way to the loop. `answer`: what is said of errors, and how.

mod answer;
mod api;
mod guard;
mod health;
mod link;
mod serving;
mod tokens;

pub(crate) use link::Calls;
pub(crate) use serving::{Serving, bind, serve};
pub(crate) use tokens::{Tokens, TokensError};
