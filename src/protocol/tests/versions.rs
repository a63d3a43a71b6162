//! What the versions have in common, what version 1 is for ever, and what version 2 lets either side add.

use super::{BATCH, the_frame};
use crate::protocol::admin::AdminRequest;
use crate::protocol::*;
use bytes::Bytes;

const LEASE: LeaseRef = LeaseRef { id: 5, attempt: 6 };

fn request(version: Version, request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    version.encode_request(request, 1, &mut bytes);
    the_frame(&bytes).1.to_vec()
}

fn response(version: Version, response: &Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    version.encode_response(response, 1, &mut bytes);
    the_frame(&bytes).1.to_vec()
}

fn submit(options: JobOptions) -> Request {
    Request::Submit(vec![SubmitGroup { options, bodies: vec!["hi".into()] }])
}

fn plain() -> JobOptions {
    JobOptions { queue: "q".into(), ..JobOptions::default() }
}

fn decode(kind: u8, payload: Vec<u8>) -> Result<Request, Fault> {
    Request::decode(kind, payload.into(), BATCH)
}

#[test]
fn of_two_ranges_the_highest_common_version_is_taken() {
    let versions = |lowest, highest| Versions::new(lowest, highest).unwrap();
    for (ours, theirs, common) in [
        (versions(1, 2), versions(1, 1), Some(1)),
        (versions(1, 2), versions(1, 2), Some(2)),
        (versions(1, 2), versions(2, 9), Some(2)),
        (versions(2, 3), versions(1, 9), Some(3)),
        (versions(1, 2), versions(3, 9), None),
        (versions(3, 3), versions(1, 2), None),
    ] {
        assert_eq!((ours.highest_common(theirs), theirs.highest_common(ours)), (common, common));
    }
    assert!(versions(1, 2).are_older_than(versions(3, 4)) && !versions(1, 2).are_older_than(versions(2, 4)));
    assert_eq!(
        (versions(1, 2).to_string(), versions(3, 3).to_string()),
        ("versions 1 to 2".into(), "version 3".into())
    );
    assert_eq!((Versions::new(0, 2), Versions::new(3, 2)), (None, None));
    // What this program says that it speaks, it does.
    let all = (0..=u16::from(u8::MAX)).filter(|version| Version::of(*version).is_some());
    assert!(all.eq((0..=u16::from(u8::MAX)).filter(|version| Versions::OWN.have(*version))));
    assert!(Versions::OWN.have(Version::NEWEST.number()));
}

/// Version 1 said `01 00`, and took what it did not know for a version that it does not speak.
#[test]
fn a_greeting_has_the_form_of_version_1_with_a_range_in_the_place_of_the_version() {
    let hello = |versions| Request::Hello { versions, name: "x".into() };
    for (versions, bytes) in [
        (Versions::only(1), b"MUSH\x01\x00\x01\x00x"),
        (Versions::new(1, 2).unwrap(), b"MUSH\x02\x01\x01\x00x"),
        (Versions::only(2), b"MUSH\x02\x00\x01\x00x"),
    ] {
        for version in [Version::One, Version::Two] {
            assert_eq!(request(version, &hello(versions)), bytes);
        }
    }
    let decode = |bytes: &[u8]| decode(0x01, bytes.to_vec());
    assert_eq!(
        decode(b"MUSH\x02\x02\x00\x00"),
        Ok(Request::Hello { versions: Versions::only(2), name: "".into() })
    );
    for wrong in
        [&b"MUSH\x00\x00\x00\x00"[..], b"MUSH\x01\x02\x00\x00", b"MUSH\x00\x01\x00\x00", b"MUSH\x02", b"mush"]
    {
        assert_eq!(decode(wrong).unwrap_err().code, ErrorCode::Malformed, "{wrong:?}");
    }
    // A later client may say more of itself.
    assert!(decode(b"MUSH\x09\x01\x00\x00\x05\x01x\x00").is_ok());
    assert_eq!(decode(b"MUSH\x09\x01\x00\x00\x85\x01x\x00").unwrap_err().code, ErrorCode::Unsupported);
    assert!(decode(b"MUSH\x09\x01\x00\x00\x05\x01x\x00!").is_err());
}

