//! The client library, with which the command line, the daemon's own workers and other Rust programs talk to the
//! daemon. One connection carries any number of requests at once; answers are matched to requests by number. What waits
//! to be sent is bounded: if the daemon does not read, callers wait.
//!
//! ```no_run
//! # async fn example() -> Result<(), musher::client::ClientError> {
//! use musher::client::Client;
//! use musher::protocol::{Claim, JobOptions, Settle, SubmitGroup, Verdict};
//!
//! let client = Client::connect("/run/musher/musher.sock").await?;
//! let options = JobOptions { queue: "mails".into(), ..JobOptions::default() };
//! client.submit(vec![SubmitGroup { options, bodies: vec!["hello".into()] }]).await?;
//!
//! let purpose = Claim { queues: vec!["mails".into()], max: 10, wait_ms: 20_000, bound: true, ..Claim::default() };
//! for job in client.claim(purpose).await? {
//!     client.settle(vec![Settle { lease: job.lease, verdict: Verdict::Complete }]).await?;
//! }
//! # Ok(()) }
//! ```

mod again;
mod connection;
mod error;
mod groups;
mod identity;
mod leases;
mod limit;
pub(crate) mod line;
mod now;
mod numbers;
mod receipts;
pub(crate) mod resuming;
mod submits;
mod topics;
mod work;
pub mod worker;

pub(crate) use again::{Again, uneven};
pub use error::ClientError;
pub(crate) use identity::{Identity, TakenUp};
pub(crate) use leases::{Leases, report_lost, results_of};
pub(crate) use limit::TimeLimit;
pub(crate) use now::{next_notice, send_now};
pub use receipts::Receipts;
pub use submits::PendingEnds;
pub use work::PendingClaim;

use crate::protocol::admin::AdminRequest;
use crate::protocol::{Beside, ErrorCode, Fault, Malformed, Notice, Request, Response, Version, Versions};
use bytes::Bytes;
use connection::Connection;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// How many pieces of a streamed answer wait for their reader before the connection does.
const STREAM_WAITING_MAX: usize = 256;

/// What the server told of its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame, in bytes.
    pub frame: usize,
    /// The longest body, in bytes.
    pub body: usize,
    /// The most jobs of one request.
    pub batch: usize,
    /// What the server calls itself.
    pub server: String,
}

/// A connection to the daemon. Clones share it; it closes when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Arc<Connection>,
    limits: Arc<Limits>,
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(json).map_err(|error| Malformed(format!("its JSON: {error}")).into())
}

impl Client {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// No daemon is there, or both sides speak no common version of the protocol.
    pub fn connect(path: impl AsRef<Path>) -> impl Future<Output = Result<Client, ClientError>> + Send {
        let path: Arc<Path> = path.as_ref().into();
        Client::connect_by(move || {
            let path = path.clone();
            async move {
                let refused = |source| ClientError::Connect { path: path.to_path_buf(), source };
                UnixStream::connect(&path).await.map_err(refused)
            }
        })
    }

    /// The same where the caller connects, once or twice: a daemon of version 1 hangs up on a client that offers more
    /// versions.
    ///
    /// # Errors
    /// As for [`Client::connect`], and those of `dial`.
    pub async fn connect_by<F: Future<Output = Result<UnixStream, ClientError>>>(
        dial: impl Fn() -> F,
    ) -> Result<Client, ClientError> {
        match Client::greet(dial().await?).await {
            Err(ClientError::Refused(Fault { code: ErrorCode::Version, .. }))
                if Versions::OWN.lowest() == 1 =>
            {
                Client::greet_in(dial().await?, Versions::only(1)).await
            }
            greeted => greeted,
        }
    }

    /// Speaks over a stream that is connected already.
    ///
    /// # Errors
    /// The other side is not a daemon, or does not speak this program's newest version of the protocol and is as old as
    /// version 1.
    pub async fn greet(stream: UnixStream) -> Result<Client, ClientError> {
        Client::greet_in(stream, Versions::OWN).await
    }

