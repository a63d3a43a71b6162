//! `docs/protocol-vectors.json`: frames of every kind of message of version 2, byte by byte, each with what it says, for those who write
//! a client. It is made of this list; a test sees to it that it is that of this tree, and that these bytes are read as what they say.

use super::{BATCH, the_frame};
use crate::protocol::admin::AdminRequest;
use crate::protocol::*;
use bytes::Bytes;
use serde_json::{Value, json};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol-vectors.json");
const LEASE: LeaseRef = LeaseRef { id: 7, attempt: 2 };

/// A message, what it is called, and what it says in the words of docs/protocol.md.
type Vector<T> = (&'static str, Value, T);

fn group(options: JobOptions, bodies: &[&'static str]) -> SubmitGroup {
    SubmitGroup { options, bodies: bodies.iter().map(|body| Bytes::from_static(body.as_bytes())).collect() }
}

fn plain(queue: &str) -> JobOptions {
    JobOptions { queue: queue.into(), ..JobOptions::default() }
}

fn settle(verdict: Verdict) -> Request {
    Request::Settle(vec![Settle { lease: LEASE, verdict }])
}

/// Everything that a group can say that does not exclude each other.
fn all_options() -> JobOptions {
    JobOptions {
        priority: Some(0),
        start: Start::After(5_000),
        ttl_ms: Some(60_000),
        attempts: Some(3),
        backoff: Some(WireBackoff { growth: 2, base_ms: 1_000, max_ms: 60_000, jitter_permille: 200 }),
        timeout_ms: Some(0),
        tags: vec![("order".into(), "42".into())],
        key: Some("customer-7".into()),
        unique: Some(Unique {
            key: "order-42".into(),
            held: Held::For(1_000),
            on_conflict: OnConflict::Debounce { max_ms: Some(90_000) },
        }),
        deadline_ms: Some(120_000),
        ties: Some(Ties {
            after: vec![
                After { on: AfterWhat::Job(1), when: Condition::Done },
                After { on: AfterWhat::Place(0), when: Condition::Ended },
                After { on: AfterWhat::Group("album".into()), when: Condition::Failed },
            ],
            on_unmet: OnUnmet::Hold,
            group: Some("album-7".into()),
            seal: true,
        }),
        ..plain("mails")
    }
}

fn all_options_say() -> Value {
    json!({
        "queue": "mails", "bodies": ["7a"], "priority": 0, "delay": 5_000, "time_to_live": 60_000, "attempts": 3,
        "backoff": { "kind": 2, "base": 1_000, "longest": 60_000, "jitter": 200 }, "timeout": 0,
        "tags": [["order", "42"]], "key": "customer-7", "unique_key": "order-42", "held_for": 1_000,
        "on_conflict": 2, "longest_delay": 90_000, "deadline": 120_000,
        "after": [
            { "job": 1, "condition": 0 }, { "place": 0, "condition": 1 }, { "group": "album", "condition": 2 },
        ],
        "on_unmet": 2, "group": "album-7", "seal": true,
    })
}

fn submits() -> Vec<Vector<Request>> {
    let two = || vec![group(plain("mails"), &["a", "b"]), group(plain("größe"), &[""])];
    let two_say = json!([{ "queue": "mails", "bodies": ["61", "62"] }, { "queue": "größe", "bodies": [""] }]);
    let to_topic =
        JobOptions { to_topic: true, start: Start::At(1_700_000_000_000), ..plain("order.created") };
    let say = json!({ "queue": "order.created", "bodies": ["78"], "earliest_start": 1_700_000_000_000_u64, "to_a_topic": true });
    vec![
        ("submit", json!({ "groups": two_say }), Request::Submit(two())),
        (
            "submit",
            json!({ "groups": [{ "queue": "mails", "bodies": ["78"] }, all_options_say()] }),
            Request::Submit(vec![group(plain("mails"), &["x"]), group(all_options(), &["z"])]),
        ),
        ("submit", json!({ "groups": [say] }), Request::Submit(vec![group(to_topic, &["x"])])),
        (
            "submit",
            json!({ "idempotency_key": "import-2026", "groups": two_say }),
            Request::SubmitOnce { groups: two(), key: "import-2026".into() },
        ),
        (
            "submit",
            json!({ "idempotency_key": "k", "completes": { "job": 7, "attempt": 2 }, "groups": two_say }),
            Request::CompleteAndSubmit { lease: LEASE, groups: two(), key: Some("k".into()) },
        ),
        (
            "submit and wait",
            json!({ "longest_wait": 5_000, "groups": two_say }),
            Request::SubmitAndWait { groups: two(), timeout_ms: Some(5_000) },
        ),
    ]
}

fn settles() -> Vec<Vector<Request>> {
    let say = |more: Value| {
        let mut settle = json!({ "lease": { "job": 7, "attempt": 2 } });
        settle.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "settles": [settle] })
    };
    let (error, status) = ("no route".to_owned(), Exit::Status(69));
    let verdicts = [
        (json!({ "verdict": 0 }), Verdict::Complete),
        (json!({ "verdict": 0, "result": "6f6b" }), Verdict::CompleteWith(Bytes::from_static(b"ok"))),
        (
            json!({ "verdict": 1, "error": "no route", "exit": { "kind": 1, "number": 69 } }),
            Verdict::Fail { error: error.clone(), exit: Some(status) },
        ),
        (
            json!({ "verdict": 1, "error": "no route", "wait": 1_500 }),
            Verdict::FailRetryAfter { error: error.clone(), exit: None, wait_ms: 1_500 },
        ),
        (
            json!({ "verdict": 2, "error": "no route" }),
            Verdict::FailDead { error: error.clone(), exit: None },
        ),
        (json!({ "verdict": 3, "wait": 250 }), Verdict::Release { delay_ms: 250 }),
        (
            json!({ "verdict": 4, "error": "no route", "wait": 60_000 }),
            Verdict::Later { error: error.clone(), wait_ms: Some(60_000) },
        ),
        (
            json!({ "verdict": 5, "error": "no route", "exit": { "kind": 2, "number": 9 } }),
            Verdict::Exited { error, exit: Exit::Signal(9) },
        ),
        (
            json!({ "verdict": 6, "wait": 3_600_000, "until_signal": "approved" }),
            Verdict::Await { signal: "approved".into(), timeout_ms: 3_600_000 },
        ),
    ];
    verdicts.into_iter().map(|(more, verdict)| ("settle", say(more), settle(verdict))).collect()
}