/// These bytes are on other machines, too.
#[test]
fn version_1_is_what_it_was() {
    let version = Version::One;
    let says = |what: Response, bytes: &[u8]| assert_eq!(response(version, &what), bytes, "{what:?}");
    says(
        Response::Welcome { version: 1, frame_max: 2, body_max: 3, batch_max: 4, name: "x".into() },
        b"\x01\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x01\0x",
    );
    says(Response::Submitted { first: 7, count: 8 }, &[7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    says(Response::Ok, b"");
    says(Response::Body("body".into()), b"body");
    says(Response::Piece("piece".into()), b"piece");
    says(Response::Json("{}".into()), b"{}");
    says(Response::Output { attempt: 1, stream: 2, data: "out".into() }, b"\x01\0\0\0\x02out");
    says(Response::Error(Fault { code: ErrorCode::Busy, message: "no".into() }), b"\x17\0\x02\0no");
    let revoked = Notice::Revoked { lease: LEASE, why: Revocation::Cancelled };
    says(Response::Notice(revoked), b"\x05\0\0\0\0\0\0\0\x06\0\0\0\x02");
    says(Response::Notice(Notice::Stopping { grace_ms: 9 }), b"\x09\0\0\0\0\0\0\0");
    says(Response::Notice(Notice::Reconfigured), b"");
    let lost = LeaseFault::Lost { lease: LEASE, current: 7, state: 2 };
    let results = b"\x03\0\0\0\0\x01\x08\0\0\0\0\0\0\0\x02\x05\0\0\0\0\0\0\0\x06\0\0\0\x07\0\0\0\x02";
    says(Response::Settled(vec![Ok(()), Err(LeaseFault::NotFound { id: 8 }), Err(lost)]), results);
    says(Response::Extended(vec![Ok(3)]), b"\x01\0\0\0\0\x03\0\0\0\0\0\0\0");
    for (kind, payload) in
        [(0x81, &b"\x01\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\0\0\0"[..]), (0x94, &[0]), (0x90, &[0; 17])]
    {
        let longer = version.decode_response(kind, Bytes::from_static(payload));
        assert!(longer.is_err(), "{kind:#04x}: its clients took no bytes behind the end");
    }
    let unknown = version.decode_request(0x42, Bytes::new(), BATCH).unwrap_err();
    assert_eq!(unknown.code, ErrorCode::Malformed);
}

#[test]
fn what_is_usual_is_as_short_as_in_version_1() {
    let complete = Request::Settle(vec![Settle { lease: LEASE, verdict: Verdict::Complete }]);
    let waits =
        Claim { queues: vec!["q".into()], max: 1, wait_ms: u64::MAX, bound: true, ..Claim::default() };
    for asked in [submit(plain()), Request::Claim(waits), complete] {
        assert!(request(Version::Two, &asked).len() <= request(Version::One, &asked).len(), "{asked:?}");
    }
    let job = ClaimedJob {
        checkpoint: None,
        signal: None,
        lease: LEASE,
        attempts: 25,
        timeout_ms: 600_000,
        lease_ms: 30_000,
        until_ms: 1_700_000_000_000,
        queue: "q".into(),
        priority: 1024,
        owner: 1000,
        tags: Vec::new(),
        key: None,
        deadline_ms: None,
        body: "body".into(),
    };
    let jobs = Response::Jobs(vec![job]);
    assert!(response(Version::Two, &jobs).len() <= response(Version::One, &jobs).len());
    assert_eq!(request(Version::Two, &submit(plain())), b"\0\x01\0\0\0\x01\0q\0\x01\0\0\0\x02\0\0\0hi");
}

/// Each payload with one option more, at the place that is given: its number is one that is not known.
#[test]
fn an_option_that_is_not_known_is_passed_over_unless_it_must_be_understood() {
    let settle = Request::Settle(vec![Settle { lease: LEASE, verdict: Verdict::Release { delay_ms: 3 } }]);
    let claim = Request::Claim(Claim { queues: vec!["q".into()], max: 1, bound: true, ..Claim::default() });
    let output = Request::Output { lease: LEASE, stream: 1, data: "out".into(), again_at: None };
    let wait = Request::SubmitAndWait {
        groups: vec![SubmitGroup { options: plain(), bodies: vec!["hi".into()] }],
        timeout_ms: Some(7),
    };
    let ends = |asked: &Request| request(Version::Two, asked).len();
    for (kind, at, asked) in [
        (0x10, 0, submit(plain())),
        (0x10, 1 + 4 + 3, submit(plain())),
        (0x16, 3, wait),
        (0x11, ends(&claim) - 1, claim.clone()),
        (0x12, ends(&settle) - 1, settle.clone()),
        (0x13, 16 + 3, Request::Extend { leases: vec![LEASE], lease_ms: Some(5) }),
        (0x14, 13, output),
        (0x22, 8 + 3, Request::Logs { id: 4, follow: true }),
    ] {
        let with = |number: u8| {
            let mut payload = request(Version::Two, &asked);
            payload.splice(at..at, [number, 2, b'n', b'o']);
            decode(kind, payload)
        };
        assert_eq!(with(100).as_ref(), Ok(&asked), "{asked:?}");
        let refused = with(100 | 0x80).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unsupported);
        assert!(
            refused.message.contains("option 100") && refused.message.contains("update the daemon"),
            "{refused}"
        );
    }
}

/// Where none are known, there may be some at the end.
#[test]
fn options_may_follow_whatever_has_an_end() {
    let settle = Request::Settle(vec![Settle { lease: LEASE, verdict: Verdict::Complete }]);
    let all = [
        (0x12, settle),
        (0x13, Request::Extend { leases: vec![LEASE], lease_ms: None }),
        (0x15, Request::Unwait { request: 3 }),
        (0x21, Request::Body { id: 3 }),
        (0x22, Request::Logs { id: 3, follow: false }),
        (0x29, Request::Changes { queue: None, job: None }),
        (0x23, Request::Backup { shard: None }),
        (0x2a, Request::Leave),
    ];
    for (kind, asked) in all {
        let payload = request(Version::Two, &asked);
        let with = |options: &[u8]| decode(kind, [&payload[..], options].concat());
        assert_eq!(with(&[0]).as_ref(), Ok(&asked));
        assert_eq!(with(&[100, 1, 9, 0]).as_ref(), Ok(&asked));
        assert_eq!(with(&[228, 1, 9, 0]).unwrap_err().code, ErrorCode::Unsupported);
        assert!(with(&[100, 1, 9]).is_err() && with(&[0, 0]).is_err());
    }
    let answers = [
        Response::Submitted { first: 1, count: 1 },
        Response::Ok,
        Response::Jobs(Vec::new()),
        Response::Settled(vec![Ok(())]),
        Response::Error(Fault { code: ErrorCode::Busy, message: "no".into() }),
        Response::Notice(Notice::Stopping { grace_ms: 1 }),
        Response::Welcome { version: 2, frame_max: 2, body_max: 3, batch_max: 4, name: "x".into() },
    ];
    for answer in answers {
        let payload = response(Version::Two, &answer);
        let with = |options: &[u8]| Response::decode(answer.kind(), [&payload[..], options].concat().into());
        assert_eq!(with(&[100, 1, 9, 0]).as_ref(), Ok(&answer));
        let refused = with(&[228, 1, 9, 0]).unwrap_err().to_string();
        assert!(refused.contains("option 100") && refused.contains("update it"), "{refused}");
    }
}

#[test]
fn a_request_that_is_not_known_says_what_to_do() {
    let refused = decode(0x42, b"anything".to_vec()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unsupported);
    assert!(refused.message.contains("0x42") && refused.message.contains("update the daemon"), "{refused}");
    let mut settle =
        request(Version::Two, &Request::Settle(vec![Settle { lease: LEASE, verdict: Verdict::Complete }]));
    settle.splice(16..16, [1, 1, 77]);
    assert_eq!(decode(0x12, settle).unwrap_err().code, ErrorCode::Unsupported, "a verdict of later");
}

#[test]
fn a_verdict_with_options_of_another_is_refused() {
    let settle = |options: &[u8]| {
        let mut payload = vec![1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0];
        payload.extend_from_slice(options);
        payload.push(0);
        decode(0x12, payload)
    };
    assert!(settle(&[]).is_ok() && settle(&[1, 0]).is_ok() && settle(&[1, 1, 3]).is_ok());
    let later = Verdict::Later { error: String::new(), wait_ms: Some(9) };
    let expected = Request::Settle(vec![Settle { lease: LeaseRef { id: 5, attempt: 6 }, verdict: later }]);
    assert_eq!(settle(&[1, 1, 4, 3, 1, 9]).unwrap(), expected);
    for options in [&[2, 1, b'x'][..], &[1, 1, 3, 2, 1, b'x'], &[1, 1, 2, 3, 1, 9], &[4, 2, 1, 1]] {
        assert_eq!(settle(options).unwrap_err().code, ErrorCode::Malformed, "{options:?}");
    }
    for exit in [[0, 1], [3, 1]] {
        assert_eq!(settle(&[1, 1, 1, 4, 2, exit[0], exit[1]]).unwrap_err().code, ErrorCode::Malformed);
    }
}

#[test]
fn delay_and_start_do_not_go_together() {
    let mut payload = request(Version::Two, &submit(JobOptions { start: Start::After(5), ..plain() }));
    payload.splice(11..11, [3, 1, 9]);
    assert_eq!(decode(0x10, payload).unwrap_err().code, ErrorCode::Malformed);
}

#[test]
fn a_result_that_is_not_known_is_still_about_its_job() {
    let payload = b"\x02\0\0\0\x09\x05\0\0\0\0\0\0\0\x01\x01\x06\0\0".to_vec();
    let read = Response::decode(0x92, payload.into()).unwrap();
    assert_eq!(read, Response::Settled(vec![Err(LeaseFault::Unknown { id: 5, code: 9 }), Ok(())]));
}

#[test]
fn a_question_may_have_keys_that_need_not_be_understood() {
    let ask = |json: &str| decode(0x20, json.into());
    let show = Ok(Request::Admin(AdminRequest::Show { id: 1 }));
    assert_eq!(ask(r#"{"do":"show","id":1,"_for":"a dashboard","_more":[{}]}"#), show);
    for (json, words) in [
        (r#"{"do":"show","id":1,"for":"a dashboard"}"#, "unknown field `for`"),
        (r#"{"do":"paint","_id":1}"#, "unknown variant `paint`"),
    ] {
        let refused = ask(json).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Malformed);
        assert!(
            refused.message.contains(words) && refused.message.contains("update the daemon"),
            "{refused}"
        );
    }
    assert!(!ask(r#"{"do":"show"}"#).unwrap_err().message.contains("update"));
}
