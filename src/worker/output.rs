//! What a command prints: read from its pipes and sent to the daemon piece by piece, up to a limit. One piece is
//! under way at a time, so a command that prints faster than the daemon keeps waits, as at any full pipe.

use super::team::Plan;
use crate::client::Client;
use crate::protocol::LeaseRef;
use bytes::{Bytes, BytesMut};
use std::io::Write;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest piece.
const PIECE: usize = 32 << 10;
/// How much of the end of standard error is remembered for the error's text.
const TAIL: usize = 2 << 10;

/// Where the output of one attempt goes.
pub(super) struct Sink<'a> {
    pub(super) client: &'a Client,
    pub(super) lease: LeaseRef,
    pub(super) plan: &'a Plan,
}

impl Sink<'_> {
    /// Reads one stream to its end. Returns the last of it.
    pub(super) async fn drain(&self, stream: u8, mut from: impl AsyncRead + Unpin) -> Vec<u8> {
        let (mut left, mut tail) = (self.plan.output_max, Vec::new());
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            match from.read_buf(&mut piece).await {
                Ok(1..) => {}
                // A pipe that cannot be read has no more to say.
                Ok(0) | Err(_) => return tail,
            }
            if stream == 2 {
                tail.extend_from_slice(&piece);
                tail.drain(..tail.len().saturating_sub(TAIL));
            }
            self.keep(stream, piece.freeze(), &mut left).await;
        }
    }

    async fn keep(&self, stream: u8, piece: Bytes, left: &mut u64) {
        if self.plan.echo {
            echo(stream, &piece);
        }
        if *left == 0 {
            return;
        }
        let kept = piece.slice(..piece.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
        *left -= kept.len() as u64;
        // A lease that is lost, or a daemon that is gone, is noticed where the attempt is watched.
        let _ = self.client.output(self.lease, stream, kept).await;
        if *left == 0 {
            let note = format!("\n[musher: output beyond {} bytes is not kept]\n", self.plan.output_max);
            let _ = self.client.output(self.lease, 2, note.into()).await;
        }
    }
}

/// Prints a piece as our own. Nobody to read it is no reason to stop working.
fn echo(stream: u8, piece: &[u8]) {
    let _ = match stream {
        1 => std::io::stdout().write_all(piece).and_then(|()| std::io::stdout().flush()),
        _ => std::io::stderr().write_all(piece),
    };
}

/// The last line of standard error: what a person wants to see of a failure.
pub(super) fn last_line(tail: &[u8]) -> Option<String> {
    const MAX: usize = 150;
    let text = String::from_utf8_lossy(tail);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(MAX).collect())
}
