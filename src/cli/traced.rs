//! The trace in which a verb is called, by its environment: jobs that it submits belong to it.

use crate::protocol::{JobOptions, SubmitGroup, TRACEPARENT, TRACESTATE, Trace};
use std::env;

/// What `TRACEPARENT` and `TRACESTATE` say, if anything.
pub(super) struct Here(Option<Trace>);

impl Here {
    pub(super) fn read() -> Here {
        let of = |name: &str| env::var(name.to_ascii_uppercase()).ok();
        Here(Trace::read(of(TRACEPARENT).as_deref(), of(TRACESTATE).as_deref()))
    }

    /// A job of it, unless it is of another.
    pub(super) fn put(&self, mut options: JobOptions) -> JobOptions {
        if let Some(trace) = &self.0 {
            trace.put(&mut options);
        }
        options
    }

    /// The same of many.
    pub(super) fn put_all(&self, groups: Vec<SubmitGroup>) -> Vec<SubmitGroup> {
        let put = |SubmitGroup { options, bodies }| SubmitGroup { options: self.put(options), bodies };
        groups.into_iter().map(put).collect()
    }
}
