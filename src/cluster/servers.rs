//! By which server a node is connected: one that is cut off from the others answers its clients, and knows nothing of the stream any more.
//! Another one may. It is asked for the stream all the time, and what it says is passed on.

use crate::clock::monotonic;
use crate::store::{Connection, StreamState};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often the stream is asked for.
const ASK: Duration = Duration::from_secs(1);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How long there may be none before another server is tried: longer than an election takes, in which none has one.
const SILENT: Duration = Duration::from_secs(10);
/// And how long until the next one, as which one it is nobody says.
const NEXT: Duration = Duration::from_secs(3);

/// Connects to another server when this one does not say where the stream ends. `hear`: what it says of the stream.
pub(super) async fn stay_where_the_stream_is(
    connection: Connection,
    hear: impl Fn(Result<StreamState, String>),
) {
    let mut ask_until = monotonic() + SILENT;
    loop {
        sleep(ASK).await;
        let found = match timeout(ANSWER, connection.look()).await {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(_) => Err("no server answers".to_owned()),
        };
        let is_there = found.is_ok();
        hear(found);
        match is_there {
            true => ask_until = monotonic() + SILENT,
            _ if monotonic() < ask_until => {}
            _ => {
                connection.say("another server is tried", &"by this one it does not answer");
                // It fails only if the connection is over.
                let _ = connection.client().force_reconnect().await;
                ask_until = monotonic() + NEXT;
            }
        }
    }
}
