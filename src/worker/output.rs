//! What a job prints: read piece by piece, and sent to the daemon. A stream has one piece under way, so a slow daemon
//! slows the job down instead of filling the memory here. Beyond the limit the beginning and the end are kept: the end
//! waits here (`tail.rs`) until it is known to be one.

use super::echo;
use super::exec::Pipes;
use super::tail::Kept;
use crate::client::line::{Line, Number};
use crate::client::{Client, ClientError, send_now};
use crate::protocol::LeaseRef;
use bytes::Bytes;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use tokio::net::unix::pipe;

/// The longest piece.
const PIECE_MAX: usize = 32 << 10;
/// How much is taken from a stream after the job's end. What the job itself has printed is in the pipe by then,
/// and a pipe holds at most this much; more comes only from a process that has left the group and prints on.
const AFTER_END_MAX: usize = 1 << 20;
/// How much of the end of standard error is looked at for its last line.
const TAIL_MAX: usize = 1024;

const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// The output of one attempt.
#[derive(Debug)]
pub(super) struct Output {
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    /// The end of what standard error said.
    tail: Vec<u8>,
    sink: Sink,
}

/// Where pieces go.
#[derive(Debug)]
struct Sink {
    line: Line,
    lease: LeaseRef,
    kept: Mutex<Kept>,
    sent: Mutex<[Sent; 2]>,
    /// Set when the daemon does not take any more, be it that the lease is lost or its disk is full.
    refused: AtomicBool,
    echo: bool,
}

/// How much of a stream has gone to the daemon.
#[derive(Debug, Default)]
struct Sent {
    /// So many bytes, with those that are under way.
    bytes: u64,
    /// What the daemon has not answered.
    under_way: Option<Placed>,
}

/// A piece of a stream, and how many bytes of it come before.
#[derive(Clone, Debug)]
struct Piece {
    stream: u8,
    at: u64,
    data: Bytes,
}

/// A piece, and the connection on which it was sent last, if it was.
type Placed = (Piece, Option<Number>);

/// The last of what an attempt has printed: the daemon may not have it.
#[derive(Debug)]
pub(super) struct Unsent {
    lease: LeaseRef,
    pieces: Vec<Placed>,
}

impl Unsent {
    /// Sends what was not sent on this connection; what the daemon has of it, it takes no second time. What is sent on this
    /// connection afterwards comes after it.
    pub(super) fn send_on(&mut self, (number, client): &(Number, Client)) {
        for (piece, sent_on) in self.pieces.iter_mut().filter(|(_, sent_on)| *sent_on != Some(*number)) {
            *sent_on = Some(*number);
            let (client, lease, Piece { stream, at, data }) = (client.clone(), self.lease, piece.clone());
            // If it fails, the daemon keeps no more of it, or is gone again.
            send_now(async move { drop(client.output_at(lease, stream, data, Some(at)).await) });
        }
    }
}

impl Output {
    pub(super) fn new(pipes: Pipes, line: Line, lease: LeaseRef, max: u64, echo: bool) -> Output {
        let (kept, refused) = (Mutex::new(Kept::new(max)), AtomicBool::new(false));
        let sink = Sink { line, lease, kept, sent: Mutex::default(), refused, echo };
        Output { stdout: pipes.stdout, stderr: pipes.stderr, tail: Vec::new(), sink }
    }

    /// Sends on what comes, for as long as it is polled.
    pub(super) async fn pump(&mut self) -> Infallible {
        let Output { stdout, stderr, tail, sink } = self;
        let out = async {
            while let Some(piece) = next(stdout).await {
                sink.send(STDOUT, piece).await;
            }
        };
        let err = async {
            while let Some(piece) = next(stderr).await {
                remember(tail, &piece);
                sink.send(STDERR, piece).await;
            }
        };
        tokio::join!(out, err);
        pending().await
    }

    /// Sends what is still in the pipes, and the end that was held back. It does not wait for more, nor for the daemon: whatever is sent on this
    /// connection afterwards comes after it. Returns what may be lost if the connection ends before it was answered.
    pub(super) async fn finish(&mut self) -> Unsent {
        let mut pieces: Vec<Placed> =
            self.sink.sent().iter_mut().filter_map(|sent| sent.under_way.take()).collect();
        for (stream, pipe) in [(STDOUT, &self.stdout), (STDERR, &self.stderr)] {
            let mut taken = 0;
            while taken < AFTER_END_MAX
                && let Some(piece) = take(pipe)
            {
                taken += piece.len();
                if stream == STDERR {
                    remember(&mut self.tail, &piece);
                }
                let passes = self.sink.kept().take(stream, piece.clone());
                if let Some(piece) = passes {
                    self.sink.post(stream, piece, &mut pieces);
                }
                self.sink.echo(stream, piece).await;
            }
        }
        let (left_out, end) = self.sink.kept().end();
        if left_out > 0 {
            let note = format!("\n… {left_out} bytes are left out here\n");
            self.sink.post(STDERR, note.into(), &mut pieces);
        }
        for (stream, piece) in end {
            self.sink.post(stream, piece, &mut pieces);
        }
        Unsent { lease: self.sink.lease, pieces }
    }

