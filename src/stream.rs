//! The socket of a connection, whatever carries it. It knows nothing of what is said.
//!
//! The runtime's set has it only for what comes. A Unix socket calls everybody who has asked for room whenever its other
//! side has read something: each answer would wake the daemon once more, and each request its client, for nothing. For
//! room it is in a set only while there is none.

use crate::watched::Watched;
use bytes::BytesMut;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// How long to wait for room where no descriptor is left to wait with.
const LATER: Duration = Duration::from_millis(10);

/// The socket of a connection, which does not block.
#[derive(Debug)]
pub(crate) struct Stream(Watched);

impl TryFrom<UnixStream> for Stream {
    type Error = io::Error;

    fn try_from(stream: UnixStream) -> io::Result<Stream> {
        Stream::new(stream.into_std()?.into())
    }
}

/// It must be a socket that does not block.
impl TryFrom<OwnedFd> for Stream {
    type Error = io::Error;

    fn try_from(socket: OwnedFd) -> io::Result<Stream> {
        Stream::new(socket)
    }
}

/// It must be one that does not block.
impl TryFrom<StdUnixStream> for Stream {
    type Error = io::Error;

    fn try_from(stream: StdUnixStream) -> io::Result<Stream> {
        Stream::new(stream.into())
    }
}

impl TryFrom<TcpStream> for Stream {
    type Error = io::Error;

    fn try_from(stream: TcpStream) -> io::Result<Stream> {
        Stream::new(stream.into_std()?.into())
    }
}

impl Stream {
    fn new(socket: OwnedFd) -> io::Result<Stream> {
        Watched::new(socket, Interest::READABLE).map(Stream)
    }

    /// Returns when there is something to read, or the end.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Adds what has come to a buffer, up to its capacity. At the end that is nothing.
    pub(crate) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let room = buffer.spare_capacity_mut();
            let most = room.len();
            match rustix::net::recv(self, room, RecvFlags::empty()) {
                Ok(((got, _), _)) => {
                    let len = got.len();
                    // SAFETY: they are the first `len` bytes behind its end, within its capacity, and `recv` has written them.
                    unsafe { buffer.set_len(buffer.len() + len) };
                    if (1..most).contains(&len) {
                        // That was all: to ask again would be a call for nothing.
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(len));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Adds what comes next to a buffer, up to its capacity. At the end that is nothing.
    pub(crate) async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(context, buffer)).await
    }

    /// Writes all of it.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(&[IoSlice::new(bytes)]) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells the other side that nothing more will come.
    pub(crate) fn end_writing(&self) {
        // Who has gone needs not be told.
        let _ = rustix::net::shutdown(self, Shutdown::Write);
    }

    /// Writes as much as the socket takes now.
    pub(crate) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        // Who has gone is an error here, and no signal.
        let flags = SendFlags::NOSIGNAL;
        Ok(match parts {
            [only] => rustix::net::send(self, only, flags),
            parts => rustix::net::sendmsg(self, parts, &mut SendAncillaryBuffer::default(), flags),
        }?)
    }

    /// Returns when it takes something, or is closed.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        // A set has each descriptor once.
        match self.as_fd().try_clone_to_owned().and_then(|socket| Watched::new(socket, Interest::WRITABLE)) {
            Ok(socket) => socket.writable().await.map(drop),
            Err(_) => {
                tokio::time::sleep(LATER).await;
                Ok(())
            }
        }
    }
}

/// The socket, without whatever waits for it.
impl TryFrom<Stream> for OwnedFd {
    type Error = io::Error;

    fn try_from(stream: Stream) -> io::Result<OwnedFd> {
        // The runtime's set is to know nothing of it any more when another one gets it.
        stream.as_fd().try_clone_to_owned()
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::epoll::EventFlags;
    use std::io::{Read, Write};

    fn with(test: impl AsyncFnOnce(Stream, StdUnixStream)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, other) = StdUnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            test(Stream::try_from(ours).unwrap(), other).await;
        });
    }

    #[test]
    fn what_comes_is_read_up_to_the_room_for_it_and_then_the_end() {
        with(async |stream, mut other| {
            let mut buffer = BytesMut::with_capacity(64);
            let room = buffer.capacity();
            other.write_all(&vec![1; room + 3]).unwrap();
            stream.readable().await.unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), room);
            buffer.reserve(room);
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
            assert!(buffer[..] == vec![1; room + 3]);
            let early = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut buffer)).await;
            assert!(early.is_err(), "there is no more");
            other.write_all(&[2]).unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 1);
            drop(other);
            assert_eq!(
                (stream.read(&mut buffer).await.unwrap(), stream.read(&mut buffer).await.unwrap()),
                (0, 0)
            );
        });
    }

    #[test]
    fn what_is_full_takes_more_when_the_other_side_has_read() {
        with(async |stream, mut other| {
            let parts = [IoSlice::new(&[1; 1000]), IoSlice::new(&[2; 1000])];
            let mut sent = 0;
            let full = loop {
                match stream.try_write(&parts) {
                    Ok(taken) => sent += taken,
                    Err(error) => break error,
                }
            };
            assert_eq!(full.kind(), ErrorKind::WouldBlock);
            let early = tokio::time::timeout(Duration::from_millis(1), stream.writable()).await;
            assert!(early.is_err(), "nobody has read");
            let mut got = vec![0; sent];
            other.read_exact(&mut got).unwrap();
            assert!(
                got.chunks(1000)
                    .zip([1, 2].iter().cycle())
                    .all(|(part, of)| part.iter().all(|byte| byte == of))
            );
            stream.writable().await.unwrap();
            assert_eq!(stream.try_write(&parts[..1]).unwrap(), 1000);
            drop(other);
            stream.writable().await.unwrap();
            assert_eq!(stream.try_write(&parts).unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    }

    /// What the sets of this process wait for at this descriptor (`proc_pid_fdinfo(5)`).
    fn waited_for(fd: BorrowedFd<'_>) -> Vec<u32> {
        let inode = format!(" ino:{:x} ", rustix::fs::fstat(fd).unwrap().st_ino);
        let sets = std::fs::read_dir("/proc/self/fdinfo").unwrap();
        // One that another test has closed meanwhile has nothing.
        let sets = sets.map(|set| std::fs::read_to_string(set.unwrap().path()).unwrap_or_default());
        let of = |line: &str| {
            let it = line.strip_prefix("tfd:").filter(|it| it.contains(&inode))?;
            u32::from_str_radix(it.split_whitespace().nth(2)?, 16).ok()
        };
        sets.flat_map(|set| set.lines().filter_map(of).collect::<Vec<_>>()).collect()
    }

    /// A loop that wakes for nothing after each answer does so at the cost of all.
    #[test]
    fn the_loop_is_not_called_because_the_other_side_has_read() {
        with(async |stream, _other| {
            // The runtime has its set twice.
            let waited_for = waited_for(stream.as_fd());
            assert!(!waited_for.is_empty());
            for events in waited_for.into_iter().map(EventFlags::from_bits_retain) {
                assert!(events.contains(EventFlags::IN) && !events.contains(EventFlags::OUT), "{events:?}");
            }
        });
    }
}
