//! Spans: from the engine, where they are recorded, to the thread that sends them.

use crate::config::Config;
use crate::otlp::Exporter;
use crate::server::Hub;
use crate::spans::Span;
use crate::store::Store;
use crate::telemetry::events;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

/// How often they are fetched.
const EVERY: Duration = Duration::from_secs(1);

/// What sends them, if the configuration wants that.
pub(super) struct Traces(Option<Exporter>);

impl Traces {
    /// From now on they are recorded, if they are wanted. A collector that cannot be spoken to is no reason not to run jobs.
    pub(super) fn start<S: Store + 'static>(hub: &Hub<S>, config: &Config) -> Traces {
        let Some(url) = config.spans_url() else { return Traces(None) };
        match Exporter::start(url) {
            Ok(exporter) => {
                // The keys of the hasher are random, and nothing else is needed.
                hub.engine.borrow_mut().record_spans(RandomState::new().hash_one(()));
                Traces(Some(exporter))
            }
            Err(error) => {
                events::no_spans(&error);
                Traces(None)
            }
        }
    }

    /// Sends them now and then. It does not end.
    pub(super) async fn keep<S: Store + 'static>(&self, hub: Rc<Hub<S>>) {
        let Traces(Some(exporter)) = self else { return std::future::pending().await };
        loop {
            tokio::time::sleep(EVERY).await;
            let (sent, lost) = exporter.fates();
            hub.engine.borrow_mut().note_spans(sent, lost);
            exporter.send(|| take(&hub));
        }
    }

    /// Sends the last ones.
    pub(super) async fn finish<S: Store + 'static>(self, hub: &Hub<S>) {
        if let Traces(Some(exporter)) = self {
            exporter.finish(take(hub)).await;
        }
    }
}

/// What is finished, in the time that the wall clock shows.
fn take<S: Store + 'static>(hub: &Hub<S>) -> Vec<Span> {
    let mut spans = hub.engine.borrow_mut().take_spans();
    let ahead_ms = hub.clock.ahead_ms();
    for span in &mut spans {
        for time in [&mut span.begun, &mut span.ended] {
            *time = time.saturating_add_signed(-ahead_ms * 1_000);
        }
    }
    spans
}
