//! The stream on NATS servers (JetStream): its messages are the records, in a file on as many servers as it has replicas.
//! Knows how records travel, not what they mean.

mod connection;
mod credentials;
mod freshness;
mod leader;
mod reader;
mod settings;
#[cfg(test)]
mod tests;

use super::record::{Epoch, NodeLife};
use super::rules::{Rules, Seq};
use super::writer::{Ask, Lost, Outcome, Writer};
use super::{Link, Progress};
use crate::store::commit::CommitNo;
use bytes::Bytes;
use connection::Found;
pub(crate) use connection::{Connection, StreamConfig, StreamError, StreamState, Tls};
pub(crate) use reader::Reader;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinError, JoinSet};

/// Appends that are under way at a time: with more, latency grows and throughput does not.
const UNDER_WAY: usize = 2;
/// How long an append may go without an answer until it is looked for, and sent again if it is not there: twice as long each time. What was
/// on its way to a leader that has just left that to another server gets none, and the next leader is there at once. Where the leader has
/// died an election takes longer than the longest time.
const PATIENCE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];
/// How long a log waits for what is under way.
const WAIT: Duration = Duration::from_secs(30);
/// How often an owner that appends nothing looks whether it still is one.
const LOOK: Duration = Duration::from_millis(500);

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
        // Whatever becomes of the future, be it that it never runs: the log is to know.
        let told = TellsEnd(progress.clone());
        (link, progress, carrier.carry(incoming, told))
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
}

/// What has come of something that was asked.
#[derive(Debug)]
enum Told {
    Appended(u64, Outcome),
    Found(Seq, Found),
    /// Where the stream ends, if a server has said so.
    End(Option<Seq>),
}

impl Told {
    /// Whether the stream has said it. A leader that is cut off from the other servers refuses what comes behind its own unconfirmed records,
    /// and finds nothing where they are to be: that is no answer to an append.
    fn is_answer(&self) -> bool {
        match self {
            Told::Appended(_, outcome) => matches!(outcome, Outcome::Appended(_) | Outcome::NotTaken),
            Told::Found(_, found) => !matches!(found, Found::End),
            Told::End(end) => end.is_some(),
        }
    }
}

/// A writer, and what it has asked the servers.
#[derive(Debug)]
pub(crate) struct Carrier {
    connection: Connection,
    writer: Writer,
    asked: JoinSet<Told>,
    /// How long the next append may go without an answer.
    patience: Duration,
}

impl Carrier {
    /// Takes over behind what was read.
    ///
    /// # Errors
    /// Somebody else was faster, or no answer came: whether it is still this node's turn is to be looked at before it tries again.
    pub(crate) async fn take_over(
        connection: Connection,
        rules: Rules,
        life: NodeLife,
    ) -> Result<Carrier, Lost> {
        let writer = Writer::take_over(rules, life, UNDER_WAY);
        // Whether a takeover counts is not to be left open where servers are slow.
        let mut carrier = Carrier { connection, writer, asked: JoinSet::new(), patience: PATIENCE[1] };
        loop {
            carrier.ask();
            match carrier.writer.lost() {
                Some(lost) => return Err(lost.clone()),
                None if carrier.writer.is_owner() => return Ok(carrier),
                None => {}
            }
            if let Some(told) = carrier.asked.join_next().await {
                // What may have been sent long ago is not there.
                if matches!(told, Ok(Told::Found(_, Found::End))) {
                    return Err(Lost::CutOff);
                }
                carrier.tell(told);
            }
        }
    }

    /// The same, but from now on by another connection.
    pub(crate) fn by(self, connection: Connection) -> Carrier {
        Carrier { connection, ..self }
    }

    /// The ownership that has begun.
    pub(crate) fn epoch(&self) -> Epoch {
        self.writer.rules().position().epoch
    }

    /// Asks what the writer wants to know.
    fn ask(&mut self) {
        while let Some(ask) = self.writer.next_ask() {
            let (connection, patience) = (self.connection.clone(), self.patience);
            self.asked.spawn(async move {
                match ask {
                    Ask::Append { ticket, expected, message } => {
                        Told::Appended(ticket, connection.append(expected, message, patience).await)
                    }
                    Ask::Read(seq) => Told::Found(seq, connection.read(seq).await),
                }
            });
        }
    }

    fn tell(&mut self, told: Result<Told, JoinError>) {
        match told {
            Ok(Told::Appended(ticket, outcome)) => {
                self.patience = match outcome {
                    Outcome::Unknown => PATIENCE[1].min(2 * self.patience),
                    _ => PATIENCE[0],
                };
                self.writer.appended(ticket, outcome);
            }
            Ok(Told::Found(seq, Found::Record(message))) => self.writer.found(seq, Some(&message)),
            Ok(Told::Found(seq, Found::End)) => self.writer.found(seq, None),
            Ok(Told::Found(seq, Found::Unreadable(why))) => self.writer.unreadable(seq, why),
            Ok(Told::End(last)) => last.into_iter().for_each(|last| self.writer.note_end(last)),
            // If it was no panic the runtime ends, and this future with it.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    async fn carry(mut self, mut incoming: UnboundedReceiver<(CommitNo, Bytes)>, progress: TellsEnd) {
        let mut is_open = true;
        self.patience = PATIENCE[0];
        progress.0.note_answer();
        loop {
            self.ask();
            progress.0.note(&self.writer);
            if self.writer.lost().is_some() || (!is_open && self.writer.has_confirmed_all()) {
                return;
            }
            tokio::select! {
                Some(told) = self.asked.join_next() => {
                    if told.as_ref().is_ok_and(Told::is_answer) {
                        progress.0.note_answer();
                    }
                    self.tell(told);
                }
                commit = incoming.recv(), if is_open => match commit {
                    Some((number, payload)) => self.writer.append(number, &payload, self.connection.part_max),
                    None => is_open = false,
                },
                () = tokio::time::sleep(LOOK), if self.asked.is_empty() => {
                    let connection = self.connection.clone();
                    self.asked.spawn(async move { Told::End(connection.end().await.ok()) });
                }
            }
        }
    }
}

/// Says at its end that nothing is carried any more.
struct TellsEnd(Arc<Progress>);

impl Drop for TellsEnd {
    fn drop(&mut self) {
        self.0.end();
    }
}
