//! Envelopes are found by their jobs, in memory or in the log, and those that are the same are one.

use super::*;
use crate::store::Commit;
use crate::store::blob::Blob;
use crate::store::codec::{CommitBlobs, encode_commit};
use crate::store::recent::{Arrivals, Recent};
use std::io::Write;

/// Few jobs have an envelope, and many the same.
#[test]
fn envelopes_are_of_those_jobs_only_that_have_one() {
    let run = |first: u64, len, text: &str| (IdRange::new(JobId(first), len), Bytes::from(text.to_owned()));
    let envelopes = vec![run(62, 3, "a"), run(65, 1, "b"), run(100, 100, "c")];
    let commit = Commit { bodies: vec![Bytes::new(); 200], envelopes, ..Commit::default() };
    let mut record = Vec::new();
    let places = encode_commit(&commit, &mut record);
    let file = Arc::new(tempfile::tempfile().unwrap());
    (&*file).write_all(&record).unwrap();
    let segment: Arc<dyn Segment> = file;
    // With room in memory, and without.
    for memory in [usize::MAX, 0] {
        let mut recent = Recent::new(memory);
        let blobs = CommitBlobs::of(&commit, &record, places);
        recent.push_envelopes(&Arrivals { blobs, place: Some((&segment, 0)) });
        let read = |recent: &Recent, block, wanted| -> Vec<(u64, Bytes)> {
            let found = recent.of_block(Blob::Envelope, block, wanted);
            found.iter().flat_map(|them| them.read().unwrap()).map(|(id, blob)| (id.0, blob)).collect()
        };
        let text = |ids: std::ops::Range<u64>, text: &'static str| -> Vec<(u64, Bytes)> {
            ids.map(|id| (id, text.into())).collect()
        };
        assert_eq!(read(&recent, 0, u64::MAX), text(62..64, "a"));
        assert_eq!(
            read(&recent, 1, u64::MAX),
            [text(64..65, "a"), text(65..66, "b"), text(100..128, "c")].concat()
        );
        assert_eq!(read(&recent, 2, 1 << 3), text(131..132, "c"));
        let one = |id| match recent.get(Blob::Envelope, JobId(id))? {
            Ok(envelope) => Some(envelope),
            Err(in_log) => Some(in_log.read().unwrap().remove(0).1),
        };
        assert_eq!(
            [one(61), one(64), one(66), one(199), one(200)],
            [None, Some("a".into()), None, Some("c".into()), None]
        );
        recent.remove(IdRange::new(JobId(110), 5));
        recent.remove(IdRange::new(JobId(1), 65));
        assert_eq!(read(&recent, 1, u64::MAX), [text(100..110, "c"), text(115..128, "c")].concat());
        assert!(read(&recent, 0, u64::MAX).is_empty() && !recent.contains(Blob::Envelope, JobId(112)));
        recent.remove(IdRange::new(JobId(1), 500));
        assert_eq!(format!("{:?}", recent.envelopes), format!("{:?}", Recent::new(memory).envelopes));
    }
}

/// Those that come together are slices of a few copies, also where one is longer than these are.
#[test]
fn envelopes_are_what_they_were_in_the_commit() {
    let long = |n: usize| Bytes::from(vec![n as u8; if n == 70 { 3 * COPIED } else { n }]);
    let envelopes: Vec<_> = (1..=200).map(|n| (JobId(n as u64).into(), long(n))).collect();
    let commit = Commit {
        bodies: vec![Bytes::new(); 200],
        envelopes: envelopes.clone(),
        attached: vec![Bytes::from_static(b"more")],
        ..Commit::default()
    };
    let (mut record, mut recent) = (Vec::new(), Recent::new(usize::MAX));
    let places = encode_commit(&commit, &mut record);
    recent.push_envelopes(&Arrivals { blobs: CommitBlobs::of(&commit, &record, places), place: None });
    for (jobs, envelope) in envelopes {
        assert_eq!(recent.get(Blob::Envelope, jobs.first).unwrap().unwrap(), envelope, "job {}", jobs.first);
    }
}

/// A row of an older version has at most 64 jobs; of millions that were alike, the tags are one all the same.
#[test]
fn the_same_tags_of_many_rows_take_the_room_of_one() {
    let mut recent = Recent::new(0);
    for block in 1..10_000u64 {
        recent.push_tags(IdRange::new(JobId(block * 64), 64), &[7; 500]);
    }
    recent.push_tags(IdRange::new(JobId(640_001), 3), b"others");
    let text = format!("{:?}", recent.envelopes);
    assert!(text.len() < 10_000, "{} characters", text.len());
    let Some(Ok(envelope)) = recent.get(Blob::Envelope, JobId(333_333)) else { panic!("it is in memory") };
    assert_eq!(envelope, vec![7; 500]);
}
