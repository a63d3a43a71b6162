//! The socket: inherited from the service manager, or made here with its directory and mode; and the tasks that
//! accept connections.

use super::hub::Hub;
use super::peer::Peer;
use super::session;
use crate::access::Caller;
use crate::store::Store;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A daemon answers there.
    #[error("a daemon answers at {} already: stop it first, or choose another socket (--socket)", .0.display())]
    Taken(PathBuf),
    /// Something that is not a socket is in the way.
    #[error("{} exists and is not a socket: move it away, or choose another socket (--socket)", .0.display())]
    InTheWay(PathBuf),
    /// The system refused.
    #[error("the socket {} cannot be made: {error}; check the directory's owner and mode, or choose another (--socket)", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A socket that takes connections. What was made here is removed when it is dropped.
#[derive(Debug)]
pub struct Listening {
    listener: StdListener,
    made: Option<PathBuf>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            // A socket that stays behind is harmless: the next start removes it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Takes the inherited socket if there is one, else makes one at `path` with mode 0660.
///
/// # Errors
/// See [`ListenError`].
pub fn listen(path: &Path) -> Result<Listening, ListenError> {
    let io = |error| ListenError::Io { path: path.to_path_buf(), error };
    if let Some(listener) = listenfd::ListenFd::from_env().take_unix_listener(0).map_err(io)? {
        return Ok(Listening { listener, made: None });
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o750).create(parent).map_err(io)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::InTheWay(path.to_path_buf())),
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(ListenError::Taken(path.to_path_buf()));
        }
        Ok(_) => std::fs::remove_file(path).map_err(io)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let listener = StdListener::bind(path).map_err(io)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(io)?;
    Ok(Listening { listener, made: Some(path.to_path_buf()) })
}

impl Listening {
    /// Whether the socket is somebody else's, who keeps it for the next daemon.
    pub fn is_inherited(&self) -> bool {
        self.made.is_none()
    }

    /// Accepts connections until the task is aborted.
    ///
    /// # Errors
    /// The socket cannot be used by the loop.
    pub fn accept_into<S: Store + 'static>(&self, hub: &Rc<Hub<S>>) -> io::Result<JoinHandle<()>> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let hub = hub.clone();
        Ok(tokio::task::spawn_local(async move {
            loop {
                // Who must wait does so in the socket's queue: what is accepted is served, even if this task is aborted.
                hub.wait_at_door().await;
                match listener.accept().await {
                    Ok((stream, _)) => hub.pass_door(|| match Peer::of(&stream) {
                        Ok(peer) => session::open(&hub, stream, peer),
                        Err(error) => {
                            tracing::warn!(%error, "a connection is closed: the kernel does not tell whose it is");
                        }
                    }),
                    // Out of file descriptors, say: others are served, and this is tried again.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }))
    }
}

/// Serves the connection of the daemon's own pool of workers.
pub fn serve_pool<S: Store + 'static>(hub: &Rc<Hub<S>>, stream: UnixStream) {
    let caller = Caller { uid: rustix::process::geteuid().as_raw(), groups: Vec::new() };
    let peer = Peer { caller, pool: true };
    session::open(hub, stream, peer);
}
