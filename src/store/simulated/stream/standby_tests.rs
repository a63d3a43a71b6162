//! Nodes with stores of their own on one stream: what an owner has confirmed every later one has, with all blobs, whichever of them
//! crashes, and whatever of their checkpoints has been written by then.

use super::tests::read_stream;
use super::*;
use crate::core::{IdRange, JobId, State, Time};
use crate::store::Commit;
use crate::store::codec::encode_commit;
use crate::store::commit::CommitNo;
use crate::store::home::Rows;
use crate::store::log::Log;
use crate::store::log::replicated::{Bounds, Meaning, Position, ReplicatedLog, Rules, Spool, StreamCommit};
use crate::store::logged::LoggedStore;
use crate::store::recent::Recent;
use crate::store::simulated::{SimulatedDisk, SimulatedHome};
use crate::store::workload::{Workload, assert_same};
use crate::store::{Store, log};
use std::time::Duration;

type NodeStore = LoggedStore<ReplicatedLog<SimulatedLink>, SimulatedHome>;

const CHECKPOINTS: Duration = Duration::from_millis(100);

/// A node: its disk, and what it has while it lives.
struct Node {
    disk: SimulatedDisk,
    /// Where its spool is.
    _dir: tempfile::TempDir,
    rules: Rules,
    store: NodeStore,
    state: State,
    time: u64,
}

impl Node {
    /// Starts on a disk, and reads the stream as far as it goes.
    fn start(stream: &SimulatedStream, disk: SimulatedDisk) -> Node {
        let (dir, home) = (tempfile::tempdir().unwrap(), disk.open_home());
        // By what its home says it has read.
        let mark =
            Rows::meta(&home).unwrap().and_then(|meta| meta.mark).unwrap_or(Position::default().mark(1));
        let mut rules = Rules::from(Position::of(mark));
        let open_log = |home, on_commit: &mut crate::store::logged::OnCommit<'_>| {
            let mut spool = Spool::new(dir.path().to_owned(), 100_000, home);
            read_stream(stream, &mut rules, |number, payload| {
                if number > home {
                    let (file, at) = spool.push(&payload).unwrap();
                    let segment: std::sync::Arc<dyn log::Segment> = file;
                    on_commit(super::tests::place(number, &segment, at), &payload).unwrap();
                }
            });
            let bounds = Bounds { under_way: 6, bytes: u64::MAX };
            Ok(ReplicatedLog::standby(spool, bounds, rules.resumable().mark(1), std::sync::Arc::default()))
        };
        let memory = Recent::new(5_000);
        let (store, found) = LoggedStore::recover(home, open_log, memory, CHECKPOINTS).unwrap();
        Node { disk, _dir: dir, rules, store, state: found.state, time: 0 }
    }

    /// Takes in what the stream has more.
    fn follow(&mut self, stream: &SimulatedStream, rows: usize) {
        while let Some(message) = stream.read(self.rules.position().seq.next()) {
            if let Meaning::Commit(number, payload) =
                self.rules.read(self.rules.position().seq.next(), &message).unwrap()
            {
                let position = self.rules.resumable();
                self.store.follow(&mut self.state, StreamCommit { number, payload, position }).unwrap();
                assert_eq!(self.store.durable(), number);
            }
            self.maintain(rows);
        }
    }

    fn maintain(&mut self, rows: usize) {
        self.time += 30;
        self.disk.write_rows(rows);
        self.store.maintain(&self.state, Time(self.time)).unwrap();
    }

    fn take_over(&mut self, stream: &SimulatedStream, life: u64) {
        let (link, progress) =
            SimulatedLink::take_over(stream.clone(), self.rules.clone(), life, 10_000).unwrap();
        self.store.own(link, progress).unwrap();
    }

    fn last(&self) -> CommitNo {
        self.store.log.last()
    }
}

/// Something of what an owner does, in commits of which the last ones may be lost.
fn work(node: &mut Node, work: &mut Workload, (seed, rows): (u32, usize), commits: u32) -> Vec<Workload> {
    let mut history = vec![work.clone()];
    for nth in 0..commits {
        let commit = work.random(seed * 1_000 + nth);
        if !node.store.can_append() {
            node.store.wait().unwrap();
        }
        node.store.append(CommitNo(work.commits), &commit).unwrap();
        commit.events.iter().for_each(|event| node.state.apply(event));
        (0..3).for_each(|_| node.maintain(rows));
        history.push(work.clone());
    }
    history
}

