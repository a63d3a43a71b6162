//! What goes where, by tables.

use super::*;
use crate::protocol::admin::WaitForGroups;
use crate::protocol::{After, AfterWhat, Condition};
use crate::router::merge::Merge;
use crate::router::route::{Route, route};

fn routed(request: &Request) -> Result<Route, (ErrorCode, String)> {
    route(shards(), request).map_err(|fault| (fault.code, fault.message))
}

#[test]
fn what_has_one_name_or_one_job_goes_to_one_shard() {
    for shard in 0..3 {
        let (name, id) = (queue(shard).to_owned(), first_id(shard) + 5);
        let sub = format!("{name}/sub");
        let one = [
            Request::Submit(vec![group(&name, None), group(&sub, None)]),
            Request::SubmitOnce { groups: vec![group(&name, None)], key: "k".into() },
            Request::CompleteAndSubmit {
                lease: lease(shard, 1),
                groups: vec![group(&name, None)],
                key: None,
            },
            Request::Claim(Claim { queues: vec![name.clone(), sub.clone()], ..Claim::default() }),
            Request::Settle(vec![Settle { lease: lease(shard, 1), verdict: Verdict::Complete }]),
            Request::Extend { leases: vec![lease(shard, 1), lease(shard, 2)], lease_ms: None },
            Request::Body { id },
            Request::Logs { id, follow: true },
            Request::Changes { queue: Some(name.clone()), job: None },
            Request::Changes { queue: None, job: Some(id) },
            Request::Admin(AdminRequest::Show { id }),
            Request::Admin(AdminRequest::Pause { queue: sub, for_ms: None }),
            Request::Admin(AdminRequest::Wait { ids: vec![id, id + 1], timeout_ms: None }),
            Request::Admin(AdminRequest::GroupSeal { name: format!("{name}/g") }),
            Request::Admin(AdminRequest::TopicBind {
                topic: format!("{name}/*"),
                queues: vec![name.clone()],
            }),
            Request::Admin(AdminRequest::List(ListQuery { queue: Some(name), ..ListQuery::default() })),
        ];
        for request in one {
            assert_eq!(routed(&request), Ok(Route::One(shard)), "{request:?}");
        }
    }
}

#[test]
fn what_is_one_step_must_not_reach_over_namespaces() {
    let after = |on| Some(Ties { after: vec![After { on, when: Condition::Done }], ..Ties::default() });
    let of_group = Some(Ties { group: Some("g".into()), ..Ties::default() });
    let (own, other) = (queue(0), queue(1));
    let refused = [
        (Request::Submit(vec![group(own, None), group(other, None)]), other),
        (Request::Submit(vec![group(own, of_group)]), "group `g`"),
        (Request::Submit(vec![group(own, after(AfterWhat::Job(first_id(1) + 1)))]), "jobs wait only for"),
        (Request::Submit(vec![group(own, after(AfterWhat::Group(other.into())))]), other),
        (
            Request::CompleteAndSubmit { lease: lease(1, 1), groups: vec![group(own, None)], key: None },
            "complete and submit one after the other",
        ),
        (
            Request::Admin(AdminRequest::Edit {
                edit: "move".into(),
                ids: vec![first_id(0) + 1],
                state: None,
                queue: None,
                to: Some(other.into()),
                priority: None,
            }),
            "move only within",
        ),
        (
            Request::Admin(AdminRequest::TopicBind { topic: "*".into(), queues: vec![own.into()] }),
            "no one namespace",
        ),
        (Request::Admin(AdminRequest::TopicBind { topic: own.into(), queues: vec![other.into()] }), other),
        (Request::Backup { shard: None }, "which, from 0 to 2"),
        (Request::Backup { shard: Some(3) }, "which, from 0 to 2"),
    ];
    for (request, why) in refused {
        let (code, message) = routed(&request).unwrap_err();
        assert!(code == ErrorCode::Invalid && message.contains(why), "{request:?}: {message}");
    }
    let (code, message) = routed(&Request::Body { id: u64::MAX }).unwrap_err();
    assert!(code == ErrorCode::NotFound && message.contains("no job of this cluster"), "{message}");
}

#[test]
fn what_is_made_of_steps_is_divided() {
    let settles = [(1, 1), (0, 2), (1, 3)]
        .map(|(shard, nth)| Settle { lease: lease(shard, nth), verdict: Verdict::Complete });
    let [first, second, third] = settles.clone();
    let parts = vec![(0, Request::Settle(vec![second])), (1, Request::Settle(vec![first, third]))];
    let places = vec![vec![1], vec![0, 2]];
    assert_eq!(routed(&Request::Settle(settles.to_vec())), Ok(Route::Divided(parts, Merge::Settled(places))));
    let wait = |groups: Vec<String>| {
        Request::Admin(AdminRequest::WaitForGroups(WaitForGroups { groups, ..WaitForGroups::default() }))
    };
    let (one, other) = (queue(2).to_owned(), queue(1).to_owned());
    let parts = vec![(1, wait(vec![other.clone()])), (2, wait(vec![one.clone()]))];
    assert_eq!(
        routed(&wait(vec![one, other])),
        Ok(Route::Divided(parts, Merge::Places(vec![vec![1], vec![0]])))
    );
}
