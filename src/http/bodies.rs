//! Bodies of requests: how long they may be, how long they may take to come, and how much of them is kept at a time. What has come counts,
//! not what is announced, so nobody keeps others out by what he does not send.

use super::answer::ApiError;
use super::serving::Front;
use axum::body::HttpBody;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long a body may take to come.
const TIME: Duration = Duration::from_secs(30);
/// How long it may wait for room.
const ROOM_TIME: Duration = Duration::from_secs(5);
/// What each body may have without room.
const FREE: usize = 16 << 10;
/// How many bytes of bodies are kept at a time, if that is room for two of the longest at least.
const ALL_MAX: usize = 64 << 20;
/// Room is given in such parts.
const PART: usize = 1 << 10;

/// The room for bodies.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    /// The most bytes of one.
    pub(super) most: usize,
    room: Arc<Semaphore>,
}

impl Bodies {
    pub(super) fn new(most: usize) -> Bodies {
        Bodies { most, room: Arc::new(Semaphore::new(ALL_MAX.max(2 * most).div_ceil(PART))) }
    }

    /// Makes `held` room for so many bytes.
    async fn make_room(&self, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), ApiError> {
        let parts = if bytes <= FREE { 0 } else { bytes.div_ceil(PART) };
        let more = parts - held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits).min(parts);
        if more == 0 {
            return Ok(());
        }
        let busy = || {
            let message = "too many long bodies of requests come at a time: try again later";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
        };
        let got = timeout(ROOM_TIME, self.room.clone().acquire_many_owned(more as u32)).await;
        // It is never closed.
        let got = got.map_err(|_| busy())?.map_err(|_| busy())?;
        match held {
            Some(held) => held.merge(got),
            None => *held = Some(got),
        }
        Ok(())
    }

    async fn read(&self, request: Request) -> Result<Raw, ApiError> {
        let (mut body, mut all, mut room) = (request.into_body(), BytesMut::new(), None);
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|error| ApiError::malformed(format!("the body: {error}")))?;
            // Trailers are of no use here.
            let Ok(data) = frame.into_data() else { continue };
            if all.len() + data.len() > self.most {
                return Err(ApiError::too_long());
            }
            self.make_room(&mut room, all.len() + data.len()).await?;
            all.extend_from_slice(&data);
        }
        Ok(Raw { bytes: all.freeze(), _room: room })
    }
}

/// The body, whatever it is. It has its room for as long as this is there.
pub(super) struct Raw {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Front> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, front: &Front) -> Result<Raw, ApiError> {
        match timeout(TIME, front.bodies.read(request)).await {
            Ok(read) => read,
            Err(_) => {
                let message = "the body of the request has not come in 30 seconds";
                Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Whether there is room at once.
    fn has_room(bodies: &Bodies, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> bool {
        let mut room = pin!(bodies.make_room(held, bytes));
        matches!(room.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
    }

    #[tokio::test]
    async fn what_has_come_takes_room_and_short_bodies_need_none() {
        let bodies = Bodies::new(40 << 20);
        let (mut long, mut other, mut short) = (None, None, None);
        assert!(has_room(&bodies, &mut long, 30 << 20) && has_room(&bodies, &mut long, 40 << 20));
        assert!(has_room(&bodies, &mut other, 40 << 20));
        assert!(!has_room(&bodies, &mut short, FREE + 1), "nothing is left");
        assert!(has_room(&bodies, &mut short, FREE) && short.is_none());
        drop(long);
        assert!(has_room(&bodies, &mut short, FREE + 1));
    }
}