#[test]
fn whoever_takes_over_has_all_that_was_confirmed() {
    let mut lost = 0;
    for seed in 0..6 {
        let stream = SimulatedStream::new(seed);
        let disks = [0, 1, 2].map(|nth| SimulatedDisk::new(seed * 10 + nth));
        let mut nodes = disks.map(|disk| Node::start(&stream, disk));
        let (mut done, mut checkpoints) = (Workload::default(), 0);
        for round in 0..9u64 {
            let rows = [0, 2, usize::MAX][((seed + round) % 3) as usize];
            let (owner, other) = ((round % 3) as usize, ((round + 1) % 3) as usize);
            nodes[owner].follow(&stream, rows);
            // What came after the confirmed commits may have been lost with the owner of before.
            assert_same(&nodes[owner].state, &done.state);
            done.check_blobs(&mut nodes[owner].store);
            nodes[owner].take_over(&stream, 1 + round);
            let history = work(&mut nodes[owner], &mut done, (seed as u32 * 9 + round as u32, rows), 25);
            nodes[other].follow(&stream, rows);
            // The owner crashes, and so does one that stands by, sometimes with its power.
            let confirmed = nodes[owner].store.durable();
            for (nth, cuts_power) in [(owner, false), (other, round % 2 == 0)] {
                let node = &nodes[nth];
                checkpoints += node.store.figures().checkpoints;
                let disk = node.disk.clone();
                stream.forget(if nth == owner { 1 + round } else { 0 });
                if cuts_power {
                    disk.cut_power()
                } else {
                    disk.kill()
                };
                if round % 4 < 2 {
                    stream.lose_all()
                } else {
                    stream.calm_down()
                };
                nodes[nth] = Node::start(&stream, disk);
            }
            nodes.iter_mut().for_each(|node| node.follow(&stream, rows));
            let last = nodes[0].last();
            assert!(last >= confirmed, "{last:?} of {confirmed:?}");
            lost += done.commits - last.0;
            assert!(nodes.iter().all(|node| node.last() == last));
            done = history[history.len() - 1 - (done.commits - last.0) as usize].clone();
            for node in &mut nodes {
                assert_same(&node.state, &done.state);
                done.check_blobs(&mut node.store);
            }
        }
        assert!(checkpoints > 5, "{checkpoints} checkpoints");
    }
    assert!(lost > 10, "{lost} commits were lost with their owners");
}

#[test]
fn a_commit_that_makes_no_sense_is_told_with_its_number() {
    let encoded = |commit: &Commit| {
        let mut out = Vec::new();
        encode_commit(commit, &mut out);
        Bytes::from(out)
    };
    let of_stream = |number, payload| StreamCommit {
        number: CommitNo(number),
        payload,
        position: Position { seq: Seq(number + 1), number: CommitNo(number), ..Position::default() },
    };
    let mut work = Workload::default();
    let (arrive, gone) = (work.submit(3), work.delete_all());
    for (number, then, detail) in [
        (2, Bytes::from_static(b"nonsense"), "a commit"),
        (2, encoded(&arrive), "job 1 arrives after later ones"),
        (2, encoded(&work.clone().delete_range(IdRange::new(JobId(3), 2))), "1 are unknown"),
        (3, encoded(&gone), "commit 2 is the next one"),
    ] {
        let mut node = Node::start(&SimulatedStream::new(1), SimulatedDisk::new(1));
        node.store.follow(&mut node.state, of_stream(1, encoded(&arrive))).unwrap();
        let error = node.store.follow(&mut node.state, of_stream(number, then)).unwrap_err().to_string();
        let begins = format!("commit {number} of the stream cannot be taken in: ");
        assert!(error.starts_with(&begins) && error.contains(detail), "{error}");
        // What the state is now has no meaning, and must not come home as if it had.
        node.store.close(&node.state).unwrap_err();
        assert_eq!(node.disk.open_home().meta().unwrap(), None);
    }
    let mut node = Node::start(&SimulatedStream::new(1), SimulatedDisk::new(1));
    node.store.follow(&mut node.state, of_stream(1, encoded(&arrive))).unwrap();
    node.store.follow(&mut node.state, of_stream(2, encoded(&gone))).unwrap();
    // A copy may be further than the stream was read: what is home already is not taken in again.
    for (number, commit) in [(1, &arrive), (2, &gone)] {
        node.store.follow(&mut node.state, of_stream(number, encoded(commit))).unwrap();
    }
    assert_same(&node.state, &work.state);
    assert_eq!(node.last(), CommitNo(2));
    node.store.close(&node.state).unwrap();
    let mark = node.disk.open_home().meta().unwrap().unwrap().mark.unwrap();
    assert_eq!((mark.seq, mark.number), (3, CommitNo(2)));
}
