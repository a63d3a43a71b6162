//! A fast path for submits. Most producers send the same options again and again, so the options of a connection's last
//! submit are kept, decoded and checked, together with their bytes: of a submit that begins with the same bytes, only
//! the bodies are read. Several of these in a row are decided as one: they are found in the read buffer, and taken from
//! it at once.
//!
//! Both pay: with a thousand submits under way on one connection, the rate is 0.6 of this without the second, and 0.3
//! without either.

use crate::core::{Group, Start};
use crate::protocol::{self as wire, Bodies, HEADER, find_bodies, peek_frame};
use crate::server::{FREE, Fault, Kind, Limits};
use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::ops::Range;

/// Options that take more bytes than these are not remembered: every connection may have some.
const HEAD_MAX: usize = 512;

/// The most jobs, give or take a request, that are decided as one: a part of a connection's quota of a turn.
const ALIKE_MAX: usize = 64;

/// What the last submit of a connection asked for, if it had a single group.
#[derive(Debug, Default)]
pub(super) struct LastSubmit(RefCell<Option<Known>>);

#[derive(Debug)]
struct Known {
    /// Under which configuration it was allowed.
    epoch: u64,
    /// Its payload up to the bodies.
    head: Bytes,
    group: Group,
    /// That of the group's jobs, if they have one.
    envelope: Option<Bytes>,
}

/// Submits in a row that ask for the same as the last one but for their bodies.
#[derive(Debug)]
pub(super) struct Alike {
    pub(super) group: Group,
    pub(super) envelope: Option<Bytes>,
    /// Each with how many bodies it has.
    pub(super) requests: SmallVec<[(u32, u64); 1]>,
    pub(super) bodies: Bodies,
    /// What ended it.
    pub(super) refused: Option<(u32, Fault)>,
}

impl LastSubmit {
    /// Takes the submits that ask for the same, if the one at hand does: that one, and those right behind it in
    /// `buffer` that are short.
    pub(super) fn take_alike(
        &self,
        limits: &Limits,
        (request, payload): (u32, &Bytes),
        buffer: &mut BytesMut,
        epoch: u64,
    ) -> Option<Alike> {
        let last = self.0.borrow();
        let known = last.as_ref().filter(|it| it.epoch == epoch && payload.starts_with(&it.head))?;
        let (head, mut found) = (&known.head, Found::default());
        found.look(limits, request, payload, head.len()..payload.len());
        let mut bodies: Bodies = found.places.drain(..).map(|place| payload.slice(place)).collect();
        let (short, mut seen) = (limits.frame.min(FREE), 0);
        while !found.is_over(bodies.len())
            && let Some((header, payload)) = peek_frame(&buffer[seen..], short)
            && header.kind == wire::SUBMIT
            && payload.starts_with(head)
        {
            let (begin, end) = (seen + HEADER + head.len(), seen + HEADER + payload.len());
            found.look(limits, header.request, buffer, begin..end);
            seen = end;
        }
        if seen > 0 {
            let taken = buffer.split_to(seen).freeze();
            bodies.extend(found.places.into_iter().map(|place| taken.slice(place)));
        }
        let (requests, refused) = (found.requests, found.refused);
        Some(Alike {
            group: known.group.clone(),
            envelope: known.envelope.clone(),
            requests,
            bodies,
            refused,
        })
    }

    pub(super) fn remember(&self, head: &[u8], (group, envelope): (&Group, Option<&Bytes>), epoch: u64) {
        // What a point in time means depends on the wall clock of the moment, and what jobs may wait for on what is there; and
        // who submits with a unique key has another one each time.
        let differs =
            matches!(group.start, Start::At(_)) || group.spec.unique.is_some() || group.ties.is_some();
        if head.len() <= HEAD_MAX && !differs {
            let head = Bytes::copy_from_slice(head);
            let (group, envelope) = (group.clone(), envelope.cloned());
            self.0.replace(Some(Known { epoch, head, group, envelope }));
        }
    }
}

/// What has been found of them so far.
#[derive(Default)]
struct Found {
    requests: SmallVec<[(u32, u64); 1]>,
    /// Where the bodies lie.
    places: SmallVec<[Range<usize>; 1]>,
    refused: Option<(u32, Fault)>,
}

