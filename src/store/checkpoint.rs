//! Checkpoints: what has changed and still lives moves into sled, and log files become free. The loop encodes
//! dirty blocks a slice at a time; a thread of its own inserts and flushes them, and makes spare log files.
//!
//! A checkpoint is not a moment in time: each row says which commit it reflects, and recovery folds an event into a
//! block only if the block does not have it. So nothing stops while it runs.

use super::codec::{BlockRow, Position, encode_block, encode_position};
use super::fresh::Fresh;
use super::home::{BLOCK, BlockChange, Home, HomeError};
use super::log::LogFile;
use crate::core::{Event, IdRange, JobId, RangeSet, State, Time};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, channel, sync_channel,
};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many orders wait for the thread before the loop goes on with other things.
const ORDERS_MAX: usize = 512;
/// How many blocks one slice encodes at most, and how many bytes of bodies about.
const SLICE_BLOCKS: usize = 256;
const SLICE_BYTES: u64 = 4 << 20;
/// How soon the loop looks again while a checkpoint is under way.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    Block(BlockChange),
    /// All blocks of a checkpoint are ordered: this makes it one.
    Finish {
        position: Vec<u8>,
        checkpoint: u64,
    },
    Spare {
        path: PathBuf,
        size: u64,
        salt: u64,
    },
}

/// What the thread has done.
#[derive(Debug)]
pub(super) enum Done {
    Checkpoint(u64),
    Spare(io::Result<LogFile>),
    Failed(HomeError),
}

/// The loop's side.
#[derive(Debug)]
pub(super) struct Checkpointer {
    orders: Option<SyncSender<Order>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    interval: Duration,
    /// Blocks changed since the checkpoint that is under way began.
    dirty: RangeSet,
    /// Blocks that have rows.
    stored: RangeSet,
    /// Bytes of bodies that make a checkpoint begin before its time.
    hurry_bytes: u64,
    begun: Option<Begun>,
    /// When the newest checkpoint began.
    last_begin: Time,
    spare_ordered: bool,
    /// An order that found no room.
    stuck: Option<Order>,
}

/// The checkpoint that is under way.
#[derive(Debug)]
struct Begun {
    checkpoint: u64,
    first_later_id: JobId,
    blocks: RangeSet,
    /// Jobs whose bodies were ordered home.
    moved: Vec<IdRange>,
    finished: bool,
}

/// What the loop is to do for a checkpoint that is complete.
pub(super) struct Complete {
    pub(super) checkpoint: u64,
    pub(super) moved: Vec<IdRange>,
}

