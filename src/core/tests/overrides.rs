//! What is set for a queue at run time: it goes over the configuration, and is part of the state.

use super::world::{World, group, name, secs};
use crate::core::*;

fn set(world: &mut World, queue: &str, set: &[Setting], unset: &[SettingKey]) -> Result<Outcome, Rejection> {
    let (set, unset) = (set.to_vec(), unset.to_vec());
    world.run(Command::SetQueue { queue: name(queue), set, unset, by: 1000 })
}

fn two_at_a_time(world: &mut World) {
    set(world, "q", &[Setting::Concurrency(Some(2))], &[]).unwrap();
}

#[test]
fn it_holds_over_the_configuration_through_a_reload_and_a_restart() {
    let mut world = World::new();
    world.submit(vec![group("q", 9)]);
    two_at_a_time(&mut world);
    assert_eq!(world.claim("q", 9).len(), 2);
    let configured = Settings {
        queues: [(
            name("q"),
            QueueSettings { concurrency: Some(5), attempts: 7, ..QueueSettings::default() },
        )]
        .into_iter()
        .collect(),
        ..Settings::default()
    };
    world.core.configure(configured.clone());
    assert_eq!(world.claim("q", 9).len(), 0);
    let settings = world.core.settings.of(&name("q"));
    assert_eq!((settings.concurrency, settings.attempts), (Some(2), 7), "only what is set");
    assert_eq!(world.core.configured(&name("q")).concurrency, Some(5));

    for state in world.restarts() {
        let core = Core::new(state, configured.clone());
        assert_eq!(core.settings.of(&name("q")).concurrency, Some(2));
        let set = core.state.queue(&name("q")).unwrap().overrides().get(SettingKey::Concurrency).unwrap();
        assert_eq!((set.by, set.at), (1000, world.now));
    }
    set(&mut world, "q", &[], &[SettingKey::Concurrency]).unwrap();
    assert_eq!(world.claim("q", 9).len(), 3, "five, as the configuration says");
    // A reload that takes its table away.
    two_at_a_time(&mut world);
    world.core.configure(Settings::default());
    assert!(!world.core.is_configured(&name("q")));
    set(&mut world, "q", &[], &[SettingKey::Concurrency]).unwrap();
    assert_eq!(world.core.settings.of(&name("q")).concurrency, None);
    assert!(world.core.settings.queues.is_empty());
}

#[test]
fn a_queue_for_which_something_is_set_is_there_and_stays() {
    let mut world = World::new();
    world.core.settings.queues_max = 2;
    assert_eq!(
        set(&mut world, "q", &[], &[SettingKey::Rate]),
        Err(Rejection::NoSuchQueue { queue: name("q") })
    );
    two_at_a_time(&mut world);
    world.submit(vec![group("other", 1)]);
    let refused = set(&mut world, "third", &[Setting::Attempts(1)], &[]);
    assert_eq!(refused, Err(Rejection::TooManyQueues { limit: 2 }));
    assert!(world.run(Command::Submit { groups: vec![group("third", 1)].into() }).is_err(), "it is not idle");
    assert_eq!(world.core.idle_queues().count(), 0);
    // The last one lets it be: nobody has used it otherwise.
    set(&mut world, "q", &[Setting::Attempts(3)], &[SettingKey::Concurrency]).unwrap();
    assert!(world.core.state.queue(&name("q")).is_some());
    set(&mut world, "q", &[], &[SettingKey::Attempts]).unwrap();
    assert!(world.core.state.queue(&name("q")).is_none());
    // One that has been used stays as any other.
    set(&mut world, "other", &[Setting::Attempts(3)], &[]).unwrap();
    set(&mut world, "other", &[], &[SettingKey::Attempts]).unwrap();
    assert!(world.core.state.queue(&name("other")).is_some());
}

#[test]
fn a_queue_that_is_deleted_takes_it_along() {
    let mut world = World::new();
    two_at_a_time(&mut world);
    world.run(Command::ForgetQueue { queue: name("q") }).unwrap();
    world.submit(vec![group("q", 5)]);
    assert_eq!(world.claim("q", 9).len(), 5);
}

#[test]
fn what_is_set_already_keeps_who_set_it() {
    let mut world = World::new();
    two_at_a_time(&mut world);
    world.now = world.now.plus(secs(5));
    let again = vec![Setting::Concurrency(Some(2))];
    world.run(Command::SetQueue { queue: name("q"), set: again, unset: vec![], by: 7 }).unwrap();
    assert!(world.fresh().is_empty());
}

/// However many jobs there are, none of them is touched.
#[test]
fn a_queue_of_a_million_jobs_is_set_in_one_event() {
    let mut world = World::new();
    world.checks = false;
    world.submit(vec![group("q", 1_000_000)]);
    let entries = world.core.state.entries();
    two_at_a_time(&mut world);
    assert!(matches!(world.fresh(), [Event::Row(RowEvent::OverridesSet { .. })]));
    assert_eq!(world.core.state.entries(), entries);
    assert_eq!(world.claim("q", 100).len(), 2);
}
