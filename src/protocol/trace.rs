//! Which trace a job belongs to (W3C Trace Context, <https://www.w3.org/TR/trace-context/>): two of its tags, which its worker finds
//! under the names that tracing libraries look for. Nothing here records a trace.

use super::submit::{JobOptions, SubmitGroup};
use super::wire::{TAG_BYTES_MAX, TAGS_MAX};
use crate::traceparent::{self, Traceparent};

/// The tag of the span that has submitted the job.
pub const TRACEPARENT: &str = traceparent::NAME;
/// The tag of what the tracing systems on the way have to say.
pub const TRACESTATE: &str = "tracestate";

/// A place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    parent: String,
    state: Option<String>,
}

impl Trace {
    /// Reads what a request or an environment says. What is not well-formed is none, as the specification asks: a trace is no reason
    /// to refuse a job.
    ///
    /// ```
    /// use musher::protocol::Trace;
    /// assert!(Trace::read(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None).is_some());
    /// assert!(Trace::read(Some("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None).is_none());
    /// ```
    pub fn read(parent: Option<&str>, state: Option<&str>) -> Option<Trace> {
        let parent = parent.map(str::trim).filter(|parent| Traceparent::read(parent).is_some())?;
        let state = state.map(str::trim).filter(|state| !state.is_empty());
        Some(Trace { parent: parent.to_owned(), state: state.map(str::to_owned) })
    }

    /// Writes it on a job that says nothing of a trace itself and has room for it.
    pub fn put(&self, options: &mut JobOptions) {
        let tags = &mut options.tags;
        if tags.iter().any(|(name, _)| is_of_trace(name)) {
            return;
        }
        put_if_it_fits(tags, TRACEPARENT, &self.parent);
        // Without the first, the second says nothing.
        if let Some(state) = self.state.as_ref().filter(|_| tags.iter().any(|(name, _)| name == TRACEPARENT))
        {
            put_if_it_fits(tags, TRACESTATE, state);
        }
    }
}

fn put_if_it_fits(tags: &mut Vec<(String, String)>, name: &str, value: &str) {
    let bytes: usize = tags.iter().map(|(name, value)| name.len() + value.len()).sum();
    if tags.len() < usize::from(TAGS_MAX) && bytes + name.len() + value.len() <= TAG_BYTES_MAX {
        tags.push((name.to_owned(), value.to_owned()));
    }
}

/// Whether a tag says which trace a job belongs to.
pub(crate) fn is_of_trace(name: &str) -> bool {
    name == TRACEPARENT || name == TRACESTATE
}

/// The same jobs without what says which trace they belong to, if anything does: who repeats a request does so in a span of its own.
pub(crate) fn without_trace(groups: &[SubmitGroup]) -> Option<Vec<SubmitGroup>> {
    let of_trace = |(name, _): &(String, String)| is_of_trace(name);
    if !groups.iter().any(|group| group.options.tags.iter().any(of_trace)) {
        return None;
    }
    let mut groups = groups.to_vec();
    groups.iter_mut().for_each(|group| group.options.tags.retain(|tag| !of_trace(tag)));
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn spaces_around_it_are_none_of_it_and_what_is_not_well_formed_is_none() {
        assert_eq!(Trace::read(Some(&format!(" {GOOD} ")), Some(" ")), Trace::read(Some(GOOD), None));
        assert!(Trace::read(Some(GOOD), None).is_some());
        for bad in [None, Some(""), Some("00"), Some(&GOOD[1..])] {
            assert_eq!(Trace::read(bad, Some("a=b")), None, "{bad:?}");
        }
    }

    #[test]
    fn it_is_written_where_there_is_room_and_nothing_of_the_kind() {
        let trace = Trace::read(Some(GOOD), Some("a=b")).unwrap();
        let put = |tags: Vec<(String, String)>| {
            let mut options = JobOptions { tags, ..JobOptions::default() };
            trace.put(&mut options);
            options.tags
        };
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(put(vec![]), [tag(TRACEPARENT, GOOD), tag(TRACESTATE, "a=b")]);
        let own = vec![tag(TRACEPARENT, "mine")];
        assert_eq!(put(own.clone()), own);
        let long = vec![tag("a", &"x".repeat(TAG_BYTES_MAX - 1))];
        assert_eq!(put(long.clone()), long);
        let many = vec![tag("a", ""); usize::from(TAGS_MAX) - 1];
        assert_eq!(put(many).len(), usize::from(TAGS_MAX));
    }

    #[test]
    fn a_repeated_request_is_the_same_in_another_span() {
        let group =
            |tags| SubmitGroup { options: JobOptions { tags, ..JobOptions::default() }, bodies: vec![] };
        let plain = vec![group(vec![("a".into(), "b".into())])];
        assert_eq!(without_trace(&plain), None);
        let mut traced = plain.clone();
        Trace::read(Some(GOOD), Some("x")).unwrap().put(&mut traced[0].options);
        assert_eq!(without_trace(&traced), Some(plain));
    }
}