impl Checkpointer {
    pub(super) fn start(
        home: Home,
        stored: RangeSet,
        interval: Duration,
        hurry_bytes: u64,
    ) -> io::Result<Checkpointer> {
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let (outbox, done) = channel();
        let thread = std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || work(home, &inbox, &outbox))?;
        Ok(Checkpointer {
            orders: Some(orders),
            done,
            thread: Some(thread),
            interval,
            dirty: RangeSet::default(),
            stored,
            hurry_bytes,
            begun: None,
            last_begin: Time(0),
            spare_ordered: false,
            stuck: None,
        })
    }

    /// Takes note of the blocks that an event changes.
    pub(super) fn mark(&mut self, event: &Event) {
        for range in event.jobs() {
            let (first, last) = (range.first.0 / BLOCK, (range.end().0 - 1) / BLOCK);
            self.dirty.insert(first, last - first + 1);
        }
    }

    /// Orders a spare log file.
    pub(super) fn order_spare(&mut self, (path, size, salt): (PathBuf, u64, u64)) {
        self.spare_ordered = self.send(Order::Spare { path, size, salt });
    }

    /// Whether a spare log file is being made.
    pub(super) fn spare_ordered(&self) -> bool {
        self.spare_ordered
    }

    /// What the thread has done since this was asked last.
    pub(super) fn next_done(&mut self) -> Result<Option<Done>, HomeError> {
        match self.done.try_recv() {
            Ok(Done::Failed(error)) => Err(error),
            Ok(done) => {
                self.spare_ordered &= !matches!(done, Done::Spare(_));
                Ok(Some(done))
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(None),
        }
    }

    /// The jobs whose bodies the completed checkpoint brought home.
    pub(super) fn complete(&mut self, checkpoint: u64) -> Complete {
        let begun = self.begun.take().expect("a checkpoint is completed only after it began");
        debug_assert_eq!(begun.checkpoint, checkpoint);
        Complete { checkpoint, moved: begun.moved }
    }

    /// A slice of the work: begins a checkpoint if it is time, encodes some of its blocks, ends it if that was all.
    /// Returns when to be called again.
    pub(super) fn slice(
        &mut self,
        state: &State,
        last: u64,
        time: Time,
        fresh: &Fresh,
        now: Time,
    ) -> Option<Time> {
        if self.begun.is_none() {
            let due = self.last_begin.plus(self.interval);
            if self.dirty.is_empty() {
                return self.spare_ordered.then(|| now.plus(LOOK_AGAIN));
            }
            if now < due && fresh.bytes() < self.hurry_bytes {
                return Some(due);
            }
            self.last_begin = now;
            self.begun = Some(Begun {
                checkpoint: last,
                first_later_id: state.next_id(),
                blocks: std::mem::take(&mut self.dirty),
                moved: Vec::new(),
                finished: false,
            });
        }
        let more = self.encode_some(state, last, time, fresh);
        Some(if more { now } else { now.plus(LOOK_AGAIN) })
    }

    /// Brings all home and waits for it.
    pub(super) fn finish(
        &mut self,
        state: &State,
        last: u64,
        time: Time,
        fresh: &Fresh,
    ) -> Result<Option<Complete>, HomeError> {
        let mut complete = None;
        loop {
            if self.begun.is_none() && self.dirty.is_empty() {
                // The thread ends after what was ordered.
                self.orders = None;
            } else {
                self.slice(state, last, time, fresh, Time::NEVER);
            }
            match self.done.recv_timeout(Duration::from_millis(1)) {
                Ok(Done::Failed(error)) => return Err(error),
                Ok(Done::Checkpoint(checkpoint)) => complete = Some(self.complete(checkpoint)),
                // Whoever opens the log next finds the file.
                Ok(Done::Spare(_)) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(complete),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn encode_some(&mut self, state: &State, last: u64, time: Time, fresh: &Fresh) -> bool {
        if let Some(order) = self.stuck.take()
            && !self.send(order)
        {
            return false;
        }
        let mut bytes = 0;
        for _ in 0..SLICE_BLOCKS {
            let Some(begun) = &mut self.begun else { return false };
            if begun.finished {
                return false;
            }
            let order = match begun.blocks.first() {
                Some(block) => {
                    begun.blocks.remove(block, 1);
                    let change = change(state, last, block, self.stored.contains(block), fresh);
                    for (id, body) in &change.bodies {
                        bytes += body.len() as u64;
                        match begun.moved.last_mut() {
                            Some(range) if range.end() == *id => range.len += 1,
                            _ => begun.moved.push((*id).into()),
                        }
                    }
                    if change.row.is_some() {
                        self.stored.insert(block, 1);
                    } else {
                        self.stored.remove(block, 1);
                        if !change.stored {
                            continue;
                        }
                    }
                    Order::Block(change)
                }
                None => {
                    begun.finished = true;
                    let position = Position {
                        checkpoint: begun.checkpoint,
                        first_later_id: begun.first_later_id.0,
                        books_at: last,
                        time: time.0,
                        books: state.books(),
                    };
                    Order::Finish { position: encode_position(&position), checkpoint: begun.checkpoint }
                }
            };
            if !self.send(order) {
                return false;
            }
            if bytes >= SLICE_BYTES {
                break;
            }
        }
        true
    }

    /// Hands an order over; keeps it for later if there is no room.
    fn send(&mut self, order: Order) -> bool {
        let Some(orders) = &self.orders else { return false };
        match orders.try_send(order) {
            Ok(()) => true,
            // The thread has ended with an error, which `next_done` tells.
            Err(TrySendError::Disconnected(_)) => false,
            Err(TrySendError::Full(order @ Order::Spare { .. })) => {
                drop(order);
                false
            }
            Err(TrySendError::Full(order)) => {
                self.stuck = Some(order);
                false
            }
        }
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; the log still has everything.
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.orders = None;
        self.join();
    }
}

/// What of a block is to be brought home.
fn change(state: &State, last: u64, block: u64, stored: bool, fresh: &Fresh) -> BlockChange {
    let runs = state.runs(IdRange::new(JobId(block * BLOCK), BLOCK));
    let mut change = BlockChange { block, row: None, live: 0, stored, bodies: Vec::new() };
    for id in runs.iter().flat_map(|(range, _)| range.iter()) {
        change.live |= 1 << (id.0 % BLOCK);
        if let Some(body) = fresh.get(id) {
            change.bodies.push((id, body.clone()));
        }
    }
    if !runs.is_empty() {
        change.row = Some(encode_block(&BlockRow { commit: last, runs }));
    }
    change
}

fn work(mut home: Home, inbox: &Receiver<Order>, outbox: &std::sync::mpsc::Sender<Done>) {
    while let Ok(order) = inbox.recv() {
        let done = match order {
            Order::Block(change) => home.put_block(&change).map(|()| None),
            Order::Finish { position, checkpoint } => home
                .flush()
                .and_then(|()| home.set_position(&position))
                .and_then(|()| home.flush())
                .map(|()| Some(Done::Checkpoint(checkpoint))),
            Order::Spare { path, size, salt } => Ok(Some(Done::Spare(LogFile::make(&path, size, salt)))),
        };
        let (done, failed) = match done {
            Ok(done) => (done, false),
            Err(error) => (Some(Done::Failed(error)), true),
        };
        // The loop's side may be gone: then nobody needs to know.
        let gone = done.is_some_and(|done| outbox.send(done).is_err());
        if failed || gone {
            return;
        }
    }
}
