//! A network that can be cut, without being root: a link is an address of its own on this machine, from which connections go on to the real
//! one. Each direction of it can be held: nothing that is sent arrives any more, and nobody is told, as when a cable is out. What was held
//! goes on when the link is healed, as TCP sends it again, or the connections are reset: both happen.
//!
//! The links have a thread of their own, so that they are quick while their user is busy.

use rustix::net::sockopt::set_socket_linger;
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// What is read at once.
const BUFFER: usize = 64 << 10;

/// Where links live. Without it they carry nothing.
pub(crate) struct Links {
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One way on.
pub(crate) struct Link {
    state: watch::Sender<State>,
}

/// A direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// What those say who have connected.
    There = 0,
    /// What is said to them.
    Back = 1,
}

#[derive(Clone, Copy, Default)]
struct State {
    held: [bool; 2],
    /// Whoever connects is reset.
    is_shut: bool,
    /// How often all connections were reset.
    cuts: u64,
}

impl Links {
    pub(crate) fn new() -> io::Result<Links> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, (end, ended)) = (runtime.handle().clone(), oneshot::channel());
        let run = move || drop(runtime.block_on(ended));
        let thread = std::thread::Builder::new().name("links".into()).spawn(run)?;
        Ok(Links { handle, end: Some(end), thread: Some(thread) })
    }

    /// What comes to `at` goes on to `to`.
    pub(crate) fn link(&self, at: SocketAddr, to: SocketAddr) -> io::Result<Link> {
        let listener = std::net::TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        let state = watch::Sender::new(State::default());
        let changes = state.subscribe();
        self.handle.spawn(async move {
            // The listener was made, so the runtime takes it.
            if let Ok(listener) = TcpListener::from_std(listener) {
                listen(listener, to, changes).await;
            }
        });
        Ok(Link { state })
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there has been printed
        }
    }
}

impl Link {
    /// From now on nothing passes in this direction, and nobody gets a connection.
    pub(crate) fn hold(&self, way: Way) {
        self.state.send_modify(|state| state.held[way as usize] = true);
    }

    /// Connections are reset, and whoever connects is as well.
    pub(crate) fn shut(&self) {
        self.state.send_modify(|state| (state.is_shut, state.cuts) = (true, state.cuts + 1));
    }

    /// Everything passes again. What was held goes on, or all connections are reset.
    pub(crate) fn heal(&self, resets: bool) {
        self.state
            .send_modify(|state| *state = State { cuts: state.cuts + u64::from(resets), ..State::default() });
    }

    /// Whether something of it is held or shut.
    pub(crate) fn is_broken(&self) -> bool {
        let state = self.state.borrow();
        state.is_shut || state.held != [false; 2]
    }
}

/// Takes connections, for as long as there is the link.
async fn listen(listener: TcpListener, to: SocketAddr, mut state: watch::Receiver<State>) {
    let (mut connections, mut cuts) = (JoinSet::new(), 0);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // If it was gone before it was taken, that is its affair.
                let Ok((from, _)) = accepted else { continue };
                let _ = from.set_zero_linger();
                if !state.borrow().is_shut {
                    connections.spawn(carry(from, to, state.clone()));
                }
            }
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = state.borrow_and_update().cuts;
                if std::mem::replace(&mut cuts, now) != now {
                    connections.abort_all();
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection. Given up before its end it is reset on both sides: that is what `set_zero_linger` does.
async fn carry(mut from: TcpStream, to: SocketAddr, mut state: watch::Receiver<State>) {
    // A handshake needs both directions.
    if state.wait_for(|state| state.held == [false; 2]).await.is_err() {
        return;
    }
    let Ok(mut on) = TcpStream::connect(to).await else { return };
    for stream in [&from, &on] {
        let _ = stream.set_zero_linger();
        let _ = stream.set_nodelay(true);
    }
    let ((from_read, from_write), (on_read, on_write)) = (from.split(), on.split());
    let there = pass(from_read, on_write, Way::There, state.clone());
    let back = pass(on_read, from_write, Way::Back, state);
    if tokio::try_join!(there, back).is_ok() {
        // Both have said all, and it is to arrive.
        for stream in [&from, &on] {
            let _ = set_socket_linger(stream, None::<Duration>);
        }
    }
}

/// Passes on what comes, while it is not held, up to its end.
async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        if state.wait_for(|state| !state.held[way as usize]).await.is_err() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let read = tokio::select! {
            biased;
            _ = state.changed() => continue,
            read = from.read(&mut buffer) => read?,
        };
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
