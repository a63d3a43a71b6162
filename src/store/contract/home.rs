//! What every home promises.

use crate::core::{Job, JobId, Row};
use crate::store::blob::{Blob, ByKind};
use crate::store::codec::{
    BLOCK, BlockRow, CommitBlobs, MetaRow, StampedRow, block_of, block_range, encode_commit,
};
use crate::store::commit::{Commit, CommitNo};
use crate::store::home::{BlockRows, Home, Report, RowChange, Rows, Work};
use crate::store::recent::{Arrivals, Recent};
use crate::store::workload::Workload;
use bytes::Bytes;

/// What must be in a home, and what is on its way there.
struct Tried {
    work: Workload,
    recent: Recent,
    rounds: u64,
}

/// Checks all of it, beginning with an empty home. `open` ends the life of the home, if there is one, and opens it again.
pub(crate) fn check<H: Home>(mut open: impl FnMut(Option<H>) -> H) {
    let mut home = open(None);
    let mut tried = Tried { work: Workload::default(), recent: Recent::new(usize::MAX), rounds: 0 };
    assert_eq!(home.meta().unwrap(), None);
    tried.check(&home);
    assert!(home.report().unwrap().is_none(), "no checkpoint is under way");

    let first = tried.work.submit(300);
    tried.arrive(&first);
    tried.checkpoint(&mut home);
    tried.check(&home);
    home = open(Some(home));
    tried.check(&home);

    // Some go, and others come; then all go.
    for seed in 0..40 {
        let commit = tried.work.random(seed);
        tried.arrive(&commit);
        if seed % 8 == 7 {
            tried.checkpoint(&mut home);
            tried.check(&home);
        }
    }
    tried.checkpoint(&mut home);
    home = open(Some(home));
    tried.check(&home);

    // One that is cut off leaves rows of it, each with the bodies of its jobs, and what it had before.
    let commit = tried.work.submit(200);
    tried.arrive(&commit);
    let before = home.meta().unwrap();
    home.hand_over(tried.slice(0..tried.end())).unwrap();
    home = open(Some(home));
    assert_eq!(home.meta().unwrap(), before, "it has not ended");
    tried.check_blobs(&home);

    let all = tried.work.delete_all();
    tried.arrive(&all);
    tried.checkpoint(&mut home);
    tried.check(&home);

    // After the log has failed nothing changes any more.
    let commit = tried.work.submit(10);
    tried.arrive(&commit);
    let before = home.meta().unwrap();
    home.give_up();
    tried.rounds += 1;
    let ended = home.hand_over(tried.slice(0..tried.end())).and_then(|()| home.wait());
    assert!(!matches!(ended, Ok(Report::Done | Report::Full)), "{ended:?}");
    home = open(Some(home));
    assert_eq!(home.meta().unwrap(), before);
}

impl Tried {
    /// Its blobs wait for the next checkpoint.
    fn arrive(&mut self, commit: &Commit) {
        let mut bytes = Vec::new();
        let places = encode_commit(commit, &mut bytes);
        let mut arrivals = Arrivals { blobs: CommitBlobs::of(commit, &bytes, places), place: None };
        self.recent.push_envelopes(&arrivals);
        self.recent.push_bodies(&commit.events, &mut arrivals);
        self.recent.push_late(&commit.events, &mut arrivals);
    }

    fn end(&self) -> u64 {
        block_of(self.work.state.next_id()) + 1
    }

    /// The rows of some blocks, with all others before them.
    fn slice(&self, blocks: std::ops::Range<u64>) -> Work {
        let (state, commit) = (&self.work.state, CommitNo(self.work.commits));
        let written = |row| RowChange::Written(StampedRow { commit, row });
        let blocks = blocks.map(|block: u64| {
            let row = BlockRow::new(commit, state.runs(block_range(block)));
            let live = row.mask();
            match live {
                0 => BlockRows { block, row: None, blobs: ByKind::default(), late: ByKind::default() },
                _ => BlockRows {
                    block,
                    row: Some((row.encode(), live)),
                    blobs: ByKind::of(|kind| self.recent.of_block(kind, block, live)),
                    late: self.recent.late(block),
                },
            }
        });
        let rows = state.rows().into_iter().map(written).collect();
        Work::Slice { round: self.rounds, rows, blocks: blocks.collect() }
    }

