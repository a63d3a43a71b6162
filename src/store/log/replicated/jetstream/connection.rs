//! One connection to the servers, and the stream on them. Knows bytes and numbers.

use super::credentials::{self, Credentials};
use super::freshness::Freshness;
use super::settings::{check, wanted};
use crate::clock::monotonic;
use crate::store::commit::CommitNo;
use crate::store::log::replicated::record::{HEADER, NodeLife, Record};
use crate::store::log::replicated::rules::{ReadError, Seq};
use crate::store::log::replicated::writer::Outcome;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Info, LastRawMessageErrorKind, State, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, ReconnectToServer};
use bytes::Bytes;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Servers before this are slow with a sync of each message (1,100 a second, whatever is under way).
const OLDEST: (u32, u32) = (2, 15);
/// How long a server may take for a question.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How often the server is asked whether it is there. After two questions without an answer another one is tried.
const PING: Duration = Duration::from_secs(2);
/// How long a server may take to take a connection. One that is cut off says nothing.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How long the server that gives the records has for each request. It says twice in that time that it is there; when that was missed for
/// twice as long another one gives them. By default it would be missed for a minute, and who has not read all cannot take over.
const EXPIRES: Duration = Duration::from_secs(1);
/// Before another server is tried.
const RECONNECT: Duration = Duration::from_millis(100);
/// Before the same is asked again.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// How often it is said that something goes wrong, in seconds.
const SAY: u64 = 10;
/// How often a record is asked for that should be there.
const TRIES: usize = 50;
/// What a message has beside its payload: the headers that the client adds.
const MESSAGE_HEADERS: usize = 1 << 10;
/// So long a message must be that the longest commit has no more parts than can be counted.
const PART_LEAST: usize = 16 << 10;

/// Where the stream is, and how it is to be.
#[derive(Clone, Debug)]
pub(crate) struct StreamConfig {
    /// The servers, in the order in which they are tried: `nats://host:4222`.
    pub(crate) servers: Vec<String>,
    /// The file of what the servers know this node by, if they ask.
    pub(crate) credentials: Option<PathBuf>,
    /// By TLS only, if it is given.
    pub(crate) tls: Option<Tls>,
    /// Its name, and the subject of its messages.
    pub(crate) stream: String,
    pub(crate) subject: String,
    /// Of how many shards it is one, if there are several.
    pub(crate) shards: Option<usize>,
    /// On how many servers it is.
    pub(crate) replicas: usize,
}

/// How the servers and this node know each other by TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Who has signed the servers' certificates, if it is not one whom the system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// This node's own certificate, and the key for it.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

impl StreamConfig {
    /// Connects to one of the servers, and to another one when that is gone.
    ///
    /// # Errors
    /// No server can be reached, or it wants other credentials.
    pub(crate) async fn connect(&self) -> Result<Client, StreamError> {
        let unreachable = |detail: String| StreamError::Unreachable { servers: self.servers.clone(), detail };
        let mut options = ConnectOptions::new().name("musher").request_timeout(Some(REQUEST_TIME));
        options = options.retain_servers_order();
        options = options.reconnect_delay_callback(|_| RECONNECT).ping_interval(PING);
        options = options.connection_timeout(CONNECT_TIME);
        // The client would begin with the servers that have failed least, of which the one that it has just left is the first.
        let turn = AtomicUsize::new(RandomState::new().hash_one(0) as usize);
        options = options.reconnect_to_server_callback(move |servers, former| {
            let next = servers[turn.fetch_add(1, Ordering::Relaxed) % servers.len()].addr.clone();
            // The first time all are tried.
            let is_first = former.server_id.is_empty();
            let to = (!is_first).then_some(ReconnectToServer { addr: next, delay: Some(RECONNECT) });
            std::future::ready(to)
        });
        if let Some(path) = &self.credentials {
            options = match credentials::read(path).map_err(unreachable)? {
                Credentials::Password { user, password } => options.user_and_password(user, password),
                Credentials::Keys(text) => {
                    let taken = options.credentials(&text);
                    taken.map_err(|error| unreachable(format!("{}: {error}", path.display())))?
                }
            };
        }
        if let Some(tls) = &self.tls {
            options = options.require_tls(true);
            let of_identity = tls.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
            for path in tls.ca.iter().chain(of_identity) {
                // The client would say what is wrong, but not with which of them.
                let opened = std::fs::File::open(path);
                opened.map_err(|error| unreachable(format!("{}: {error}", path.display())))?;
            }
            if let Some(ca) = &tls.ca {
                options = options.add_root_certificates(ca.clone());
            }
            if let Some((certificate, key)) = &tls.identity {
                options = options.add_client_certificate(certificate.clone(), key.clone());
            }
        }
        options.connect(&self.servers).await.map_err(|error| unreachable(error.to_string()))
    }
}

/// The stream as it is now.
#[derive(Clone, Debug)]
pub(crate) struct StreamState {
    /// The oldest record; behind the newest if there is none.
    pub(crate) first: Seq,
    /// The newest record.
    pub(crate) last: Seq,
    pub(crate) bytes: u64,
    /// The name of the server that leads it.
    pub(crate) leader: Option<String>,
}

