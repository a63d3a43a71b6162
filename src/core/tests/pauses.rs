//! A pause of the daemon is nobody's failure: what it does to leases.

use super::world::{World, group, name, secs};
use crate::core::*;

/// After so many seconds in which nothing went on, what had lasted so long: until when it lasts, in seconds from then.
fn after(pause: u64, leases: &[u64]) -> Vec<i64> {
    let mut world = World::new();
    let since = world.now;
    world.submit(vec![group("q", leases.len() as u64)]);
    for lease in leases {
        let holder = if lease % 2 == 0 { Holder::Anyone } else { Holder::Session(7) };
        let claim = Claim {
            queues: vec![name("q")],
            max: 1,
            lease: Some(secs(*lease)),
            holder,
            worker: None,
            order: ClaimOrder::AsNamed,
        };
        world.run(Command::Claim(claim)).unwrap();
    }
    world.now = world.now.plus(secs(pause));
    world.run(Command::StoodStill { since }).unwrap();
    let now = world.now;
    (1..=leases.len() as u64)
        .map(|id| match world.job(id).state() {
            JobState::Leased(lease) => (lease.until.0 as i64 - now.0 as i64) / 1_000,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Ten of ten jobs of a worker that lived were dead after a laptop's lid had been closed.
#[test]
fn leases_last_longer_by_a_pause() {
    // The usual length is 60 s.
    assert_eq!(after(90, &[60, 31, 2]), [60, 31, 2], "the whole length again, bound or not");
    assert_eq!(after(90, &[600, 3_600]), [600, 3_600], "what was left of it before");
    assert_eq!(after(20, &[60, 81, 30]), [60, 81, 30]);
    assert_eq!(after(3, &[60, 12, 11]), [57, 12, 11], "one of three seconds harms none of a minute");
}

#[test]
fn what_was_extended_gets_no_more_than_the_usual_length() {
    let mut world = World::new();
    world.submit(vec![group("q", 1)]);
    let lease = world.claim("q", 1);
    for _ in 0..20 {
        world.now = world.now.plus(secs(40));
        world.run(Command::Extend { items: lease.clone(), lease: None }).unwrap();
    }
    let since = world.now;
    world.now = world.now.plus(secs(100));
    world.run(Command::StoodStill { since }).unwrap();
    assert_eq!(world.job(1).next_due(), world.now.plus(secs(60)));
    world.run(Command::Tick).unwrap();
    assert_eq!(world.kind(1), Some(StateKind::Leased));
    world.wait(secs(60));
    assert_ne!(world.kind(1), Some(StateKind::Leased), "whoever does not come back has lost it");
}
