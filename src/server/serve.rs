//! Serves one connection, whatever its protocol: accepts it, reads what it sends, passes its requests to its front one
//! by one, and cleans up at its end. Fairness and bounds are applied here: how much is read, and when.

use super::budget::FREE;
use super::connection::Connection;
use super::fault::Kind;
use super::front::{Close, Front};
use super::hangup;
use super::hub::Hub;
use super::peer::Peer;
use crate::clock::monotonic;
use crate::core::Holder;
use crate::store::Store;
use crate::stream::Stream;
use bytes::BytesMut;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How long a connection may take to greet.
const GREETING_TIME: Duration = Duration::from_secs(10);
/// How much room there is for the next read of a connection that has said little.
const READ_LEAST: usize = 4 << 10;
/// About what it costs to send a byte of an answer later.
const ANSWER_BYTE: Duration = Duration::from_nanos(1);

/// Takes a new connection on, whose protocol is this front, and serves it until it ends.
pub(super) fn open<F: Front, S: Store + 'static>(hub: &Rc<Hub<S>>, stream: Stream, peer: Peer, front: F) {
    let shared = (hub.connections.budget.clone(), hub.scheduler.newcomer());
    let blameless = if F::IS_BLAMELESS { Holder::BLAMELESS } else { 0 };
    let who = (hub.connections.next_id() | blameless, peer);
    let connection = Connection::new(who, stream, front, shared, hub.clock.clone());
    let limit = hub.service.borrow().limits.connections;
    if !hub.connections.add(connection.clone(), limit) {
        let message = format!("{limit} connections are open already (limits.connections): try again later");
        connection.refuse(Kind::Busy, message);
        return connection.flush();
    }
    tokio::task::spawn_local(serve(hub.clone(), connection));
}

async fn serve<F: Front, S: Store + 'static>(hub: Rc<Hub<S>>, connection: Rc<Connection<F>>) {
    tokio::select! {
        // What nobody would hear of is not done any more.
        biased;
        () = connection.closing.notified() => {}
        () = read_all(&hub, &connection) => {}
    }
    if hub.is_ending.get() {
        // It was we who ended it, and it waits for its answers.
        connection.is_read.set(true);
        hub.wake.notify_one();
        return;
    }
    hub.connections.remove(connection.id);
    hub.holds.forget(connection.id);
    let worker = hub.sessions.of(connection.id);
    let comes_back = worker.filter(|_| connection.leaves.get());
    if let Some(session) = comes_back {
        hub.engine.borrow_mut().await_worker(session, hub.clock.now());
    }
    let sessions = [Some(connection.id), worker.filter(|_| comes_back.is_none())];
    let close = || {
        let (mut engine, now) = (hub.engine.borrow_mut(), hub.clock.now());
        sessions.into_iter().flatten().all(|session| engine.close_session(session, now))
    };
    hub.admit_arrival().await;
    while !hub.arrive(close) {
        hub.admit_arrival().await;
    }
    hub.sessions.end(connection.id);
    hub.wake.notify_one();
    connection.end();
}

async fn read_all<F: Front, S: Store + 'static>(hub: &Rc<Hub<S>>, connection: &Rc<Connection<F>>) {
    let mut buffer = BytesMut::new();
    let greeting_deadline = tokio::time::Instant::now() + GREETING_TIME;
    let (mut has_much_to_say, mut is_over) = (false, false);
    loop {
        if handle_requests(hub, connection, &mut buffer).await.is_err() {
            return;
        }
        if !connection.front.is_ready() && buffer.len() >= READ_LEAST {
            // As much is here as may wait. Whoever has gone is not waited for.
            if answered_or_hung_up(connection, is_over).await {
                F::has_said_all(hub, connection);
                is_over = true;
            }
            continue;
        }
        let next = async {
            // What is set aside for a long request is its length and no more, or as much as has come again where that is
            // not known. One that is short has room in what every connection may have.
            let len = connection.front.request_len(&buffer);
            let room = match len.unwrap_or(if buffer.len() < FREE { 0 } else { 2 * buffer.len() }) {
                len if len > FREE => {
                    let give_way = || hub.connections.give_way(hub.clock.now());
                    connection.account.reserve(len, || hub.clock.now(), give_way).await;
                    len
                }
                _ if has_much_to_say => FREE,
                _ => READ_LEAST,
            };
            buffer.reserve(room.max(READ_LEAST).saturating_sub(buffer.len()).max(1));
            let read = read_some(hub, connection, &mut buffer).await;
            has_much_to_say = buffer.len() == buffer.capacity();
            read
        };
        let read = if !connection.front.is_greeted() {
            match tokio::time::timeout_at(greeting_deadline, next).await {
                Ok(read) => read,
                Err(_) => return refuse_late_greeting(connection),
            }
        } else if connection.front.is_ready() {
            next.await
        } else {
            match answered_or(connection, next).await {
                Some(read) => read,
                None => continue,
            }
        };
        if !matches!(read, Ok(1..)) {
            if matches!(read, Ok(0)) {
                finish(hub, connection, &mut buffer).await;
            }
            return;
        }
    }
}

