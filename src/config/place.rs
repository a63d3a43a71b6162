//! A place that something is served at besides the socket of the native wire: an address, or a Unix socket.

use super::paths::socket_path_error;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address and a port.
    Address(SocketAddr),
    /// A Unix socket.
    Socket(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Address(address) => address.fmt(f),
            Place::Socket(path) => path.display().fmt(f),
        }
    }
}

impl Place {
    /// What is written, or what is wrong with it. The examples are of an address and of a socket.
    pub(super) fn read(text: &str, (address, socket): (&str, &str)) -> Result<Place, String> {
        if text.starts_with('/') {
            let path = PathBuf::from(text);
            return match socket_path_error(&path) {
                Some(why) => Err(why),
                None => Ok(Place::Socket(path)),
            };
        }
        text.parse().map(Place::Address).map_err(|_| {
            format!(
                "must be an address and a port, such as \"{address}\", or the whole path of a Unix socket, such as \"{socket}\""
            )
        })
    }
}
