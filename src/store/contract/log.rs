//! What every log promises.

use crate::core::Time;
use crate::store::commit::CommitNo;
use crate::store::error::AppendError;
use crate::store::log::Log;
use crate::store::logged::OnCommit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A log that is written to, and what must be in it.
struct Tried<L, O> {
    log: L,
    open: O,
    commits: Vec<Vec<u8>>,
    bell: Arc<Bell>,
}

/// Checks all of it, beginning with an empty log. `open` ends the life of the log, if there is one, as a power cut would, and
/// opens it again: all that comes after a commit is handed over. `confirm` lets a log that confirms late confirm one commit.
pub(crate) fn check<L: Log>(
    mut open: impl FnMut(Option<L>, CommitNo, &mut OnCommit<'_>) -> L,
    mut confirm: impl FnMut(&mut L),
) {
    let log = open(None, CommitNo(0), &mut |place, _| panic!("commit {:?} in an empty log", place.number));
    let mut tried = Tried { log, open, commits: Vec::new(), bell: Arc::default() };
    tried.log.ring(&tried.bell.clone().into());
    assert_eq!((tried.log.last(), tried.log.confirmed(), tried.log.size().bytes), Default::default());
    tried.log.wait().unwrap();

    // A number that is not the next is refused, and nothing is written.
    for wrong in [0, 2, 3] {
        let refused = tried.log.append(CommitNo(wrong), |out| out.push(1)).map(drop);
        assert!(matches!(refused, Err(AppendError::Fenced { actual: CommitNo(1), .. })), "{refused:?}");
    }

    for step in 0..60u64 {
        if !tried.log.can_append() {
            tried.confirm(&mut confirm);
        }
        tried.append(if step == 20 { 200_000 } else { (step * 397 % 3000) as usize });
        tried.log.maintain(Time(step)).unwrap();
        tried.check_tail(CommitNo(step / 2));
        if step % 7 == 6 {
            tried.log.wait().unwrap();
            assert_eq!(tried.log.confirmed(), tried.log.last());
        }
        if step % 10 == 9 {
            let home = CommitNo(step / 2);
            tried = tried.crash(home);
            tried.log.free(home);
        }
    }

    // Nothing is needed any more, and the numbers go on.
    tried.log.wait().unwrap();
    let last = tried.log.last();
    tried.log.free(last);
    let mut tried = tried.crash(last);
    assert_eq!(tried.log.last(), last);
    tried.append(10);
    tried.log.wait().unwrap();
    tried.check_tail(last);
}

impl<L: Log, O: FnMut(Option<L>, CommitNo, &mut OnCommit<'_>) -> L> Tried<L, O> {
    fn append(&mut self, bytes: usize) {
        let (number, before) = (self.log.last().next(), self.log.size().bytes);
        let commit: Vec<u8> = number.0.to_le_bytes().into_iter().cycle().take(bytes).collect();
        let mut begins = 0;
        let appended = self.log.append(number, |out| {
            begins = out.len();
            out.extend_from_slice(&commit);
        });
        let appended = appended.unwrap();
        assert_eq!(appended.record[begins..][..bytes], commit);
        let mut again = vec![0; bytes];
        appended.segment.read_back(&mut again, appended.at + begins as u64).unwrap();
        assert!(again == commit, "it can be read back at once");
        assert_eq!(self.log.last(), number);
        assert!(self.log.confirmed() <= number && self.log.size().bytes >= before + bytes as u64);
        self.commits.push(commit);
    }

    /// What is confirmed after an append has returned rings the bell.
    fn confirm(&mut self, confirm: &mut impl FnMut(&mut L)) {
        let before = self.log.confirmed();
        assert!(before < self.log.last(), "a log without anything to confirm takes more");
        self.bell.0.store(false, Ordering::Relaxed);
        confirm(&mut self.log);
        assert_eq!(self.log.confirmed(), before.next());
        assert!(self.bell.0.load(Ordering::Relaxed) && self.log.can_append());
    }

    /// All that is confirmed is in the tail, and nothing else.
    fn check_tail(&self, home: CommitNo) {
        let before = self.log.confirmed();
        let tail = self.log.tail();
        // More may have been confirmed in the meantime.
        assert!(before <= tail.last() && tail.last() <= self.log.confirmed());
        let mut next = home.next();
        tail.read(home, &mut |number, payload| {
            assert_eq!(number, next);
            assert!(payload == self.commits[number.0 as usize - 1], "commit {number:?}");
            next = next.next();
            Ok(())
        })
        .unwrap();
        assert_eq!(next, tail.last().max(home).next());
    }

    /// Everything confirmed is there, and of the rest the first ones or none.
    fn crash(self, home: CommitNo) -> Tried<L, O> {
        let Tried { log, mut open, mut commits, bell } = self;
        let (confirmed, last, mut found) = (log.confirmed(), log.last(), home);
        let log = open(Some(log), home, &mut |place, payload| {
            found = found.next();
            assert_eq!(place.number, found);
            assert!(payload == commits[found.0 as usize - 1], "commit {found:?}");
            let (segment, at) = place.payload.expect("a log can be read again");
            let mut again = vec![0; payload.len()];
            segment.read_back(&mut again, at).unwrap();
            assert!(again == payload);
            Ok(())
        });
        assert!(found >= confirmed && found <= last);
        assert_eq!((log.last(), log.confirmed()), (found, found));
        commits.truncate(found.0 as usize);
        let mut tried = Tried { log, open, commits, bell };
        tried.log.ring(&tried.bell.clone().into());
        tried
    }
}
