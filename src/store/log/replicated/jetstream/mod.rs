//! The stream on NATS servers (JetStream): its messages are the records, in a file on as many servers as it has replicas.
//! Knows how records travel, not what they mean.

#[cfg(test)]
mod servers;
#[cfg(test)]
mod tests;

use super::record::{HEADER, NodeLife};
use super::rules::{Position, Rules, Seq};
use super::writer::{Ask, Lost, Outcome, Writer};
use super::{Link, Progress};
use crate::store::commit::CommitNo;
use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::StreamExt;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinError, JoinSet};

/// Appends that are under way at a time: with more, latency grows and throughput does not.
const UNDER_WAY: usize = 2;
/// How long an append may go without an answer until it is looked for. An election among the servers takes longer.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How long a server may take for a question.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Before the same is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a log waits for what is under way.
const WAIT: Duration = Duration::from_secs(30);
/// What a message has beside its payload: the headers that the client adds.
const MESSAGE_HEADERS: usize = 1 << 10;

/// Where the stream is, and how it is to be.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The servers: `nats://host:4222`.
    pub(crate) servers: Vec<String>,
    /// Its name, and the subject of its messages.
    pub(crate) stream: String,
    /// On how many servers it is.
    pub(crate) replicas: usize,
}

/// Why the stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("no server of {servers:?} can be reached: {detail}")]
    Unreachable { servers: Vec<String>, detail: String },
    #[error("the stream `{stream}` cannot be used: {detail}")]
    Unusable { stream: String, detail: String },
    /// It would lose what it has confirmed, or take what it should not.
    #[error(
        "the stream `{stream}` has {what} {found}, and is to have {wanted}: change it (`nats stream edit`), or name another one"
    )]
    Unsafe { stream: String, what: &'static str, found: String, wanted: String },
}

/// The stream, as one connection has it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    context: Context,
    stream: Stream,
    name: String,
    /// How many bytes of a commit one message has at most.
    part_max: usize,
}

