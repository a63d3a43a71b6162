//! Jobs that are sent to a web server: one POST each, and what is answered says how it ended. Connections are kept open and
//! used again. It knows nothing of leases, deadlines and orders: whoever drops a request ends it, and its connection.
//!
//! - `target`: where jobs go, opened once: TLS, the secret.
//! - `request`: what is sent; `answer`: what comes of what is answered.
//!
//! It follows no redirects and looks at no proxy of the environment: jobs go where the configuration says. That may be this
//! machine or a private address; who writes the configuration may reach those anyway.

mod answer;
mod request;
mod target;

use super::exec::plain;
use crate::clock;
use crate::protocol::{ClaimedJob, Verdict};
use crate::views::PushView;
use answer::Answer;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use hyper_util::client::legacy::Error as ClientError;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use rustix::io::Errno;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use target::{OpenError, Target};

/// How much of an answer is read. If it is longer, its connection is not used again.
const ANSWER_MAX: usize = 64 << 10;
/// How much of it is kept, to find its first line.
const KEPT_MAX: usize = 4 << 10;

/// What came of sending a job.
#[derive(Debug)]
pub(super) enum Sent {
    /// This.
    Settled(Verdict),
    /// It was not sent, for a reason that is not the job's: what this worker lacks.
    NotBegun(String),
}

/// The targets of a pool, each opened once for a configuration.
#[derive(Default)]
pub(super) struct Targets(Mutex<Vec<(PushView, Arc<Target>)>>);

impl Targets {
    /// Forgets what was read for the last configuration, and reads it again. What cannot be read is said when a job needs it.
    pub(super) fn renew<'a>(&self, pushes: impl Iterator<Item = &'a PushView>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for push in pushes {
            let _ = self.open(push);
        }
    }

    /// Where these jobs go.
    ///
    /// # Errors
    /// The secret or the certificates cannot be read; the next call tries again.
    pub(super) fn open(&self, push: &PushView) -> Result<Arc<Target>, OpenError> {
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, target)) = targets.iter().find(|(known, _)| known == push) {
            return Ok(target.clone());
        }
        let target = Arc::new(Target::open(push)?);
        targets.push((push.clone(), target.clone()));
        Ok(target)
    }
}

impl Target {
    /// Sends a job and reads the answer. `begun` is called when there is a connection for it, or
    /// when it is known that the job has had its attempt without one. `now` is in milliseconds since 1970. Of an answer that says
    /// that it is done, so much is its result.
    pub(super) async fn send(
        &self,
        job: &ClaimedJob,
        (now, result_max): (u64, usize),
        begun: impl FnOnce(),
    ) -> Sent {
        let mut request = match request::of(self, job, now / 1_000) {
            Ok(request) => request,
            Err(error) => return fail(error.to_string()),
        };
        let mut connection = capture_connection(&mut request);
        let mut answering = std::pin::pin!(self.client.request(request));
        let mut begun = Some(begun);
        let answered = loop {
            tokio::select! {
                biased;
                answered = &mut answering => break answered,
                () = connected(&mut connection), if begun.is_some() => begun.take().into_iter().for_each(|begun| begun()),
            }
        };
        if let Err(error) = &answered
            && is_shortage(error)
        {
            return Sent::NotBegun(format!(
                "cannot connect to {} now: {}",
                self.authority,
                last_words(error)
            ));
        }
        // Nobody could connect: that is an attempt, too.
        begun.take().into_iter().for_each(|begun| begun());
        match answered {
            Ok(response) => self.read(job, response, result_max).await,
            Err(error) => self.unanswered(&error),
        }
    }

    async fn read(&self, job: &ClaimedJob, response: Response<Incoming>, result_max: usize) -> Sent {
        let (head, mut body) = response.into_parts();
        let is_done = answer::is_done(head.status, &self.on_status);
        let (kept_max, answer_max) = match is_done {
            true => (result_max.max(KEPT_MAX), result_max.max(ANSWER_MAX)),
            false => (KEPT_MAX, ANSWER_MAX),
        };
        let (mut kept, mut length) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let data: Bytes = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => {
                    let (from, why) = (&self.authority, last_words(&error));
                    return fail(format!("the answer of {from} ({}) broke off: {why}", head.status));
                }
            };
            kept.extend(data.iter().take(kept_max - kept.len()));
            length += data.len();
            if length > answer_max {
                break;
            }
        }
        if is_done && length > 0 {
            if length <= result_max {
                return Sent::Settled(Verdict::CompleteWith(kept.into()));
            }
            // What nobody may have meant as a result must not cost the job.
            tracing::warn!(
                "the answer of {} to job {} is longer than limits.result = {result_max}: the job is done without a result",
                self.authority,
                job.lease.id
            );
        }
        let answer = Answer { status: head.status, headers: &head.headers, body: &kept };
        // A date in it is compared with the moment of the answer, which may have taken long.
        Sent::Settled(answer.verdict(&self.on_status, clock::wall().0))
    }

    /// There is no answer, and why.
    fn unanswered(&self, error: &ClientError) -> Sent {
        let (to, why) = (&self.authority, last_words(error));
        match error.is_connect() {
            true => fail(format!("cannot connect to {to}: {why}")),
            false => fail(format!("no answer from {to}: {why}")),
        }
    }
}

/// Returns when there is a connection; never if none comes about, which the answer says.
async fn connected(connection: &mut CaptureConnection) {
    if connection.wait_for_connection_metadata().await.is_none() {
        std::future::pending().await
    }
}

fn fail(error: String) -> Sent {
    Sent::Settled(Verdict::Fail { error, exit: None })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The innermost cause: what those around it say is where it was seen.
fn last_words(error: &(dyn Error + 'static)) -> String {
    let last = causes(error).last().unwrap_or(error);
    last.downcast_ref::<io::Error>().map_or_else(|| last.to_string(), plain)
}

/// Whether this machine has too little of something at this moment.
fn is_shortage(error: &(dyn Error + 'static)) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| {
        matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
        )
    })
}

#[cfg(test)]
mod tests;