/// Why the stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("no server of {servers:?} can be reached: {detail}")]
    Unreachable { servers: Vec<String>, detail: String },
    #[error("the servers are of version {0}; 2.15 or newer is needed")]
    TooOld(String),
    #[error("the stream `{stream}` cannot be used: {detail}")]
    Unusable { stream: String, detail: String },
    /// It would lose what it has confirmed, or take what it should not.
    #[error(
        "the stream `{stream}` has {what} {found}, and is to have {wanted}: change it (`nats stream edit`), or name another one"
    )]
    Unsafe { stream: String, what: &'static str, found: String, wanted: String },
    /// Somebody has deleted it, and it was made again.
    #[error(
        "the stream `{stream}` was deleted and made anew: what this node has is of the former one. Whatever the cluster has          confirmed since is in no stream; see docs/cluster.md, `Disasters`"
    )]
    MadeAnew { stream: String },
    /// It does not have what this node has not read yet.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// What is where a record was asked for.
#[derive(Debug)]
pub(super) enum Found {
    Record(Bytes),
    /// Nothing yet.
    End,
    /// Nothing any more.
    Unreadable(ReadError),
}

/// The stream, as one connection has it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    client: Client,
    pub(super) context: Context,
    pub(super) stream: Stream,
    pub(super) name: String,
    subject: String,
    /// When the stream was made, in nanoseconds since 1970.
    created: u64,
    freshness: Arc<Freshness>,
    /// When it was last said that something goes wrong, in seconds.
    said: Arc<AtomicU64>,
    /// How many bytes of a commit one message has at most.
    pub(super) part_max: usize,
}

