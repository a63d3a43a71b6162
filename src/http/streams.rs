//! Answers that go on for a while: what becomes of jobs (server-sent events), and what a job prints. Each has a connection to the loop
//! of its own, so a reader that stands still holds up nothing but that; both end together. There is a bound to how many there are.

use super::answer::ApiError;
use super::described::{Answered, OCTETS, Signature};
use super::link::Link;
use crate::access::Caller;
use crate::client::{Client, ClientError};
use crate::protocol::{JobChange, Notice, Request, Response as Said};
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval, timeout};

/// How many there may be at a time, and of one user.
const MOST: usize = 64;
const OF_USER_MAX: usize = 32;
/// How many answers of the loop wait for a reader before the connection does.
const WAITING_MAX: usize = 4;
/// How often something is sent even if nothing happens, so that both sides see whether the other one is there.
const BEAT: Duration = Duration::from_secs(15);
/// How many events a second a reader gets.
const PACE_MAX: u64 = 1_000;

/// How many there are of each user.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<Mutex<HashMap<u32, usize>>>);

/// One that is counted.
#[derive(Debug)]
struct Place {
    streams: Streams,
    uid: u32,
}

impl Streams {
    fn enter(&self, uid: u32) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (open.values().sum::<usize>(), open.get(&uid).copied().unwrap_or(0));
        if all >= MOST || own >= OF_USER_MAX {
            return None;
        }
        *open.entry(uid).or_default() += 1;
        Some(Place { streams: self.clone(), uid })
    }

    /// Begins one: what the loop answers piece by piece, and the first piece, if it comes within `patience`.
    pub(super) async fn open(
        &self,
        link: &Link,
        caller: &Caller,
        request: &Request,
        patience: Duration,
    ) -> Result<(Option<Said>, Stream), ApiError> {
        let Some(place) = self.enter(caller.uid) else {
            let message = format!(
                "{MOST} answers that go on are sent at a time, and {OF_USER_MAX} to one user: try again later"
            );
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message));
        };
        let client = link.call(caller.clone()).await?;
        let notices = client.notices();
        let mut pieces = client.stream(request, WAITING_MAX).await?;
        let first = match timeout(patience, pieces.recv()).await {
            Ok(first) => Some(first.unwrap_or_else(|| Err(ClientError::Closed(String::new())))?),
            Err(_) => None,
        };
        Ok((first, Stream { pieces, notices, _client: client, _place: place }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

/// What the loop answers piece by piece. The connection ends with it.
pub(super) struct Stream {
    pieces: mpsc::Receiver<Result<Said, ClientError>>,
    notices: Option<mpsc::UnboundedReceiver<Notice>>,
    _client: Client,
    _place: Place,
}

impl Stream {
    /// The next piece; `None` if that was all.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Said, ClientError>>> {
        Poll::Ready(match ready!(self.pieces.poll_recv(context)) {
            Some(Ok(Said::Ok)) => None,
            Some(said) => Some(said),
            None => Some(Err(ClientError::Closed(String::new()))),
        })
    }

    /// Whether the daemon stops.
    fn stops(&mut self, context: &mut Context<'_>) -> bool {
        let Some(notices) = &mut self.notices else { return false };
        while let Poll::Ready(notice) = notices.poll_recv(context) {
            match notice {
                Some(Notice::Stopping { .. }) | None => return true,
                Some(Notice::Revoked { .. } | Notice::Reconfigured) => {}
            }
        }
        false
    }
}

/// What becomes of jobs, as server-sent events. It ends when the daemon stops.
pub(super) struct Events {
    stream: Stream,
    beat: Interval,
    /// How many more events there may be in this second, which began then.
    room: u64,
    since: Instant,
}

impl Events {
    pub(super) fn new(stream: Stream) -> Events {
        Events { stream, beat: interval(BEAT), room: PACE_MAX, since: Instant::now() }
    }

    fn text(&mut self, missed: u64, changes: &[JobChange]) -> String {
        if self.since.elapsed() >= Duration::from_secs(1) {
            (self.room, self.since) = (PACE_MAX, Instant::now());
        }
        let (text, left_out) = written(changes, &mut self.room);
        let missed = missed.saturating_add(left_out);
        match missed {
            0 => text,
            _ => text + &event("missed", &json!({ "count": missed })),
        }
    }
}

/// As many of these changes as there is room for, each job by itself; and how many are left out.
fn written(changes: &[JobChange], room: &mut u64) -> (String, u64) {
    let (mut text, mut left_out) = (String::new(), 0);
    for change in changes {
        let shown = change.count.min(*room);
        *room -= shown;
        left_out += change.count - shown;
        for id in (change.first..).take(shown as usize) {
            let data = json!({
                "id": id, "queue": &*change.queue, "state": change.state_name(), "at_ms": change.at_ms,
            });
            text += &event("job", &data);
        }
    }
    (text, left_out)
}

fn event(name: &str, data: &serde_json::Value) -> String {
    let mut text = String::new();
    write!(text, "event: {name}\ndata: {data}\n\n").expect("a string takes everything");
    text
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = ClientError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        let this = self.get_mut();
        loop {
            // However it ends, nothing is missing in what came: a reader asks again, and looks at what there is.
            match this.stream.poll_next(context) {
                Poll::Ready(Some(Ok(Said::Changes { missed, changes }))) => {
                    let text = this.text(missed, &changes);
                    if !text.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(text.into()))));
                    }
                    continue;
                }
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            if this.stream.stops(context) {
                return Poll::Ready(None);
            }
            ready!(this.beat.poll_tick(context));
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b": nothing new\n\n")))));
        }
    }
}

