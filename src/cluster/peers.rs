//! Who is there, and whose turn it is to take over. Pure: it is told what was heard and when.
//!
//! A node takes over when the owner has been silent for the lease, and for a little longer for each node before it in the
//! list that is alive and could do it as well. Who takes over for certain the stream decides: two at once do no harm.
//!
//! The owner's silence counts only as long as a node hears itself, by the same way: a node that is cut off, or was stopped, is the one
//! that is silent.

use super::beat::{ALIVE, Beat, Heard, Role};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often each node gives a sign of life.
pub(super) const BEAT: Duration = Duration::from_millis(125);
/// A node that has not heard itself for so long was away.
const AWAY: Duration = Duration::from_millis(400);
/// How much later each next node tries.
const STAGGER: Duration = Duration::from_millis(150);
/// An owner that has not heard itself for so long is cut off from the servers: others have taken over, or will, and it must not go on to
/// run jobs.
pub(super) const CUT_OFF: Duration = Duration::from_secs(3);
/// Somebody else with this node's name is there when he has been heard for so long, without a longer pause than [`AWAY`]. What this node
/// said in a former life may have been held up by a network, and comes at once.
const DOUBLE: Duration = Duration::from_secs(2);

/// What a node has heard.
#[derive(Debug)]
pub(super) struct Peers {
    /// This node.
    own: String,
    life: String,
    /// All nodes, in the order in which they take over.
    nodes: Vec<String>,
    lease: Duration,
    heard: BTreeMap<String, (Duration, Beat)>,
    /// The newest ownership that is known.
    epoch: u64,
    /// When its owner has last been heard, and who it is, if it has said so.
    owner_heard: Duration,
    owner: Option<Beat>,
    /// The owner has given up, and has said who is to take over, if it has.
    is_given_up: bool,
    heir: Option<String>,
    own_heard: Duration,
    /// Since when others with this node's name are heard, and when they were last.
    double: Option<(Duration, Duration)>,
}

impl Peers {
    pub(super) fn new((own, life): (&str, &str), nodes: &[String], lease: Duration, now: Duration) -> Peers {
        Peers {
            own: own.to_owned(),
            life: life.to_owned(),
            nodes: nodes.to_vec(),
            lease,
            heard: BTreeMap::new(),
            epoch: 0,
            owner_heard: now,
            owner: None,
            is_given_up: false,
            heir: None,
            own_heard: now,
            double: None,
        }
    }

    /// A sign of life was heard. Returns whether another one says that it is this node.
    pub(super) fn hear(&mut self, beat: Beat, now: Duration) -> bool {
        if beat.life == self.life {
            if now.saturating_sub(self.own_heard) > AWAY {
                self.owner_heard = now;
            }
            self.own_heard = now;
            return false;
        }
        let is_double = beat.node == self.own && beat.role != Role::Gone && self.is_double(now);
        if beat.epoch >= self.epoch {
            match beat.role {
                Role::Owner => {
                    self.epoch = beat.epoch;
                    (self.owner_heard, self.is_given_up) = (now, false);
                    self.owner = Some(beat.clone());
                }
                Role::Gone if self.owner.as_ref().is_some_and(|owner| owner.life == beat.life) => {
                    (self.is_given_up, self.heir) = (true, beat.heir.clone());
                    self.owner = None;
                }
                _ => {}
            }
        }
        if self.nodes.contains(&beat.node) {
            self.heard.insert(beat.node.clone(), (now, beat));
        }
        is_double
    }

    /// Whether others with this node's name, one of which is heard now, were heard long enough.
    fn is_double(&mut self, now: Duration) -> bool {
        let since = match self.double {
            Some((since, last)) if now.saturating_sub(last) <= AWAY => since,
            _ => now,
        };
        self.double = Some((since, now));
        now.saturating_sub(since) >= DOUBLE
    }

    /// The stream has a takeover: from there on somebody else is the owner.
    pub(super) fn note_takeover(&mut self, epoch: u64, now: Duration) {
        if epoch > self.epoch {
            (self.epoch, self.owner_heard, self.is_given_up) = (epoch, now, false);
            self.owner = None;
        }
    }

    /// The owner has appended something: it lives.
    pub(super) fn note_record(&mut self, now: Duration) {
        self.owner_heard = now;
    }

