//! A log that is one stream on several machines: a commit is confirmed when most of them have it on disk. The stream is
//! the lock as well: whoever appends the next takeover owns it, and what a former owner sends after that counts for nobody.
//!
//! - `record`: one message of the stream; `rules`: which of them count
//! - `writer`: what an owner sends, and sends again
//! - `spool`: the commits that this node may have to read back
//! - `jetstream`: the stream on NATS servers
//!
//! [`ReplicatedLog`] is what the store has of it, on the loop's thread. The messages travel by a [`Link`], on whatever thread.
//! Knows bytes and numbers, not what a commit is.

pub(in crate::store) mod jetstream;
mod record;
mod rules;
mod spool;
mod writer;

pub(crate) use jetstream::{
    Carrier, Connection, JetStreamLink, Reader, StreamConfig, StreamError, StreamState, Tls,
};
pub(crate) use record::{Epoch, NodeLife};
pub(crate) use rules::{Meaning, Position, ReadError, Rules, Seq};
pub(crate) use spool::Spool;
#[cfg(test)]
pub(crate) use writer::{Ask, Outcome};
pub(crate) use writer::{Lost, Writer};

use super::files::PAYLOAD_MAX;
use super::{Appended, Log, Segment, Size, Tail};
use crate::clock::monotonic;
use crate::core::Time;
use crate::store::commit::{CommitNo, StreamMark};
use crate::store::error::AppendError;
use bytes::Bytes;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// How commits get to the stream: a [`Writer`], and what carries its messages.
pub(crate) trait Link: Debug {
    /// Sends a commit, behind those before it.
    fn append(&mut self, number: CommitNo, payload: Bytes);

    /// Waits until everything is confirmed, or never will be, but not for ever.
    fn wait(&mut self);
}

/// How far the stream has got: told by whoever carries the messages, and looked at by the loop.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    confirmed: AtomicU64,
    /// From where the stream is to be read by whoever has that.
    from: Mutex<Position>,
    /// When the servers have last said something of the stream, in milliseconds.
    answered: AtomicU64,
    lost: OnceLock<Lost>,
    bell: Mutex<Option<Waker>>,
    is_news: Condvar,
}

impl Progress {
    /// Notes what a writer knows, and rings if that is news.
    pub(crate) fn note(&self, writer: &Writer) {
        *self.from.lock().unwrap_or_else(PoisonError::into_inner) = writer.rules().resumable();
        self.tell(writer.confirmed(), writer.lost());
    }

    /// Its node must not go on as the owner.
    pub(crate) fn lose(&self, why: &Lost) {
        self.tell(self.confirmed(), Some(why));
    }

    /// Nothing more will be noted.
    pub(crate) fn end(&self) {
        self.lose(&Lost::Ended);
    }

    /// The servers have said something of the stream.
    pub(crate) fn note_answer(&self) {
        self.answered.store(monotonic().as_millis() as u64, Ordering::Relaxed);
    }

    /// For how long they have not.
    pub(crate) fn unanswered_for(&self) -> Duration {
        let now = monotonic().as_millis() as u64;
        Duration::from_millis(now.saturating_sub(self.answered.load(Ordering::Relaxed)))
    }

    fn tell(&self, confirmed: CommitNo, lost: Option<&Lost>) {
        // Under the lock, so that who waits misses nothing.
        let bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_news = self.confirmed.swap(confirmed.0, Ordering::AcqRel) != confirmed.0;
        // The first reason stays.
        is_news |= lost.is_some_and(|lost| self.lost.set(lost.clone()).is_ok());
        if is_news {
            self.is_news.notify_all();
            bell.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Waits until this commit is confirmed, or never will be, but not for ever.
    fn wait(&self, number: CommitNo, at_most: Duration) {
        let bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |_: &mut Option<Waker>| self.confirmed() < number && self.lost.get().is_none();
        drop(self.is_news.wait_timeout_while(bell, at_most, is_open));
    }

    pub(crate) fn confirmed(&self) -> CommitNo {
        CommitNo(self.confirmed.load(Ordering::Acquire))
    }

    fn from(&self) -> Position {
        *self.from.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, bell: &Waker) {
        *self.bell.lock().unwrap_or_else(PoisonError::into_inner) = Some(bell.clone());
    }

    fn check(&self) -> Result<(), AppendError> {
        match self.lost.get() {
            None => Ok(()),
            Some(lost) => Err(AppendError::Lost(lost.to_string())),
        }
    }
}

/// A commit of the stream, and where it ends there.
#[derive(Debug)]
pub(crate) struct StreamCommit {
    pub(crate) number: CommitNo,
    pub(crate) payload: Bytes,
    pub(crate) position: Position,
}

/// What a node allows itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Commits that are not confirmed.
    pub(crate) under_way: u64,
    /// Bytes that no checkpoint has freed: from there on no new jobs are taken.
    pub(crate) bytes: u64,
}

/// The log as a node has it: it stands by, and takes in what the owner has committed, until it is the owner.
#[derive(Debug)]
pub(crate) struct ReplicatedLog<L> {
    owner: Option<(L, Arc<Progress>)>,
    spool: Spool,
    bounds: Bounds,
    /// Where the newest commit that was taken in is in the stream.
    mark: StreamMark,
    /// The newest record of which nothing is needed any more, for whoever trims the stream.
    home: Arc<AtomicU64>,
    newest: Option<Newest>,
    /// Rung by the owner's progress; kept until there is one.
    bell: Option<Waker>,
    /// A commit could not be kept: nothing is taken after it.
    has_failed: bool,
}

/// The newest commit that was taken in or appended, and where it can be read back.
#[derive(Debug)]
struct Newest {
    payload: Bytes,
    segment: Arc<dyn Segment>,
    at: u64,
}

impl<L: Link> ReplicatedLog<L> {
    /// For a node that stands by. What comes after its home is in the spool, or will be taken in.
    /// `mark`: up to where the stream was read to fill it; `home`: up to where of it nothing is needed any more, for whoever wants to
    /// know.
    pub(crate) fn standby(
        spool: Spool,
        bounds: Bounds,
        mark: StreamMark,
        home: Arc<AtomicU64>,
    ) -> ReplicatedLog<L> {
        ReplicatedLog { owner: None, spool, bounds, mark, home, newest: None, bell: None, has_failed: false }
    }

