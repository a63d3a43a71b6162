//! Who is on the other side of a connection, according to the kernel. Nothing that the other side sends can change it.

use crate::access::Caller;
use crate::credentials;
use std::io;
use std::os::fd::AsFd;

/// Who is on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The user.
    pub(crate) caller: Caller,
    /// The number of the process that has connected; 0 where it cannot be seen. Others may have the connection by now: it is for
    /// people to read, and nothing is decided by it.
    pub(crate) pid: u32,
    /// Whether it is the daemon's own pool of workers.
    pub(crate) pool: bool,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The kernel does not say who it is: then it must not be served.
    pub(super) fn of(socket: impl AsFd) -> io::Result<Peer> {
        let (caller, pid) = credentials::of(socket)?;
        Ok(Peer { caller, pid, pool: false })
    }
}
