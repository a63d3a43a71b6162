//! The line to the daemon as attempts see it: while the daemon is away there is no connection, and what they ask waits for the
//! next one. It knows of no jobs. The worker's loop says when a connection has ended and when there is another.

use super::{Client, ClientError, Limits};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::watch;

/// What there is of a connection.
#[derive(Debug)]
enum State {
    /// The connection, by its number.
    Open(Number, Client),
    /// None for now; that one was the last.
    Away(Number),
    /// None any more.
    Over,
}

/// Names one connection of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(u64);

/// The attempts' end. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    limits: Arc<Limits>,
    state: watch::Receiver<State>,
}

/// The loop's end.
#[derive(Debug)]
pub(crate) struct Switch(watch::Sender<State>);

/// A line over this connection.
pub(crate) fn line(client: Client) -> (Switch, Line) {
    let limits = Arc::new(client.limits().clone());
    let (switch, state) = watch::channel(State::Open(Number(0), client));
    (Switch(switch), Line { limits, state })
}

impl Switch {
    /// The connection has ended, and there may be another.
    pub(crate) fn lose(&self) {
        self.0.send_modify(|state| {
            if let State::Open(number, _) = *state {
                *state = State::Away(number);
            }
        });
    }

    /// There is another.
    pub(crate) fn mend(&self, client: Client) {
        self.0.send_modify(|state| match *state {
            State::Open(Number(number), _) | State::Away(Number(number)) => {
                *state = State::Open(Number(number + 1), client);
            }
            State::Over => {}
        });
    }

    /// There will be none: who waits for one does not wait any more.
    pub(crate) fn cut(&self) {
        self.0.send_replace(State::Over);
    }
}

impl Line {
    /// The limits of the daemon at the beginning.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The connection, if there is one now.
    pub(crate) fn now(&self) -> Option<(Number, Client)> {
        match &*self.state.borrow() {
            State::Open(number, client) => Some((*number, client.clone())),
            State::Away(_) | State::Over => None,
        }
    }

    /// Asks until there is an answer, on one connection after the other; `ask` is told which one it is, and whether it has asked before. The first
    /// time it asks at once, if there is a connection: whoever polls this once has sent the request.
    ///
    /// # Errors
    /// Those of the request; closed when there will be no connection.
    pub(crate) async fn ask<T, F>(&self, ask: impl Fn(Client, Number, bool) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let (mut tried, mut last) = (false, None);
        loop {
            let open = match self.now().filter(|(number, _)| Some(*number) != last) {
                Some(open) => open,
                None => self.next(last).await?,
            };
            let (number, client) = open;
            match ask(client, number, tried).await {
                Err(error) if error.is_disconnect() => (tried, last) = (true, Some(number)),
                answer => return answer,
            }
        }
    }

    /// Returns when there is no connection.
    pub(crate) async fn away(&self) {
        // If nobody is left who could say that there is another, there is none.
        let _ = self.state.clone().wait_for(|state| !matches!(state, State::Open(..))).await;
    }

    /// Waits for a connection after that one.
    async fn next(&self, last: Option<Number>) -> Result<(Number, Client), ClientError> {
        let mut state = self.state.clone();
        let is_there = |state: &State| match state {
            State::Open(number, _) => Some(*number) != last,
            State::Away(_) => false,
            State::Over => true,
        };
        match state.wait_for(is_there).await.as_deref() {
            Ok(State::Open(number, client)) => Ok((*number, client.clone())),
            Ok(State::Away(_) | State::Over) | Err(_) => Err(ClientError::Closed(String::new())),
        }
    }
}