    async fn greet_in(stream: UnixStream, versions: Versions) -> Result<Client, ClientError> {
        let connection =
            Connection::start(stream).map_err(|error| ClientError::Closed(format!(": {error}")))?;
        let name = format!("musher {}", env!("CARGO_PKG_VERSION"));
        match connection.ask(&Request::Hello { versions, name }).await? {
            Response::Welcome { version, frame_max, body_max, batch_max, name } => {
                let version = Version::of(version).filter(|_| versions.have(version));
                let Some(version) = version else { return Err(ClientError::Unexpected) };
                connection.speak(version);
                let limits = Limits {
                    frame: frame_max as usize,
                    body: body_max as usize,
                    batch: batch_max as usize,
                    server: name,
                };
                connection.limit_frames(limits.frame);
                Ok(Client { connection, limits: Arc::new(limits) })
            }
            _ => Err(ClientError::Unexpected),
        }
    }

    /// The server's limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the server sends on its own. Only the first caller gets it.
    pub fn notices(&self) -> Option<mpsc::UnboundedReceiver<Notice>> {
        self.connection.notices()
    }

    /// Returns when the connection has ended.
    pub async fn closed(&self) {
        self.connection.closed().await;
    }

    /// Whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// What the workers of a job have stored beside it.
    ///
    /// # Errors
    /// There is no such job, or nothing beside it; or the connection ended.
    pub async fn beside(&self, id: u64, what: Beside) -> Result<Bytes, ClientError> {
        if self.connection.version() == Version::One {
            return Err(ClientError::OldDaemon("checkpoints and results of jobs"));
        }
        match self.connection.ask(&Request::Beside { id, what }).await? {
            Response::Body(body) => Ok(body),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// A job's body.
    ///
    /// # Errors
    /// Not found, or the connection ended.
    pub async fn body(&self, id: u64) -> Result<Bytes, ClientError> {
        match self.connection.ask(&Request::Body { id }).await? {
            Response::Body(body) => Ok(body),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// Tells a job something that it waits for (see [`Verdict::Await`](crate::protocol::Verdict::Await)), or will: the newest of each
    /// name is kept until then. When this returns, it is on disk.
    ///
    /// # Errors
    /// Not found, ended, somebody else's; too long (`limits.signal`), a name that breaks the rule, or too many of other names are kept;
    /// or the connection ended.
    pub async fn signal(&self, id: u64, name: impl Into<String>, body: Bytes) -> Result<(), ClientError> {
        if self.connection.version() == Version::One {
            return Err(ClientError::OldDaemon("signals of jobs"));
        }
        self.ok(&Request::Signal { id, name: name.into(), body }).await
    }

    /// Gives a job that does not run another body.
    ///
    /// # Errors
    /// Not found, in a state that does not allow it, somebody else's, or the connection ended.
    pub async fn replace_body(&self, id: u64, body: Bytes) -> Result<(), ClientError> {
        if self.connection.version() == Version::One {
            return Err(ClientError::OldDaemon("edit of a body"));
        }
        self.ok(&Request::ReplaceBody { id, body }).await
    }

    /// A job's output, piece by piece; `Ok` ends it. With `follow` it goes on until the job has ended.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn logs(
        &self,
        id: u64,
        follow: bool,
    ) -> Result<mpsc::Receiver<Result<Response, ClientError>>, ClientError> {
        self.stream(&Request::Logs { id, follow }, STREAM_WAITING_MAX).await
    }

    /// What becomes of jobs, as it happens: of all, of a queue's, of one job. The first answer says only that it has begun; `Ok` ends it, when
    /// the daemon stops. See [`Response::Changes`].
    ///
    /// # Errors
    /// The connection has ended, or the daemon is too old. There is no such job, or too many follow already: in the place of an answer.
    pub async fn changes(
        &self,
        queue: Option<String>,
        job: Option<u64>,
    ) -> Result<mpsc::Receiver<Result<Response, ClientError>>, ClientError> {
        if self.connection.version() == Version::One {
            return Err(ClientError::OldDaemon("following what becomes of jobs"));
        }
        self.stream(&Request::Changes { queue, job }, STREAM_WAITING_MAX).await
    }

    /// Sends a request that is answered piece by piece. While `waiting` pieces wait for their reader, so does the whole connection.
    pub(crate) async fn stream(
        &self,
        request: &Request,
        waiting: usize,
    ) -> Result<mpsc::Receiver<Result<Response, ClientError>>, ClientError> {
        self.connection.stream(request, waiting).await
    }

    /// A backup, piece by piece; `Ok` ends it, and without that it is not whole. `shard`: of which, in a cluster of several.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn backup(
        &self,
        shard: Option<u32>,
    ) -> Result<mpsc::Receiver<Result<Response, ClientError>>, ClientError> {
        self.stream(&Request::Backup { shard }, STREAM_WAITING_MAX).await
    }

    /// Asks a question in JSON.
    ///
    /// # Errors
    /// Refused, or the connection ended.
    pub async fn ask<T: DeserializeOwned>(&self, question: AdminRequest) -> Result<T, ClientError> {
        from_json(&self.ask_for_json(question).await?)
    }

    /// The same, where the answer is passed on as it is.
    pub(crate) async fn ask_for_json(&self, question: AdminRequest) -> Result<Bytes, ClientError> {
        match self.connection.ask(&Request::Admin(question)).await? {
            Response::Json(json) => Ok(json),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// Asks something that may be answered late: its number, to end the waiting with [`Client::unwait`], and the answer.
    pub(crate) fn start_ask(
        &self,
        question: AdminRequest,
    ) -> Result<(u32, impl Future<Output = Result<Bytes, ClientError>> + use<>), ClientError> {
        let (number, answer) = self.connection.send(&Request::Admin(question))?;
        let answer = async move {
            match answer.await? {
                Response::Json(json) => Ok(json),
                _ => Err(ClientError::Unexpected),
            }
        };
        Ok((number, answer))
    }

    /// Asks for a change in JSON that is answered with no more than that it is done.
    ///
    /// # Errors
    /// Refused, or the connection ended.
    pub async fn done(&self, change: AdminRequest) -> Result<(), ClientError> {
        self.ok(&Request::Admin(change)).await
    }

    async fn ok(&self, request: &Request) -> Result<(), ClientError> {
        match self.connection.ask(request).await? {
            Response::Ok => Ok(()),
            _ => Err(ClientError::Unexpected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::EndView;
    use crate::protocol::{Claim, LeaseRef};

    fn moves<T: Send>(_: &T) {}

    /// A program with many threads moves what it waits for between them.
    #[expect(dead_code, reason = "that it compiles is the test")]
    fn all_that_is_awaited_moves_between_threads(client: &Client, stream: UnixStream, claim: Claim) {
        moves(client);
        moves(&Client::connect("socket"));
        moves(&Client::connect_by(|| async { Err(ClientError::Unexpected) }));
        moves(&Client::greet(stream));
        moves(&client.submit(Vec::new()));
        moves(&client.submit_once("key", Vec::new()));
        moves(&client.complete_and_submit(LeaseRef { id: 1, attempt: 1 }, Vec::new(), None));
        moves(&client.submit_and_wait(Vec::new(), None));
        moves(&client.claim(claim.clone()));
        moves(&client.start_claim(claim).map(|pending| pending.answer));
        moves(&client.settle(Vec::new()));
        moves(&client.logs(1, true));
        moves(&client.changes(None, Some(1)));
        moves(&client.ask::<Vec<EndView>>(AdminRequest::Queues {}));
    }
}
