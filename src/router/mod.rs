//! The front of a node whose cluster has several shards: it takes whoever connects, and passes each request on to the shard that it
//! concerns, over a connection of its own on behalf of the same user. A shard answers as a daemon that is alone would, so rights,
//! bounds and durability are its affair. It speaks the native wire, knows names and ids, and nothing of jobs.
//!
//! - `route`: which shards a request concerns, and what of it
//! - `merge`: the answers of several shards, as one
//! - `connection`: one client; `shard`: its connection to one shard; `frames`: what goes over both
//! - `claims`, `list`, `questions`, `worker`: what takes several steps
//!
//! What is one step is done in one shard. A request whose parts are steps of their own (results of jobs, questions) is divided; one that
//! would have to be done whole or not at all, and reaches over several namespaces, is refused.

mod claims;
mod connection;
mod frames;
mod list;
mod merge;
mod questions;
mod route;
mod shard;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use connection::serve;

use crate::access::Caller;
use crate::shards::Shards;
use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

/// What all connections share.
pub(crate) struct Router {
    shards: Shards,
    limits: Cell<RouterLimits>,
    ways: Rc<dyn Ways>,
}

/// What clients are told, and held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouterLimits {
    /// The longest frame, and the longest body, in bytes.
    pub(crate) frame: usize,
    pub(crate) body: usize,
    /// The most jobs of a request.
    pub(crate) batch: usize,
    /// How long workers may take to come back after a start.
    pub(crate) resume_within: Duration,
}

/// How shards are reached.
pub(crate) trait Ways {
    /// A connection to a shard on behalf of a user, which does not block. `None` while the shard takes none.
    fn connect(&self, shard: usize, caller: &Caller) -> Option<UnixStream>;
}

impl Router {
    pub(crate) fn new(shards: Shards, limits: RouterLimits, ways: Rc<dyn Ways>) -> Rc<Router> {
        Rc::new(Router { shards, limits: Cell::new(limits), ways })
    }

    /// What holds for requests from now on; who has greeted was told otherwise.
    pub(crate) fn set_limits(&self, limits: RouterLimits) {
        self.limits.set(limits);
    }
}
