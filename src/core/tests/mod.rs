//! The core's tests: the table of states walked row by row, and long random sequences against a naive model.

use super::*;

#[test]
fn a_job_goes_its_way() {
    let mut core = Core::default();
    let queue = QueueName::new("q").unwrap();
    let mut events = Vec::new();
    let moment = Moment { now: Time(1_000), luck: 0 };
    let group = Group { spec: Spec::plain(queue.clone()), count: 10_000_000, start: Start::Now, ttl: None };
    core.decide(&Command::Submit { groups: vec![group] }, moment, &mut events).unwrap();
    core.state.apply(&events[0]);
    assert_eq!(core.state.entries(), 1, "ten million plain jobs are one entry");
    let claim = Claim { queues: vec![queue], max: 3, lease: None, holder: Holder::Session(7) };
    let Ok(Outcome::Claimed(grants)) = core.decide(&Command::Claim(claim), moment, &mut events) else {
        panic!()
    };
    assert_eq!(grants.iter().map(|grant| grant.id.0).collect::<Vec<_>>(), [1, 2, 3]);
    core.state.apply(&events[1]);
    assert_eq!(core.state.entries(), 4);
}