impl IntoResponse for Events {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, EVENT_STREAM)], Body::new(self)).into_response()
    }
}

const EVENT_STREAM: &str = "text/event-stream";

impl Answered for Events {
    fn describe(signature: &mut Signature) {
        signature.answers(200, Some((EVENT_STREAM, json!({ "type": "string" }))));
    }
}

/// What a job has printed. If it is cut off, the reader sees that it is not whole.
pub(super) struct Printed {
    /// A piece that has come already.
    first: Option<Bytes>,
    stream: Option<Stream>,
}

impl Printed {
    /// What follows on the first piece.
    pub(super) fn new(first: Option<Said>, stream: Stream) -> Printed {
        match first {
            Some(Said::Output { data, .. }) => Printed { first: Some(data), stream: Some(stream) },
            Some(_) => Printed { first: None, stream: None },
            None => Printed { first: None, stream: Some(stream) },
        }
    }
}

impl hyper::body::Body for Printed {
    type Data = Bytes;
    type Error = ClientError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        let next = match ready!(stream.poll_next(context)) {
            Some(Ok(Said::Output { data, .. })) => Some(Ok(Frame::data(data))),
            Some(Ok(_)) => Some(Err(ClientError::Unexpected)),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        };
        if !matches!(next, Some(Ok(_))) {
            this.stream = None;
        }
        Poll::Ready(next)
    }
}

impl IntoResponse for Printed {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, OCTETS)], Body::new(self)).into_response()
    }
}

impl Answered for Printed {
    fn describe(signature: &mut Signature) {
        signature.answers(200, Some((OCTETS, json!({}))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(first: u64, count: u64) -> JobChange {
        JobChange { first, count, queue: "mails".into(), state: 1, at_ms: 5 }
    }

    #[test]
    fn each_job_is_an_event_as_long_as_there_is_room() {
        let mut room = 3;
        let (text, left_out) = written(&[change(7, 1), change(8, 1_000_000)], &mut room);
        let one = |id| {
            format!(
                "event: job\ndata: {{\"at_ms\":5,\"id\":{id},\"queue\":\"mails\",\"state\":\"ready\"}}\n\n"
            )
        };
        assert_eq!(text, [one(7), one(8), one(9)].concat());
        assert_eq!((left_out, room), (999_998, 0));
        let gone = JobChange { state: JobChange::GONE, ..change(1, 1) };
        assert!(written(&[gone], &mut 1).0.contains(r#""state":"gone""#));
    }

    #[test]
    fn there_are_not_too_many_of_them() {
        let streams = Streams::default();
        let mut own: Vec<_> = std::iter::from_fn(|| streams.enter(1)).collect();
        assert_eq!(own.len(), OF_USER_MAX);
        let others: Vec<_> = (2..100).filter_map(|uid| streams.enter(uid)).collect();
        assert_eq!(others.len(), MOST - OF_USER_MAX);
        own.pop();
        assert!(streams.enter(1).is_some(), "one has ended");
    }
}
