//! Encoding and decoding agree for every kind of frame in every version, and no bytes make decoding panic or take
//! memory that they do not justify.

mod values;
mod vectors;
mod versions;

use super::*;
use crate::protocol::admin::AdminRequest;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use values::*;

const BATCH: usize = 50;

/// The bodies in the rest of a submit.
fn bodies_of(rest: &Bytes) -> Result<Vec<Bytes>, Malformed> {
    let mut bodies = Vec::new();
    let count = find_bodies(rest, |range| bodies.push(rest.slice(range)))?;
    assert_eq!(count, bodies.len() as u64);
    Ok(bodies)
}

/// The one frame that `bytes` are.
fn the_frame(bytes: &[u8]) -> (Header, Bytes) {
    let mut buffer = BytesMut::from(bytes);
    let frame = split_frame(&mut buffer, bytes.len()).unwrap().unwrap();
    assert!(buffer.is_empty());
    frame
}

/// What a worker of version 1 says of an exit.
fn verdict_in_1(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Exited { error, exit: Exit::Status(75) } | Verdict::Later { error, .. } => {
            Verdict::Later { error, wait_ms: None }
        }
        Verdict::Exited { error, exit: exit @ Exit::Status(65) } => {
            Verdict::FailDead { error, exit: Some(exit) }
        }
        Verdict::Exited { error, exit } => Verdict::Fail { error, exit: Some(exit) },
        Verdict::CompleteWith(_) => Verdict::Complete,
        Verdict::Await { timeout_ms: delay_ms, .. } => Verdict::Release { delay_ms },
        verdict => verdict,
    }
}

/// Without what a version has no place for.
fn request_in(version: Version, mut request: Request) -> Request {
    if let (Version::One, Request::SubmitOnce { groups, .. } | Request::CompleteAndSubmit { groups, .. }) =
        (version, &mut request)
    {
        request = Request::Submit(std::mem::take(groups));
    }
    if let (Version::One, Request::Submit(groups) | Request::SubmitAndWait { groups, .. }) =
        (version, &mut request)
    {
        for JobOptions { key, unique, deadline_ms, ties, to_topic, .. } in
            groups.iter_mut().map(|group| &mut group.options)
        {
            (*key, *unique, *deadline_ms, *ties) = (None, None, None, None);
            *to_topic = false;
        }
    }
    if let (Version::One, Request::Progress { lease, .. }) = (version, &request) {
        return Request::Body { id: lease.id };
    }
    if let (
        Version::One,
        Request::TakeUp { .. } | Request::Leave | Request::Changes { .. } | Request::Backup { .. },
    ) = (version, &request)
    {
        return Request::Backup { shard: None };
    }
    if let (Version::One, Request::Output { again_at, .. }) = (version, &mut request) {
        *again_at = None;
    }
    if let (Version::One, Request::Checkpoint { lease, .. }) = (version, &request) {
        return Request::Body { id: lease.id };
    }
    if let (Version::One, Request::Beside { id, .. } | Request::Signal { id, .. }) = (version, &request) {
        return Request::Body { id: *id };
    }
    if let (Version::One, Request::ReplaceBody { id, .. }) = (version, &request) {
        return Request::Body { id: *id };
    }
    if let (Version::One, Request::Settle(items)) = (version, &mut request) {
        items.iter_mut().for_each(|item| item.verdict = verdict_in_1(item.verdict.clone()));
    }
    request
}

fn response_in(version: Version, mut response: Response) -> Response {
    if let (Version::One, Response::Jobs(jobs)) = (version, &mut response) {
        for job in jobs.iter_mut() {
            (job.key, job.deadline_ms, job.checkpoint, job.signal) = (None, None, None, None);
        }
    }
    if let (Version::One, Response::Received(_) | Response::TakenUp { .. } | Response::Changes { .. }) =
        (version, &response)
    {
        return Response::Ok;
    }
    response
}

