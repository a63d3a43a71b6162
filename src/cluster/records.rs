//! The records of the stream, one after the other, for whoever does other things beside that.

use crate::store::{Connection, Reader, Seq, StreamError};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The records of the stream, read by a task of its own: whoever waits for the next one may do something else meanwhile.
pub(super) struct Records {
    records: mpsc::Receiver<Result<(Seq, Bytes), StreamError>>,
    _reading: JoinSet<()>,
}

impl Records {
    /// Those behind one.
    pub(super) fn read(connection: &Connection, at: Seq) -> Records {
        let (say, records) = mpsc::channel(1);
        let mut reader = Reader::behind(connection.clone(), at);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            loop {
                let record = reader.next().await;
                let is_last = record.is_err();
                if say.send(record).await.is_err() || is_last {
                    return;
                }
            }
        });
        Records { records, _reading: reading }
    }

    pub(super) async fn next(&mut self) -> Result<(Seq, Bytes), StreamError> {
        match self.records.recv().await {
            Some(record) => record,
            // It has said why it ends.
            None => std::future::pending().await,
        }
    }
}
