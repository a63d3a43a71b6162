//! The socket: inherited from the service manager, or made here with its directory and mode, and made again if
//! somebody deletes it; and the task that accepts connections.

use super::front::Front;
use super::hub::Hub;
use super::peer::Peer;
use super::serve;
use super::watch::Watch;
use crate::access::Caller;
use crate::store::Store;
use crate::stream::Stream;
use crate::telemetry::events;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::cell::{Cell, RefCell};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The mode of the socket, and of the directories that are made for it.
const MODE: u32 = 0o660;
const DIRECTORY_MODE: u32 = 0o750;
/// What says where the socket of the native wire is.
const OPTION: &str = "--socket";
/// How long to wait before a deleted socket is made again: its directory may be about to be deleted as well.
const RENEWAL_WAIT: Duration = Duration::from_millis(100);

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A daemon answers there.
    #[error("a daemon answers at {} already: stop it first, or choose another socket ({key})", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
        /// What says where it is.
        key: &'static str,
    },
    /// Something that is not a socket is in the way.
    #[error("{} exists and is not a socket: move it away, or choose another socket ({key})", path.display())]
    InTheWay {
        /// The socket.
        path: PathBuf,
        /// What says where it is.
        key: &'static str,
    },
    /// The system refused.
    #[error("the socket {} cannot be made: {error}; check the directory's owner and mode, or choose another ({key})", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What says where it is.
        key: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// A socket that takes connections. What was made here is removed when the last copy is dropped.
#[derive(Clone, Debug)]
pub struct Listening(Rc<Socket>);

#[derive(Debug)]
struct Socket {
    /// Where it was made; nowhere, if it is inherited.
    path: Option<PathBuf>,
    /// The newest one. As long as it is open its number belongs to no other file, so that it can be told apart.
    listener: RefCell<StdListener>,
    inode: Cell<Inode>,
    /// Rings when somebody wants it to be looked after.
    look: Notify,
}

/// Device and number of a file.
type Inode = (u64, u64);

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && inode(path).is_ok_and(|there| there == self.inode.get())
        {
            // A socket that stays behind is harmless: the next start removes it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Takes the inherited socket if there is one, else makes one at `path` with mode 0660. The umask must be such that it
/// is never wider than that ([`settle`](crate::process::settle)).
///
/// # Errors
/// See [`ListenError`].
pub fn listen(path: &Path) -> Result<Listening, ListenError> {
    let inherited = listenfd::ListenFd::from_env().take_unix_listener(0);
    let inherited =
        inherited.map_err(|error| ListenError::Io { path: path.to_path_buf(), key: OPTION, error })?;
    match inherited {
        Some(listener) => Ok(Listening::new(None, listener, (0, 0))),
        None => listen_at(path, OPTION),
    }
}

/// Makes a socket at `path`, as [`listen`] does. `key`: what says where it is.
///
/// # Errors
/// See [`ListenError`].
pub(crate) fn listen_at(path: &Path, key: &'static str) -> Result<Listening, ListenError> {
    let (listener, inode) = bind(path, key)?;
    Ok(Listening::new(Some(path.to_path_buf()), listener, inode))
}

fn bind(path: &Path, key: &'static str) -> Result<(StdListener, Inode), ListenError> {
    let io = |error| ListenError::Io { path: path.to_path_buf(), key, error };
    make_directories(path).map_err(io)?;
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::InTheWay { path: path.to_path_buf(), key });
        }
        Ok(_) if is_served(path).map_err(io)? => {
            return Err(ListenError::Taken { path: path.to_path_buf(), key });
        }
        Ok(_) => std::fs::remove_file(path).map_err(io)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let listener = StdListener::bind(path).map_err(io)?;
    std::fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(io)?;
    let inode = inode(path).map_err(io)?;
    Ok((listener, inode))
}

/// Makes the directories of the socket that are missing. Their mode is set afterwards, since the umask takes from it.
fn make_directories(path: &Path) -> io::Result<()> {
    let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    let missing: Vec<&Path> = parents.take_while(|parent| !parent.exists()).collect();
    for directory in missing.into_iter().rev() {
        std::fs::DirBuilder::new().mode(DIRECTORY_MODE).create(directory)?;
        std::fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))?;
    }
    Ok(())
}

/// Whether a process listens there. It does not wait for one that does not accept.
fn is_served(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        // Again: its queue is full already.
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn inode(path: &Path) -> io::Result<Inode> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Listening {
    fn new(path: Option<PathBuf>, listener: StdListener, inode: Inode) -> Listening {
        let (listener, inode) = (RefCell::new(listener), Cell::new(inode));
        Listening(Rc::new(Socket { path, listener, inode, look: Notify::new() }))
    }

    /// A copy of it, for somebody else who accepts.
    pub(crate) fn listener(&self) -> io::Result<StdListener> {
        self.0.listener.borrow().try_clone()
    }

    /// Where it was made; nowhere, if it is inherited.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Whether the socket is somebody else's, who keeps it for the next daemon.
    pub fn is_inherited(&self) -> bool {
        self.0.path.is_none()
    }

    /// Has the socket made again if it is not there any more.
    pub fn look_after(&self) {
        self.0.look.notify_one();
    }

    /// Accepts connections, which speak what the fronts do that are made for them, until the task is aborted.
    ///
    /// # Errors
    /// The socket cannot be used by the loop.
    pub(crate) fn accept_into<F: Front, S: Store + 'static>(
        &self,
        hub: &Rc<Hub<S>>,
        make: impl Fn() -> F + 'static,
    ) -> io::Result<JoinHandle<()>> {
        self.accept(IntoHub { hub: hub.clone(), make })
    }

    /// Accepts connections for somebody, until the task is aborted.
    ///
    /// # Errors
    /// The socket cannot be used by the loop.
    pub(crate) fn accept(&self, taker: impl Taker + 'static) -> io::Result<JoinHandle<()>> {
        let socket = self.0.clone();
        let mut listener = socket.for_the_loop()?;
        let mut watch = socket.watch();
        Ok(tokio::task::spawn_local(async move {
            loop {
                // Who must wait does so in the socket's queue: what is accepted is served, even if this task is aborted.
                taker.admit().await;
                tokio::select! {
                    biased;
                    accepted = listener.accept() => take(&taker, accepted).await,
                    () = socket.is_in_doubt(&watch) => if let Some(new) = socket.renew().await {
                        // Who has come to the old one is served too.
                        while let Ok(accepted @ Ok(_)) = timeout(Duration::ZERO, listener.accept()).await {
                            take(&taker, accepted).await;
                        }
                        (listener, watch) = (new, socket.watch());
                    },
                }
            }
        }))
    }
}

