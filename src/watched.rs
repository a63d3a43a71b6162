//! A descriptor in the runtime's set: one place that says why that is sound. It does not know what the descriptor is of.

use std::io;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor, which nobody can take out of it or replace.
#[derive(Debug)]
pub(crate) struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// Puts a descriptor into the set, for this.
    ///
    /// # Errors
    /// The system does not take it.
    pub(crate) fn new(fd: OwnedFd, interest: Interest) -> io::Result<Watched> {
        // SAFETY: the descriptor must stay the same and open while it is registered. An `OwnedFd` is one open
        // descriptor, the same whenever it is asked; it belongs to the `AsyncFd` alone, of which no more than a shared
        // reference leaves here, and which takes it out of the set before it closes it.
        Ok(Watched(unsafe { AsyncFd::register_with_interest(fd, interest)? }))
    }
}

impl Deref for Watched {
    type Target = AsyncFd<OwnedFd>;

    fn deref(&self) -> &AsyncFd<OwnedFd> {
        &self.0
    }
}