    /// A whole one. Rows of what is not there any more go with it.
    fn checkpoint(&mut self, home: &mut impl Home) {
        self.rounds += 1;
        for from in (0..self.end()).step_by(2) {
            let work = self.slice(from..from + 2);
            // Without room for it now it is given back.
            if let Some(work) = home.offer(work).unwrap() {
                home.hand_over(work).unwrap();
            }
        }
        let found = Rows::rows(home).unwrap().into_iter().map(|row| row.row.key());
        let rows = found.filter(|key| self.work.state.row(key).is_none()).map(RowChange::Gone).collect();
        let next_id = self.work.state.next_id();
        let meta = MetaRow { home: CommitNo(self.work.commits), time: self.work.time, next_id, mark: None };
        home.hand_over(Work::Finish { round: self.rounds, rows, meta }).unwrap();
        let ended = home.wait().unwrap();
        assert!(matches!(ended, Report::Done), "{ended:?}");
        assert_eq!(home.meta().unwrap(), Some(meta));
        self.recent = Recent::new(usize::MAX);
    }

    fn check(&self, home: &impl Home) {
        let state = &self.work.state;
        let mut runs = Vec::new();
        home.blocks(|_, row| runs.extend(row.runs)).unwrap();
        let found: Vec<_> = runs
            .into_iter()
            .flat_map(|(range, job)| range.iter().map(move |id| (id, job.clone())).collect::<Vec<_>>())
            .collect();
        let wanted: Vec<_> = (0..self.end())
            .flat_map(|block| state.runs(block_range(block)))
            .flat_map(|(range, job)| range.iter().map(move |id| (id, job.clone())).collect::<Vec<_>>())
            .collect();
        assert_eq!(found, wanted);
        let mut rows: Vec<_> = Rows::rows(home).unwrap().into_iter().map(|row| row.row).collect();
        rows.sort_by_key(Row::key);
        assert_eq!(rows, state.rows());
        self.check_blobs(home);
        self.check_reader(home);
    }

    /// Of every job in a row there are its blobs.
    fn check_blobs(&self, home: &impl Home) {
        let mut jobs: Vec<(JobId, Job)> = Vec::new();
        home.blocks(|_, row| {
            for (range, job) in row.runs {
                jobs.extend(range.iter().map(|id| (id, job.clone())));
            }
        })
        .unwrap();
        for kind in Blob::ALL {
            for (id, job) in &jobs {
                let found = find(&home.blobs(kind, *id).unwrap(), *id);
                assert_eq!(found, self.work.blob(kind, *id, job), "job {id}");
            }
            let next = self.work.state.next_id();
            assert_eq!(find(&home.blobs(kind, next).unwrap(), next), None);
        }
    }

    /// A backup reads the same.
    fn check_reader(&self, home: &impl Home) {
        let (reader, mut from, mut rows) = (home.reader(), 0, Vec::new());
        while let Some(part) = Some(reader.raw_blocks(from, 3).unwrap()).filter(|part| !part.is_empty()) {
            assert!(part.len() <= 3 && part.is_sorted_by_key(|(block, _)| *block));
            from = part.last().map_or(0, |(block, _)| block + 1);
            rows.extend(part);
        }
        let mut known = Vec::new();
        home.blocks(|block, row| known.push((block, Bytes::from(row.encode())))).unwrap();
        assert_eq!(rows, known);
        assert_eq!(reader.meta().unwrap(), home.meta().unwrap());
        assert_eq!(reader.rows().unwrap().len(), Rows::rows(home).unwrap().len());
        for (block, row) in rows {
            let mask = crate::store::codec::row_mask(&row).unwrap();
            let id = JobId(block * BLOCK + u64::from(mask.trailing_zeros()));
            assert_eq!(find(&reader.blobs(Blob::Body, id).unwrap(), id), Some(self.work.body_of(id)));
        }
    }
}

fn find(row: &[(JobId, Bytes)], id: JobId) -> Option<Bytes> {
    row.iter().find(|(found, _)| *found == id).map(|(_, body)| body.clone())
}
