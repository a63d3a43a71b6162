//! Requests and answers of every kind, drawn at random.

use crate::protocol::admin::{AdminRequest, ListQuery, WaitForGroups};
use crate::protocol::*;
use bytes::Bytes;
use proptest::prelude::*;

pub(super) fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

pub(super) fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

pub(super) fn tags() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((text(), text()), 0..4)
}

pub(super) fn lease() -> impl Strategy<Value = LeaseRef> {
    any::<(u64, u32)>().prop_map(|(id, attempt)| LeaseRef { id, attempt })
}

pub(super) fn receipt() -> impl Strategy<Value = Receipt> {
    let what = prop_oneof![Just(Received::New), Just(Received::Existing), Just(Received::Changed)];
    (any::<u64>(), what).prop_map(|(id, what)| Receipt { id, what })
}

pub(super) fn unique() -> impl Strategy<Value = Unique> {
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

pub(super) fn ties() -> impl Strategy<Value = Ties> {
    let on = prop_oneof![
        any::<u64>().prop_map(AfterWhat::Job),
        any::<u32>().prop_map(AfterWhat::Place),
        text().prop_map(AfterWhat::Group),
    ];
    let when = prop::sample::select(vec![Condition::Done, Condition::Ended, Condition::Failed]);
    let after = prop::collection::vec((on, when).prop_map(|(on, when)| After { on, when }), 1..4);
    let on_unmet = prop::sample::select(vec![OnUnmet::Cancel, OnUnmet::Run, OnUnmet::Hold]);
    (after, on_unmet, prop::option::of(text()), any::<bool>())
        .prop_map(|(after, on_unmet, group, seal)| Ties { after, on_unmet, group, seal })
}

pub(super) fn options() -> impl Strategy<Value = JobOptions> {
    let start =
        prop_oneof![Just(Start::Now), any::<u64>().prop_map(Start::After), any::<u64>().prop_map(Start::At)];
    let backoff = (0u8..3, any::<u64>(), any::<u64>(), any::<u16>()).prop_map(
        |(growth, base_ms, max_ms, jitter_permille)| WireBackoff { growth, base_ms, max_ms, jitter_permille },
    );
    let numbers = any::<(Option<u32>, [Option<u64>; 2], Option<u32>, Option<u64>)>();
    let keys = (prop::option::of(text()), prop::option::of(unique()), prop::option::of(ties()));
    (text(), start, prop::option::of(backoff), numbers, tags(), keys).prop_map(
        |(
            queue,
            start,
            backoff,
            (priority, [ttl_ms, deadline_ms], attempts, timeout_ms),
            tags,
            (key, unique, ties),
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
            to_topic: priority.is_some_and(|priority| priority % 2 == 0),
            key,
            unique,
            ties,
        },
    )
}

pub(super) fn an_exit() -> impl Strategy<Value = Exit> {
    let usual = prop_oneof![Just(Exit::Status(65)), Just(Exit::Status(75))];
    prop_oneof![usual, any::<u8>().prop_map(Exit::Status), any::<u8>().prop_map(Exit::Signal)]
}

pub(super) fn exit() -> impl Strategy<Value = Option<Exit>> {
    prop::option::of(an_exit())
}

pub(super) fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Complete),
        bytes().prop_map(Verdict::CompleteWith),
        (text(), exit()).prop_map(|(error, exit)| Verdict::Fail { error, exit }),
        (text(), exit(), any::<u64>()).prop_map(|(error, exit, wait_ms)| Verdict::FailRetryAfter {
            error,
            exit,
            wait_ms
        }),
        (text(), exit()).prop_map(|(error, exit)| Verdict::FailDead { error, exit }),
        (text(), proptest::option::of(any::<u64>()))
            .prop_map(|(error, wait_ms)| Verdict::Later { error, wait_ms }),
        (text(), an_exit()).prop_map(|(error, exit)| Verdict::Exited { error, exit }),
        any::<u64>().prop_map(|delay_ms| Verdict::Release { delay_ms }),
        (text(), any::<u64>()).prop_map(|(signal, timeout_ms)| Verdict::Await { signal, timeout_ms }),
    ]
}

pub(super) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::One), Just(Version::Two)]
}

