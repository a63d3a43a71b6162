//! A client's connection to one shard: what was asked there, and to whom each answer goes.

use super::connection::Connection;
use super::frames::{Frame, Queue, Queued, next_frame, queue};
use crate::protocol::{ErrorCode, Fault, Request, Response, Versions, is_last};
use crate::stream::Stream;
use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

/// How long to wait for a shard that has no owner: as long as nodes wait for one.
const PATIENCE: Duration = Duration::from_secs(15);
/// Before it is tried again; that doubles each time.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long one that reads no more may take to say the rest.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
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

impl Asked {
    fn client(&self) -> u32 {
        match self {
            Asked::Pass { client, .. } | Asked::One { client, .. } => *client,
            Asked::Joined(joined) => joined.client,
        }
    }
}

/// What is said where a shard cannot be reached.
pub(super) fn no_owner(shard: usize) -> Fault {
    let message = format!(
        "shard {shard} has no owner at present that takes requests: try again; `musher cluster status` says more"
    );
    Fault { code: ErrorCode::Busy, message }
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

/// The connection. Until it is open what is asked waits in it, as much as there is room for: a shard that is away holds up nothing that is
/// for others.
pub(super) struct Link {
    shard: usize,
    to: Queue,
    is_open: Cell<bool>,
    asked: RefCell<FxHashMap<u32, Asked>>,
}

impl Link {
    /// Opens it for a client; `worker`: who that is, if it has said so.
    pub(super) fn open(
        connection: &Rc<Connection>,
        shard: usize,
        worker: Option<(String, [u8; 16])>,
    ) -> Rc<Link> {
        let (to, requests) = queue();
        let link = Rc::new(Link { shard, to, is_open: Cell::default(), asked: RefCell::default() });
        let (connection, of_task) = (connection.clone(), link.clone());
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = of_task.run(&connection, requests, worker) => {}
                () = connection.ended() => {}
            }
        });
        link
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// Asks for something, and notes to whom the answer goes.
    pub(super) async fn ask(&self, connection: &Rc<Connection>, number: u32, asked: Asked, frame: Bytes) {
        if !self.is_open.get() && self.to.is_full() {
            return self.refuse(connection, number, asked, &no_owner(self.shard)).await;
        }
        self.asked.borrow_mut().insert(number, asked);
        match self.is_open.get() {
            true => self.to.push_in_turn(frame).await,
            false => self.to.push(frame),
        }
    }

    async fn run(&self, connection: &Rc<Connection>, requests: Queued, worker: Option<(String, [u8; 16])>) {
        let mut buffer = BytesMut::new();
        match self.until_open(connection, &mut buffer, worker).await {
            Ok(stream) => {
                self.is_open.set(true);
                self.carry(connection, &stream, (buffer, requests)).await;
                let asked = self.asked.take();
                // Whether these were done is not known: whoever waits for them hears that the connection has ended.
                asked.iter().for_each(|(number, asked)| connection.done(asked.client(), *number));
                connection.break_at(self.shard).await;
            }
            Err(fault) => {
                // Whoever asks from now on begins anew.
                connection.forget(self.shard);
                drop(requests);
                for (number, asked) in self.asked.take() {
                    self.refuse(connection, number, asked, &fault).await;
                }
            }
        }
    }

    /// Carries requests and answers, until the shard has said all.
    async fn carry(
        &self,
        connection: &Rc<Connection>,
        stream: &Stream,
        (mut buffer, mut requests): (BytesMut, Queued),
    ) {
        let send = async {
            while let Some(Ok(())) = requests.write_next(stream, std::future::pending()).await {}
            // One that reads no more may have answered what it has read.
            sleep(LAST_ANSWERS).await;
        };
        let receive = async {
            while let Ok(Some(frame)) = next_frame(stream, &mut buffer, ANSWER_MAX).await {
                self.answered(connection, frame).await;
            }
        };
        tokio::select! {
            () = send => {}
            () = receive => {}
        }
    }

    /// Connects and greets, however often that takes.
    ///
    /// # Errors
    /// Why it cannot be reached, or not within the time.
    async fn until_open(
        &self,
        connection: &Rc<Connection>,
        buffer: &mut BytesMut,
        worker: Option<(String, [u8; 16])>,
    ) -> Result<Stream, Fault> {
        let (end, mut pause, mut why) = (Instant::now() + PATIENCE, PAUSE, no_owner(self.shard));
        loop {
            let opened = timeout_at(end, self.try_to_open(connection, buffer, worker.as_ref())).await;
            match opened {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(Some(fault))) if !fault.code.try_again() => return Err(fault),
                Ok(Err(fault)) => why = fault.unwrap_or(why),
                Err(_) => return Err(why),
            }
            buffer.clear();
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Once. What the shard has refused, if that is why it is not open.
    async fn try_to_open(
        &self,
        connection: &Rc<Connection>,
        buffer: &mut BytesMut,
        worker: Option<&(String, [u8; 16])>,
    ) -> Result<Stream, Option<Fault>> {
        let version = connection.version;
        let stream = connection.router.ways.connect(self.shard, &connection.caller).ok_or(None)?;
        let stream = Stream::try_from(stream).map_err(|_| None)?;
        let mut out = Vec::new();
        let versions = Versions::only(version.number() as u8); // 1 or 2
        Request::Hello { versions, name: "musher router".to_owned() }.encode(HELLO, &mut out);
        if let Some((name, token)) = worker {
            let take_up = Request::TakeUp { name: name.clone(), token: *token, leases: Vec::new() };
            version.encode_request(&take_up, TAKE_UP, &mut out);
        }
        stream.write_all(&out).await.map_err(|_| None)?;
        for _ in 0..1 + usize::from(worker.is_some()) {
            let answer = next_frame(&stream, buffer, ANSWER_MAX).await.ok().flatten().ok_or(None)?;
            match version.decode_response(answer.header.kind, answer.payload()) {
                Ok(Response::Welcome { .. } | Response::TakenUp { .. }) => {}
                Ok(Response::Error(fault)) => return Err(Some(fault)),
                _ => return Err(None),
            }
        }
        Ok(stream)
    }

    /// It is not asked for this.
    async fn refuse(&self, connection: &Rc<Connection>, number: u32, asked: Asked, fault: &Fault) {
        connection.done(asked.client(), number);
        let refusal = Response::Error(fault.clone());
        match asked {
            Asked::Pass { client, .. } => connection.answer(client, &refusal).await,
            Asked::One { say, .. } => drop(say.send(refusal)),
            Asked::Joined(joined) => {
                if joined.takes(true, true) {
                    connection.answer(joined.client, &refusal).await;
                    // It may be this one that is asked to.
                    Box::pin(connection.unwait_all(joined.client)).await;
                }
            }
        }
    }

    async fn answered(&self, connection: &Rc<Connection>, frame: Frame) {
        let (number, kind) = (frame.header.request, frame.header.kind);
        if number == 0 {
            // A shard that stops gives what it has to another node, and workers' leases with it: it is not the worker that is to stop.
            if kind != Response::STOPPING {
                connection.say(frame.unchanged()).await;
            }
            return;
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