proptest! {
    #[test]
    fn a_request_reads_as_it_was_written(version in version(), request in request(), number: u32) {
        let (request, mut bytes) = (request_in(version, request), Vec::new());
        version.encode_request(&request, number, &mut bytes);
        let (header, payload) = the_frame(&bytes);
        prop_assert_eq!(header.request, number);
        prop_assert_eq!(version.decode_request(header.kind, payload, BATCH).unwrap(), request);
    }

    /// What a server relies on that has seen the options before.
    #[test]
    fn a_submit_of_one_group_is_its_head_and_its_bodies(
        version in version(),
        request in request().prop_filter("of one group", |it| matches!(it, Request::Submit(groups) if groups.len() == 1))
    ) {
        let Request::Submit(groups) = &request else { unreachable!("filtered") };
        let mut bytes = Vec::new();
        version.encode_request(&request, 1, &mut bytes);
        let (header, payload) = the_frame(&bytes);
        prop_assert_eq!(header.kind, SUBMIT);
        let head = groups[0].head_len(payload.len());
        prop_assert_eq!(bodies_of(&payload.slice(head..)).unwrap(), groups[0].bodies.clone());
        let mut other = Vec::new();
        let bodies = vec![Bytes::from_static(b"other"); 2];
        let again = Request::Submit(vec![SubmitGroup { bodies: bodies.clone(), ..groups[0].clone() }]);
        version.encode_request(&again, 1, &mut other);
        let (_, other) = the_frame(&other);
        prop_assert_eq!(&other[..head], &payload[..head]);
        prop_assert_eq!(bodies_of(&other.slice(head..)).unwrap(), bodies);
        for cut in head..other.len() {
            prop_assert!(bodies_of(&other.slice(head..cut)).is_err());
        }
        prop_assert!(bodies_of(&[&other[head..], b"!"].concat().into()).is_err());
    }

    #[test]
    fn a_response_reads_as_it_was_written(version in version(), response in response(), number: u32) {
        let (response, mut bytes) = (response_in(version, response), Vec::new());
        version.encode_response(&response, number, &mut bytes);
        let (header, payload) = the_frame(&bytes);
        prop_assert_eq!(header.request, number);
        prop_assert_eq!(version.decode_response(header.kind, payload).unwrap(), response);
    }

    #[test]
    fn a_damaged_request_is_answered(
        version in version(),
        request in request(),
        at: prop::sample::Index,
        value: u8,
    ) {
        let mut bytes = Vec::new();
        version.encode_request(&request_in(version, request), 1, &mut bytes);
        let (header, payload) = the_frame(&bytes);
        let mut payload = payload.to_vec();
        let _ = version.decode_request(value, payload.clone().into(), BATCH);
        if !payload.is_empty() {
            let at = at.index(payload.len());
            payload[at] = value;
            let _ = version.decode_request(header.kind, payload.clone().into(), BATCH);
            payload.truncate(at);
            // Only what ends with bytes of any length, or with options, may be whole when it is cut.
            let read = version.decode_request(header.kind, payload.into(), BATCH);
            let is_open = match read {
                Ok(Request::Output { .. } | Request::ReplaceBody { .. } | Request::Checkpoint { .. }) => true,
                Ok(Request::Signal { .. }) => true,
                Ok(Request::Progress { .. }) => true,
                Ok(
                    Request::Claim(_)
                    | Request::Extend { .. }
                    | Request::Logs { .. }
                    | Request::Changes { .. }
                    | Request::Backup { .. },
                ) => version != Version::One,
                _ => false,
            };
            prop_assert!(read.is_err() || is_open);
        }
    }

    #[test]
    fn a_damaged_response_is_answered(
        version in version(),
        response in response(),
        at: prop::sample::Index,
        value: u8,
    ) {
        let mut bytes = Vec::new();
        version.encode_response(&response_in(version, response), 1, &mut bytes);
        let (header, payload) = the_frame(&bytes);
        let mut payload = payload.to_vec();
        if !payload.is_empty() {
            let at = at.index(payload.len());
            payload[at] = value;
        }
        let _ = version.decode_response(header.kind, payload.clone().into());
        let _ = version.decode_response(value, payload.into());
    }

    #[test]
    fn any_bytes_are_answered(
        version in version(),
        kind: u8,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let shared = Bytes::from(bytes.clone());
        let _ = bodies_of(&shared);
        let _ = version.decode_request(kind, shared.clone(), BATCH);
        let _ = version.decode_response(kind, shared);
        let mut buffer = BytesMut::from(&bytes[..]);
        let _ = peek_frame(&buffer, 200);
        while let Ok(Some((header, payload))) = split_frame(&mut buffer, 200) {
            let _ = version.decode_request(header.kind, payload, BATCH);
        }
        prop_assert!(buffer.len() <= bytes.len());
    }

    /// Whatever is cut where, the frames are the same.
    #[test]
    fn frames_come_whole_however_they_are_cut(requests in prop::collection::vec(request(), 1..5), piece in 1usize..50) {
        let mut bytes = Vec::new();
        requests.iter().zip(1..).for_each(|(request, number)| request.encode(number, &mut bytes));
        let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            loop {
                let peeked = peek_frame(&buffer, bytes.len()).map(|(header, payload)| (header, payload.to_vec()));
                let split = split_frame(&mut buffer, bytes.len()).unwrap();
                let same = split.as_ref().map(|(header, payload)| (*header, payload.to_vec()));
                prop_assert_eq!(peeked, same);
                let Some((header, payload)) = split else { break };
                prop_assert_eq!(header.request as usize, read.len() + 1);
                read.push(Request::decode(header.kind, payload, BATCH).unwrap());
            }
            prop_assert!(frame_len(&buffer).is_none_or(|len| len > buffer.len()));
        }
        prop_assert_eq!(read, requests);
    }
}

/// Seven bytes of a submit are a group of some two hundred in memory, and two of JSON a value of thirty.
#[test]
fn what_is_more_than_a_batch_is_refused_before_it_takes_memory() {
    for version in [Version::One, Version::Two] {
        more_than_a_batch_is_refused(version);
    }
}

fn more_than_a_batch_is_refused(version: Version) {
    let payload_of = |request: &Request| {
        let mut bytes = Vec::new();
        version.encode_request(request, 1, &mut bytes);
        the_frame(&bytes)
    };
    let group = SubmitGroup { options: JobOptions::default(), bodies: Vec::new() };
    let lease = LeaseRef { id: 1, attempt: 1 };
    let of = |count| {
        [
            Request::Submit(vec![group.clone(); count]),
            Request::Settle(vec![Settle { lease, verdict: Verdict::Complete }; count]),
            Request::Extend { leases: vec![lease; count], lease_ms: None },
        ]
    };
    for (request, too_long) in of(BATCH).iter().zip(of(BATCH + 1)) {
        let (header, payload) = payload_of(request);
        assert_eq!(version.decode_request(header.kind, payload, BATCH).as_ref(), Ok(request));
        let (header, payload) = payload_of(&too_long);
        let refused = version.decode_request(header.kind, payload, BATCH).unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooLarge);
        assert!(refused.message.contains("limits.batch"), "{refused}");
    }
    let question = Request::Admin(AdminRequest::Wait { ids: vec![1; 3 << 20], timeout_ms: None });
    let (header, payload) = payload_of(&question);
    assert_eq!(version.decode_request(header.kind, payload, BATCH).unwrap_err().code, ErrorCode::TooLarge);
}
