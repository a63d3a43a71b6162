//! The socket of the front, of either kind, and who comes to it. What they send is no affair of it.

use crate::access::Caller;
use crate::credentials;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// How many connections may wait to be accepted, if the system lets them (`net.core.somaxconn`): of more than that the system drops
/// the first packet, and they come a second late.
const BACKLOG: i32 = 4_096;

/// A socket that takes connections.
#[derive(Debug)]
pub(crate) enum Listener {
    /// At an address.
    Tcp(std::net::TcpListener),
    /// In the file system.
    Unix(std::os::unix::net::UnixListener),
}

impl Listener {
    /// Takes the address.
    ///
    /// # Errors
    /// It is taken, or not this machine's.
    pub(crate) fn at(address: SocketAddr) -> io::Result<Listener> {
        let listener = std::net::TcpListener::bind(address)?;
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(Listener::Tcp(listener))
    }

    /// Its address, if it has one: with the port that the system has chosen, if that was left to it.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }

    pub(super) fn into_async(self) -> io::Result<Accepting> {
        match self {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Accepting::Tcp)
            }
            Listener::Unix(listener) => {
                rustix::net::listen(&listener, BACKLOG)?;
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(Accepting::Unix)
            }
        }
    }
}

/// The same, for the thread of the front.
pub(super) enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Somebody who has come.
pub(super) enum Arrived {
    Tcp(TcpStream),
    /// And who it is, by the kernel's word.
    Unix(UnixStream, Caller),
}

impl Accepting {
    /// The next one.
    ///
    /// # Errors
    /// There are no descriptors left, say; or the kernel does not say who it is.
    pub(super) async fn accept(&self) -> io::Result<Arrived> {
        match self {
            Accepting::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Small answers leave at once. Without it they are slower, and right.
                let _ = stream.set_nodelay(true);
                Ok(Arrived::Tcp(stream))
            }
            Accepting::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let (caller, _) = credentials::of(&stream)?;
                Ok(Arrived::Unix(stream, caller))
            }
        }
    }
}