impl Connection {
    /// Connects, and makes the stream if there is none.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub(crate) async fn open(config: &Config) -> Result<Connection, StreamError> {
        let unreachable = |error: &dyn fmt::Display| StreamError::Unreachable {
            servers: config.servers.clone(),
            detail: error.to_string(),
        };
        let options = async_nats::ConnectOptions::new().name("musher").request_timeout(Some(REQUEST_TIME));
        let client = options.connect(&config.servers).await.map_err(|error| unreachable(&error))?;
        let part_max = client.server_info().max_payload.saturating_sub(HEADER + MESSAGE_HEADERS);
        let context = jetstream::ContextBuilder::new()
            .timeout(REQUEST_TIME)
            .ack_timeout(ANSWER_TIME)
            .max_ack_inflight(1_000)
            .build(client);
        let unusable = |error: &dyn fmt::Display| StreamError::Unusable {
            stream: config.stream.clone(),
            detail: error.to_string(),
        };
        let mut stream =
            context.get_or_create_stream(wanted(config)).await.map_err(|error| unusable(&error))?;
        let info = stream.info().await.map_err(|error| unusable(&error))?;
        check(config, &info.config)?;
        if part_max < 1 << 10 {
            return Err(unusable(&format!("the servers take messages of {part_max} bytes at most")));
        }
        Ok(Connection { context, stream, name: config.stream.clone(), part_max })
    }

    /// The newest record.
    ///
    /// # Errors
    /// No server answers.
    pub(crate) async fn end(&self) -> Result<Seq, StreamError> {
        let info = self.stream.get_info().await.map_err(|error| self.unusable(&error))?;
        Ok(Seq(info.state.last_sequence))
    }

    /// Hands over the records behind a position, up to one of them.
    ///
    /// # Errors
    /// No server answers, or `on_record` has failed.
    pub(crate) async fn read_to<E: From<StreamError>>(
        &self,
        from: Position,
        last: Seq,
        mut on_record: impl FnMut(Seq, Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        if from.seq >= last {
            return Ok(());
        }
        let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: from.seq.next().0 };
        let consumer =
            self.stream.create_consumer(OrderedConfig { deliver_policy, ..OrderedConfig::default() });
        let consumer = consumer.await.map_err(|error| self.unusable(&error))?;
        let mut messages = consumer.messages().await.map_err(|error| self.unusable(&error))?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| self.unusable(&error))?;
            let seq = message.info().map_err(|error| self.unusable(&error))?.stream_sequence;
            on_record(Seq(seq), message.message.payload)?;
            if seq >= last.0 {
                return Ok(());
            }
        }
        Err(self.unusable(&"it ended while it was read").into())
    }

    /// One record. It asks until it knows.
    async fn read(&self, seq: Seq) -> Found {
        loop {
            match self.stream.get_raw_message(seq.0).await {
                Ok(message) => return Found::Record(message.payload),
                Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => {
                    match self.stream.get_info().await {
                        Ok(info) if info.state.last_sequence < seq.0 => return Found::End,
                        Ok(info) if info.state.first_sequence > seq.0 => {
                            return Found::Trimmed(Seq(info.state.first_sequence));
                        }
                        // It has come in the meantime, or nobody answers.
                        Ok(_) | Err(_) => {}
                    }
                }
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn append(&self, expected: Seq, message: Bytes) -> Outcome {
        let message = PublishMessage::build().payload(message).expected_last_sequence(expected.0);
        let sent = self.context.send_publish(self.name.clone(), message).await;
        let answer = match sent {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => Outcome::Appended(Seq(answer.sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Outcome::Refused,
            Err(error) => {
                // Of those that fail at once there may be very many.
                if error.kind() != PublishErrorKind::TimedOut {
                    tokio::time::sleep(PAUSE).await;
                }
                Outcome::Unknown
            }
        }
    }

    fn unusable(&self, error: &dyn fmt::Display) -> StreamError {
        StreamError::Unusable { stream: self.name.clone(), detail: error.to_string() }
    }
}

fn wanted(config: &Config) -> StreamConfig {
    StreamConfig {
        name: config.stream.clone(),
        subjects: vec![config.stream.clone()],
        description: Some("the log of a shard of musher: written by its nodes only".to_owned()),
        storage: StorageType::File,
        num_replicas: config.replicas,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        deny_delete: true,
        ..StreamConfig::default()
    }
}

/// Whether a stream that is there already keeps what it has confirmed.
fn check(config: &Config, found: &StreamConfig) -> Result<(), StreamError> {
    let wanted = wanted(config);
    let differs = |what, found: &dyn fmt::Debug, wanted: &dyn fmt::Debug| {
        let (stream, found, wanted) = (config.stream.clone(), format!("{found:?}"), format!("{wanted:?}"));
        if found == wanted { Ok(()) } else { Err(StreamError::Unsafe { stream, what, found, wanted }) }
    };
    differs("storage", &found.storage, &wanted.storage)?;
    differs("replicas", &found.num_replicas, &wanted.num_replicas)?;
    differs("retention", &found.retention, &wanted.retention)?;
    differs("subjects", &found.subjects, &wanted.subjects)?;
    // Old records would go before they are home.
    differs("discard", &found.discard, &wanted.discard)?;
    differs("max_age", &found.max_age, &Duration::ZERO)
}

/// The owner's side of the stream, for the log: what it appends is carried by a future of its own.
#[derive(Debug)]
pub(crate) struct JetStreamLink {
    commits: UnboundedSender<(CommitNo, Bytes)>,
    progress: Arc<Progress>,
    last: CommitNo,
}

impl JetStreamLink {
    /// For an owner. The future carries its commits until the link is dropped and everything is confirmed, or the stream is lost;
    /// it is to be run on another thread than the log's.
    pub(crate) fn new(carrier: Carrier) -> (JetStreamLink, Arc<Progress>, impl Future<Output = ()>) {
        let (commits, incoming) = unbounded_channel();
        let progress = Arc::<Progress>::default();
        progress.note(&carrier.writer);
        let link = JetStreamLink { commits, progress: progress.clone(), last: carrier.writer.confirmed() };
        (link, progress.clone(), carrier.carry(incoming, progress))
    }
}

impl Link for JetStreamLink {
    fn append(&mut self, number: CommitNo, payload: Bytes) {
        self.last = number;
        // If it carries no more, the progress says why.
        let _ = self.commits.send((number, payload));
    }

    fn wait(&mut self) {
        self.progress.wait(self.last, WAIT);
    }

    fn free(&mut self, _home: CommitNo) {}
}

/// What has come of something that was asked.
#[derive(Debug)]
enum Told {
    Appended(u64, Outcome),
    Found(Seq, Found),
}

/// What is where a record was asked for.
#[derive(Debug)]
enum Found {
    Record(Bytes),
    /// Nothing yet.
    End,
    /// Nothing any more: this is the first one that is left.
    Trimmed(Seq),
}

/// A writer, and what it has asked the servers.
#[derive(Debug)]
pub(crate) struct Carrier {
    connection: Connection,
    writer: Writer,
    asked: JoinSet<Told>,
}

impl Carrier {
    /// Takes over behind what was read.
    ///
    /// # Errors
    /// Somebody else was faster.
    pub(crate) async fn take_over(
        connection: Connection,
        rules: Rules,
        life: NodeLife,
    ) -> Result<Carrier, Lost> {
        let writer = Writer::take_over(rules, life, UNDER_WAY);
        let mut carrier = Carrier { connection, writer, asked: JoinSet::new() };
        loop {
            carrier.ask();
            match carrier.writer.lost() {
                Some(lost) => return Err(lost.clone()),
                None if carrier.writer.is_owner() => return Ok(carrier),
                None => {}
            }
            if let Some(told) = carrier.asked.join_next().await {
                carrier.tell(told);
            }
        }
    }

    /// Asks what the writer wants to know.
    fn ask(&mut self) {
        while let Some(ask) = self.writer.next_ask() {
            let connection = self.connection.clone();
            self.asked.spawn(async move {
                match ask {
                    Ask::Append { ticket, expected, message } => {
                        Told::Appended(ticket, connection.append(expected, message).await)
                    }
                    Ask::Read(seq) => Told::Found(seq, connection.read(seq).await),
                }
            });
        }
    }

    fn tell(&mut self, told: Result<Told, JoinError>) {
        match told {
            Ok(Told::Appended(ticket, outcome)) => self.writer.appended(ticket, outcome),
            Ok(Told::Found(seq, Found::Record(message))) => self.writer.found(seq, Some(&message)),
            Ok(Told::Found(seq, Found::End)) => self.writer.found(seq, None),
            Ok(Told::Found(seq, Found::Trimmed(first))) => self.writer.trimmed(seq, first),
            // It is aborted with this one only, so an error is its panic.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    async fn carry(mut self, mut incoming: UnboundedReceiver<(CommitNo, Bytes)>, progress: Arc<Progress>) {
        let mut is_open = true;
        loop {
            self.ask();
            progress.note(&self.writer);
            if self.writer.lost().is_some() || (!is_open && self.writer.has_confirmed_all()) {
                return;
            }
            tokio::select! {
                Some(told) = self.asked.join_next() => self.tell(told),
                commit = incoming.recv(), if is_open => match commit {
                    Some((number, payload)) => self.writer.append(number, &payload, self.connection.part_max),
                    None => is_open = false,
                },
                // What is not confirmed has been asked for.
                else => return,
            }
        }
    }
}
