//! One connection: requests are sent in the order in which they are made, and each answer goes back to its caller. What
//! waits to be sent is bounded: beyond that, callers wait until there is room. It knows frames and request numbers, not
//! what the requests mean.

use super::ClientError;
use crate::protocol::{Notice, Request, Response, Version, split_frame};
use crate::stream::Stream;
use bytes::BytesMut;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// The longest answer taken before the server has told its own limit, and the least that is taken after it.
const FRAME_MAX: usize = 64 << 20;
/// While so many bytes wait for the writer, requests wait before they are added.
const OUT_MAX: usize = 4 << 20;

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
    /// How many requests wait for room there. None goes before them.
    late: usize,
    askers: HashMap<u32, Asker>,
    last_number: u32,
    frame_max: Option<usize>,
    /// The greeting is the same in all versions.
    version: Option<Version>,
    /// Set when the connection has ended, with the reason.
    ended: Option<String>,
    notices: Option<mpsc::UnboundedReceiver<Notice>>,
}

#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Mutex<Shared>>,
    bells: Arc<Bells>,
    ended: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Bells {
    /// Rings when there is something to write, or no more.
    writer: Notify,
    /// Rings when the writer has taken what there was, or the connection has ended, for the first in line.
    taken: Notify,
    /// Requests that wait for room; hands itself on in the order in which they came.
    line: tokio::sync::Mutex<()>,
}

/// A request that waits for room. Its place in line is that of the first poll.
struct Late {
    shared: Arc<Mutex<Shared>>,
    bells: Arc<Bells>,
    number: u32,
    request: Vec<u8>,
}

impl Shared {
    fn version(&self) -> Version {
        self.version.unwrap_or(Version::NEWEST)
    }
}

impl Late {
    async fn send(mut self) {
        let bells = self.bells.clone();
        let _place = bells.line.lock().await;
        loop {
            {
                let mut shared = lock(&self.shared);
                // The caller has been told that it has ended.
                if shared.ended.is_some() {
                    return;
                }
                if shared.out.len() < OUT_MAX {
                    shared.out.append(&mut self.request);
                    break;
                }
            }
            bells.taken.notified().await;
        }
        bells.writer.notify_one();
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.late -= 1;
        if !self.request.is_empty() {
            // It was never sent, and nobody waits for its answer.
            shared.askers.remove(&self.number);
        }
        drop(shared);
        // If it was the first in line, the next one has to look by itself.
        self.bells.taken.notify_one();
    }
}

impl Connection {
    pub(super) fn start(stream: UnixStream) -> io::Result<Arc<Connection>> {
        let stream = Arc::new(Stream::try_from(stream)?);
        let (notices, notices_out) = mpsc::unbounded_channel();
        let shared = Arc::new(Mutex::new(Shared { notices: Some(notices_out), ..Shared::default() }));
        let bells = Arc::new(Bells::default());
        let (end, ended) = watch::channel(false);
        tokio::spawn(write_all(stream.clone(), shared.clone(), bells.clone()));
        let reader = shared.clone();
        let ring = bells.clone();
        tokio::spawn(async move {
            let why = read_all(&stream, &reader, &notices).await;
            end_all(&reader, &why);
            ring.writer.notify_one();
            ring.taken.notify_one();
            // Nobody waits any more when this fails.
            let _ = end.send(true);
        });
        Ok(Arc::new(Connection { shared, bells, ended }))
    }

    pub(super) fn notices(&self) -> Option<mpsc::UnboundedReceiver<Notice>> {
        lock(&self.shared).notices.take()
    }

    pub(super) fn limit_frames(&self, max: usize) {
        lock(&self.shared).frame_max = Some(max);
    }

    /// The version that both sides speak.
    pub(super) fn version(&self) -> Version {
        lock(&self.shared).version()
    }

    /// From here on, requests and answers are in this version.
    pub(super) fn speak(&self, version: Version) {
        lock(&self.shared).version = Some(version);
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.shared).ended.is_some()
    }

    pub(super) async fn closed(&self) {
        // An error means that the reader is gone, which is the same.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Sends a request; its number, and its answer to wait for. Where there is no room to send it at once, it leaves
    /// while that is waited for.
    pub(super) fn send(
        &self,
        request: &Request,
    ) -> Result<(u32, impl Future<Output = Answer> + use<>), ClientError> {
        let (asker, answer) = oneshot::channel();
        let (number, late) = self.enqueue(request, Asker::Once(asker))?;
        let answer = async move {
            if let Some(late) = late {
                late.send().await;
            }
            answer.await.unwrap_or_else(|_| Err(ClientError::Closed(String::new())))
        };
        Ok((number, answer))
    }

    pub(super) async fn ask(&self, request: &Request) -> Answer {
        self.send(request)?.1.await
    }

    /// Sends a request that is answered piece by piece; returns when it is on its way. While `waiting` pieces wait for their reader, so
    /// does the whole connection.
    pub(super) async fn stream(
        &self,
        request: &Request,
        waiting: usize,
    ) -> Result<mpsc::Receiver<Answer>, ClientError> {
        let (asker, answers) = mpsc::channel(waiting);
        if let (_, Some(late)) = self.enqueue(request, Asker::Stream(asker))? {
            late.send().await;
        }
        Ok(answers)
    }

    /// Adds a request to what is to be sent, or gives it back to wait for room.
    fn enqueue(&self, request: &Request, asker: Asker) -> Result<(u32, Option<Late>), ClientError> {
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
        let has_room = shared.late == 0 && before < OUT_MAX;
        shared.version().encode_request(request, number, &mut shared.out);
        let (len, max) = (shared.out.len() - before, shared.frame_max.unwrap_or(FRAME_MAX));
        if len > max {
            shared.out.truncate(before);
            return Err(ClientError::TooLarge { len, max });
        }
        shared.askers.insert(number, asker);
        if !has_room {
            shared.late += 1;
            let request = shared.out.split_off(before);
            let (shared, bells) = (self.shared.clone(), self.bells.clone());
            return Ok((number, Some(Late { shared, bells, number, request })));
        }
        drop(guard);
        self.bells.writer.notify_one();
        Ok((number, None))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        end_all(&self.shared, "");
        self.bells.writer.notify_one();
        self.bells.taken.notify_one();
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
        // A caller that no longer listens does not miss it.
        match asker {
            Asker::Once(asker) => drop(asker.send(error)),
            Asker::Stream(asker) => drop(asker.try_send(error)),
        }
    }
}

