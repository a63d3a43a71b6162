//! Encoding and decoding agree for every kind of frame in every version, and no bytes make decoding panic or take
//! memory that they do not justify.

mod versions;

use super::*;
use crate::protocol::admin::{AdminRequest, ListQuery};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

const BATCH: usize = 50;

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn tags() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((text(), text()), 0..4)
}

fn lease() -> impl Strategy<Value = LeaseRef> {
    any::<(u64, u32)>().prop_map(|(id, attempt)| LeaseRef { id, attempt })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let what = prop_oneof![Just(Received::New), Just(Received::Existing), Just(Received::Changed)];
    (any::<u64>(), what).prop_map(|(id, what)| Receipt { id, what })
}

fn unique() -> impl Strategy<Value = Unique> {
    let held = prop_oneof![Just(Held::Waiting), Just(Held::Unfinished), any::<u64>().prop_map(Held::For)];
    let on_conflict = prop_oneof![
        Just(OnConflict::Existing),
        Just(OnConflict::Raise),
        Just(OnConflict::Replace),
        any::<Option<u64>>().prop_map(|max_ms| OnConflict::Debounce { max_ms }),
        Just(OnConflict::Reject),
    ];
    (text(), held, on_conflict).prop_map(|(key, held, on_conflict)| Unique { key, held, on_conflict })
}

fn options() -> impl Strategy<Value = JobOptions> {
    let start =
        prop_oneof![Just(Start::Now), any::<u64>().prop_map(Start::After), any::<u64>().prop_map(Start::At)];
    let backoff = (0u8..3, any::<u64>(), any::<u64>(), any::<u16>()).prop_map(
        |(growth, base_ms, max_ms, jitter_permille)| WireBackoff { growth, base_ms, max_ms, jitter_permille },
    );
    let numbers = any::<(Option<u32>, [Option<u64>; 2], Option<u32>, Option<u64>)>();
    let keys = (prop::option::of(text()), prop::option::of(unique()));
    (text(), start, prop::option::of(backoff), numbers, tags(), keys).prop_map(
        |(
            queue,
            start,
            backoff,
            (priority, [ttl_ms, deadline_ms], attempts, timeout_ms),
            tags,
            (key, unique),
        )| JobOptions {
            queue,
            priority,
            start,
            ttl_ms,
            deadline_ms,
            attempts,
            backoff,
            timeout_ms,
            tags,
            key,
            unique,
        },
    )
}

fn an_exit() -> impl Strategy<Value = Exit> {
    let usual = prop_oneof![Just(Exit::Status(65)), Just(Exit::Status(75))];
    prop_oneof![usual, any::<u8>().prop_map(Exit::Status), any::<u8>().prop_map(Exit::Signal)]
}

fn exit() -> impl Strategy<Value = Option<Exit>> {
    prop::option::of(an_exit())
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Complete),
        (text(), exit()).prop_map(|(error, exit)| Verdict::Fail { error, exit }),
        (text(), exit(), any::<u64>()).prop_map(|(error, exit, wait_ms)| Verdict::FailRetryAfter {
            error,
            exit,
            wait_ms
        }),
        (text(), exit()).prop_map(|(error, exit)| Verdict::FailDead { error, exit }),
        text().prop_map(|error| Verdict::Later { error }),
        (text(), an_exit()).prop_map(|(error, exit)| Verdict::Exited { error, exit }),
        any::<u64>().prop_map(|delay_ms| Verdict::Release { delay_ms }),
    ]
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::One), Just(Version::Two)]
}

fn versions() -> impl Strategy<Value = Versions> {
    (1u8.., any::<u8>()).prop_map(|(one, other)| {
        Versions::new(one.min(other).max(1), one.max(other))
            .expect("the lower one is not above the higher one")
    })
}

