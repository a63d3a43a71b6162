//! The two halves of a connection's stream, over whatever carries it. It knows nothing of what is said.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// A stream of a connection that has just come.
#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// The half that is read.
#[derive(Debug)]
pub(super) enum ReadHalf {
    Unix(unix::OwnedReadHalf),
    Tcp(tcp::OwnedReadHalf),
}

/// The half that is written.
#[derive(Debug)]
pub(super) enum WriteHalf {
    Unix(unix::OwnedWriteHalf),
    Tcp(tcp::OwnedWriteHalf),
}

impl Stream {
    pub(super) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Stream::Unix(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
            Stream::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
        }
    }
}

impl ReadHalf {
    /// Returns when there is something to read, or the end.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            ReadHalf::Unix(read) => read.readable().await,
            ReadHalf::Tcp(read) => read.readable().await,
        }
    }
}

impl AsFd for ReadHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            ReadHalf::Unix(read) => read.as_ref().as_fd(),
            ReadHalf::Tcp(read) => read.as_ref().as_fd(),
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ReadHalf::Unix(read) => Pin::new(read).poll_read(context, buffer),
            ReadHalf::Tcp(read) => Pin::new(read).poll_read(context, buffer),
        }
    }
}

impl WriteHalf {
    /// Writes as much as the socket takes now.
    pub(super) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, parts) {
            (WriteHalf::Unix(write), [only]) => write.try_write(only),
            (WriteHalf::Unix(write), parts) => write.try_write_vectored(parts),
            (WriteHalf::Tcp(write), [only]) => write.try_write(only),
            (WriteHalf::Tcp(write), parts) => write.try_write_vectored(parts),
        }
    }

    /// Returns when it takes something, or is closed.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            WriteHalf::Unix(write) => write.writable().await,
            WriteHalf::Tcp(write) => write.writable().await,
        }
    }
}

impl AsFd for WriteHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            WriteHalf::Unix(write) => write.as_ref().as_fd(),
            WriteHalf::Tcp(write) => write.as_ref().as_fd(),
        }
    }
}
