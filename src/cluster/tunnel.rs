//! Connections that are passed on: whoever comes to a node that stands by is connected to the owner, byte for byte, by messages
//! over the servers. Knows who has come and in which protocol, not what is said.
//!
//! A message has a kind (one byte), a number (8 bytes, little-endian) and bytes. Each side counts what it has sent and says where each
//! part begins: what is lost on the way is noticed, and ends the connection on both sides, as a network that breaks would. A side sends
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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;

/// What may be under way in one direction, in bytes.
const WINDOW: u64 = 512 << 10;
/// The most bytes of one message. A part is told to have arrived when so many have.
const PART: usize = 32 << 10;
/// How often each side says that it is there.
const PING: Duration = Duration::from_secs(2);
/// A side that has said nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(7);
/// How long somebody waits for an owner to be there.
const PATIENCE: Duration = Duration::from_secs(15);
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
        if let Ok(Some(answer)) = timeout(ANSWER, incoming.next()).await {
            if let Some((OPENED, _, to)) = read(answer.payload)
                && let Ok(to) = std::str::from_utf8(&to)
            {
                return Some((life, incoming, to.into()));
            }
            // Nobody listens there any more, say the servers: another owner is about to be known.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
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
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let inbox = client.new_inbox();
    let incoming = client.subscribe(inbox.clone()).await.map_err(io::Error::other)?;
    if arrivals.send((theirs, wire, Caller { uid, groups })).await.is_err() {
        // It is the owner no more: whoever waits asks the next one.
        return Ok(());
    }
    let opened = message(OPENED, 0, inbox.as_bytes());
    client.publish(back.clone(), opened).await.map_err(io::Error::other)?;
    pump(&Stream::try_from(ours)?, client, incoming, back).await;
    Ok(())
}

/// What one side knows of the other.
#[derive(Default)]
struct Flow {
    /// How much of what was sent it has passed on.
    taken: AtomicU64,
    /// Whether it has said all.
    has_ended: AtomicBool,
    is_news: Notify,
}

impl Flow {
    /// Returns once something is so.
    async fn until<T>(&self, is_so: impl Fn() -> Option<T>) -> T {
        loop {
            if let Some(so) = is_so() {
                return so;
            }
            self.is_news.notified().await;
        }
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
    let flow = Flow::default();
    let both = async {
        send(stream, client, &to, &flow).await?;
        flow.until(|| flow.has_ended.load(Ordering::Relaxed).then_some(())).await;
        Ok(())
    };
    let present = async {
        loop {
            tokio::time::sleep(PING).await;
            let _ = client.publish(to.clone(), message(PRESENT, 0, &[])).await;
        }
    };
    let ended: Result<(), Broken> = tokio::select! {
        ended = both => ended,
        broken = receive(stream, client, &to, &mut incoming, &flow) => Err(broken),
        () = present => Err(Broken), // it does not end
    };
    if ended.is_err() {
        // If that does not arrive either, the silence says it.
        let _ = client.publish(to, message(GONE, 0, &[])).await;
    }
}

/// Passes on what this side says.
async fn send(stream: &Stream, client: &Client, to: &Subject, flow: &Flow) -> Result<(), Broken> {
    let mut sent = 0;
    loop {
        let room = || WINDOW.saturating_sub(sent - flow.taken.load(Ordering::Relaxed));
        let room = flow.until(|| Some(room()).filter(|room| *room > 0)).await;
        let mut buffer = BytesMut::with_capacity(room.min(PART as u64) as usize);
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            client.publish(to.clone(), message(END, sent, &[])).await?;
            return Ok(());
        }
        client.publish(to.clone(), message(DATA, sent, &buffer)).await?;
        sent += read as u64;
    }
}

/// Passes on what the other side says, until that cannot be done any more.
async fn receive(
    stream: &Stream,
    client: &Client,
    to: &Subject,
    incoming: &mut Subscriber,
    flow: &Flow,
) -> Broken {
    let (mut received, mut told) = (0, 0);
    loop {
        let Ok(Some(next)) = timeout(SILENCE, incoming.next()).await else { return Broken };
        let has_ended = flow.has_ended.load(Ordering::Relaxed);
        match read(next.payload) {
            Some((DATA, at, bytes)) if at == received && !has_ended => {
                if stream.write_all(&bytes).await.is_err() {
                    return Broken;
                }
                received += bytes.len() as u64;
                if received - told >= PART as u64 {
                    let _ = client.publish(to.clone(), message(TAKEN, received, &[])).await;
                    told = received;
                }
            }
            Some((TAKEN, up_to, _)) if up_to >= flow.taken.load(Ordering::Relaxed) => {
                flow.taken.store(up_to, Ordering::Relaxed);
                flow.is_news.notify_one();
            }
            Some((END, at, _)) if at == received && !has_ended => {
                stream.end_writing();
                flow.has_ended.store(true, Ordering::Relaxed);
                flow.is_news.notify_one();
            }
            Some((PRESENT, ..)) => {}
            _ => return Broken,
        }
    }
}
