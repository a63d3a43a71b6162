//! A client's connection to one shard: what was asked there, and to whom each answer goes.

use super::connection::Connection;
use super::frames::{Frame, next_frame, write_together};
use crate::protocol::{ErrorCode, Fault, Request, Response, Versions, is_last};
use crate::stream::Stream;
use bytes::{Bytes, BytesMut};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// How long to wait for a shard that has no owner: as long as nodes wait for one.
const PATIENCE: Duration = Duration::from_secs(15);
/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(20);
/// Requests that the shard has not read yet, before the client has to wait.
const REQUESTS: usize = 64;
/// No answer is longer, whatever its first bytes say.
const ANSWER_MAX: usize = u32::MAX as usize;

/// To whom answers go.
pub(super) enum Asked {
    /// To the client as they are, under its own number, up to the last one.
    Pass {
        client: u32,
        /// What was asked.
        kind: u8,
    },
    /// The only one to whoever asks.
    One { client: u32, say: oneshot::Sender<Response> },
    /// To the client, with those of other shards.
    Joined(Rc<Joined>),
}

/// A request that several shards answer as long as it goes on.
pub(super) struct Joined {
    client: u32,
    kind: u8,
    /// How many have not ended.
    left: Cell<usize>,
    /// One has refused: nothing more is said.
    is_over: Cell<bool>,
}

impl Joined {
    pub(super) fn new(client: u32, kind: u8, shards: usize) -> Joined {
        Joined { client, kind, left: Cell::new(shards), is_over: Cell::new(false) }
    }

    /// Whether this answer is to be passed on: of the last ones only the very last, unless it says that something is wrong.
    fn takes(&self, is_last: bool, is_error: bool) -> bool {
        if self.is_over.get() {
            return false;
        }
        self.left.set(self.left.get() - usize::from(is_last));
        self.is_over.set(is_error);
        is_error || !is_last || self.left.get() == 0
    }
}

/// The connection. Until it is open what is asked waits in it.
pub(super) struct Link {
    shard: usize,
    to: mpsc::Sender<Bytes>,
    asked: RefCell<HashMap<u32, Asked>>,
}

