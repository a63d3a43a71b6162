//! Requests about topics: names to which jobs are submitted, and the queues that are bound to them.

use super::{Client, ClientError};
use crate::protocol::admin::{AdminRequest, TopicView};

/// What an old daemon does not know.
const BY_COMMAND: &str = "queues that are bound to topics by command";

impl Client {
    /// The topics, or patterns of topics, with the queues that are bound to each: those of the configuration, then those that
    /// were bound by command.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn topics(&self) -> Result<Vec<TopicView>, ClientError> {
        self.ask(AdminRequest::Topics {}).await
    }

    /// Binds queues to a topic, or to all that match a pattern (`order.*`), beside those that are bound: a submit to it is a job
    /// in each of them from now on. When this returns, it is on disk. Queues that are bound already stay as they are.
    ///
    /// # Errors
    /// A name or pattern breaks the rule; the caller may not change the whole daemon; too many are bound; the daemon is too old;
    /// or the connection ended.
    pub async fn bind_topic(
        &self,
        topic: impl Into<String>,
        queues: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<(), ClientError> {
        let queues = queues.into_iter().map(Into::into).collect();
        let bind = AdminRequest::TopicBind { topic: topic.into(), queues };
        self.done(bind).await.map_err(|error| error.of_new(BY_COMMAND))
    }

    /// Lets go of queues that were bound by command to just this topic, or pattern: of all if none are named. When this returns,
    /// it is on disk.
    ///
    /// # Errors
    /// One of them was not bound by command; and as for [`Client::bind_topic`].
    pub async fn unbind_topic(
        &self,
        topic: impl Into<String>,
        queues: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<(), ClientError> {
        let queues = queues.into_iter().map(Into::into).collect();
        let unbind = AdminRequest::TopicUnbind { topic: topic.into(), queues };
        self.done(unbind).await.map_err(|error| error.of_new(BY_COMMAND))
    }
}