/// The other side has said all, and may still listen: what it has asked for before is answered, as far as its front wants that.
async fn finish<F: Front, S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    connection: &Rc<Connection<F>>,
    buffer: &mut BytesMut,
) {
    F::has_said_all(hub, connection);
    while handle_requests(hub, connection, buffer).await.is_ok() && connection.front.is_about_to_answer() {
        connection.until_answered().await;
    }
}

/// Waits for what the front waits for (`None`), and reads on meanwhile, so as to see the end.
async fn answered_or<F: Front>(
    connection: &Connection<F>,
    read: impl Future<Output = io::Result<usize>>,
) -> Option<io::Result<usize>> {
    tokio::select! {
        biased;
        () = connection.until_answered() => None,
        read = read => Some(read),
    }
}

/// Waits for what the front waits for, and returns whether the other side has said all before that came; not if that is known.
async fn answered_or_hung_up<F: Front>(connection: &Connection<F>, is_over: bool) -> bool {
    let hung_up = async {
        if is_over || hangup::happens(&connection.stream).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = connection.until_answered() => false,
        () = hung_up => true,
    }
}

/// Reads what has come. That counts too: what was sent in very many small pieces takes long to read, even if it is
/// nonsense.
async fn read_some<F: Front, S: Store + 'static>(
    hub: &Hub<S>,
    connection: &Connection<F>,
    buffer: &mut BytesMut,
) -> io::Result<usize> {
    connection.stream.readable().await?;
    hub.admit(&connection.quota).await;
    let mut cost = Duration::ZERO;
    let got = poll_fn(|context| {
        let begun = monotonic();
        let got = connection.stream.poll_read(context, buffer);
        cost += monotonic() - begun;
        got
    });
    let got = got.await;
    hub.scheduler.charge(&connection.quota, cost);
    got
}

fn refuse_late_greeting<F: Front>(connection: &Connection<F>) {
    let message = format!("no greeting came within {} seconds", GREETING_TIME.as_secs());
    connection.refuse(Kind::Malformed, message);
}

async fn handle_requests<F: Front, S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    connection: &Rc<Connection<F>>,
    buffer: &mut BytesMut,
) -> Result<(), Close> {
    let (mut now, mut begun) = (hub.clock.now(), monotonic());
    while connection.front.is_ready() {
        let (taken, has_spoken) = {
            let limits = &hub.service.borrow().limits;
            connection.with_outbox(|front, out| {
                let before = out.len();
                (front.take(limits, buffer, out), out.len() > before)
            })
        };
        if has_spoken {
            connection.flush();
        }
        let Some(request) = taken? else { return Ok(()) };
        connection.has_asked.set(true);
        if F::is_long(&request) {
            hub.scheduler.spend(&connection.quota);
        }
        let mut waited = hub.admit(&connection.quota).await;
        // What it was answered while it stood in line counts.
        while connection.must_drain() {
            connection.until_drained().await;
            hub.admit(&connection.quota).await;
            waited = true;
        }
        if waited {
            (now, begun) = (hub.clock.now(), monotonic());
        }
        let said = hub.engine.borrow().said_bytes();
        F::handle(hub, connection, request, buffer, now).await;
        let ended = monotonic();
        let said = hub.engine.borrow().said_bytes().saturating_sub(said);
        hub.scheduler.charge(&connection.quota, ended - begun + ANSWER_BYTE * said as u32);
        hub.scheduler.owe(&connection.quota, said);
        begun = ended;
        connection.account.release();
        hub.looks.note_request();
        hub.wake.notify_one();
    }
    Ok(())
}