impl Found {
    /// Looks at one request, whose bodies are `rest` of `all`.
    fn look(&mut self, limits: &Limits, request: u32, all: &[u8], rest: Range<usize>) {
        let (before, mut longest) = (self.places.len(), 0);
        let count = find_bodies(&all[rest.clone()], |place| {
            longest = longest.max(place.len());
            self.places.push(rest.start + place.start..rest.start + place.end);
        });
        let checked = count.map_err(|malformed| Fault::new(Kind::Malformed, malformed.to_string()));
        let checked = checked.and_then(|count| {
            limits.check_batch(count as usize)?;
            limits.check_body(longest)?;
            Ok(count)
        });
        match checked {
            Ok(count) => self.requests.push((request, count)),
            Err(fault) => {
                self.places.truncate(before);
                self.refused = Some((request, fault));
            }
        }
    }

    /// Whether it ends here; besides the places, there are so many bodies. Requests for nothing count as well.
    fn is_over(&self, bodies: usize) -> bool {
        self.refused.is_some() || self.requests.len().max(bodies + self.places.len()) >= ALIKE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Spec, Time};
    use crate::protocol::{Request, SubmitGroup, split_frame};
    use crate::server::requests::queue_name;

    fn group(queue: &str) -> Group {
        let spec = Spec::plain(queue_name(queue).unwrap());
        Group::new(spec, 1)
    }

    #[test]
    fn what_begins_as_the_last_one_did_is_known_until_the_configuration_changes() {
        let last = LastSubmit::default();
        let limits = limits(1 << 20);
        // What such a payload with one empty body asks for.
        let known = |head: &[u8], epoch| {
            let payload = [head, &[1, 0, 0, 0, 0, 0, 0, 0]].concat().into();
            let alike = last.take_alike(&limits, (1, &payload), &mut BytesMut::new(), epoch)?;
            assert_eq!((&alike.requests[..], &alike.bodies[..]), (&[(1, 1)][..], &[Bytes::new()][..]));
            Some(alike.group)
        };
        assert_eq!(known(b"mails:", 1), None, "nothing was submitted yet");
        last.remember(b"mails:", (&group("mails"), None), 1);
        assert_eq!(known(b"mails:", 1), Some(group("mails")));
        assert_eq!(known(b"other:", 1), None);
        assert_eq!(known(b"mails:", 2), None, "what was allowed may not be any more");
        let short = Bytes::from_static(b"mail");
        assert!(
            last.take_alike(&limits, (1, &short), &mut BytesMut::new(), 1).is_none(),
            "it ends too early"
        );
        last.remember(&[b'x'; HEAD_MAX + 1], (&group("long"), None), 1);
        assert!(known(b"mails:", 1).is_some(), "long options are not kept");
        last.remember(b"at:", (&Group { start: Start::At(Time(9)), ..group("q") }, None), 1);
        assert_eq!(known(b"at:", 1), None, "the clock may be set between two submits");
    }

    fn limits(frame: usize) -> Limits {
        let (output, buffers, bounds) = (0, 0, Default::default());
        Limits {
            connections: 1,
            frame,
            body: 9,
            checkpoint: 9,
            signal: 9,
            result: 9,
            batch: 999,
            output,
            buffers,
            bounds,
        }
    }

    /// How many requests a run takes of a hundred with so many bodies each.
    fn alike_of(bodies: usize, frame: usize) -> usize {
        let options = wire::JobOptions { queue: "mails".into(), ..wire::JobOptions::default() };
        let submit = Request::Submit(vec![SubmitGroup { options, bodies: vec![Bytes::new(); bodies] }]);
        let mut sent = Vec::new();
        (1..=100).for_each(|number| submit.encode(number, &mut sent));
        let mut buffer = BytesMut::from(&sent[..]);
        let (header, payload) = split_frame(&mut buffer, 1 << 20).unwrap().unwrap();
        let last = LastSubmit::default();
        last.remember(&payload[..payload.len() - 4 - 4 * bodies], (&group("mails"), None), 1);
        let before = buffer.len();
        let alike = last.take_alike(&limits(frame), (header.request, &payload), &mut buffer, 1).unwrap();
        assert_eq!(alike.bodies.len(), alike.requests.len() * bodies);
        assert_eq!(before - buffer.len(), (alike.requests.len() - 1) * (HEADER + payload.len()));
        assert!(alike.requests.iter().map(|(request, _)| *request).eq(1..=alike.requests.len() as u32));
        alike.requests.len()
    }

    #[test]
    fn a_run_is_short_whatever_is_in_it() {
        assert_eq!((alike_of(1, 1 << 20), alike_of(10, 1 << 20), alike_of(99, 1 << 20)), (64, 7, 1));
        assert_eq!(alike_of(0, 1 << 20), 64, "requests for nothing cost something too");
        assert_eq!(alike_of(1, 10), 1, "one that is longer than is allowed is not taken by the way");
    }
}