pub(super) fn versions() -> impl Strategy<Value = Versions> {
    (1u8.., any::<u8>()).prop_map(|(one, other)| {
        Versions::new(one.min(other).max(1), one.max(other))
            .expect("the lower one is not above the higher one")
    })
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    let group = || {
        (options(), prop::collection::vec(bytes(), 0..4))
            .prop_map(|(options, bodies)| SubmitGroup { options, bodies })
    };
    let to_wait = (prop::collection::vec(group(), 0..4), prop::option::of(0..u64::MAX))
        .prop_map(|(groups, timeout_ms)| Request::SubmitAndWait { groups, timeout_ms });
    let once = (prop::collection::vec(group(), 0..4), text())
        .prop_map(|(groups, key)| Request::SubmitOnce { groups, key });
    let follow = (lease(), prop::collection::vec(group(), 0..4), prop::option::of(text()))
        .prop_map(|(lease, groups, key)| Request::CompleteAndSubmit { lease, groups, key });
    let progress = (lease(), any::<u8>(), text()).prop_map(|(lease, percent, text)| Request::Progress {
        lease,
        percent,
        text,
    });
    let checkpoint = (lease(), prop::option::of(1u64..), bytes())
        .prop_map(|(lease, lease_ms, data)| Request::Checkpoint { lease, lease_ms, data });
    let signal =
        (any::<u64>(), text(), bytes()).prop_map(|(id, name, body)| Request::Signal { id, name, body });
    let what = prop_oneof![Just(Beside::Checkpoint), Just(Beside::Result)];
    let beside = (any::<u64>(), what).prop_map(|(id, what)| Request::Beside { id, what });
    let positive = || prop::option::of(1u64..);
    let claim = (prop::collection::vec(text(), 0..4), any::<u32>(), positive(), any::<(u64, bool)>());
    let claim = claim.prop_map(|(queues, max, lease_ms, (wait_ms, bound))| {
        Request::Claim(Claim { queues, max, lease_ms, wait_ms, bound })
    });
    let settle = (lease(), verdict()).prop_map(|(lease, verdict)| Settle { lease, verdict });
    let admin = prop_oneof![
        Just(AdminRequest::Status {}),
        (prop::option::of(text()), prop::collection::vec(any::<u32>(), 0..3))
            .prop_map(|(after, shards)| AdminRequest::Metrics { after, shards }),
        prop::option::of(text()).prop_map(|filter| AdminRequest::LogLevel { filter }),
        (any::<u64>(), prop::option::of(text()))
            .prop_map(|(since_ms, queue)| AdminRequest::Stats { since_ms, queue }),
        prop::collection::vec(any::<u64>(), 0..9)
            .prop_map(|ids| AdminRequest::Wait { ids, timeout_ms: Some(5) }),
        (prop::collection::vec(text(), 0..4), any::<bool>(), any::<Option<u64>>()).prop_map(
            |(groups, first_error, timeout_ms)| {
                AdminRequest::WaitForGroups(WaitForGroups { groups, first_error, timeout_ms })
            }
        ),
        (text(), prop::collection::vec(text(), 0..4), any::<bool>()).prop_map(|(topic, queues, binds)| {
            match binds {
                true => AdminRequest::TopicBind { topic, queues },
                false => AdminRequest::TopicUnbind { topic, queues },
            }
        }),
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
        follow,
        progress,
        checkpoint,
        signal,
        beside,
        claim,
        prop::collection::vec(settle, 0..4).prop_map(Request::Settle),
        (prop::collection::vec(lease(), 0..4), positive())
            .prop_map(|(leases, lease_ms)| Request::Extend { leases, lease_ms }),
        (lease(), 1u8..3, bytes(), any::<Option<u64>>())
            .prop_map(|(lease, stream, data, again_at)| Request::Output { lease, stream, data, again_at }),
        (text(), any::<[u8; 16]>(), prop::collection::vec(lease(), 0..4))
            .prop_map(|(name, token, leases)| Request::TakeUp { name, token, leases }),
        Just(Request::Leave),
        any::<u32>().prop_map(|request| Request::Unwait { request }),
        admin.prop_map(Request::Admin),
        any::<u64>().prop_map(|id| Request::Body { id }),
        (any::<u64>(), bytes()).prop_map(|(id, body)| Request::ReplaceBody { id, body }),
        any::<(u64, bool)>().prop_map(|(id, follow)| Request::Logs { id, follow }),
        (prop::option::of(text()), any::<Option<u64>>())
            .prop_map(|(queue, job)| Request::Changes { queue, job }),
        prop::option::of(any::<u32>()).prop_map(|shard| Request::Backup { shard }),
    ]
}

fn job_change() -> impl Strategy<Value = JobChange> {
    (any::<[u64; 3]>(), text(), any::<u8>()).prop_map(|([first, count, at_ms], queue, state)| JobChange {
        first,
        count,
        queue: queue.into(),
        state,
        at_ms,
    })
}

pub(super) fn response() -> impl Strategy<Value = Response> {
    let job = (
        lease(),
        any::<[u64; 3]>(),
        any::<[u32; 3]>(),
        text(),
        tags(),
        (prop::option::of(text()), any::<Option<u64>>(), prop::option::of(bytes()), bytes()),
        prop::option::of((text(), bytes())),
    )
        .prop_map(
            |(
                lease,
                [timeout_ms, lease_ms, until_ms],
                [attempts, priority, owner],
                queue,
                tags,
                (key, deadline_ms, checkpoint, body),
                signal,
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
                    checkpoint,
                    signal,
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
        prop::collection::vec(settled.clone(), 0..4).prop_map(Response::Settled),
        (any::<u64>(), prop::collection::vec(settled, 0..4))
            .prop_map(|(resume_within_ms, leases)| Response::TakenUp { resume_within_ms, leases }),
        prop::collection::vec(extended, 0..4).prop_map(Response::Extended),
        notice.prop_map(Response::Notice),
        welcome,
        Just(Response::Ok),
        bytes().prop_map(Response::Body),
        bytes().prop_map(Response::Piece),
        (any::<u64>(), prop::collection::vec(job_change(), 0..4))
            .prop_map(|(missed, changes)| Response::Changes { missed, changes }),
        (any::<u32>(), 1u8..3, bytes()).prop_map(|(attempt, stream, data)| Response::Output {
            attempt,
            stream,
            data
        }),
        text().prop_map(|message| Response::Error(Fault { code: ErrorCode::Busy, message })),
    ]
}