    /// Who the owner is, if it was heard of late.
    pub(super) fn owner(&self) -> Option<&Beat> {
        self.owner.as_ref()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The nodes in their order, each with its newest sign and how long ago that came. `own`: this one's.
    pub(super) fn heard(&self, own: &Beat, now: Duration) -> Vec<(String, Option<Heard>)> {
        let heard = |name: &String| match *name == self.own {
            true => Some((own.clone(), Duration::ZERO)),
            false => self.heard.get(name).map(|(at, beat)| (beat.clone(), now.saturating_sub(*at))),
        };
        self.nodes.iter().map(|name| (name.clone(), heard(name))).collect()
    }

    /// Whether this node is to take over.
    pub(super) fn is_my_turn(&self, now: Duration) -> bool {
        let is_away = now.saturating_sub(self.own_heard) > AWAY;
        let silence = match (self.is_given_up, &self.heir) {
            (true, None) => STAGGER * self.rank(now),
            (true, Some(heir)) if *heir == self.own => Duration::ZERO,
            // Whoever is to take over may have gone meanwhile.
            _ => self.lease + STAGGER * self.rank(now),
        };
        !is_away && now.saturating_sub(self.owner_heard) >= silence
    }

    /// The other nodes that could take over now.
    pub(super) fn standbys(&self, now: Duration) -> Vec<String> {
        let others = self.nodes.iter().filter(|name| **name != self.own && self.stands_by(name, now));
        others.cloned().collect()
    }

    /// Whether another node could take over now.
    pub(super) fn stands_by(&self, name: &str, now: Duration) -> bool {
        self.heard
            .get(name)
            .is_some_and(|(at, beat)| beat.role == Role::Standby && now.saturating_sub(*at) < ALIVE)
    }

    /// How many nodes come before this one.
    fn rank(&self, now: Duration) -> u32 {
        let is_alive = |name: &&String| self.stands_by(name, now);
        self.nodes.iter().take_while(|name| **name != self.own).filter(is_alive).count() as u32
    }

    /// Whether this node, as the owner, is cut off.
    pub(super) fn is_cut_off(&self, now: Duration) -> bool {
        now.saturating_sub(self.own_heard) > CUT_OFF.max(self.lease)
    }

    /// Up to where the stream may go: the newest record that no node needs any more. `own`: what this node does not need. If not all nodes have been heard
    /// of late, it is known only for those that have; `None` then, unless `spares_the_absent` is false.
    pub(super) fn needs_nothing_before(
        &self,
        own: u64,
        spares_the_absent: bool,
        now: Duration,
    ) -> Option<u64> {
        let others = self.nodes.iter().filter(|name| **name != self.own);
        let (mut least, mut heard) = (own, 1);
        for name in others {
            match self.heard.get(name) {
                Some((at, beat)) if now.saturating_sub(*at) < ALIVE => {
                    least = least.min(beat.home);
                    heard += 1;
                }
                _ if spares_the_absent => return None,
                _ => {}
            }
        }
        // What is let go must be on the disks of most nodes, as it was on those of most servers.
        (2 * heard > self.nodes.len()).then_some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn beat(node: &str, role: Role, epoch: u64) -> Beat {
        let (life, version) = (format!("{node}-1"), String::new());
        Beat { node: node.to_owned(), life, version, epoch, role, commit: 0, home: 10 * epoch, heir: None }
    }

    fn peers(own: &str) -> Peers {
        let nodes = ["a", "b", "c"].map(str::to_owned);
        Peers::new((own, &format!("{own}-1")), &nodes, at(500), at(0))
    }

    /// It hears itself and these others from one time to another.
    fn time_passes(peers: &mut Peers, from: u64, to: u64, others: &[Beat]) {
        for ms in (from..=to).step_by(100) {
            peers.hear(beat(&peers.own.clone(), Role::Standby, 0), at(ms));
            for other in others {
                peers.hear(other.clone(), at(ms));
            }
        }
    }

    #[test]
    fn the_first_that_is_alive_takes_over_after_the_lease() {
        let owner = beat("a", Role::Owner, 3);
        let (b, c) = (beat("b", Role::Standby, 3), beat("c", Role::Standby, 3));
        let (mut second, mut third) = (peers("b"), peers("c"));
        time_passes(&mut second, 0, 1_000, &[owner.clone(), c.clone()]);
        time_passes(&mut third, 0, 1_000, &[owner.clone(), b.clone()]);
        assert_eq!(second.owner().map(|owner| &*owner.node), Some("a"));
        time_passes(&mut second, 1_100, 1_400, std::slice::from_ref(&c));
        time_passes(&mut third, 1_100, 1_500, std::slice::from_ref(&b));
        assert!(!second.is_my_turn(at(1_499)) && second.is_my_turn(at(1_500)));
        assert!(!third.is_my_turn(at(1_649)) && third.is_my_turn(at(1_650)));
        // Somebody was faster.
        second.note_takeover(4, at(1_550));
        assert!(!second.is_my_turn(at(1_600)) && second.owner().is_none());
        // Nobody before it lives: it does not wait for anybody.
        time_passes(&mut third, 1_600, 3_000, &[]);
        third.note_record(at(2_500));
        assert!(!third.is_my_turn(at(2_999)) && third.is_my_turn(at(3_000)));
    }

    #[test]
    fn who_was_away_waits_for_a_lease_of_its_own() {
        let mut second = peers("b");
        time_passes(&mut second, 0, 1_000, &[beat("a", Role::Owner, 3)]);
        // Stopped, or cut off: nothing at all is heard.
        assert!(!second.is_my_turn(at(9_000)), "it hears nothing");
        time_passes(&mut second, 9_000, 9_400, &[]);
        assert!(!second.is_my_turn(at(9_499)) && second.is_my_turn(at(9_500)));
    }

    #[test]
    fn an_owner_that_gives_up_is_not_waited_for() {
        let (mut second, mut third) = (peers("b"), peers("c"));
        for (peers, other) in [(&mut second, "c"), (&mut third, "b")] {
            let other = beat(other, Role::Standby, 3);
            time_passes(peers, 0, 1_000, &[beat("a", Role::Owner, 3), other]);
            peers.hear(beat("a", Role::Gone, 3), at(1_000));
        }
        assert!(second.is_my_turn(at(1_000)));
        assert!(!third.is_my_turn(at(1_000)) && third.is_my_turn(at(1_150)));
        // One that was the owner long ago says nothing about the one that is.
        second.hear(beat("c", Role::Owner, 4), at(1_100));
        second.hear(beat("a", Role::Gone, 3), at(1_100));
        assert!(!second.is_my_turn(at(1_200)));
        second.hear(beat("a", Role::Owner, 3), at(1_200));
        assert_eq!(second.owner().map(|owner| &*owner.node), Some("c"));
    }

    #[test]
    fn an_owner_that_gives_up_may_say_who_takes_over() {
        let (mut second, mut third) = (peers("b"), peers("c"));
        for (peers, other) in [(&mut second, "c"), (&mut third, "b")] {
            let other = beat(other, Role::Standby, 3);
            time_passes(peers, 0, 1_000, &[beat("a", Role::Owner, 3), other]);
            assert!(peers.stands_by(if peers.own == "b" { "c" } else { "b" }, at(1_000)));
            assert!(!peers.stands_by("a", at(1_000)) && !peers.stands_by("x", at(1_000)));
            peers.hear(Beat { heir: Some("c".to_owned()), ..beat("a", Role::Gone, 3) }, at(1_000));
        }
        assert!(third.is_my_turn(at(1_000)));
        // It may have gone as well.
        assert!(!second.is_my_turn(at(1_400)));
        time_passes(&mut second, 1_100, 1_500, &[]);
        assert!(!second.is_my_turn(at(1_499)) && second.is_my_turn(at(1_500)));
        // The next one that gives up has said nothing.
        third.note_takeover(4, at(1_100));
        third.hear(beat("b", Role::Owner, 4), at(1_100));
        third.hear(beat("b", Role::Gone, 4), at(1_200));
        assert!(third.is_my_turn(at(1_200)));
    }

    #[test]
    fn an_owner_that_does_not_hear_itself_is_cut_off() {
        let mut owner = peers("a");
        time_passes(&mut owner, 0, 1_000, &[]);
        assert!(!owner.is_cut_off(at(4_000)) && owner.is_cut_off(at(4_001)));
    }

    #[test]
    fn the_stream_is_kept_for_all_nodes_and_for_the_absent_up_to_a_bound() {
        let mut owner = peers("a");
        owner.hear(beat("b", Role::Standby, 2), at(0));
        assert_eq!(owner.needs_nothing_before(90, true, at(0)), None);
        assert_eq!(owner.needs_nothing_before(90, false, at(0)), Some(20));
        owner.hear(beat("c", Role::Starting, 1), at(0));
        assert_eq!(owner.needs_nothing_before(90, true, at(0)), Some(10));
        assert_eq!(owner.needs_nothing_before(5, true, at(0)), Some(5));
        assert_eq!(owner.needs_nothing_before(90, true, at(2_000)), None);
        assert_eq!(owner.needs_nothing_before(90, false, at(2_000)), None, "on one disk only");
    }

    #[test]
    fn two_of_one_name_are_noticed() {
        let mut own = peers("a");
        let other = Beat { life: "other".to_owned(), ..beat("a", Role::Standby, 1) };
        let heard: Vec<bool> = (0..=2_000).step_by(125).map(|ms| own.hear(other.clone(), at(ms))).collect();
        assert_eq!(heard, [vec![false; 16], vec![true]].concat());
        // Of three with one name each hears two.
        let third = Beat { life: "third".to_owned(), ..other.clone() };
        let mut in_turn = [other.clone(), third].into_iter().cycle();
        let mut hear = |ms| own.hear(in_turn.next().unwrap(), at(ms));
        assert!(!hear(3_000));
        assert!((3_125..5_000).step_by(125).all(|ms| !hear(ms)) && hear(5_000));
        assert!(!own.hear(Beat { role: Role::Gone, ..other.clone() }, at(5_100)));
        assert!(!own.hear(beat("a", Role::Standby, 1), at(5_100)), "that is this one");
        // What was held up comes at once, and may do so again.
        for burst in [7_000, 9_000] {
            assert!((0..100).all(|nth| !own.hear(other.clone(), at(burst + nth))));
        }
    }
}