async fn write_all(stream: Arc<Stream>, shared: Arc<Mutex<Shared>>, bells: Arc<Bells>) {
    loop {
        let (out, ended) = {
            let mut shared = lock(&shared);
            (std::mem::take(&mut shared.out), shared.ended.is_some())
        };
        if !out.is_empty() {
            if out.len() >= OUT_MAX {
                bells.taken.notify_one();
            }
            // The reader notices that the connection has ended, and says why.
            if stream.write_all(&out).await.is_err() {
                break;
            }
        } else if ended {
            break;
        } else {
            bells.writer.notified().await;
        }
    }
    stream.end_writing();
}

/// Hands every answer to its asker until the connection ends; says why it did.
async fn read_all(
    stream: &Stream,
    shared: &Mutex<Shared>,
    notices: &mpsc::UnboundedSender<Notice>,
) -> String {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    loop {
        let (max, version) = {
            let shared = lock(shared);
            (shared.frame_max.unwrap_or(0).max(FRAME_MAX), shared.version())
        };
        loop {
            let (header, payload) = match split_frame(&mut buffer, max) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return format!(": {error}"),
            };
            let answer = match version.decode_response(header.kind, payload) {
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
        match stream.read(&mut buffer).await {
            Ok(0) => return String::new(),
            Ok(_) => {}
            Err(error) => return format!(": {error}"),
        }
    }
}

async fn deliver(shared: &Mutex<Shared>, number: u32, answer: Answer) {
    // A caller that asked for new jobs only gets no second answer.
    let more_follow = matches!(
        answer,
        Ok(Response::Output { .. }
            | Response::Changes { .. }
            | Response::Piece(_)
            | Response::Submitted { .. }
            | Response::Received(_))
    );
    let stream = {
        let mut shared = lock(shared);
        match shared.askers.remove(&number) {
            None => return,
            Some(Asker::Once(asker)) => {
                // A caller that no longer listens does not miss it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};
    use tokio::io::AsyncReadExt;

    const BODY: usize = 1 << 20;

    fn request(n: u32) -> Request {
        let lease = crate::protocol::LeaseRef { id: 1, attempt: n };
        Request::Output { lease, stream: 1, data: vec![1; BODY].into(), again_at: None }
    }

    /// Requests to a daemon that had been stopped were all kept.
    #[tokio::test]
    async fn requests_wait_where_there_is_no_room_and_leave_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let connection = Connection::start(ours).unwrap();
        let mut answers = Vec::new();
        for n in 0..40 {
            answers.push(Box::pin(connection.send(&request(n)).unwrap().1));
            let answer = answers.last_mut().expect("it was added").as_mut();
            assert!(answer.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let waiting = || {
            let shared = lock(&connection.shared);
            (shared.out.len(), shared.late)
        };
        assert!(waiting().0 < OUT_MAX + 2 * BODY && waiting().1 > 30, "{:?}", waiting());
        // Who does not want it any more has asked for nothing.
        drop(answers.remove(20));
        assert_eq!(lock(&connection.shared).askers.len(), 39);
        let all: Vec<_> = answers.into_iter().map(tokio::spawn).collect();
        let mut got = BytesMut::new();
        for n in (0..40).filter(|n| *n != 20) {
            let frame = loop {
                match split_frame(&mut got, 2 * BODY).unwrap() {
                    Some(frame) => break frame,
                    None => assert!(theirs.read_buf(&mut got).await.unwrap() > 0),
                }
            };
            assert_eq!(Request::decode(frame.0.kind, frame.1, 1).unwrap(), request(n));
        }
        assert_eq!(waiting(), (0, 0));
        drop(theirs);
        for answer in all {
            assert!(matches!(answer.await.unwrap(), Err(ClientError::Closed(_))));
        }
    }

    #[tokio::test]
    async fn who_waits_for_room_learns_that_it_has_ended() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let connection = Connection::start(ours).unwrap();
        let mut answers: Vec<_> =
            (0..20).map(|n| Box::pin(connection.send(&request(n)).unwrap().1)).collect();
        let last = pin!(answers.pop().expect("there are twenty"));
        assert!(lock(&connection.shared).late > 0);
        drop(theirs);
        assert!(matches!(last.await, Err(ClientError::Closed(_))));
        drop(answers);
        assert_eq!(lock(&connection.shared).late, 0);
    }
}
