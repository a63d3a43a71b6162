//! Several nodes on one stream, with every fault of it: never do two owners both get confirmations for other commits of the
//! same number, each later owner has every confirmed commit, and all nodes say the same of the same record. And the log over it
//! keeps the contract of logs.

use super::*;
use crate::store::commit::CommitNo;
use crate::store::contract;
use crate::store::log::replicated::{
    Ask, Bounds, Epoch, Lost, Meaning, NodeLife, Position, ReplicatedLog, Rules, Spool, Writer,
};
use crate::store::log::{Place as LogPlace, Segment};
use crate::store::logged::OnCommit;
use std::path::Path;
use std::sync::Arc;

/// What is true of the stream, whoever owns it.
#[derive(Default)]
struct Oracle {
    confirmed: Vec<Bytes>,
    /// In which epoch each of them was.
    epochs: Vec<Epoch>,
    takeovers: u32,
    passed_over: u32,
    lives: u64,
}

impl Oracle {
    /// A node that has just begun.
    fn new_node(&mut self) -> Node {
        self.lives += 1;
        let role = Role::Standby(Rules::from(Position::default()));
        Node { life: self.lives, role, commits: Vec::new(), was_owner: false }
    }

    /// An owner was told that its commits up to a position are safe.
    fn confirm(&mut self, position: Position, commits: &[Bytes]) -> Result<(), String> {
        let commits = commits
            .get(..position.number.0 as usize)
            .ok_or("an owner is told of more commits than it knows")?;
        let common = self.confirmed.len().min(commits.len());
        if commits[..common] != self.confirmed[..common] {
            return Err(format!("two commits were confirmed under one number, up to {:?}", position.number));
        }
        self.confirmed.extend_from_slice(&commits[common..]);
        self.epochs.resize(self.confirmed.len(), position.epoch);
        Ok(())
    }

    /// A node has taken over with these commits. It may learn that late, when others have taken over after it.
    fn take_over(&mut self, position: Position, commits: &[Bytes]) -> Result<(), String> {
        self.takeovers += 1;
        let before = self.epochs.partition_point(|epoch| *epoch < position.epoch);
        match commits.starts_with(&self.confirmed[..before]) {
            true => Ok(()),
            false => Err(format!("an owner does not have all {before} commits that were confirmed before")),
        }
    }
}

enum Role {
    Standby(Rules),
    Writer(Box<Writer>),
}

/// A node: it stands by, takes over, owns, and starts anew after it was lost or has crashed.
struct Node {
    life: u64,
    role: Role,
    /// All commits that it knows, confirmed or not.
    commits: Vec<Bytes>,
    was_owner: bool,
}

impl Node {
    /// It does something.
    fn act(
        &mut self,
        random: &mut Random,
        stream: &SimulatedStream,
        oracle: &mut Oracle,
    ) -> Result<(), String> {
        match &mut self.role {
            Role::Standby(rules) => {
                for _ in 0..random.below(20) {
                    let seq = rules.position().seq.next();
                    let Some(message) = stream.read(seq) else { break };
                    match rules.read(seq, &message).map_err(|error| error.to_string())? {
                        Meaning::Commit(number, payload) => {
                            self.commits.push(payload);
                            assert_eq!(number.0, self.commits.len() as u64);
                        }
                        Meaning::Void => oracle.passed_over += 1,
                        Meaning::Part | Meaning::Takeover(_) => {}
                    }
                }
                if random.below(40) == 0 && rules.position().seq == stream.end() {
                    let writer =
                        Writer::take_over(rules.clone(), NodeLife(self.life.into()), 1 + random.below(3));
                    self.role = Role::Writer(Box::new(writer));
                }
            }
            Role::Writer(writer) => {
                if writer.is_owner()
                    && random.below(3) == 0
                    && (self.commits.len() as u64) < writer.confirmed().0 + 4
                {
                    let payload = Bytes::from(format!(
                        "{} of {}: {:x}",
                        self.commits.len(),
                        self.life,
                        random.below(1 << 30)
                    ));
                    let payload = payload.slice(..random.below(payload.len() + 1));
                    self.commits.push(payload.clone());
                    writer.append(CommitNo(self.commits.len() as u64), &payload, 8);
                }
                if random.below(4) == 0 {
                    writer.note_end(stream.end());
                }
                while let Some(ask) = writer.next_ask() {
                    match ask {
                        Ask::Append { ticket, expected, message } => {
                            stream.send(self.life, ticket, expected, message)
                        }
                        // The server that is asked may be behind.
                        Ask::Read(seq) => {
                            writer.found(seq, stream.read(seq).filter(|_| random.below(8) > 0).as_ref())
                        }
                    }
                }
            }
        }
        self.check(oracle)
    }

    fn appended(&mut self, ticket: u64, outcome: Outcome, oracle: &mut Oracle) -> Result<(), String> {
        if let Role::Writer(writer) = &mut self.role {
            writer.appended(ticket, outcome);
        }
        self.check(oracle)
    }

    fn check(&mut self, oracle: &mut Oracle) -> Result<(), String> {
        let Role::Writer(writer) = &self.role else { return Ok(()) };
        if writer.is_owner() && !std::mem::replace(&mut self.was_owner, true) {
            oracle.take_over(writer.rules().position(), &self.commits)?;
        }
        if writer.is_owner() && writer.lost().is_none() {
            oracle.confirm(writer.rules().position(), &self.commits)?;
        }
        match writer.lost() {
            None => Ok(()),
            Some(Lost::Taken(_) | Lost::Overtaken(_)) => {
                *self = oracle.new_node();
                Ok(())
            }
            Some(lost @ (Lost::Unreadable(_) | Lost::CutOff | Lost::Ended)) => Err(lost.to_string()),
        }
    }
}

