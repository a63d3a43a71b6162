//! Giving the queue to another node while all is well. Somebody says to which; the owner answers whether it will, drains, and goes; and
//! of the others only that node takes over at once.

use super::beat::{Beat, Role};
use super::shared::{Shared, lock};
use super::{stream, subject};
use crate::clock::monotonic;
use crate::config::Cluster;
use crate::store::StreamError;
use async_nats::{Client, RequestErrorKind, Subscriber};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Why the owner does not do what it is asked, or nobody has answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Servers(#[from] StreamError),
    #[error("no owner answers, or it is of an older version: see `musher cluster status`")]
    NoOwner,
    #[error("the owner has not answered")]
    NoAnswer,
    #[error("{0}")]
    Refused(String),
}

/// What is asked, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Wish {
    to: String,
}

/// What the owner answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// The owner, and the number of its ownership.
    from: String,
    epoch: u64,
    /// Why not, if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

fn wishes_subject(name: &str) -> String {
    subject(name, "hand-over")
}

/// Asks the owner to give the queue to a node. Returns who the owner is, and the number of its ownership: it drains from now on.
pub(crate) async fn hand_over(cluster: &Cluster, to: &str) -> Result<(String, u64), AskError> {
    let client = stream(cluster).connect().await?;
    let wish = serde_json::to_vec(&Wish { to: to.to_owned() }).expect("a text is always JSON");
    let answer = client.request(wishes_subject(&cluster.subject()), wish.into()).await;
    let answer = answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => AskError::NoOwner,
        _ => AskError::NoAnswer,
    })?;
    let answer: Answer = serde_json::from_slice(&answer.payload).map_err(|_| AskError::NoAnswer)?;
    match answer.why_not {
        None => Ok((answer.from, answer.epoch)),
        Some(why) => Err(AskError::Refused(why)),
    }
}

/// Hears what is wished of this node, the owner.
pub(super) async fn listen(client: &Client, name: &str) -> Option<Subscriber> {
    client.subscribe(wishes_subject(name)).await.ok()
}

/// Answers wishes, and says which node is to have the queue once one is granted.
pub(super) async fn grant(
    client: Client,
    mut wishes: Subscriber,
    shared: Arc<Shared>,
    say: mpsc::Sender<String>,
) {
    while let Some(message) = wishes.next().await {
        // Others may write there.
        let Ok(Wish { to }) = serde_json::from_slice(&message.payload) else { continue };
        let Beat { node: from, epoch, role, .. } = lock(&shared.beat).clone();
        // The next one answers.
        if role != Role::Owner {
            return;
        }
        let why_not = why_not(&shared, &from, &to);
        let is_granted = why_not.is_none();
        if is_granted {
            lock(&shared.beat).heir = Some(to.clone());
        }
        if let Some(reply) = message.reply {
            let answer = serde_json::to_vec(&Answer { from, epoch, why_not }).expect("texts are always JSON");
            let _ = client.publish(reply, answer.into()).await;
        }
        if is_granted {
            let _ = say.send(to).await;
        }
    }
}

fn why_not(shared: &Shared, own: &str, to: &str) -> Option<String> {
    if to == own {
        return Some(format!("{to} runs the queue already"));
    }
    let peers = lock(&shared.peers);
    (!peers.stands_by(to, monotonic()))
        .then(|| format!("{to} does not stand by, or is no node of the configuration of {own}"))
}
