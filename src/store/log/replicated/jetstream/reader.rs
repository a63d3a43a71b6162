//! The records of the stream, one after the other, as they come: however often the servers do not answer meanwhile.

use super::connection::{Connection, PAUSE, StreamError};
use crate::store::log::replicated::rules::{ReadError, Seq};
use async_nats::jetstream::consumer::pull::Ordered;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::sleep;

/// A reader that stands at a record.
pub(crate) struct Reader {
    connection: Connection,
    /// The newest record that it has given.
    at: Seq,
    messages: Option<Ordered>,
}

impl Reader {
    /// Reads on behind a record.
    pub(crate) fn behind(connection: Connection, at: Seq) -> Reader {
        connection.note(at);
        Reader { connection, at, messages: None }
    }

    /// The next record, once there is one. Nothing is lost if it is given up before.
    ///
    /// # Errors
    /// The stream does not have it any more, or is another one. Where no server answers it waits.
    pub(crate) async fn next(&mut self) -> Result<(Seq, Bytes), StreamError> {
        loop {
            let Some(messages) = &mut self.messages else {
                self.begin().await?;
                continue;
            };
            let Some(Ok(message)) = messages.next().await else {
                self.messages = None;
                sleep(PAUSE).await;
                continue;
            };
            let Ok(seq) = message.info().map(|info| Seq(info.stream_sequence)) else {
                self.messages = None;
                continue;
            };
            // One that the client has set up anew may begin before.
            if seq > self.at {
                if seq != self.at.next() {
                    return Err(ReadError::Gap { wanted: self.at.next(), found: seq }.into());
                }
                self.at = seq;
                self.connection.note(seq);
                return Ok((seq, message.message.payload));
            }
        }
    }

    async fn wait(connection: &Connection, why: StreamError) {
        connection.say("it cannot be read, which is tried again", &why);
        sleep(PAUSE).await;
    }

    async fn begin(&mut self) -> Result<(), StreamError> {
        let wanted = self.at.next();
        match self.connection.look().await {
            Ok(state) if state.last < self.at => {
                return Err(ReadError::Short { last: state.last, read: self.at }.into());
            }
            Ok(state) if state.first > wanted => {
                return Err(ReadError::Gap { wanted, found: state.first }.into());
            }
            Err(error @ StreamError::MadeAnew { .. }) => return Err(error),
            Ok(_) => match self.connection.messages(wanted).await {
                Ok(messages) => self.messages = Some(messages),
                Err(error) => Reader::wait(&self.connection, error).await,
            },
            Err(error) => Reader::wait(&self.connection, error).await,
        }
        Ok(())
    }
}
