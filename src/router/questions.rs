//! What is asked of several shards at a time, and answered once.

use super::connection::Connection;
use super::merge::{Merge, merge};
use super::shard::no_owner;
use crate::protocol::Response;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a shard may take to say how it is. People look when one has no owner, too.
const STATUS_TIME: Duration = Duration::from_secs(2);

/// Waits for the answers, and makes them one. `None` if the connection ends, as it must where some shards have done their part and another
/// one cannot: it would be wrong to say that nothing was done.
pub(super) async fn gather(
    connection: &Rc<Connection>,
    client: u32,
    how: &Merge,
    answers: Vec<(usize, oneshot::Receiver<Response>)>,
) -> Option<Response> {
    let mut all: Vec<Option<(usize, Response)>> = answers.iter().map(|_| None).collect();
    let answered = async |place: usize, shard: usize, answer: oneshot::Receiver<Response>| {
        let answer = match how {
            Merge::Status => match timeout(STATUS_TIME, answer).await {
                Ok(answer) => answer.ok(),
                Err(_) => Some(Response::Error(no_owner(shard))),
            },
            _ => answer.await.ok(),
        };
        (place, shard, answer)
    };
    let waiting =
        answers.into_iter().enumerate().map(|(place, (shard, answer))| answered(place, shard, answer));
    let mut waiting: FuturesUnordered<_> = waiting.collect();
    while let Some((place, shard, answer)) = waiting.next().await {
        let answer = answer?;
        if let Response::Error(fault) = &answer {
            match how {
                // These answer for those that do not.
                Merge::Status | Merge::WhoeverHas => {}
                Merge::Settled(_) | Merge::Extended(_) if fault.code.try_again() => {
                    connection.close();
                    return None;
                }
                // Nothing that comes could change it.
                _ => {
                    connection.unwait_all(client).await;
                    return Some(answer);
                }
            }
        }
        all[place] = Some((shard, answer));
    }
    Some(merge(how, all.into_iter().flatten().collect()))
}
