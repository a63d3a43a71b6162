//! Finds the daemon and connects to it; asks the user for confirmation.

use super::exit::{End, Failure};
use super::unreachable;
use crate::client::Client;
use crate::config::{Surroundings, client_socket, client_sockets};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// Which daemon is meant.
#[derive(Debug)]
pub(super) struct Target {
    /// As named on the command line or in the environment.
    pub(super) socket: Option<PathBuf>,
}

impl Target {
    /// The daemon's socket.
    pub(super) fn path(&self) -> PathBuf {
        client_socket(self.socket.as_deref(), &Surroundings::real())
    }

    /// Connects and runs a verb.
    pub(super) fn talk(&self, verb: impl AsyncFnOnce(Client) -> End) -> End {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { verb(self.connect().await?).await })
    }

    /// Connects, or says why that does not work.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let connected = Client::connect(self.path()).await;
        connected.map_err(|error| {
            unreachable::explain(error, &client_sockets(self.socket.as_deref(), &Surroundings::real()))
        })
    }
}

/// Asks a person back. Without a terminal there is nobody to ask, and the answer is an error that says what to do.
pub(super) fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{question} There is no terminal to ask on: give --yes to confirm"
        )));
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was changed")),
    }
}
