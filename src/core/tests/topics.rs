//! Queues that are bound to topics: by the configuration, and by command, which is part of the state.

use super::world::{World, name};
use crate::core::*;

fn pattern(text: &str) -> Pattern {
    Topics::pattern(text).unwrap()
}

fn names(names: &[&str]) -> Vec<QueueName> {
    names.iter().map(|queue| name(queue)).collect()
}

fn bind(world: &mut World, topic: &str, queues: &[&str]) -> Result<Outcome, Rejection> {
    let action = TopicAction::Bind { queues: names(queues) };
    world.run(Command::Topic { pattern: pattern(topic), action })
}

fn unbind(world: &mut World, topic: &str, queues: &[&str]) -> Result<Outcome, Rejection> {
    let action = TopicAction::Unbind { queues: names(queues) };
    world.run(Command::Topic { pattern: pattern(topic), action })
}

fn configured(topics: &[(&str, &[&str])]) -> Settings {
    let topics = topics.iter().map(|(topic, queues)| (pattern(topic), names(queues)));
    Settings { topics: topics.collect(), ..Settings::default() }
}

#[test]
fn a_topic_has_the_queues_of_all_patterns_that_it_matches_each_once() {
    let mut world = World::new();
    world.core.configure(configured(&[
        ("order.created", &["invoices", "mails"]),
        ("order.*", &["audit", "mails", "audit"]),
    ]));
    let of = |world: &World, topic: &str| world.core.queues_of(topic);
    assert_eq!(of(&world, "order.created"), names(&["audit", "mails", "invoices"]));
    assert_eq!(of(&world, "order.paid"), names(&["audit", "mails"]));
    assert!(of(&world, "orders").is_empty());
    // What is bound by command comes behind, in the order of the patterns and then as it was bound.
    bind(&mut world, "order.created", &["stock", "mails", "stock"]).unwrap();
    bind(&mut world, "order.created", &["books"]).unwrap();
    bind(&mut world, "*", &["all"]).unwrap();
    assert_eq!(of(&world, "order.created"), names(&["audit", "mails", "invoices", "all", "stock", "books"]));
    assert_eq!(of(&world, "orders"), names(&["all"]));
    // A reload takes what the configuration has said along, and nothing else.
    world.core.configure(configured(&[]));
    assert_eq!(of(&world, "order.created"), names(&["all", "stock", "mails", "books"]));
    for state in world.restarts() {
        let core = Core::new(state, configured(&[("order.*", &["mails"])]));
        assert_eq!(core.queues_of("order.created"), names(&["mails", "all", "stock", "books"]));
    }
    unbind(&mut world, "order.created", &["stock", "books"]).unwrap();
    unbind(&mut world, "*", &[]).unwrap();
    assert_eq!(of(&world, "order.created"), names(&["mails"]));
    for state in world.restarts() {
        assert_eq!(Core::new(state, configured(&[])).queues_of("order.created"), names(&["mails"]));
    }
}

#[test]
fn what_is_bound_already_is_no_event() {
    let mut world = World::new();
    bind(&mut world, "order.*", &["a", "b"]).unwrap();
    assert!(matches!(world.fresh(), [Event::Row(RowEvent::TopicBound { .. })]));
    bind(&mut world, "order.*", &["b", "a", "b"]).unwrap();
    assert!(world.fresh().is_empty());
    unbind(&mut world, "order.*", &["a"]).unwrap();
    let [Event::Row(RowEvent::TopicBound { queues, .. })] = world.fresh() else { panic!() };
    assert_eq!(**queues, names(&["b"]));
    unbind(&mut world, "order.*", &["b", "b"]).unwrap();
    assert!(matches!(world.fresh(), [Event::Row(RowEvent::TopicUnbound { .. })]));
    assert!(world.core.state.rows().is_empty(), "nothing is left of it");
}

#[test]
fn what_was_not_bound_by_command_is_not_unbound() {
    let mut world = World::new();
    world.core.configure(configured(&[("order.*", &["mails"])]));
    let (topic, of) = (pattern("order.*"), |queue| Some(name(queue)));
    let refused = |refusal: TopicRejection| Err(Rejection::from(refusal));
    let both = bind(&mut world, "order.*", &["audit", "mails"]);
    assert_eq!(both, Ok(Outcome::Ok), "the configuration may change");
    let not_bound = TopicRejection::NotBound { pattern: topic.clone(), queue: of("other") };
    assert!(not_bound.to_string().starts_with("queue `other` is not bound to topic `order.*` by command"));
    assert_eq!(unbind(&mut world, "order.*", &["mails", "other"]), refused(not_bound));
    assert_eq!(world.core.queues_of("order.x"), names(&["mails", "audit"]), "none of them is");
    unbind(&mut world, "order.*", &["mails"]).unwrap();
    let in_file = TopicRejection::Configured { pattern: topic.clone(), queue: of("mails") };
    assert!(
        in_file.to_string().ends_with("in the daemon's configuration ([topics]): change it there and reload")
    );
    assert_eq!(unbind(&mut world, "order.*", &["mails"]), refused(in_file));
    unbind(&mut world, "order.*", &[]).unwrap();
    let all = TopicRejection::Configured { pattern: topic, queue: None };
    assert_eq!(unbind(&mut world, "order.*", &[]), refused(all));
    let unknown = TopicRejection::NotBound { pattern: pattern("order.created"), queue: None };
    assert_eq!(
        unbind(&mut world, "order.created", &[]),
        refused(unknown),
        "the pattern is meant, to the letter"
    );
    assert!(world.fresh().is_empty());
}

#[test]
fn no_more_is_bound_than_may_be() {
    let mut world = World::new();
    world.checks = false;
    let many: Vec<String> = (0..=Topics::QUEUES_MAX).map(|nth| format!("q{nth}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let limit = Topics::QUEUES_MAX;
    let too_many = TopicRejection::TooManyQueues { pattern: pattern("t"), limit };
    assert_eq!(bind(&mut world, "t", &many), Err(too_many.clone().into()));
    assert!(world.core.state.topics().is_empty(), "none of them is bound");
    bind(&mut world, "t", &many[1..]).unwrap();
    bind(&mut world, "t", &many[5..9]).unwrap();
    assert_eq!(bind(&mut world, "t", &many[..2]), Err(too_many.into()));
    for nth in 1..Topics::PATTERNS_MAX {
        bind(&mut world, &format!("t{nth}"), &["q"]).unwrap();
    }
    let limit = Topics::PATTERNS_MAX;
    let refused = bind(&mut world, "one.more", &["q"]);
    assert_eq!(refused, Err(TopicRejection::TooManyPatterns { limit }.into()));
    bind(&mut world, "t7", &["other"]).unwrap();
    unbind(&mut world, "t8", &[]).unwrap();
    bind(&mut world, "one.more", &["q"]).unwrap();
    check::check(&world.core.state);
}

/// A drain ends, and what was bound meanwhile holds.
#[test]
fn they_are_bound_while_draining() {
    let mut world = World::new();
    world.core.draining = true;
    bind(&mut world, "t", &["q"]).unwrap();
    unbind(&mut world, "t", &["q"]).unwrap();
}

#[test]
fn a_text_that_is_no_pattern_says_what_one_is() {
    for text in ["", "two words", "a?", "ä", &"x".repeat(201)] {
        let error = Topics::pattern(text).unwrap_err().to_string();
        assert!(error.contains("is not a pattern of topics") && error.len() < 200, "{error}");
    }
}