fn request() -> impl Strategy<Value = Request> {
    let group = || {
        (options(), prop::collection::vec(bytes(), 0..4))
            .prop_map(|(options, bodies)| SubmitGroup { options, bodies })
    };
    let to_wait = (prop::collection::vec(group(), 0..4), prop::option::of(0..u64::MAX))
        .prop_map(|(groups, timeout_ms)| Request::SubmitAndWait { groups, timeout_ms });
    let once = (prop::collection::vec(group(), 0..4), text())
        .prop_map(|(groups, key)| Request::SubmitOnce { groups, key });
    let positive = || prop::option::of(1u64..);
    let claim = (prop::collection::vec(text(), 0..4), any::<u32>(), positive(), any::<(u64, bool)>());
    let claim = claim.prop_map(|(queues, max, lease_ms, (wait_ms, bound))| {
        Request::Claim(Claim { queues, max, lease_ms, wait_ms, bound })
    });
    let settle = (lease(), verdict()).prop_map(|(lease, verdict)| Settle { lease, verdict });
    let admin = prop_oneof![
        Just(AdminRequest::Status {}),
        prop::collection::vec(any::<u64>(), 0..9)
            .prop_map(|ids| AdminRequest::Wait { ids, timeout_ms: Some(5) }),
        (text(), tags()).prop_map(|(queue, tags)| AdminRequest::List(ListQuery {
            queue: Some(queue),
            tags,
            after: 3,
            before: Some(9),
            newest: true,
            limit: 7,
            ..ListQuery::default()
        })),
    ];
    prop_oneof![
        (versions(), text()).prop_map(|(versions, name)| Request::Hello { versions, name }),
        prop::collection::vec(group(), 0..4).prop_map(Request::Submit),
        to_wait,
        once,
        claim,
        prop::collection::vec(settle, 0..4).prop_map(Request::Settle),
        (prop::collection::vec(lease(), 0..4), positive())
            .prop_map(|(leases, lease_ms)| Request::Extend { leases, lease_ms }),
        (lease(), 1u8..3, bytes()).prop_map(|(lease, stream, data)| Request::Output { lease, stream, data }),
        any::<u32>().prop_map(|request| Request::Unwait { request }),
        admin.prop_map(Request::Admin),
        any::<u64>().prop_map(|id| Request::Body { id }),
        (any::<u64>(), bytes()).prop_map(|(id, body)| Request::ReplaceBody { id, body }),
        any::<(u64, bool)>().prop_map(|(id, follow)| Request::Logs { id, follow }),
        Just(Request::Backup),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    let job = (
        lease(),
        any::<[u64; 3]>(),
        any::<[u32; 3]>(),
        text(),
        tags(),
        (prop::option::of(text()), any::<Option<u64>>(), bytes()),
    )
        .prop_map(
            |(
                lease,
                [timeout_ms, lease_ms, until_ms],
                [attempts, priority, owner],
                queue,
                tags,
                (key, deadline_ms, body),
            )| {
                ClaimedJob {
                    lease,
                    attempts,
                    timeout_ms,
                    lease_ms,
                    until_ms,
                    queue: queue.into(),
                    priority,
                    owner,
                    tags,
                    key,
                    deadline_ms,
                    body,
                }
            },
        );
    let fault = prop_oneof![
        any::<u64>().prop_map(|id| LeaseFault::NotFound { id }),
        (lease(), any::<u32>(), 0u8..7).prop_map(|(lease, current, state)| LeaseFault::Lost {
            lease,
            current,
            state
        }),
    ];
    let settled = prop_oneof![Just(Ok(())), fault.clone().prop_map(Err)];
    let extended = prop_oneof![any::<u64>().prop_map(Ok), fault.prop_map(Err)];
    let notice = prop_oneof![
        lease().prop_map(|lease| Notice::Revoked { lease, why: Revocation::Expired }),
        any::<u64>().prop_map(|grace_ms| Notice::Stopping { grace_ms }),
        Just(Notice::Reconfigured),
    ];
    let welcome = (any::<u16>(), any::<[u32; 3]>(), text()).prop_map(
        |(version, [frame_max, body_max, batch_max], name)| Response::Welcome {
            version,
            frame_max,
            body_max,
            batch_max,
            name,
        },
    );
    prop_oneof![
        any::<(u64, u64)>().prop_map(|(first, count)| Response::Submitted { first, count }),
        prop::collection::vec(receipt(), 0..5).prop_map(Response::Received),
        prop::collection::vec(job, 0..4).prop_map(Response::Jobs),
        prop::collection::vec(settled, 0..4).prop_map(Response::Settled),
        prop::collection::vec(extended, 0..4).prop_map(Response::Extended),
        notice.prop_map(Response::Notice),
        welcome,
        Just(Response::Ok),
        bytes().prop_map(Response::Body),
        bytes().prop_map(Response::Piece),
        (any::<u32>(), 1u8..3, bytes()).prop_map(|(attempt, stream, data)| Response::Output {
            attempt,
            stream,
            data
        }),
        text().prop_map(|message| Response::Error(Fault { code: ErrorCode::Busy, message })),
    ]
}

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
        Verdict::Exited { error, exit: Exit::Status(75) } => Verdict::Later { error },
        Verdict::Exited { error, exit: exit @ Exit::Status(65) } => {
            Verdict::FailDead { error, exit: Some(exit) }
        }
        Verdict::Exited { error, exit } => Verdict::Fail { error, exit: Some(exit) },
        verdict => verdict,
    }
}

/// Without what a version has no place for.
fn request_in(version: Version, mut request: Request) -> Request {
    if let (Version::One, Request::SubmitOnce { groups, .. }) = (version, &mut request) {
        request = Request::Submit(std::mem::take(groups));
    }
    if let (Version::One, Request::Submit(groups) | Request::SubmitAndWait { groups, .. }) =
        (version, &mut request)
    {
        for JobOptions { key, unique, deadline_ms, .. } in groups.iter_mut().map(|group| &mut group.options) {
            (*key, *unique, *deadline_ms) = (None, None, None);
        }
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
        jobs.iter_mut().for_each(|job| (job.key, job.deadline_ms) = (None, None));
    }
    if let (Version::One, Response::Received(_)) = (version, &response) {
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
                Ok(Request::Output { .. } | Request::ReplaceBody { .. }) => true,
                Ok(Request::Claim(_) | Request::Extend { .. } | Request::Logs { .. }) => version != Version::One,
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
