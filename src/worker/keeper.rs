//! The keeper of `musher work`: the process that the user starts, and that starts the process that does the work
//! (`run.rs`). However that one ends, the keeper outlives it, kills all that is left of its jobs, and holds its
//! connection to the daemon until then: so the daemon gives a job to nobody else on this machine while any process of
//! the first attempt lives. If the keeper itself is killed, the worker notices and does the same. It knows no jobs and
//! no protocol.

use super::{Cgroups, Orphans};
use crate::signals::{self, Signal};
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// Set for the process below a keeper, whose standard input is the socket to it.
pub const KEPT_ENV: &str = "MUSHER_KEPT";
/// How long the keeper waits for what SIGKILL does not end. Until then the daemon holds the jobs back.
const KILL_TIME_MAX: Duration = Duration::from_secs(60);

/// Starts this program again with the same arguments, which then is to call [`run_kept`](super::run_kept), and keeps it
/// until it and all that it has started have ended; how it ended. Must be called by the first thread. `hears_hangup`:
/// whether the end of its terminal is to end it.
///
/// # Errors
/// It cannot be started.
pub fn keep(hears_hangup: bool) -> io::Result<ExitStatus> {
    let orphans = Orphans::adopt()?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut said = ours.try_clone()?;
    let _listener = signals::listen(move |signal| {
        // A terminal that is gone ends a worker as a signal to stop does. If it cannot be told, it has ended.
        if signal == Signal::Drain || (signal == Signal::Reload && hears_hangup) {
            let _ = said.write_all(b"s");
        }
    })?;
    let mut child = Command::new("/proc/self/exe")
        .arg0("musher-kept")
        .args(std::env::args_os().skip(1))
        .env(KEPT_ENV, "1")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        // Ctrl-C goes to a whole group, and would end a job that is just being started.
        .process_group(0)
        .spawn()?;
    let held = hold_until_end(&ours);
    let status = child.wait();
    Cgroups::clear();
    orphans.end_all(KILL_TIME_MAX);
    Cgroups::clear();
    drop(held);
    status
}

/// Holds the newest descriptor that comes over the socket, until the other side is gone.
fn hold_until_end(line: &UnixStream) -> Option<OwnedFd> {
    let mut held = None;
    loop {
        let (mut byte, mut space) = ([0], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            recvmsg(line, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        });
        match received {
            Ok(message) if message.bytes > 0 && !message.flags.contains(ReturnFlags::CTRUNC) => {}
            _ => return held,
        }
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                held = descriptors.next().or(held);
            }
        }
    }
}

/// The socket to the keeper, in the process below it.
#[derive(Debug)]
pub(super) struct Keeper(tokio::net::UnixStream);

impl Keeper {
    /// The one that has started this process.
    pub(super) fn at_stdin() -> io::Result<Keeper> {
        let line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        line.set_nonblocking(true)?;
        Ok(Keeper(tokio::net::UnixStream::from_std(line)?))
    }

    /// Has the keeper hold a connection, too, in place of the one before.
    pub(super) fn hold(&self, connection: impl AsFd) -> io::Result<()> {
        let descriptors = [connection.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let send = || sendmsg(&self.0, &[IoSlice::new(b"h")], &mut ancillary, SendFlags::NOSIGNAL);
        retry_on_intr(send).map(drop).map_err(io::Error::from)
    }

    /// Calls `stop` each time the keeper is told to stop. Returns when the keeper is gone.
    pub(super) async fn obey<T>(&self, mut stop: impl FnMut()) -> io::Result<T> {
        loop {
            let mut bytes = [0; 16];
            self.0.readable().await?;
            match self.0.try_read(&mut bytes) {
                Ok(0) => {
                    return Err(io::Error::other(
                        "the process that started this worker is gone: its jobs are killed",
                    ));
                }
                Ok(count) => (0..count).for_each(|_| stop()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
