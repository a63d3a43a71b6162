//! Queues that come into being by a slip of the pen, and go again.

use super::world::{World, group, name, secs};
use crate::core::*;

fn group_of(queue: &str, owner: u32) -> Group {
    Group { spec: SpecOptions { owner, ..SpecOptions::plain(name(queue)) }.into(), ..group(queue, 1) }
}

fn submit(world: &mut World, queue: &str, owner: u32) -> Result<Outcome, Rejection> {
    world.now = world.now.plus(secs(1));
    world.run(Command::Submit { groups: vec![group_of(queue, owner)].into() })
}

fn use_up(world: &mut World, queue: &str) {
    let leases = world.claim(queue, 9);
    assert!(world.settle(&leases, Verdict::Complete).iter().all(Result::is_ok));
}

fn names(world: &World) -> Vec<String> {
    let rows = world.core.state.rows();
    let names = rows.iter().filter_map(|row| match row {
        Row::Queue(queue) => Some(queue.name.to_string()),
        Row::Schedule(_) | Row::Requests(_) | Row::Keys(_) | Row::Group(_) | Row::Topic(_) => None,
    });
    names.collect()
}

/// Whoever had made ten thousand queues by mistake had shut out everybody, and nothing removed one.
#[test]
fn an_empty_queue_makes_room_the_one_unused_longest_first() {
    let mut world = World::new();
    (world.settings().keep_done, world.core.settings.queues_max) = (Keep::No, 4);
    for queue in ["old", "full", "new", "set"] {
        submit(&mut world, queue, 0).unwrap();
        if queue != "full" {
            use_up(&mut world, queue);
        }
    }
    let own = world.core.settings.default.clone();
    world.core.settings.queues.insert(name("set"), own);
    submit(&mut world, "a", 0).unwrap();
    assert_eq!(names(&world), ["a", "full", "new", "set"]);
    submit(&mut world, "b", 0).unwrap();
    assert_eq!(names(&world), ["a", "b", "full", "set"], "what is configured or has jobs stays");
    assert_eq!(submit(&mut world, "c", 0), Err(Rejection::TooManyQueues { limit: 4 }));
    use_up(&mut world, "a");
    world.run(Command::Pause { queue: name("a"), time: None, maker: None }).unwrap();
    assert!(submit(&mut world, "c", 0).is_err(), "somebody has paused it");
    world.run(Command::Resume { queue: name("a") }).unwrap();
    let groups = vec![group("a", 1), group("c", 1)];
    let refused = world.run(Command::Submit { groups: groups.into() });
    assert_eq!(refused, Err(Rejection::TooManyQueues { limit: 4 }), "the request itself needs it");
    submit(&mut world, "c", 0).unwrap();
    assert_eq!(names(&world), ["b", "c", "full", "set"]);
}

#[test]
fn what_one_user_makes_is_bounded() {
    let mut world = World::new();
    world.settings().keep_done = Keep::No;
    (world.core.settings.queues_per_user, world.core.settings.own_user) = (2, 500);
    for (queue, owner) in [("a", 7), ("b", 7), ("x", 8), ("r1", 0), ("r2", 0), ("r3", 0), ("o1", 500)] {
        submit(&mut world, queue, owner).unwrap();
    }
    let refused = Err(Rejection::TooManyOwnQueues { limit: 2 });
    assert_eq!(submit(&mut world, "c", 7), refused);
    submit(&mut world, "x", 7).unwrap();
    submit(&mut world, "o2", 500).unwrap();
    submit(&mut world, "o3", 500).unwrap();
    use_up(&mut world, "r1");
    assert_eq!(submit(&mut world, "c", 7), refused, "only an empty one of his own makes room");
    use_up(&mut world, "a");
    submit(&mut world, "c", 7).unwrap();
    assert_eq!(names(&world), ["b", "c", "o1", "o2", "o3", "r1", "r2", "r3", "x"]);
}

#[test]
fn a_queue_that_is_not_there_is_neither_paused_nor_purged_unless_it_is_configured() {
    let mut world = World::new();
    let queue = || name("typo");
    let commands = || {
        [
            Command::Pause { queue: queue(), time: None, maker: None },
            Command::Resume { queue: queue() },
            Command::Purge { queue: queue() },
            Command::ForgetQueue { queue: queue() },
        ]
    };
    for command in commands() {
        assert_eq!(world.run(command), Err(Rejection::NoSuchQueue { queue: queue() }));
    }
    assert!(names(&world).is_empty());
    let own = world.core.settings.default.clone();
    world.core.settings.queues.insert(queue(), own);
    for command in commands() {
        assert!(world.run(command).is_ok());
    }
}

#[test]
fn a_queue_with_jobs_is_not_forgotten_by_hand() {
    let mut world = World::new();
    world.settings().keep_done = Keep::Forever;
    submit(&mut world, "q", 0).unwrap();
    let forget = || Command::ForgetQueue { queue: name("q") };
    let refused = Err(Rejection::QueueHasJobs { queue: name("q"), jobs: 1 });
    assert_eq!(world.run(forget()), refused);
    use_up(&mut world, "q");
    assert_eq!(world.run(forget()), refused, "one that is kept is a job too");
    world.edit(Edit::Delete, &[1]);
    world.run(forget()).unwrap();
    assert!(names(&world).is_empty());
    submit(&mut world, "q", 7).unwrap();
    let queue = world.core.state.queue(&name("q")).unwrap();
    assert_eq!((queue.totals().submitted, queue.maker()), (1, Some(7)), "it begins anew");
}