fn requests() -> Vec<Vector<Request>> {
    let lease = || json!({ "job": 7, "attempt": 2 });
    let hello = |name: &str| Request::Hello { versions: Versions::new(2, 2).unwrap(), name: name.into() };
    let claim = Claim {
        queues: vec!["mails".into(), "q".into()],
        max: 10,
        lease_ms: Some(30_000),
        wait_ms: u64::MAX,
        bound: true,
    };
    let now = Claim { queues: vec!["mails".into()], max: 1, lease_ms: None, wait_ms: 0, bound: false };
    let piece = || Bytes::from_static(b"\x00\xff");
    let mut all = vec![("hello", json!({ "highest": 2, "lowest": 0, "name": "example" }), hello("example"))];
    all.extend(submits());
    all.extend([
        ("claim", json!({ "queues": ["mails"], "most": 1 }), Request::Claim(now)),
        (
            "claim",
            json!({ "queues": ["mails", "q"], "most": 10, "lease": 30_000, "wait": u64::MAX, "bound": true }),
            Request::Claim(claim),
        ),
    ]);
    all.extend(settles());
    all.extend([
        (
            "extend",
            json!({ "leases": [lease()], "lease": 90_000 }),
            Request::Extend { leases: vec![LEASE], lease_ms: Some(90_000) },
        ),
        (
            "output",
            json!({ "lease": lease(), "stream": 2, "again_at": 300, "piece": "00ff" }),
            Request::Output { lease: LEASE, stream: 2, data: piece(), again_at: Some(300) },
        ),
        ("unwait", json!({ "request": 258 }), Request::Unwait { request: 258 }),
        (
            "progress",
            json!({ "lease": lease(), "percent": 40, "text": "page 12 of 30" }),
            Request::Progress { lease: LEASE, percent: 40, text: "page 12 of 30".into() },
        ),
        (
            "admin",
            json!({ "json": { "do": "show", "id": 42 } }),
            Request::Admin(AdminRequest::Show { id: 42 }),
        ),
        ("body", json!({ "job": 7 }), Request::Body { id: 7 }),
        ("beside", json!({ "job": 7, "what": 2 }), Request::Beside { id: 7, what: Beside::Result }),
        (
            "checkpoint",
            json!({ "lease": lease(), "checkpoint": "00ff" }),
            Request::Checkpoint { lease: LEASE, lease_ms: None, data: piece() },
        ),
        (
            "signal",
            json!({ "job": 7, "name": "approved", "says": "00ff" }),
            Request::Signal { id: 7, name: "approved".into(), body: piece() },
        ),
        (
            "take up",
            json!({ "name": "worker 1", "token": "01".repeat(16), "leases": [lease()] }),
            Request::TakeUp { name: "worker 1".into(), token: [1; 16], leases: vec![LEASE] },
        ),
        ("leave", json!({}), Request::Leave),
        ("logs", json!({ "job": 7, "follow": true }), Request::Logs { id: 7, follow: true }),
        (
            "changes",
            json!({ "queue": "mails", "job": 7 }),
            Request::Changes { queue: Some("mails".into()), job: Some(7) },
        ),
        ("replace body", json!({ "job": 7, "body": "00ff" }), Request::ReplaceBody { id: 7, body: piece() }),
        ("backup", json!({}), Request::Backup { shard: None }),
        ("backup of a shard", json!({ "shard": 3 }), Request::Backup { shard: Some(3) }),
    ]);
    all
}

