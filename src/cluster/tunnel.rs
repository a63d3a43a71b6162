//! Connections that are passed on: whoever comes to a node that stands by is connected to the owner, byte for byte, by messages
//! over the servers. Knows who has come and in which protocol, not what is said.
//!
//! A message has a kind (one byte), a number (8 bytes, little-endian) and bytes. Each side counts what it has sent and says where each
//! part begins, and again whenever it says that it is there: what is lost on the way is noticed, also if nothing comes behind it, and ends
//! the connection on both sides, as a network that breaks would. A side sends
//! at most [`WINDOW`] bytes that the other one has not passed on yet.

use super::subject;
use crate::access::Caller;
use crate::stream::Stream;
use async_nats::{Client, Subject, Subscriber};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;

/// What may be under way in one direction, in bytes.
const WINDOW: u64 = 512 << 10;
/// The most bytes of one message: the least that servers of a cluster take has room for it. So many are told to have arrived at a time.
const PART: usize = 16 << 10;
/// How often each side says that it is there.
const PING: Duration = Duration::from_secs(2);
/// A side that has said nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(7);
/// How long somebody waits for an owner to be there.
const PATIENCE: Duration = Duration::from_secs(15);
/// Before the same owner is asked again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long an owner may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// The protocol that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wire {
    Native,
    Beanstalk,
}

/// A connection that somebody has opened to one node, and another one is to serve. It does not block.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) stream: OwnedFd,
    pub(crate) wire: Wire,
    pub(crate) caller: Caller,
    /// Its place among those that this node passes on.
    pub(crate) place: OwnedSemaphorePermit,
}

/// How a node asks the owner to serve a connection.
#[derive(Debug, Serialize, Deserialize)]
struct Open {
    wire: Wire,
    uid: u32,
    groups: Vec<u32>,
}

const DATA: u8 = 0;
const TAKEN: u8 = 1;
const END: u8 = 2;
const PRESENT: u8 = 3;
const GONE: u8 = 4;
const OPENED: u8 = 5;

fn message(kind: u8, number: u64, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(9 + bytes.len());
    message.put_u8(kind);
    message.put_u64_le(number);
    message.put_slice(bytes);
    message.freeze()
}

fn read(mut message: Bytes) -> Option<(u8, u64, Bytes)> {
    if message.len() < 9 {
        return None;
    }
    let (kind, number) = (message.get_u8(), message.get_u64_le());
    Some((kind, number, message))
}

/// The subject of calls to one life of a node.
pub(super) fn calls_subject(stream: &str, life: &str) -> String {
    subject(stream, &format!("call.{life}"))
}

/// Connects somebody to the owner, and passes on what both say until one of them has gone. `owner` is told who that is.
pub(super) async fn pass_on(
    client: Client,
    name: String,
    call: Call,
    mut owner: watch::Receiver<Option<String>>,
) {
    let passed = async {
        let (life, incoming, to) =
            timeout(PATIENCE, open(&client, &name, &call, &mut owner)).await.ok()??;
        let stream = Stream::try_from(call.stream).ok()?;
        tokio::select! {
            () = pump(&stream, &client, incoming, to) => {}
            // Whoever was connected to it connects to the next one.
            _ = owner.wait_for(|now| now.as_ref() != Some(&life)) => {}
        }
        drop(call.place);
        Some(())
    };
    if passed.await.is_none() {
        tracing::debug!("a connection was closed: the cluster has no owner that takes it");
    }
}