/// Who takes connections.
pub(crate) trait Taker {
    /// Returns when there is room for another one.
    fn admit(&self) -> impl Future<Output = ()>;

    /// Takes one.
    fn take(&self, stream: Stream, peer: Peer);
}

/// The loop takes them.
struct IntoHub<S, M> {
    hub: Rc<Hub<S>>,
    make: M,
}

impl<F: Front, S: Store + 'static, M: Fn() -> F> Taker for IntoHub<S, M> {
    async fn admit(&self) {
        self.hub.admit_arrival().await;
    }

    fn take(&self, stream: Stream, peer: Peer) {
        self.hub.arrive(|| serve::open(&self.hub, stream, peer, (self.make)()));
    }
}

async fn take(taker: &impl Taker, accepted: io::Result<(UnixStream, tokio::net::unix::SocketAddr)>) {
    match accepted.and_then(|(stream, _)| Stream::try_from(stream)) {
        Ok(stream) => match Peer::of(&stream) {
            Ok(peer) => taker.take(stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection was refused: the kernel does not say which user it belongs to");
            }
        },
        // Out of file descriptors, say: others are served, and this is tried again.
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Socket {
    fn for_the_loop(&self) -> io::Result<UnixListener> {
        let listener = self.listener.borrow().try_clone()?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    }

    /// Watches the file, if it is our affair. Without a watch it is looked after when somebody asks for it.
    fn watch(&self) -> Option<Watch> {
        let path = self.path.as_deref()?;
        let watch = Watch::of(path).ok();
        // What has happened before the watch began must not go unnoticed.
        if inode(path).ok() != Some(self.inode.get()) {
            self.look.notify_one();
        }
        watch
    }

    /// Returns when something has happened to the file, or somebody asks.
    async fn is_in_doubt(&self, watch: &Option<Watch>) {
        let happens = async {
            match watch {
                Some(watch) => watch.happens().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = happens => {}
            () = self.look.notified() => {}
        }
    }

    /// Makes the socket again if it has been deleted.
    async fn renew(&self) -> Option<UnixListener> {
        let path = self.path.as_deref()?;
        sleep(RENEWAL_WAIT).await;
        match inode(path) {
            Ok(there) if there == self.inode.get() => return None,
            Ok(_) => {
                events::socket_taken(path);
                return None;
            }
            // Nothing is there, or it cannot be seen: then the next step says why.
            Err(_) => {}
        }
        let made = bind(path, OPTION).and_then(|(listener, inode)| {
            *self.listener.borrow_mut() = listener;
            self.inode.set(inode);
            self.for_the_loop().map_err(|error| ListenError::Io {
                path: path.to_path_buf(),
                key: OPTION,
                error,
            })
        });
        match made {
            Ok(listener) => {
                events::socket_renewed(path);
                Some(listener)
            }
            Err(error) => {
                events::socket_gone(path, &error.to_string());
                None
            }
        }
    }
}

/// Serves the connection of the daemon's own pool of workers, the process `pid`.
///
/// # Errors
/// The loop cannot use it.
pub(crate) fn serve_pool<F: Front + Default, S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    stream: StdStream,
    pid: u32,
) -> io::Result<()> {
    let caller = Caller { uid: rustix::process::geteuid().as_raw(), groups: Vec::new() };
    let peer = Peer { caller, pid, pool: true };
    serve::open(hub, stream.try_into()?, peer, F::default());
    Ok(())
}

/// Serves a connection inside the process, on behalf of this caller.
///
/// # Errors
/// The loop cannot use it.
pub(crate) async fn serve_as<F: Front, S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    stream: StdStream,
    caller: Caller,
    front: F,
) -> io::Result<()> {
    let stream = Stream::try_from(stream)?;
    hub.admit_arrival().await;
    let peer = Peer { caller, pid: std::process::id(), pool: false };
    hub.arrive(|| serve::open(hub, stream, peer, front));
    Ok(())
}

/// Serves a connection that came by no socket of ours.
///
/// # Errors
/// The kernel does not say who is on the other side, or the loop cannot use it.
pub(crate) async fn serve_one<F: Front + Default, S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    stream: StdStream,
) -> io::Result<()> {
    let peer = Peer::of(&stream)?;
    let stream = Stream::try_from(stream)?;
    hub.admit_arrival().await;
    hub.arrive(|| serve::open(hub, stream, peer, F::default()));
    Ok(())
}
