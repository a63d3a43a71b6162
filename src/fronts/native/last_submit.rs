//! Most producers ask for the same again and again. What was read and checked of a connection's last submit is
//! remembered with the bytes that said it, and the next one that begins with these is only its bodies. Several of these
//! in a row are decided as one.

use crate::core::{Group, Start};
use crate::protocol::{self as wire, Bodies, decode_bodies, peek_frame, split_frame};
use crate::server::{FREE, Fault, Kind, Limits};
use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::cell::RefCell;

/// Options that take more bytes than these are not remembered: every connection may have some.
const HEAD_MAX: usize = 512;

/// The most jobs, give or take a request, that are decided as one: a part of a connection's quota of a turn.
const REPEATS_MAX: usize = 64;

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

impl LastSubmit {
    /// How long the head of a payload is, if it begins as the last one did.
    fn head_of(&self, payload: &[u8], epoch: u64) -> Option<usize> {
        let last = self.0.borrow();
        let known = last.as_ref().filter(|known| known.epoch == epoch)?;
        payload.starts_with(&known.head).then_some(known.head.len())
    }

    /// What such a payload asks for, and the envelope of its jobs.
    pub(super) fn group(&self) -> Option<(Group, Option<Bytes>)> {
        self.0.borrow().as_ref().map(|known| (known.group.clone(), known.envelope.clone()))
    }

    /// Takes the submits that ask for the same: the one at hand, and those right behind it in `buffer` that are short.
    pub(super) fn repeats(
        &self,
        limits: &Limits,
        (request, payload): (u32, &Bytes),
        buffer: &mut BytesMut,
        epoch: u64,
    ) -> Option<Repeats> {
        let (mut repeats, head) = (Repeats::default(), self.head_of(payload, epoch)?);
        repeats.add(limits, request, payload.slice(head..));
        let short = limits.frame.min(FREE);
        while !repeats.is_over()
            && let Some((header, payload)) = peek_frame(buffer, short)
            && header.kind == wire::SUBMIT
            && self.head_of(payload, epoch).is_some()
            && let Ok(Some((header, payload))) = split_frame(buffer, short)
        {
            repeats.add(limits, header.request, payload.slice(head..));
        }
        Some(repeats)
    }

    pub(super) fn remember(&self, head: &[u8], (group, envelope): (&Group, Option<&Bytes>), epoch: u64) {
        // What a point in time means depends on the wall clock of the moment.
        if head.len() <= HEAD_MAX && !matches!(group.start, Start::At(_)) {
            let head = Bytes::copy_from_slice(head);
            let (group, envelope) = (group.clone(), envelope.cloned());
            self.0.replace(Some(Known { epoch, head, group, envelope }));
        }
    }
}

/// Submits in a row that ask for the same as the last one but for their bodies.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Each with how many bodies it has.
    pub(super) requests: SmallVec<[(u32, u64); 1]>,
    pub(super) bodies: Bodies,
    /// What ended it.
    pub(super) refused: Option<(u32, Fault)>,
}

impl Repeats {
    fn add(&mut self, limits: &Limits, request: u32, rest: Bytes) {
        match again(limits, rest) {
            Ok(bodies) => {
                self.requests.push((request, bodies.len() as u64));
                self.bodies.extend(bodies);
            }
            Err(fault) => self.refused = Some((request, fault)),
        }
    }

    /// Whether it ends here. Requests for nothing count as well.
    fn is_over(&self) -> bool {
        self.refused.is_some() || self.requests.len().max(self.bodies.len()) >= REPEATS_MAX
    }
}

fn again(limits: &Limits, rest: Bytes) -> Result<Bodies, Fault> {
    let bodies =
        decode_bodies(rest).map_err(|malformed| Fault::new(Kind::Malformed, malformed.to_string()))?;
    limits.check_batch(bodies.len())?;
    limits.check_bodies(&bodies)?;
    Ok(bodies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Spec, Time};
    use crate::protocol::{Request, SubmitGroup};
    use crate::server::requests::queue_name;

    fn group(queue: &str) -> Group {
        let spec = Spec::plain(queue_name(queue).unwrap()).into();
        Group { spec, count: 1, start: Start::Now, ttl: None }
    }

    #[test]
    fn what_begins_as_the_last_one_did_is_known_until_the_configuration_changes() {
        let last = LastSubmit::default();
        assert_eq!(last.head_of(b"mails:body", 1), None, "nothing was submitted yet");
        last.remember(b"mails:", (&group("mails"), None), 1);
        assert_eq!((last.head_of(b"mails:body", 1), last.group()), (Some(6), Some((group("mails"), None))));
        assert_eq!(last.head_of(b"mail", 1), None, "it ends too early");
        assert_eq!(last.head_of(b"other:body", 1), None);
        assert_eq!(last.head_of(b"mails:body", 2), None, "what was allowed may not be any more");
        last.remember(&[b'x'; HEAD_MAX + 1], (&group("long"), None), 1);
        assert!(last.head_of(b"mails:body", 1).is_some(), "long options are not kept");
        last.remember(b"at:", (&Group { start: Start::At(Time(9)), ..group("q") }, None), 1);
        assert_eq!(last.head_of(b"at:body", 1), None, "the clock may be set between two submits");
    }

    /// How many requests a run takes of a hundred with so many bodies each.
    fn repeats_of(bodies: usize, frame: usize) -> usize {
        let options = wire::JobOptions { queue: "mails".into(), ..wire::JobOptions::default() };
        let submit = Request::Submit(vec![SubmitGroup { options, bodies: vec![Bytes::new(); bodies] }]);
        let mut sent = Vec::new();
        (1..=100).for_each(|number| submit.encode(number, &mut sent));
        let mut buffer = BytesMut::from(&sent[..]);
        let (header, payload) = split_frame(&mut buffer, 1 << 20).unwrap().unwrap();
        let last = LastSubmit::default();
        last.remember(&payload[..payload.len() - 4 - 4 * bodies], (&group("mails"), None), 1);
        let (output, buffers, bounds) = (0, 0, Default::default());
        let limits = Limits { connections: 1, frame, body: 9, batch: 999, output, buffers, bounds };
        let repeats = last.repeats(&limits, (header.request, &payload), &mut buffer, 1).unwrap();
        assert_eq!(repeats.bodies.len(), repeats.requests.len() * bodies);
        repeats.requests.len()
    }

    #[test]
    fn a_run_is_short_whatever_is_in_it() {
        assert_eq!((repeats_of(1, 1 << 20), repeats_of(10, 1 << 20), repeats_of(99, 1 << 20)), (64, 7, 1));
        assert_eq!(repeats_of(0, 1 << 20), 64, "requests for nothing cost something too");
        assert_eq!(repeats_of(1, 10), 1, "one that is longer than is allowed is not taken by the way");
    }
}
