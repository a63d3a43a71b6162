//! A connection that survives restarts of the daemon. A restart ends every connection while jobs go on, so a verb that
//! waits for jobs asks again on the next connection. It does not know what is asked, which must do no harm when it is
//! asked twice.

use super::exit::{Failure, TRY_AGAIN, UNREACHABLE};
use crate::client::Client;
use crate::clock::monotonic;
use crate::durations::show_duration;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long there may be no daemon.
const ABSENCE_MAX: Duration = Duration::from_secs(60);
/// The first wait before the daemon is called again; it doubles from one to the next, up to the longest.
const CALL_AGAIN: Duration = Duration::from_millis(50);
const CALL_AGAIN_MAX: Duration = Duration::from_secs(2);

/// The connection that there is now, and how to get the next one.
#[derive(Debug)]
pub(super) struct Steady {
    socket: PathBuf,
    client: Client,
    patience: Duration,
    /// When all of it must be over, by the monotonic clock.
    deadline: Option<Duration>,
    /// What goes on without us, and how to wait for it again.
    meanwhile: String,
    has_said: bool,
}

impl Steady {
    /// Begins with a connection to the daemon at `socket`. `meanwhile` is what people are told while it is away.
    pub(super) fn new(
        socket: PathBuf,
        client: Client,
        within: Option<Duration>,
        meanwhile: String,
    ) -> Steady {
        let deadline = within.map(|within| monotonic().saturating_add(within));
        Steady { socket, client, patience: ABSENCE_MAX, deadline, meanwhile, has_said: false }
    }

    /// How much time is left, if there is an end to it.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_sub(monotonic()))
    }

    /// Asks, and asks again whenever the daemon goes away meanwhile.
    pub(super) async fn ask<T>(
        &mut self,
        mut ask: impl AsyncFnMut(&Client, Option<Duration>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            let left = self.left();
            match ask(&self.client, left).await {
                Err(failure) if failure.code == UNREACHABLE => self.call_again().await?,
                answered => return answered,
            }
        }
    }

    async fn call_again(&mut self) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.has_said, true) {
            eprintln!("musher: the daemon is gone; waiting until it is back");
        }
        let calls = async {
            let mut wait = CALL_AGAIN;
            loop {
                sleep(wait).await;
                if let Ok(client) = Client::connect(&self.socket).await {
                    return client;
                }
                wait = (wait * 2).min(CALL_AGAIN_MAX);
            }
        };
        let left = self.left().unwrap_or(Duration::MAX);
        match timeout(self.patience.min(left), calls).await {
            Ok(client) => {
                self.client = client;
                Ok(())
            }
            Err(_) => {
                let (code, time) =
                    if left < self.patience { (TRY_AGAIN, left) } else { (UNREACHABLE, self.patience) };
                let (time, socket) = (show_duration(time), self.socket.display());
                let message = format!("no daemon has answered at {socket} for {time}; {}", self.meanwhile);
                Err(Failure { code, message })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientError;
    use crate::protocol::{Response, Version};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    /// Greets one client and hangs up on its first question.
    async fn greet_once(listener: &UnixListener) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 200];
        assert!(stream.read(&mut hello).await.unwrap() > 0);
        let welcome = Response::Welcome {
            version: Version::NEWEST.number(),
            frame_max: 1 << 20,
            body_max: 1 << 20,
            batch_max: 1000,
            name: "test".into(),
        };
        let mut out = Vec::new();
        welcome.encode(1, &mut out);
        stream.write_all(&out).await.unwrap();
        assert!(stream.read(&mut hello).await.unwrap() > 0);
    }

    #[tokio::test]
    async fn patience_has_an_end_and_the_words_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        for (within, code) in [(None, UNREACHABLE), (Some(Duration::from_millis(60)), TRY_AGAIN)] {
            let listener = UnixListener::bind(&socket).unwrap();
            let path = socket.clone();
            let server = async {
                greet_once(&listener).await;
                greet_once(&listener).await;
                drop(listener);
                std::fs::remove_file(&socket).unwrap();
            };
            let asked = async {
                let client = Client::connect(&path).await.unwrap();
                let mut steady = Steady::new(path.clone(), client, within, "job 1 goes on".into());
                (steady.patience, steady.deadline) = match within {
                    None => (Duration::from_millis(300), None),
                    // All of it belongs to the part without a daemon.
                    Some(within) => (ABSENCE_MAX, Some(monotonic() + within * 10)),
                };
                let mut times = 0;
                let asked = steady.ask(async |client, _| {
                    times += 1;
                    client.body(1).await.map(drop).map_err(|error: ClientError| Failure::from(error))
                });
                let failure = asked.await.unwrap_err();
                (failure, times)
            };
            let ((failure, times), ()) = tokio::join!(asked, server);
            assert_eq!((failure.code, times), (code, 2), "{failure:?}");
            assert!(failure.message.ends_with("; job 1 goes on"), "{failure:?}");
        }
    }
}