/// Lets three nodes share a stream for a while. Returns what was found wrong.
fn play(seed: u64, fault: Option<StreamFault>) -> Result<Oracle, String> {
    let (mut random, stream) = (Random(seed ^ 0x5eed), SimulatedStream::new(seed));
    if let Some(fault) = fault {
        stream.plant(fault);
    }
    let mut oracle = Oracle::default();
    let mut nodes: Vec<Node> = (0..3).map(|_| oracle.new_node()).collect();
    for _ in 0..6_000 {
        let nth = random.below(nodes.len());
        match random.below(400) {
            0 => {
                stream.forget(nodes[nth].life);
                nodes[nth] = oracle.new_node();
            }
            1..200 => nodes[nth].act(&mut random, &stream, &mut oracle)?,
            _ => {
                if let Some((sender, ticket, outcome)) = stream.step()
                    && let Some(node) = nodes.iter_mut().find(|node| node.life == sender)
                {
                    node.appended(ticket, outcome, &mut oracle)?;
                }
            }
        }
    }
    // In the end everybody who reads it says the same.
    stream.calm_down();
    let mut rules = Rules::from(Position::default());
    let mut commits = Vec::new();
    while let Some(message) = stream.read(rules.position().seq.next()) {
        let meaning = rules.read(rules.position().seq.next(), &message).map_err(|error| error.to_string())?;
        if let Meaning::Commit(_, payload) = meaning {
            commits.push(payload);
        }
    }
    if !commits.starts_with(&oracle.confirmed) {
        return Err("a confirmed commit is not in the stream".to_owned());
    }
    for node in &nodes {
        // What an owner has appended and is not confirmed may be lost.
        let known = match &node.role {
            Role::Writer(writer) if writer.is_owner() => writer.confirmed().0 as usize,
            Role::Standby(_) | Role::Writer(_) => node.commits.len(),
        };
        if !commits.starts_with(&node.commits[..known]) {
            return Err(format!("node {} has read something else", node.life));
        }
    }
    Ok(oracle)
}

#[test]
fn nothing_confirmed_is_lost_and_no_two_owners_are_confirmed() {
    let (mut takeovers, mut confirmed, mut passed_over) = (0, 0, 0);
    for seed in 0..400 {
        let oracle = play(seed, None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        takeovers += oracle.takeovers;
        confirmed += oracle.confirmed.len();
        passed_over += oracle.passed_over;
    }
    // It was no quiet life.
    assert!(
        takeovers > 4_000 && confirmed > 20_000 && passed_over > 10_000,
        "{takeovers} {confirmed} {passed_over}"
    );
}

#[test]
fn faults_that_the_rules_cannot_make_good_are_found() {
    for fault in [StreamFault::EarlyAnswers, StreamFault::Forgets] {
        let found = (0..100).filter(|seed| play(*seed, Some(fault)).is_err()).count();
        assert!(found > 20, "{fault:?}: found in {found} of 100 plays");
    }
}

/// Reads the stream on, as far as it goes.
pub(super) fn read_stream(
    stream: &SimulatedStream,
    rules: &mut Rules,
    mut on_commit: impl FnMut(CommitNo, Bytes),
) {
    while let Some(message) = stream.read(rules.position().seq.next()) {
        if let Meaning::Commit(number, payload) = rules.read(rules.position().seq.next(), &message).unwrap() {
            on_commit(number, payload);
        }
    }
}

pub(super) fn place(number: CommitNo, segment: &Arc<dyn Segment>, at: u64) -> LogPlace<'_> {
    LogPlace { path: Path::new("the stream"), offset: at, number, payload: Some((segment, at)) }
}

/// Reads the stream, takes it over, and opens the log.
fn open(
    (stream, life): (&SimulatedStream, u64),
    (dir, under_way): (&Path, u64),
    home: CommitNo,
    on_commit: &mut OnCommit<'_>,
) -> ReplicatedLog<SimulatedLink> {
    let mut rules = Rules::from(Position::default());
    let mut spool = Spool::new(dir.to_owned(), 10_000, home);
    read_stream(stream, &mut rules, |number, payload| {
        if number > home {
            let (file, at) = spool.push(&payload).unwrap();
            let segment: Arc<dyn Segment> = file;
            on_commit(place(number, &segment, at), &payload).unwrap();
        }
    });
    let (link, progress) =
        SimulatedLink::take_over(stream.clone(), rules, life, 1_000).expect("nobody else is there");
    let mut log = ReplicatedLog::standby(
        spool,
        Bounds { under_way, bytes: u64::MAX },
        Position::default().mark(1),
        Arc::default(),
    );
    log.own(link, progress).unwrap();
    log
}

#[test]
fn its_log_keeps_the_contract_of_logs() {
    for under_way in [1, 2, 5] {
        let dir = tempfile::tempdir().unwrap();
        let (stream, mut life) = (SimulatedStream::new(under_way), 0);
        let open = |before, home, on_commit: &mut OnCommit<'_>| {
            drop(before);
            stream.calm_down();
            life += 1;
            open((&stream, life), (dir.path(), under_way), home, on_commit)
        };
        contract::check_log(open, |log| log.link().unwrap().confirm_one());
    }
}
