//! One connection: requests go out in whatever order they come, answers come back to whoever asked. It knows
//! frames and numbers, not what the requests mean.

use super::ClientError;
use crate::protocol::{Notice, Request, Response, split_frame};
use bytes::BytesMut;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// The longest answer taken before the server has told its own limit, and the least that is taken after it.
const FRAME_MAX: usize = 64 << 20;
/// How many pieces of a streamed answer wait for their reader before the connection does.
const STREAM_WAITING_MAX: usize = 256;

type Answer = Result<Response, ClientError>;

#[derive(Debug)]
enum Asker {
    Once(oneshot::Sender<Answer>),
    Stream(mpsc::Sender<Answer>),
}

#[derive(Debug, Default)]
struct Shared {
    /// Encoded requests that the writer has not taken yet.
    out: Vec<u8>,
    askers: HashMap<u32, Asker>,
    last_number: u32,
    frame_max: Option<usize>,
    /// Set when the connection has ended, with the reason.
    ended: Option<String>,
    notices: Option<mpsc::UnboundedReceiver<Notice>>,
}

#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Mutex<Shared>>,
    wake_writer: Arc<Notify>,
    ended: watch::Receiver<bool>,
}

impl Connection {
    pub(super) fn start(stream: UnixStream) -> Arc<Connection> {
        let (read, write) = stream.into_split();
        let (notices, notices_out) = mpsc::unbounded_channel();
        let shared = Arc::new(Mutex::new(Shared { notices: Some(notices_out), ..Shared::default() }));
        let wake_writer = Arc::new(Notify::new());
        let (end, ended) = watch::channel(false);
        tokio::spawn(write_all(write, shared.clone(), wake_writer.clone()));
        let reader = shared.clone();
        let wake = wake_writer.clone();
        tokio::spawn(async move {
            let why = read_all(read, &reader, &notices).await;
            end_all(&reader, &why);
            wake.notify_one();
            // Nobody waits any more when this fails.
            let _ = end.send(true);
        });
        Arc::new(Connection { shared, wake_writer, ended })
    }

    pub(super) fn notices(&self) -> Option<mpsc::UnboundedReceiver<Notice>> {
        lock(&self.shared).notices.take()
    }

    pub(super) fn limit_frames(&self, max: usize) {
        lock(&self.shared).frame_max = Some(max);
    }

    pub(super) async fn closed(&self) {
        // An error means that the reader is gone, which is the same.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Sends a request; its number, and its answer to wait for.
    pub(super) fn send(
        &self,
        request: &Request,
    ) -> Result<(u32, impl Future<Output = Answer> + use<>), ClientError> {
        let (asker, answer) = oneshot::channel();
        let number = self.enqueue(request, Asker::Once(asker))?;
        let answer = async move { answer.await.unwrap_or_else(|_| Err(ClientError::Closed(String::new()))) };
        Ok((number, answer))
    }

    pub(super) async fn ask(&self, request: &Request) -> Answer {
        self.send(request)?.1.await
    }

    /// Sends a request that is answered piece by piece.
    pub(super) fn stream(&self, request: &Request) -> Result<mpsc::Receiver<Answer>, ClientError> {
        let (asker, answers) = mpsc::channel(STREAM_WAITING_MAX);
        self.enqueue(request, Asker::Stream(asker))?;
        Ok(answers)
    }

    fn enqueue(&self, request: &Request, asker: Asker) -> Result<u32, ClientError> {
        let mut guard = lock(&self.shared);
        let shared = &mut *guard;
        if let Some(why) = &shared.ended {
            return Err(ClientError::Closed(why.clone()));
        }
        loop {
            shared.last_number = shared.last_number.wrapping_add(1);
            if shared.last_number != 0 && !shared.askers.contains_key(&shared.last_number) {
                break;
            }
        }
        let (number, before) = (shared.last_number, shared.out.len());
        request.encode(number, &mut shared.out);
        let (len, max) = (shared.out.len() - before, shared.frame_max.unwrap_or(FRAME_MAX));
        if len > max {
            shared.out.truncate(before);
            return Err(ClientError::TooLarge { len, max });
        }
        shared.askers.insert(number, asker);
        drop(guard);
        self.wake_writer.notify_one();
        Ok(number)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        end_all(&self.shared, "");
        self.wake_writer.notify_one();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nobody panics while holding this lock")
}

/// Tells everybody who waits that there will be no answer.
fn end_all(shared: &Mutex<Shared>, why: &str) {
    let askers = {
        let mut shared = lock(shared);
        shared.ended.get_or_insert_with(|| why.to_owned());
        std::mem::take(&mut shared.askers)
    };
    for asker in askers.into_values() {
        let error = Err(ClientError::Closed(why.to_owned()));
        // Whoever does not listen any more does not miss it.
        match asker {
            Asker::Once(asker) => drop(asker.send(error)),
            Asker::Stream(asker) => drop(asker.try_send(error)),
        }
    }
}

async fn write_all(mut stream: OwnedWriteHalf, shared: Arc<Mutex<Shared>>, wake: Arc<Notify>) {
    loop {
        let (out, ended) = {
            let mut shared = lock(&shared);
            (std::mem::take(&mut shared.out), shared.ended.is_some())
        };
        if !out.is_empty() {
            // The reader notices that the connection has ended, and says why.
            if stream.write_all(&out).await.is_err() {
                return;
            }
        } else if ended {
            return;
        } else {
            wake.notified().await;
        }
    }
}

/// Hands every answer to its asker until the connection ends; says why it did.
async fn read_all(
    mut stream: OwnedReadHalf,
    shared: &Mutex<Shared>,
    notices: &mpsc::UnboundedSender<Notice>,
) -> String {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    loop {
        let max = lock(shared).frame_max.unwrap_or(0).max(FRAME_MAX);
        loop {
            let (header, payload) = match split_frame(&mut buffer, max) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return format!(": {error}"),
            };
            let answer = match Response::decode(header.kind, payload) {
                Ok(Response::Notice(notice)) => {
                    // Nobody listens to notices where there is no receiver.
                    let _ = notices.send(notice);
                    continue;
                }
                Ok(Response::Error(fault)) if header.request == 0 => return format!(": {fault}"),
                Ok(Response::Error(fault)) => Err(fault.into()),
                Ok(response) => Ok(response),
                Err(error) => Err(error.into()),
            };
            deliver(shared, header.request, answer).await;
        }
        buffer.reserve(64 << 10);
        match stream.read_buf(&mut buffer).await {
            Ok(0) => return String::new(),
            Ok(_) => {}
            Err(error) => return format!(": {error}"),
        }
    }
}

async fn deliver(shared: &Mutex<Shared>, number: u32, answer: Answer) {
    // Whoever asked once for new jobs alone gets no second answer.
    let more_follow =
        matches!(answer, Ok(Response::Output { .. } | Response::Piece(_) | Response::Submitted { .. }));
    let stream = {
        let mut shared = lock(shared);
        match shared.askers.remove(&number) {
            None => return,
            Some(Asker::Once(asker)) => {
                // Whoever does not listen any more does not miss it.
                let _ = asker.send(answer);
                return;
            }
            Some(Asker::Stream(asker)) => {
                if more_follow {
                    shared.askers.insert(number, Asker::Stream(asker.clone()));
                }
                asker
            }
        }
    };
    // As above.
    let _ = stream.send(answer).await;
}