fn answers() -> Vec<Vector<Response>> {
    let lease = || json!({ "job": 7, "attempt": 2 });
    let change = JobChange { first: 7, count: 3, queue: "mails".into(), state: 7, at_ms: 1_700_000_000_000 };
    let mut all = vec![
        (
            "welcome",
            json!({ "version": 2, "longest_frame": 33_554_432, "longest_body": 1_048_576, "most_jobs": 10_000, "name": "musher" }),
            Response::Welcome {
                version: 2,
                frame_max: 33_554_432,
                body_max: 1_048_576,
                batch_max: 10_000,
                name: "musher".into(),
            },
        ),
        ("submitted", json!({ "first": 7, "count": 3 }), Response::Submitted { first: 7, count: 3 }),
        (
            "received",
            json!({ "receipts": [{ "job": 8, "what": 0 }, { "job": 3, "what": 1 }, { "job": 4, "what": 2 }] }),
            Response::Received(vec![
                Receipt { id: 8, what: Received::New },
                Receipt { id: 3, what: Received::Existing },
                Receipt { id: 4, what: Received::Changed },
            ]),
        ),
        ("jobs", json!({ "jobs": [] }), Response::Jobs(vec![])),
        ("ok", json!({}), Response::Ok),
        ("body", json!({ "body": "6869" }), Response::Body(Bytes::from_static(b"hi"))),
        (
            "output",
            json!({ "attempt": 2, "stream": 1, "piece": "6869" }),
            Response::Output { attempt: 2, stream: 1, data: Bytes::from_static(b"hi") },
        ),
        (
            "changes",
            json!({ "left_out": 5, "changes": [{ "first": 7, "count": 3, "queue": "mails", "state": 7, "when": 1_700_000_000_000_u64 }] }),
            Response::Changes { missed: 5, changes: vec![change] },
        ),
        ("piece", json!({ "piece": "6869" }), Response::Piece(Bytes::from_static(b"hi"))),
        ("json", json!({ "json": { "a": 1 } }), Response::Json(Bytes::from_static(br#"{"a":1}"#))),
        (
            "error",
            json!({ "code": 21, "message": "queue full" }),
            Response::Error(Fault { code: ErrorCode::QueueFull, message: "queue full".into() }),
        ),
        (
            "revoked",
            json!({ "lease": lease(), "why": 2 }),
            Response::Notice(Notice::Revoked { lease: LEASE, why: Revocation::Cancelled }),
        ),
        ("stopping", json!({ "time": 30_000 }), Response::Notice(Notice::Stopping { grace_ms: 30_000 })),
        ("reconfigured", json!({}), Response::Notice(Notice::Reconfigured)),
    ];
    all.push(claimed());
    all.extend(results());
    all
}

/// Answers that have a result for each lease.
fn results() -> Vec<Vector<Response>> {
    let lost = || LeaseFault::Lost { lease: LEASE, current: 3, state: 2 };
    let refused = json!([
        { "refused": 1, "job": 9 },
        { "refused": 2, "job": 7, "named": 2, "newest": 3, "state": 2 },
    ]);
    let with = |first: Value| {
        let mut all = vec![first];
        all.extend(refused.as_array().unwrap().clone());
        all
    };
    vec![
        (
            "settled",
            json!({ "results": with(json!({ "refused": 0 })) }),
            Response::Settled(vec![Ok(()), Err(LeaseFault::NotFound { id: 9 }), Err(lost())]),
        ),
        (
            "extended",
            json!({ "results": with(json!({ "refused": 0, "end": 1_700_000_090_000_u64 })) }),
            Response::Extended(vec![Ok(1_700_000_090_000), Err(LeaseFault::NotFound { id: 9 }), Err(lost())]),
        ),
        (
            "taken up",
            json!({ "resume_within": 30_000, "results": with(json!({ "refused": 0 })) }),
            Response::TakenUp {
                resume_within_ms: 30_000,
                leases: vec![Ok(()), Err(LeaseFault::NotFound { id: 9 }), Err(lost())],
            },
        ),
    ]
}

/// A job that says nothing that can be left out, and one that says all of it.
fn claimed() -> Vector<Response> {
    let lease = || json!({ "job": 7, "attempt": 2 });
    let plain = ClaimedJob {
        lease: LEASE,
        attempts: 25,
        timeout_ms: 0,
        lease_ms: 30_000,
        until_ms: 1_700_000_030_000,
        queue: "mails".into(),
        priority: 1_024,
        owner: 1_000,
        tags: vec![],
        key: None,
        deadline_ms: None,
        checkpoint: None,
        signal: None,
        body: Bytes::from_static(b"hi"),
    };
    let full = ClaimedJob {
        timeout_ms: 60_000,
        tags: vec![("order".into(), "42".into())],
        key: Some("customer-7".into()),
        deadline_ms: Some(1_700_000_120_000),
        checkpoint: Some(Bytes::from_static(b"page 3")),
        signal: Some(("approved".into(), Bytes::from_static(b"yes"))),
        ..plain.clone()
    };
    let plain_says = json!({
        "lease": lease(), "attempts_at_most": 25, "length": 30_000, "end": 1_700_000_030_000_u64, "queue": "mails",
        "priority": 1_024, "user": 1_000, "body": "6869",
    });
    let mut full_says = plain_says.clone();
    full_says.as_object_mut().unwrap().extend(
        json!({
            "timeout": 60_000, "tags": [["order", "42"]], "key": "customer-7", "deadline": 1_700_000_120_000_u64,
            "checkpoint": "706167652033", "signal": "approved", "says": "796573",
        })
        .as_object()
        .unwrap()
        .clone(),
    );
    ("jobs", json!({ "jobs": [plain_says, full_says] }), Response::Jobs(vec![plain, full]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of the file.
fn document() -> String {
    let vector = |name: &str, says: Value, number: u32, frame: &[u8]| json!({ "message": name, "number": number, "says": says, "frame": hex(frame) });
    let mut out = Vec::new();
    let mut of_requests = Vec::new();
    for (nth, (name, says, request)) in requests().into_iter().enumerate() {
        out.clear();
        let number = nth as u32 + 1;
        Version::Two.encode_request(&request, number, &mut out);
        of_requests.push(vector(name, says, number, &out));
    }
    let mut of_answers = Vec::new();
    for (nth, (name, says, answer)) in answers().into_iter().enumerate() {
        out.clear();
        let number = if matches!(answer, Response::Notice(_)) { 0 } else { nth as u32 + 1 };
        Version::Two.encode_response(&answer, number, &mut out);
        of_answers.push(vector(name, says, number, &out));
    }
    let about = "Frames of version 2 of the native protocol (protocol.md), in hexadecimal digits, and what each says. A member \
                 that is not there is an option that is left out. Bodies, results, pieces and tokens are in hexadecimal digits, too.";
    let document = json!({ "about": about, "version": 2, "requests": of_requests, "answers": of_answers });
    serde_json::to_string_pretty(&document).unwrap() + "\n"
}

#[test]
fn the_vectors_are_those_of_this_tree() {
    let document = document();
    if std::fs::read_to_string(PATH).unwrap_or_default() != document {
        let right = std::env::temp_dir().join("protocol-vectors.json");
        std::fs::write(&right, document).unwrap();
        panic!("{PATH} is old: mv {} {PATH}", right.display());
    }
}

#[test]
fn each_frame_is_read_as_it_was_written() {
    for (name, says, request) in requests() {
        let mut bytes = Vec::new();
        Version::Two.encode_request(&request, 9, &mut bytes);
        let (header, payload) = the_frame(&bytes);
        assert_eq!(
            Version::Two.decode_request(header.kind, payload, BATCH).unwrap(),
            request,
            "{name} {says}"
        );
    }
    for (name, says, answer) in answers() {
        let mut bytes = Vec::new();
        Version::Two.encode_response(&answer, 9, &mut bytes);
        let (header, payload) = the_frame(&bytes);
        assert_eq!(Version::Two.decode_response(header.kind, payload).unwrap(), answer, "{name} {says}");
    }
}