/// Asks whoever is the owner, again and again: until it has answered nothing was said that could be done twice.
async fn open(
    client: &Client,
    name: &str,
    call: &Call,
    owner: &mut watch::Receiver<Option<String>>,
) -> Option<(String, Subscriber, Subject)> {
    let Call { wire, caller: Caller { uid, groups }, .. } = call;
    let ask = Open { wire: *wire, uid: *uid, groups: groups.clone() };
    let ask = Bytes::from(serde_json::to_vec(&ask).expect("numbers are always JSON"));
    loop {
        let life = owner.wait_for(Option::is_some).await.ok()?.clone()?;
        let inbox = client.new_inbox();
        let mut incoming = client.subscribe(inbox.clone()).await.ok()?;
        client.publish_with_reply(calls_subject(name, &life), inbox, ask.clone()).await.ok()?;
        let answer = tokio::select! {
            answer = timeout(ANSWER, incoming.next()) => answer.ok().flatten(),
            // It may have gone before the servers had noticed.
            _ = owner.wait_for(|now| now.as_ref() != Some(&life)) => continue,
        };
        let Some(answer) = answer else { continue };
        if let Some((OPENED, _, to)) = read(answer.payload)
            && let Ok(to) = std::str::from_utf8(&to)
        {
            return Some((life, incoming, to.into()));
        }
        // Nobody listens there any more, say the servers: another owner is about to be known.
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes what other nodes pass on, for as long as this node is the owner.
pub(super) async fn take(
    client: Client,
    mut calls: Subscriber,
    arrivals: mpsc::Sender<(UnixStream, Wire, Caller)>,
) {
    while let Some(call) = calls.next().await {
        let (Some(back), Ok(open)) = (call.reply, serde_json::from_slice::<Open>(&call.payload)) else {
            continue;
        };
        let (client, arrivals) = (client.clone(), arrivals.clone());
        tokio::spawn(async move {
            if let Err(error) = serve(&client, back, open, &arrivals).await {
                tracing::warn!("a connection of another node was not taken: {error}");
            }
        });
    }
}

async fn serve(
    client: &Client,
    back: Subject,
    Open { wire, uid, groups }: Open,
    arrivals: &mpsc::Sender<(UnixStream, Wire, Caller)>,
) -> io::Result<()> {
    // Whoever calls asks again if it takes too long: nothing is to be made for that before.
    let Ok(Ok(place)) = timeout(ANSWER, arrivals.reserve()).await else { return Ok(()) };
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let inbox = client.new_inbox();
    let incoming = client.subscribe(inbox.clone()).await.map_err(io::Error::other)?;
    place.send((theirs, wire, Caller { uid, groups }));
    let opened = message(OPENED, 0, inbox.as_bytes());
    client.publish(back.clone(), opened).await.map_err(io::Error::other)?;
    pump(&Stream::try_from(ours)?, client, incoming, back).await;
    Ok(())
}

/// What one side knows of the other.
#[derive(Default)]
struct Flow {
    /// How much was sent to it, and how much of that it has passed on.
    sent: AtomicU64,
    taken: AtomicU64,
    /// How much it was sent before anything that is sent to it now. The end counts as a byte.
    before: AtomicU64,
    /// How much of what it has sent was passed on here.
    passed: AtomicU64,
    /// Rings when it has passed on more.
    is_news: Notify,
}

impl Flow {
    /// How much may be sent now; waits until that is something.
    async fn room(&self) -> usize {
        loop {
            let under_way = self.sent.load(Ordering::Relaxed) - self.taken.load(Ordering::Relaxed);
            match WINDOW.saturating_sub(under_way) {
                0 => self.is_news.notified().await,
                room => return room.min(PART as u64) as usize,
            }
        }
    }

    /// Whether that much may have been passed on: not less than before, nor more than was sent.
    fn may_be_taken(&self, up_to: u64) -> bool {
        (self.taken.load(Ordering::Relaxed)..=self.sent.load(Ordering::Relaxed)).contains(&up_to)
    }
}

/// Why a connection has ended that has not come to its end.
struct Broken;

impl<E: std::error::Error> From<E> for Broken {
    fn from(_: E) -> Broken {
        Broken
    }
}

/// Passes on what comes from either side, until both have said all or one is gone.
async fn pump(stream: &Stream, client: &Client, mut incoming: Subscriber, to: Subject) {
    let (flow, (queue, queued)) = (Flow::default(), mpsc::unbounded_channel());
    let both = async {
        tokio::try_join!(send(stream, client, &to, &flow), pass_out(stream, client, &to, queued, &flow))
    };
    let present = async {
        loop {
            tokio::time::sleep(PING).await;
            let before = flow.before.load(Ordering::Relaxed);
            let _ = client.publish(to.clone(), message(PRESENT, before, &[])).await;
            // The last word of it may have been lost, without which the other side would wait for ever.
            let passed = flow.passed.load(Ordering::Relaxed);
            let _ = client.publish(to.clone(), message(TAKEN, passed, &[])).await;
        }
    };
    let ended = tokio::select! {
        ended = both => ended.map(drop),
        broken = receive(&mut incoming, queue, &flow) => Err(broken),
        () = present => Err(Broken), // it does not end
    };
    if ended.is_err() {
        // If that does not arrive either, the silence says it.
        let _ = client.publish(to, message(GONE, 0, &[])).await;
    }
}

/// Passes on what this side says, up to its end.
async fn send(stream: &Stream, client: &Client, to: &Subject, flow: &Flow) -> Result<(), Broken> {
    let mut sent = 0;
    loop {
        let mut buffer = BytesMut::with_capacity(flow.room().await);
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            client.publish(to.clone(), message(END, sent, &[])).await?;
            flow.before.store(sent + 1, Ordering::Relaxed);
            return Ok(());
        }
        let at = sent;
        sent += read as u64;
        flow.sent.store(sent, Ordering::Relaxed);
        client.publish(to.clone(), message(DATA, at, &buffer)).await?;
        flow.before.store(sent, Ordering::Relaxed);
    }
}

/// Hears what the other side says, and queues it for [`pass_out`], until that cannot be done any more. It must not wait for whoever reads
/// here: behind it may be the word that this side may go on, without which nobody would.
async fn receive(incoming: &mut Subscriber, queue: mpsc::UnboundedSender<Bytes>, flow: &Flow) -> Broken {
    let (mut received, mut has_ended) = (0, false);
    loop {
        let Ok(Some(next)) = timeout(SILENCE, incoming.next()).await else { return Broken };
        match read(next.payload) {
            Some((DATA, at, bytes)) if at == received && !bytes.is_empty() && !has_ended => {
                received += bytes.len() as u64;
                // The other side keeps to the window, if it is one of ours.
                if received - flow.passed.load(Ordering::Relaxed) > WINDOW || queue.send(bytes).is_err() {
                    return Broken;
                }
            }
            Some((TAKEN, up_to, _)) if flow.may_be_taken(up_to) => {
                flow.taken.store(up_to, Ordering::Relaxed);
                flow.is_news.notify_one();
            }
            // An empty part ends the queue.
            Some((END, at, _)) if at == received && !has_ended && queue.send(Bytes::new()).is_ok() => {
                has_ended = true;
            }
            Some((PRESENT, before, _)) if before <= received + u64::from(has_ended) => {}
            _ => return Broken,
        }
    }
}

/// Passes on what the other side has said, up to its end.
async fn pass_out(
    stream: &Stream,
    client: &Client,
    to: &Subject,
    mut queue: mpsc::UnboundedReceiver<Bytes>,
    flow: &Flow,
) -> Result<(), Broken> {
    let (mut passed, mut told) = (0, 0);
    while let Some(bytes) = queue.recv().await {
        if bytes.is_empty() {
            stream.end_writing();
            return Ok(());
        }
        stream.write_all(&bytes).await?;
        passed += bytes.len() as u64;
        flow.passed.store(passed, Ordering::Relaxed);
        if passed - told >= PART as u64 {
            client.publish(to.clone(), message(TAKEN, passed, &[])).await?;
            told = passed;
        }
    }
    Err(Broken)
}
