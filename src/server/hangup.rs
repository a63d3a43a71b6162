//! Sees that the other side of a connection has said all while what it has said is not read yet: to read on would be the usual way, but
//! is bounded.

use crate::watched::Watched;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::io;
use std::os::fd::AsFd;
use tokio::io::Interest;

/// Returns when the other side of a socket will send no more.
///
/// # Errors
/// The system has no descriptor for it: then it is seen when the socket is read.
pub(super) async fn happens(socket: impl AsFd) -> io::Result<()> {
    // A set of one, since the loop's own set has the socket for what comes.
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&set, socket, EventData::new_u64(0), EventFlags::RDHUP)?;
    let set = Watched::new(set, Interest::READABLE)?;
    set.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn what_was_sent_is_no_end_and_the_end_behind_it_is_seen() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut other) = UnixStream::pair().unwrap();
            other.write_all(b"said").unwrap();
            let early = tokio::time::timeout(Duration::from_millis(1), happens(&ours)).await;
            assert!(early.is_err(), "nothing has ended");
            other.shutdown(std::net::Shutdown::Write).unwrap();
            happens(&ours).await.unwrap();
        });
    }
}