    /// The last line of standard error that says anything.
    pub(super) fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.tail);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }
}

impl Sink {
    async fn send(&self, stream: u8, piece: Bytes) {
        // Both begin at once: if the job ends while one of them waits, nothing of the piece is lost.
        tokio::join!(self.keep(stream, piece.clone()), self.echo(stream, piece));
    }

    /// Sends a piece to the daemon and waits until it is there; or holds it back, beyond what is kept of the beginning.
    async fn keep(&self, stream: u8, piece: Bytes) {
        let passes = self.kept().take(stream, piece);
        if let Some(piece) = passes {
            self.transmit(stream, piece).await;
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().expect("nobody panics while holding this lock")
    }

    async fn transmit(&self, stream: u8, piece: Bytes) {
        if self.refused.load(Ordering::Relaxed) {
            return;
        }
        let piece = self.begin(stream, piece);
        self.sent()[place(stream)].under_way = Some((piece.clone(), None));
        let keep = |client: Client, number, again: bool| {
            self.sent()[place(stream)].under_way = Some((piece.clone(), Some(number)));
            let (lease, Piece { stream, at, data }) = (self.lease, piece.clone());
            async move { client.output_at(lease, stream, data, again.then_some(at)).await }
        };
        let kept = self.line.ask(keep).await;
        self.sent()[place(stream)].under_way = None;
        if let Err(error) = kept {
            self.refused.store(true, Ordering::Relaxed);
            if let ClientError::Refused(fault) = error {
                tracing::warn!("job {}: the rest of its output is not kept: {fault}", self.lease.id);
            }
        }
    }

    /// Sends a piece behind others without waiting for the answer, if all of them were sent on the connection that there is.
    /// Otherwise those must go before it.
    fn post(&self, stream: u8, data: Bytes, before: &mut Vec<Placed>) {
        if self.refused.load(Ordering::Relaxed) {
            return;
        }
        let piece = self.begin(stream, data);
        let open =
            self.line.now().filter(|(now, _)| before.iter().all(|(_, sent_on)| *sent_on == Some(*now)));
        if let Some((_, client)) = &open {
            post(pin!(client.output(self.lease, stream, piece.data.clone())));
        }
        before.push((piece, open.map(|(number, _)| number)));
    }

    /// Gives a piece its place.
    fn begin(&self, stream: u8, data: Bytes) -> Piece {
        let sent = &mut self.sent()[place(stream)];
        let at = sent.bytes;
        sent.bytes += data.len() as u64;
        Piece { stream, at, data }
    }

    fn sent(&self) -> std::sync::MutexGuard<'_, [Sent; 2]> {
        self.sent.lock().expect("nobody panics while holding this lock")
    }

    /// Prints a piece here. Where it cannot be printed the job must not suffer.
    async fn echo(&self, stream: u8, piece: Bytes) {
        match stream {
            _ if !self.echo => {}
            STDOUT => echo::to_stdout(piece).await,
            _ => echo::to_stderr(piece).await,
        }
    }
}

fn place(stream: u8) -> usize {
    usize::from(stream != STDOUT)
}

/// The next piece of a stream; `None` at its end.
async fn next(pipe: &pipe::Receiver) -> Option<Bytes> {
    loop {
        pipe.readable().await.ok()?;
        let mut piece = [0; PIECE_MAX];
        match pipe.try_read(&mut piece) {
            Ok(0) => return None,
            Ok(len) => return Some(Bytes::copy_from_slice(&piece[..len])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

/// What is in the pipe now. It asks the pipe itself, not the runtime, which may not have heard of it yet.
fn take(pipe: &pipe::Receiver) -> Option<Bytes> {
    let mut piece = [0; PIECE_MAX];
    match rustix::io::read(pipe, &mut piece) {
        Ok(0) | Err(_) => None,
        Ok(len) => Some(Bytes::copy_from_slice(&piece[..len])),
    }
}

fn remember(tail: &mut Vec<u8>, piece: &[u8]) {
    tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL_MAX)..]);
    tail.drain(..tail.len().saturating_sub(TAIL_MAX));
}

/// Polls a request once, which sends it; its answer is not waited for.
fn post(request: Pin<&mut impl Future>) {
    let _ = request.poll(&mut Context::from_waker(Waker::noop()));
}
