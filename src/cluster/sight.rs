//! How a cluster looks, made of signs of life and of what the servers say of the stream.

use super::beat::{ALIVE, Heard, Role};
use crate::store::{Seq, StreamState};
use crate::views::{ClusterView, NodeView, StreamView};

/// Makes it of the nodes and their newest signs, in the order in which they are to be shown.
pub(super) fn sight(heard: Vec<(String, Option<Heard>)>, stream: StreamView) -> ClusterView {
    let alive =
        |heard: &Option<Heard>| heard.clone().filter(|(beat, ago)| *ago < ALIVE && beat.role != Role::Gone);
    let beats = || heard.iter().filter_map(|(_, heard)| alive(heard)).map(|(beat, _)| beat);
    // One with an older ownership does not know yet that it is over.
    let owner = beats().filter(|beat| beat.role == Role::Owner).max_by_key(|beat| beat.epoch);
    let epoch = beats().map(|beat| beat.epoch).max().unwrap_or(0);
    let newest = owner.as_ref().map(|owner| owner.commit);
    let node = |(node, heard): &(String, Option<Heard>)| {
        let role = alive(heard).map(|(beat, _)| beat.role);
        let is_following = role.is_some_and(|role| role != Role::Owner);
        let role = role.map_or("absent", Role::word).to_owned();
        let Some((beat, ago)) = heard else {
            return NodeView { node: node.clone(), role, ..NodeView::default() };
        };
        NodeView {
            node: node.clone(),
            role,
            version: Some(beat.version.clone()),
            commit: Some(beat.commit),
            behind: newest.filter(|_| is_following).map(|newest| newest.saturating_sub(beat.commit)),
            needs: Some(beat.home.saturating_add(1)),
            heard_ms: Some(ago.as_millis() as u64),
        }
    };
    let nodes = heard.iter().map(node).collect();
    ClusterView {
        shard: None,
        shards: None,
        node: None,
        owner: owner.map(|owner| owner.node),
        epoch,
        nodes,
        stream,
        unanswered_ms: None,
    }
}

/// The stream, as the servers have said it.
pub(super) fn stream_view(name: &str, state: Result<StreamState, String>) -> StreamView {
    let name = name.to_owned();
    match state {
        Ok(StreamState { first: Seq(first), last: Seq(last), bytes, leader }) => {
            StreamView { name, first: Some(first), last: Some(last), bytes: Some(bytes), leader, error: None }
        }
        Err(error) => StreamView { name, error: Some(error), ..StreamView::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::beat::Beat;
    use std::time::Duration;

    fn beat(node: &str, role: Role, epoch: u64, commit: u64) -> Beat {
        let (life, version) = (format!("{node}-1"), "1.2.3".to_owned());
        Beat { node: node.to_owned(), life, version, epoch, role, commit, home: commit / 2, heir: None }
    }

    #[test]
    fn the_owner_is_the_one_with_the_newest_ownership_who_lives() {
        let ms = Duration::from_millis;
        let heard = vec![
            ("a".to_owned(), Some((beat("a", Role::Owner, 3, 90), ms(700)))),
            ("b".to_owned(), Some((beat("b", Role::Owner, 4, 100), ms(10)))),
            ("c".to_owned(), Some((beat("c", Role::Standby, 4, 96), ms(20)))),
            ("d".to_owned(), Some((beat("d", Role::Owner, 5, 200), ms(1_500)))),
            ("e".to_owned(), Some((beat("e", Role::Gone, 4, 50), ms(1)))),
            ("f".to_owned(), None),
        ];
        let seen = sight(heard, stream_view("s", Err("no".to_owned())));
        assert_eq!((seen.owner.as_deref(), seen.epoch), (Some("b"), 4));
        let rows: Vec<_> = seen.nodes.iter().map(|node| (&*node.node, &*node.role, node.behind)).collect();
        let expected = [
            ("a", "owner", None),
            ("b", "owner", None),
            ("c", "standby", Some(4)),
            ("d", "absent", None),
            ("e", "absent", None),
            ("f", "absent", None),
        ];
        assert_eq!(rows, expected);
        assert_eq!((seen.nodes[2].needs, seen.nodes[2].heard_ms), (Some(49), Some(20)));
        assert_eq!((seen.nodes[5].commit, seen.stream.records()), (None, None));
    }
}