    /// Takes in the next commit, which counts by the rules.
    ///
    /// # Errors
    /// The disk failed, or is full.
    pub(crate) fn follow(&mut self, payload: Bytes, position: Position) -> io::Result<Appended<'_>> {
        debug_assert!(self.owner.is_none(), "an owner knows what it has appended");
        self.keep(payload)?;
        self.mark = position.mark(self.mark.created);
        Ok(self.newest())
    }

    /// The stream was read up to here, and what it has there came home before.
    pub(crate) fn pass_over(&mut self, position: Position) {
        self.mark = position.mark(self.mark.created);
    }

    /// What it has kept last makes no sense: nothing more is taken, and nothing of it counts.
    pub(crate) fn give_up(&mut self) {
        self.has_failed = true;
    }

    /// From now on its node is the owner.
    ///
    /// # Errors
    /// It has not taken in exactly the commits before its takeover: it would append what counts for nobody.
    pub(crate) fn own(&mut self, link: L, progress: Arc<Progress>) -> Result<(), AppendError> {
        let (stream, own) = (progress.confirmed(), self.spool.last());
        if stream != own {
            let detail = format!("the stream has commits up to {}, and this node up to {}", stream.0, own.0);
            return Err(AppendError::Lost(detail));
        }
        self.bell.iter().for_each(|bell| progress.ring(bell));
        self.owner = Some((link, progress));
        Ok(())
    }

    /// What carries its commits, if it is the owner.
    pub(crate) fn link(&mut self) -> Option<&mut L> {
        self.owner.as_mut().map(|(link, _)| link)
    }

    fn keep(&mut self, payload: Bytes) -> io::Result<()> {
        self.has_failed = true;
        let (file, at) = self.spool.push(&payload)?;
        self.newest = Some(Newest { payload, segment: file, at });
        self.has_failed = false;
        Ok(())
    }

    /// What was just kept.
    fn newest(&self) -> Appended<'_> {
        let Newest { payload, segment, at } =
            self.newest.as_ref().expect("it is asked for behind `keep` only");
        Appended { record: payload, segment, at: *at, waited: Duration::ZERO }
    }

    fn check(&self) -> Result<(), AppendError> {
        if self.has_failed {
            return Err(AppendError::Disk(io::Error::other("an earlier commit could not be kept")));
        }
        self.owner.as_ref().map_or(Ok(()), |(_, progress)| progress.check())
    }
}

impl<L: Link> Log for ReplicatedLog<L> {
    fn last(&self) -> CommitNo {
        self.spool.last()
    }

    fn confirmed(&self) -> CommitNo {
        self.owner.as_ref().map_or(self.last(), |(_, progress)| progress.confirmed())
    }

    fn can_append(&self) -> bool {
        self.check().is_err() || self.last().0 - self.confirmed().0 < self.bounds.under_way
    }

    fn append(
        &mut self,
        expected: CommitNo,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Appended<'_>, AppendError> {
        let actual = self.last().next();
        if expected != actual {
            return Err(AppendError::Fenced { expected, actual });
        }
        self.check()?;
        let mut payload = Vec::new();
        encode(&mut payload);
        if payload.len() > PAYLOAD_MAX {
            let detail = format!("a commit of {} bytes is longer than the log takes", payload.len());
            return Err(AppendError::Disk(io::Error::other(detail)));
        }
        let payload = Bytes::from(payload);
        if self.owner.is_none() {
            return Err(AppendError::Lost("it stands by, and another node is the owner".to_owned()));
        }
        // Kept first: what is sent may be confirmed, and is then to be read here.
        self.keep(payload.clone())?;
        if let Some((link, _)) = &mut self.owner {
            link.append(actual, payload);
        }
        Ok(self.newest())
    }

    fn maintain(&mut self, _now: Time) -> Result<Option<Time>, AppendError> {
        self.check().map(|()| None)
    }

    fn wait(&mut self) -> Result<(), AppendError> {
        self.check()?;
        if self.confirmed() < self.last()
            && let Some(link) = self.link()
        {
            link.wait();
        }
        self.check()?;
        match self.confirmed() == self.last() {
            true => Ok(()),
            false => Err(AppendError::Disk(io::ErrorKind::TimedOut.into())),
        }
    }

    fn ring(&mut self, bell: &Waker) {
        self.bell = Some(bell.clone());
        if let Some((_, progress)) = &self.owner {
            progress.ring(bell);
        }
    }

    fn free(&mut self, home: CommitNo) {
        self.spool.free(home);
    }

    fn outlives(&self) -> bool {
        // The stream may be gone when its node starts again, and its files are.
        false
    }

    fn mark(&self) -> Option<StreamMark> {
        Some(self.owner.as_ref().map_or(self.mark, |(_, progress)| progress.from().mark(self.mark.created)))
    }

    fn note_home(&mut self, mark: StreamMark) {
        self.home.store(mark.seq, Ordering::Relaxed);
    }

    fn size(&self) -> Size {
        Size { bytes: self.spool.bytes(), limit: self.bounds.bytes }
    }

    fn tail(&self) -> Box<dyn Tail> {
        Box::new(self.spool.tail(self.confirmed()))
    }
}