impl Connection {
    /// Connects, and makes the stream if there is none.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub(crate) async fn open(config: &StreamConfig) -> Result<Connection, StreamError> {
        Connection::to(config, true).await
    }

    /// The same, but a stream that is not there is an error.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub(crate) async fn find(config: &StreamConfig) -> Result<Connection, StreamError> {
        Connection::to(config, false).await
    }

    async fn to(config: &StreamConfig, makes_it: bool) -> Result<Connection, StreamError> {
        let client = config.connect().await?;
        let info = client.server_info();
        if !is_new_enough(&info.version) {
            return Err(StreamError::TooOld(info.version));
        }
        let unusable = |error: &dyn fmt::Display| StreamError::Unusable {
            stream: config.stream.clone(),
            detail: error.to_string(),
        };
        let part_max = info.max_payload.saturating_sub(HEADER + MESSAGE_HEADERS);
        if part_max < PART_LEAST {
            return Err(unusable(&format!(
                "max_payload of the servers is {}: set 32KB at least",
                info.max_payload
            )));
        }
        let context = jetstream::ContextBuilder::new()
            .timeout(REQUEST_TIME)
            .max_ack_inflight(1_000)
            .build(client.clone());
        let mut stream = match makes_it {
            true => context.get_or_create_stream(wanted(config)).await.map_err(|error| unusable(&error))?,
            false => context.get_stream(&config.stream).await.map_err(|error| unusable(&error))?,
        };
        let info = stream.info().await.map_err(|error| unusable(&error))?;
        check(config, &info.config)?;
        let created = u64::try_from(info.created.unix_timestamp_nanos()).unwrap_or(0);
        Ok(Connection {
            client,
            context,
            stream,
            name: config.stream.clone(),
            subject: config.subject.clone(),
            created,
            freshness: Arc::default(),
            said: Arc::default(),
            part_max,
        })
    }

    /// What it goes by, for what is no record.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// When the stream was made, in nanoseconds since 1970: another one of the same name has another time.
    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    /// The stream as it is now.
    ///
    /// # Errors
    /// No server answers, or the stream was made anew.
    pub(crate) async fn look(&self) -> Result<StreamState, StreamError> {
        let info = self.stream.get_info().await.map_err(|error| self.unusable(&error))?;
        if !self.is_this(&info) {
            return Err(StreamError::MadeAnew { stream: self.name.clone() });
        }
        self.check_freshness(&info)?;
        Ok(StreamState {
            first: Seq(info.state.first_sequence),
            last: Seq(info.state.last_sequence),
            bytes: info.state.bytes,
            leader: info.cluster.and_then(|cluster| cluster.leader),
        })
    }

    /// Who has begun it, and how many commits that node had before; `None` if its first record is not there any more, or not yet.
    pub(crate) async fn founder(&self, state: &StreamState) -> Option<(NodeLife, CommitNo)> {
        if state.first != Seq(1) || state.last < state.first {
            return None;
        }
        match self.read(Seq(1)).await {
            Found::Record(message) => Record::decode(&message).ok()?.takeover(),
            Found::End | Found::Unreadable(_) => None,
        }
    }

    /// Records up to this one are not needed any more. It must be confirmed.
    ///
    /// # Errors
    /// No server answers.
    pub(crate) async fn trim(&self, last: Seq) -> Result<(), StreamError> {
        let purged = self.stream.purge().sequence(last.next().0).await;
        purged.map(drop).map_err(|error| self.unusable(&error))
    }

    /// The records from one on, as they come. [`Reader`](super::Reader) is what goes on when they do not.
    pub(super) async fn messages(&self, first: Seq) -> Result<Ordered, StreamError> {
        let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: first.0 };
        let config = OrderedConfig { deliver_policy, max_expires: EXPIRES, ..OrderedConfig::default() };
        let consumer = self.stream.create_consumer(config);
        let consumer = consumer.await.map_err(|error| self.unusable(&error))?;
        consumer.messages().await.map_err(|error| self.unusable(&error))
    }

    /// The newest record.
    ///
    /// # Errors
    /// No server answers.
    pub(crate) async fn end(&self) -> Result<Seq, StreamError> {
        Ok(Seq(self.state().await?.last_sequence))
    }

    async fn state(&self) -> Result<State, StreamError> {
        let info = self.stream.get_info().await.map_err(|error| self.unusable(&error))?;
        // One that was made anew ends where it does.
        if self.is_this(&info) {
            self.check_freshness(&info)?;
        }
        Ok(info.state)
    }

    fn is_this(&self, info: &Info) -> bool {
        u64::try_from(info.created.unix_timestamp_nanos()).unwrap_or(0) == self.created
    }

    /// A server that is cut off from the others says what it has.
    fn check_freshness(&self, info: &Info) -> Result<(), StreamError> {
        let has_leader = info.cluster.as_ref().is_none_or(|cluster| cluster.leader.is_some());
        if has_leader && self.freshness.is_believed(Seq(info.state.last_sequence), monotonic()) {
            return Ok(());
        }
        Err(self.unusable(&"the server that answers is behind the others, or cut off from them"))
    }

    /// The record was read, or its append confirmed.
    pub(super) fn note(&self, seq: Seq) {
        self.freshness.note(seq);
    }

    /// The name of the server that leads the stream.
    #[cfg(test)]
    pub(super) async fn leader(&self) -> Option<String> {
        self.stream.get_info().await.ok()?.cluster?.leader
    }

    /// One record. It asks until it knows.
    pub(super) async fn read(&self, seq: Seq) -> Found {
        let mut tries = 0;
        loop {
            let is_missing = match self.stream.get_raw_message(seq.0).await {
                Ok(message) => {
                    self.note(seq);
                    return Found::Record(message.payload);
                }
                Err(error) => matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound),
            };
            // Whatever comes next, it is not to come at once: what servers refuse they may refuse again, as they compare
            // with what is not confirmed yet.
            sleep(PAUSE).await;
            let Some(state) = (if is_missing { self.state().await.ok() } else { None }) else { continue };
            let (first, last) = (Seq(state.first_sequence), Seq(state.last_sequence));
            if last.next() < seq {
                return Found::Unreadable(ReadError::Short { last, read: Seq(seq.0 - 1) });
            }
            if last < seq {
                return Found::End;
            }
            // It has just come, or it was deleted and does not come.
            tries += 1;
            if first > seq || tries > TRIES {
                return Found::Unreadable(ReadError::Gap { wanted: seq, found: first.max(seq.next()) });
            }
        }
    }

    /// Appends a message, and waits so long for the answer.
    pub(super) async fn append(&self, expected: Seq, message: Bytes, patience: Duration) -> Outcome {
        let message = PublishMessage::build().payload(message).expected_last_sequence(expected.0);
        let answer = async { self.context.send_publish(self.subject.clone(), message).await?.await };
        match timeout(patience, answer).await {
            // Another stream may take the same subject, on servers that are connected to these.
            Ok(Ok(answer)) if answer.stream == self.name => {
                self.note(Seq(answer.sequence));
                Outcome::Appended(Seq(answer.sequence))
            }
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Outcome::Refused,
            Ok(answer) => {
                let (outcome, why) = match answer {
                    Ok(_) => (Outcome::Unknown, "another stream takes its subject".to_owned()),
                    Err(error) if error.kind() == PublishErrorKind::Other => {
                        (Outcome::NotTaken, error.to_string())
                    }
                    Err(error) => (Outcome::Unknown, error.to_string()),
                };
                self.say("the servers do not take what is appended, which is tried again", &why);
                // Of those that fail at once there may be very many.
                sleep(PAUSE).await;
                outcome
            }
            Err(_) => Outcome::Unknown,
        }
    }

    /// Somebody has to know it, but not each time that it is tried: the servers' disks may be full, say.
    pub(crate) fn say(&self, what: &str, why: &dyn fmt::Display) {
        let (now, said) = (monotonic().as_secs(), self.said.load(Ordering::Relaxed));
        if now >= said + SAY
            && self.said.compare_exchange(said, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            tracing::warn!("stream `{}`: {what}: {why}", self.name);
        }
    }

    pub(super) fn unusable(&self, error: &dyn fmt::Display) -> StreamError {
        StreamError::Unusable { stream: self.name.clone(), detail: error.to_string() }
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_new_enough_from_2_15_on() {
        for (version, expected) in [
            ("2.15.0", true),
            ("2.15.1-RC.1", true),
            ("2.20", true),
            ("3.0.0", true),
            ("2.14.9", false),
            ("2.9.1", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
