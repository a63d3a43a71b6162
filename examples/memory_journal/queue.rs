//! Where the jobs are: a queue inside this process, or a daemon's. Everything else is the same for both.

use super::Error;
use musher::Embedded;
use musher::client::Client;
use musher::client::worker::Worker;
use std::path::{Path, PathBuf};

pub(crate) const CONFIGURATION: &str = include_str!("musher.toml");

pub(crate) enum Queue {
    Embedded(Embedded),
    /// The socket of a daemon that has [`CONFIGURATION`].
    Daemon(PathBuf),
}

impl Queue {
    pub(crate) async fn open(directory: &Path, socket: Option<&Path>) -> Result<Queue, Error> {
        Ok(match socket {
            Some(socket) => Queue::Daemon(socket.to_owned()),
            None => Queue::Embedded(Embedded::open_with(directory.join("jobs"), CONFIGURATION).await?),
        })
    }

    pub(crate) async fn client(&self) -> Result<Client, Error> {
        Ok(match self {
            Queue::Embedded(queue) => queue.client().await?,
            Queue::Daemon(socket) => Client::connect(socket).await?,
        })
    }

    pub(crate) fn worker(&self) -> Worker {
        match self {
            Queue::Embedded(queue) => queue.worker(),
            Queue::Daemon(socket) => Worker::new(socket),
        }
    }

    pub(crate) async fn close(self) -> Result<(), Error> {
        if let Queue::Embedded(queue) = self {
            queue.close().await?;
        }
        Ok(())
    }
}
