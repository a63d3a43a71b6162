//! What a node of several shards and the process of one of them say to each other, over a pair of sockets that keeps messages apart. The
//! node sends connections and signals; the shard says how it is, as a service does to its manager, and how it sees the cluster.
//!
//! A message to a shard is a byte, its kind, and for a connection who has opened it, as JSON, with the socket itself.

use crate::access::Caller;
use crate::signals::Signal;
use crate::views::ClusterView;
use crate::watched::Watched;
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use tokio::io::Interest;

const CONNECTION: u8 = b'c';
const DRAIN: u8 = b'd';
const RELOAD: u8 = b'r';
const DUMP: u8 = b'u';

/// The longest message: a user with very many groups, or a cluster of very many nodes.
const MESSAGE_MAX: usize = 64 << 10;

/// The key of a line in which a shard says how it sees the cluster.
pub(super) const SIGHT: &str = "X_SIGHT";
/// The key of the one in which it says that it takes connections.
pub(super) const SERVES: &str = "X_SERVES";

/// A pair: the node's side, and the shard's.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// The node's side.
#[derive(Debug)]
pub(super) struct ToShard(Watched);

/// What a shard has said, as far as it is known here.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// It takes connections.
    Serves,
    /// How it sees the cluster.
    Sight(Box<ClusterView>),
    /// Its loop turns.
    Alive,
}

impl ToShard {
    pub(super) fn new(socket: OwnedFd) -> io::Result<ToShard> {
        Watched::new(socket, Interest::READABLE).map(ToShard)
    }

    /// Gives it a connection.
    ///
    /// # Errors
    /// It does not take it now, or has ended.
    pub(super) fn connect(&self, stream: &UnixStream, caller: &Caller) -> io::Result<()> {
        let mut message = vec![CONNECTION];
        serde_json::to_writer(&mut message, &(caller.uid, &caller.groups))?;
        let descriptors = [stream.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let send =
            || sendmsg(self.0.get_ref(), &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL);
        Ok(retry_on_intr(send).map(drop)?)
    }

    /// Passes a signal on.
    pub(super) fn signal(&self, signal: Signal) {
        let kind = match signal {
            Signal::Drain => DRAIN,
            Signal::Reload => RELOAD,
            Signal::Dump => DUMP,
        };
        // One that has ended is started again with what holds then, and one that hangs is killed.
        let _ = rustix::net::send(self.0.get_ref(), &[kind], SendFlags::NOSIGNAL);
    }

    /// What it says next; `None` once it has ended.
    pub(super) async fn hear(&self) -> Option<Vec<Said>> {
        let mut buffer = vec![0; MESSAGE_MAX];
        loop {
            let mut ready = self.0.readable().await.ok()?;
            match recv(self.0.get_ref(), &mut buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return None,
                Ok((len, _)) => return Some(understood(&buffer[..len])),
                Err(rustix::io::Errno::WOULDBLOCK) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }
}

fn understood(lines: &[u8]) -> Vec<Said> {
    let lines = String::from_utf8_lossy(lines);
    let said = |line: &str| match line.split_once('=')? {
        (SERVES, _) => Some(Said::Serves),
        (SIGHT, view) => Some(Said::Sight(serde_json::from_str(view).ok()?)),
        ("WATCHDOG", "1") => Some(Said::Alive),
        _ => None,
    };
    lines.lines().filter_map(said).collect()
}

/// What a node tells a shard.
#[derive(Debug)]
pub(super) enum Told {
    Connection(UnixStream, Caller),
    Signal(Signal),
    /// Nothing for a while.
    Nothing,
}

/// The shard's side: waits for what comes next, at most as long as the socket's own time. `None` once the node has ended.
pub(super) fn next_told(socket: &OwnedFd) -> Option<Told> {
    let mut buffer = vec![0; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    });
    let len = match received {
        Ok(message) if message.bytes > 0 => message.bytes,
        Err(rustix::io::Errno::WOULDBLOCK) => return Some(Told::Nothing),
        _ => return None,
    };
    let connection = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Some(match (buffer[0], connection) {
        (CONNECTION, Some(socket)) => match serde_json::from_slice::<(u32, Vec<u32>)>(&buffer[1..len]) {
            Ok((uid, groups)) => Told::Connection(socket.into(), Caller { uid, groups }),
            Err(_) => Told::Nothing,
        },
        (DRAIN, _) => Told::Signal(Signal::Drain),
        (RELOAD, _) => Told::Signal(Signal::Reload),
        (DUMP, _) => Told::Signal(Signal::Dump),
        _ => Told::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_connection_arrives_with_who_has_opened_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = pair().unwrap();
            let shard = ToShard::new(ours).unwrap();
            let (mut client, server) = UnixStream::pair().unwrap();
            let caller = Caller { uid: 7, groups: vec![8, 9] };
            shard.connect(&server, &caller).unwrap();
            shard.signal(Signal::Reload);
            drop(server);
            let Some(Told::Connection(mut arrived, from)) = next_told(&theirs) else { panic!() };
            assert_eq!(from, caller);
            client.write_all(b"x").unwrap();
            let mut byte = [0];
            arrived.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"x");
            assert!(matches!(next_told(&theirs), Some(Told::Signal(Signal::Reload))));
            rustix::net::send(&theirs, b"READY=1\nX_SERVES=1\nWATCHDOG=1\n", SendFlags::empty()).unwrap();
            assert_eq!(shard.hear().await, Some(vec![Said::Serves, Said::Alive]));
            drop(theirs);
            assert_eq!(shard.hear().await, None);
        });
    }

    #[test]
    fn the_end_of_the_node_is_noticed() {
        let (ours, theirs) = pair().unwrap();
        drop(ours);
        assert!(next_told(&theirs).is_none());
    }
}