impl Link {
    /// Opens it for a client; `worker`: who that is, if it has said so.
    pub(super) fn open(
        connection: &Rc<Connection>,
        shard: usize,
        worker: Option<(String, [u8; 16])>,
    ) -> Rc<Link> {
        let (to, requests) = mpsc::channel(REQUESTS);
        let link = Rc::new(Link { shard, to, asked: RefCell::default() });
        let (connection, of_task) = (connection.clone(), link.clone());
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = of_task.run(&connection, requests, worker) => {}
                () = connection.ended() => {}
            }
        });
        link
    }

    /// Asks for something, and notes to whom the answer goes.
    pub(super) async fn ask(&self, number: u32, asked: Asked, frame: Bytes) {
        self.asked.borrow_mut().insert(number, asked);
        // If it cannot be reached, all that was asked is refused; if it breaks, the client's connection ends.
        let _ = self.to.send(frame).await;
    }

    async fn run(
        &self,
        connection: &Rc<Connection>,
        mut requests: mpsc::Receiver<Bytes>,
        worker: Option<(String, [u8; 16])>,
    ) {
        let mut buffer = BytesMut::new();
        let opened = timeout(PATIENCE, self.until_open(connection, &mut buffer, worker)).await;
        let Ok(stream) = opened else {
            // Whoever asks from now on begins anew.
            connection.forget(self.shard);
            drop(requests);
            return self.refuse(connection).await;
        };
        let send = async {
            while let Some(first) = requests.recv().await {
                if write_together(&stream, first, &mut requests).await.is_err() {
                    return;
                }
            }
        };
        let receive = async {
            while let Ok(Some(frame)) = next_frame(&stream, &mut buffer, ANSWER_MAX).await {
                self.answered(connection, frame).await;
            }
        };
        tokio::select! {
            () = send => {}
            () = receive => {}
        }
        connection.break_at(self.shard).await;
    }

    /// Connects and greets, however often that takes.
    async fn until_open(
        &self,
        connection: &Rc<Connection>,
        buffer: &mut BytesMut,
        worker: Option<(String, [u8; 16])>,
    ) -> Stream {
        loop {
            if let Some(stream) = self.try_to_open(connection, buffer, worker.as_ref()).await {
                return stream;
            }
            buffer.clear();
            sleep(PAUSE).await;
        }
    }

    async fn try_to_open(
        &self,
        connection: &Rc<Connection>,
        buffer: &mut BytesMut,
        worker: Option<&(String, [u8; 16])>,
    ) -> Option<Stream> {
        let version = connection.version;
        let stream = connection.router.ways.connect(self.shard, &connection.caller)?;
        let stream = Stream::try_from(stream).ok()?;
        let mut out = Vec::new();
        let versions = Versions::only(version.number() as u8); // 1 or 2
        Request::Hello { versions, name: "musher router".to_owned() }.encode(HELLO, &mut out);
        if let Some((name, token)) = worker {
            let take_up = Request::TakeUp { name: name.clone(), token: *token, leases: Vec::new() };
            version.encode_request(&take_up, TAKE_UP, &mut out);
        }
        stream.write_all(&out).await.ok()?;
        let answers = 1 + usize::from(worker.is_some());
        for _ in 0..answers {
            let answer = next_frame(&stream, buffer, ANSWER_MAX).await.ok()??;
            match version.decode_response(answer.header.kind, answer.payload()) {
                Ok(Response::Welcome { .. } | Response::TakenUp { .. }) => {}
                // It has too many connections, say, or the worker's former one is still open.
                _ => return None,
            }
        }
        Some(stream)
    }

    /// The shard cannot be reached.
    async fn refuse(&self, connection: &Rc<Connection>) {
        let message = format!(
            "shard {} has no owner at present that takes requests: try again; `musher cluster status` says more",
            self.shard
        );
        let refusal = Response::Error(Fault { code: ErrorCode::Busy, message });
        let asked = self.asked.take();
        for (number, asked) in asked {
            match asked {
                Asked::Pass { client, .. } => {
                    connection.done(client, number);
                    connection.answer(client, &refusal).await;
                }
                Asked::One { client, say } => {
                    connection.done(client, number);
                    let _ = say.send(refusal.clone());
                }
                Asked::Joined(joined) => {
                    connection.done(joined.client, number);
                    if joined.takes(true, true) {
                        connection.answer(joined.client, &refusal).await;
                        connection.unwait_all(joined.client).await;
                    }
                }
            }
        }
    }

    async fn answered(&self, connection: &Rc<Connection>, frame: Frame) {
        let (number, kind) = (frame.header.request, frame.header.kind);
        if number == 0 {
            // A notice, for all that its leases are worth.
            return connection.say(frame.unchanged()).await;
        }
        let asked = self.asked.borrow_mut().remove(&number);
        match asked {
            Some(Asked::Pass { client, kind: asked }) => {
                if is_last(asked, kind) {
                    connection.done(client, number);
                } else {
                    self.asked.borrow_mut().insert(number, Asked::Pass { client, kind: asked });
                }
                connection.say(frame.renumbered(client)).await;
            }
            Some(Asked::One { client, say }) => {
                connection.done(client, number);
                match connection.version.decode_response(kind, frame.payload()) {
                    Ok(answer) => drop(say.send(answer)),
                    Err(_) => connection.close(),
                }
            }
            Some(Asked::Joined(joined)) => {
                let is_end = is_last(joined.kind, kind);
                if is_end {
                    connection.done(joined.client, number);
                } else {
                    self.asked.borrow_mut().insert(number, Asked::Joined(joined.clone()));
                }
                let is_error = kind == Response::ERROR;
                if joined.takes(is_end, is_error) {
                    let client = joined.client;
                    connection.say(frame.renumbered(client)).await;
                    if is_error {
                        connection.unwait_all(client).await;
                    }
                }
            }
            // It has answered before.
            None => {}
        }
    }
}

/// Numbers of what a shard is asked before the client's requests. Those begin with 1 on each connection, and come later.
const HELLO: u32 = u32::MAX;
const TAKE_UP: u32 = u32::MAX - 1;
