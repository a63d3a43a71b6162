//! Sends spans to a collector of OpenTelemetry, by OTLP over HTTP with JSON (<https://opentelemetry.io/docs/specs/otlp/>, section
//! OTLP/HTTP): from a thread of its own, so that a collector that is slow or gone holds up nobody. What it cannot take meanwhile stays
//! with whoever records, who has a bound. It must not know jobs, nor the loop.
//!
//! - `json`: what a request says. `post`: one request, and what its answer means.

mod json;
mod post;

use crate::spans::Span;
use crate::telemetry::events;
use crate::web_client::{self, TrustError};
use hyper::Uri;
use post::{Collector, Posted};
use rustls::RootCertStore;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

/// So many spans are sent at a time.
const BATCH: usize = 512;
/// How long to wait after a request that the collector did not take: at first, and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long what is left at the end may take to be sent.
const END_TIME: Duration = Duration::from_secs(2);

/// Why nothing can be sent at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// Nobody can be trusted.
    #[error("{0}")]
    Trust(#[from] TrustError),
    /// There is no thread for it, or no runtime.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

/// What has become of spans.
#[derive(Debug, Default)]
struct Fates {
    sent: AtomicU64,
    lost: AtomicU64,
}

/// Sends spans.
#[derive(Debug)]
pub(crate) struct Exporter {
    spans: mpsc::Sender<Vec<Span>>,
    fates: Arc<Fates>,
    /// Says that the end has come.
    end: watch::Sender<bool>,
    /// Rings when all is sent or given up.
    done: oneshot::Receiver<()>,
}

impl Exporter {
    /// Begins to send to this URL. Nothing is sent before there is a span.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub(crate) fn start(url: Uri) -> Result<Exporter, ExportError> {
        let roots = match url.scheme_str() {
            Some("https") => web_client::roots(None)?,
            _ => RootCertStore::empty(),
        };
        // While one batch is being sent, the next ones are collected elsewhere.
        let (spans, taken) = mpsc::channel(1);
        let (end, ended) = watch::channel(false);
        let (is_done, done) = oneshot::channel();
        let fates = Arc::<Fates>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sending =
            Sending { collector: Collector::new(url, roots), fates: fates.clone(), ended, is_failing: false };
        let run = move || {
            runtime.block_on(sending.run(taken));
            // Nobody may be waiting.
            let _ = is_done.send(());
        };
        std::thread::Builder::new().name("otlp".into()).spawn(run)?;
        Ok(Exporter { spans, fates, end, done })
    }

    /// Sends what `take` gives, if it can take more now.
    pub(crate) fn send(&self, take: impl FnOnce() -> Vec<Span>) {
        if let Ok(place) = self.spans.try_reserve() {
            let spans = take();
            if !spans.is_empty() {
                place.send(spans);
            }
        }
    }

    /// How many spans were sent, and how many lost, since the last call.
    pub(crate) fn fates(&self) -> (u64, u64) {
        (self.fates.sent.swap(0, Ordering::Relaxed), self.fates.lost.swap(0, Ordering::Relaxed))
    }

    /// Sends the last ones, if the collector takes them soon.
    pub(crate) async fn finish(self, last: Vec<Span>) {
        let Exporter { spans, end, done, .. } = self;
        let rest = async {
            // Unless the thread has panicked, which has been printed.
            let _ = spans.send(last).await;
            drop(spans);
            let _ = done.await;
        };
        end.send_replace(true);
        let _ = timeout(END_TIME, rest).await;
    }
}

/// The thread's part.
struct Sending {
    collector: Collector,
    fates: Arc<Fates>,
    ended: watch::Receiver<bool>,
    /// Whether the last request was in vain, which has been logged.
    is_failing: bool,
}

impl Sending {
    async fn run(mut self, mut spans: mpsc::Receiver<Vec<Span>>) {
        while let Some(batch) = spans.recv().await {
            for part in batch.chunks(BATCH) {
                self.send(part).await;
            }
        }
    }

    /// Sends some, again and again if the collector takes none for now.
    async fn send(&mut self, part: &[Span]) {
        let (body, count) = (json::request(part), part.len() as u64);
        let mut pause = PAUSE;
        loop {
            match self.collector.post(body.clone()).await {
                Posted::Taken { rejected } => {
                    if std::mem::take(&mut self.is_failing) {
                        events::spans_are_sent_again();
                    }
                    let rejected = rejected.min(count);
                    self.fates.sent.fetch_add(count - rejected, Ordering::Relaxed);
                    self.fates.lost.fetch_add(rejected, Ordering::Relaxed);
                    return;
                }
                Posted::Refused { why } => {
                    self.fails(&why, false);
                    break;
                }
                Posted::Later { why, after } => {
                    self.fails(&why, true);
                    if self.is_over() {
                        break;
                    }
                    tokio::select! {
                        () = sleep(after.unwrap_or(pause).min(PAUSE_MAX)) => {}
                        // Once more, and not again.
                        _ = self.ended.changed() => {}
                    }
                    pause = (2 * pause).min(PAUSE_MAX);
                }
            }
        }
        self.fates.lost.fetch_add(count, Ordering::Relaxed);
    }

    fn fails(&mut self, why: &str, is_tried_again: bool) {
        if !std::mem::replace(&mut self.is_failing, true) {
            events::spans_are_not_sent(self.collector.place(), why, is_tried_again);
        }
    }

    fn is_over(&self) -> bool {
        *self.ended.borrow() || self.ended.has_changed().is_err()
    }
}
