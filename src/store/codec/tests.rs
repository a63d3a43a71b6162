//! Encoding and decoding agree for every kind of value, and no bytes make decoding panic.

mod rows;
mod values;

use super::*;
use crate::core::*;
use crate::store::workload::{Draw, Workload};
use crate::store::{Blob, Commit, CommitNo};
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use values::*;

proptest! {
    #[test]
    fn schedules_read_as_they_were_written(schedule in schedule(), commit: u64) {
        let name = ScheduleName::new("nightly").unwrap();
        let row = StampedRow { commit: CommitNo(commit), row: Row::Schedule(ScheduleRow { name, schedule }) };
        let (key, bytes) = (row.row.key(), row.encode());
        prop_assert_eq!(&*row_key(&key), b"@nightly");
        prop_assert_eq!(StampedRow::decode(&row_key(&key), &bytes).unwrap(), row);
        for len in 0..bytes.len() {
            prop_assert!(StampedRow::decode(b"@nightly", &bytes[..len]).is_err());
        }
    }
}

proptest! {
    #[test]
    fn pages_of_submits_read_as_they_were_written(
        done in prop::collection::vec(done_request(), 1..5),
        page: u64,
        commit: u64,
    ) {
        let row = Row::Requests(RequestsRow { page, done: Arc::new(done) });
        let row = StampedRow { commit: CommitNo(commit), row };
        let (row_of, bytes) = (row.row.key(), row.encode());
        let key = row_key(&row_of);
        prop_assert_eq!(&key[..], [&b"#"[..], &page.to_be_bytes()].concat());
        prop_assert_eq!(StampedRow::decode(&key, &bytes).unwrap(), row);
        for len in 0..bytes.len() {
            prop_assert!(StampedRow::decode(&key, &bytes[..len]).is_err());
        }
        prop_assert!(StampedRow::decode(&key[..8], &bytes).is_err());
    }
}

proptest! {
    #[test]
    fn pages_of_keys_read_as_they_were_written(keys in prop::collection::vec(served_key(), 0..5), page: u64, commit: u64) {
        let (queue, rate) = (QueueName::new("q/1").unwrap(), Rate::new(30, Duration::from_secs(60), Some(5)));
        for rate in [None, rate] {
            let row = Row::Keys(KeysRow { queue: queue.clone(), page, rate, keys: Arc::new(keys.clone()) });
            let row = StampedRow { commit: CommitNo(commit), row };
            let (row_of, bytes) = (row.row.key(), row.encode());
            let key = row_key(&row_of);
            prop_assert_eq!(&key[..], [&b"%"[..], &page.to_be_bytes(), b"q/1"].concat());
            prop_assert_eq!(StampedRow::decode(&key, &bytes).unwrap(), row);
            for len in 0..bytes.len() {
                prop_assert!(StampedRow::decode(&key, &bytes[..len]).is_err());
            }
            prop_assert!((0..10).all(|len| StampedRow::decode(&key[..len], &bytes).is_err()));
        }
    }
}

proptest! {
    #[test]
    fn a_commit_reads_as_it_was_written(commit in commit()) {
        let mut bytes = Vec::new();
        encode_commit(&commit, &mut bytes);
        prop_assert_eq!(decode_whole_commit(&bytes.into()).unwrap(), commit);
    }

    #[test]
    fn a_block_reads_as_it_was_written(block in 1u64..1 << 40, jobs in prop::collection::btree_map(0u64..64, job(), 0..9)) {
        let range = block_range(block);
        let runs = jobs.into_iter().map(|(offset, job)| (range.first.plus(offset).into(), job)).collect();
        let row = BlockRow::new(CommitNo(7), runs);
        let bytes = row.encode();
        prop_assert_eq!(row_mask(&bytes).unwrap(), row.mask());
        prop_assert_eq!(BlockRow::decode(block, &bytes).unwrap(), row);
    }

    #[test]
    fn any_bytes_are_answered(block: u64, mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for first in [None, Some(1), Some(2), Some(3), Some(4), Some(5)] {
            if let (Some(first), Some(byte)) = (first, bytes.first_mut()) {
                *byte = first;
            }
            let shared = Bytes::from(bytes.clone());
            let _ = (decode_whole_commit(&shared), BlockRow::decode(block, &bytes), row_mask(&bytes));
            let _ = (MetaRow::decode(&bytes), StampedRow::decode(&bytes, &bytes));
            let _ = (BlobRow::decode(JobId(block), &shared), blob_key_parts(&bytes));
        }
    }

    #[test]
    fn a_damaged_commit_is_answered(commit in commit(), at: prop::sample::Index, value: u8) {
        let mut bytes = Vec::new();
        encode_commit(&commit, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = decode_whole_commit(&bytes.clone().into());
        bytes.truncate(at);
        prop_assert!(decode_whole_commit(&bytes.into()).is_err());
    }
}

#[test]
fn a_version_of_the_future_is_refused() {
    let mut bytes = Vec::new();
    encode_commit(&Commit::default(), &mut bytes);
    for version in [0, 6] {
        bytes[0] = version;
        let error = decode_whole_commit(&bytes.clone().into()).unwrap_err();
        assert!(matches!(error, DecodeError::Version { found, .. } if found == version), "{error}");
    }
}

#[test]
fn a_field_of_the_future_is_refused() {
    let spec =
        Spec::from(SpecOptions { priority: Priority(7), ..SpecOptions::plain(QueueName::new("q").unwrap()) });
    let mut bytes = Vec::new();
    options::put_spec(&spec, &mut bytes);
    assert_eq!(bytes, [1, b'q', 1, 1, 1, 7]);
    bytes[3] = 99;
    let error = options::read_spec(&mut Reader { rest: &bytes }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "field 99 of a job's options is unknown: it was written by a newer version of musher"
    );
}

#[test]
fn an_envelope_reads_as_it_was_written_and_has_bounds() {
    let tag = |name: &str, value: &str| (name.into(), value.into());
    let envelope = Envelope::new(vec![tag("a", "1"), tag("", "größer")]).unwrap();
    let bytes = envelope.encode();
    assert_eq!(Envelope::decode(&bytes).unwrap(), envelope);
    for len in 0..bytes.len() {
        assert!(Envelope::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    let many = vec![tag("", ""); Envelope::TAG_COUNT_MAX + 1];
    assert_eq!(Envelope::new(many), Err(EnvelopeError::TooManyTags { count: Envelope::TAG_COUNT_MAX + 1 }));
    let value = "v".repeat(Envelope::TAGS_MAX);
    assert_eq!(
        Envelope::new(vec![tag("t", &value)]),
        Err(EnvelopeError::TagsTooLong { len: Envelope::TAGS_MAX + 1 })
    );
    assert!(Envelope::new(vec![tag("", &value)]).is_ok());
}

/// The numbers of the variants are on people's disks.
#[test]
fn the_bytes_of_a_commit_are_these() {
    let jobs = || Ids::from(IdRange::new(JobId(3), 2));
    let options = SpecOptions { priority: Priority(0), ..SpecOptions::plain(QueueName::new("q").unwrap()) };
    let spec: Arc<Spec> = options.into();
    let (at, due, end) = (Time(9), None, Ending { at: Time(9), keep_until: None });
    let (job, next) = (IdRange::from(JobId(3)), AfterFailure::Retry(Time(10)));
    let commit = Commit {
        time: Time(9),
        events: vec![
            Event::Submitted { jobs: IdRange::new(JobId(3), 2), spec, at, due, expiry: Expiry::default() },
            Event::Claimed { jobs: jobs(), holder: Holder::Anyone, worker: None, at, until: Time(10) },
            Event::Completed { jobs: jobs(), end },
            Event::Deleted { jobs: jobs() },
            Event::Row(RowEvent::Resumed { queue: QueueName::new("q").unwrap() }),
            Event::Failed { job, at, error: "no".into(), exit: Some(Exit::Signal(9)), next },
            Event::Deferred { job, at, error: "no".into(), exit: None, due: Time(10) },
        ],
        bodies: vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")],
        replaced: Vec::new(),
        envelopes: vec![(IdRange::new(JobId(3), 2), Bytes::from_static(b"e"))],
        attached: Vec::new(),
    };
    let mut bytes = Vec::new();
    encode_commit(&commit, &mut bytes);
    let submitted = [18, 3, 2, 1, b'q', 1, 1, 1, 0, 9, 0, 0];
    let (claimed, completed) = ([1, 1, 3, 2, 1, 9, 11], [3, 1, 3, 2, 9, 0]);
    let (deleted, resumed) = ([12, 1, 3, 2], [14, 1, b'q']);
    let blobs = [2, 1, b'a', 2, b'b', b'c', 1, 3, 2, 1, b'e'];
    let head = [4, 9, 7];
    let (failed, deferred) = ([15, 3, 9, 2, b'n', b'o', 1, 9, 0, 11], [16, 3, 9, 2, b'n', b'o', 11]);
    let parts: [&[u8]; 9] =
        [&head, &submitted, &claimed, &completed, &deleted, &resumed, &failed, &deferred, &blobs];
    assert_eq!(bytes, parts.concat());
}

#[test]
fn a_commit_whose_blobs_do_not_fit_its_events_is_told() {
    let commit = |has_envelope, bodies, envelopes: &[(u64, u64)]| {
        let spec = SpecOptions { has_envelope, ..SpecOptions::plain(QueueName::new("q").unwrap()) }.into();
        let jobs = IdRange::new(JobId(5), 3);
        let events = vec![Event::Submitted { jobs, spec, at: Time(0), due: None, expiry: Expiry::default() }];
        let of = |(first, len): &(u64, u64)| (IdRange::new(JobId(*first), *len), Bytes::from_static(b"e"));
        let envelopes = envelopes.iter().map(of).collect();
        let commit = Commit { events, bodies: vec![Bytes::new(); bodies], envelopes, ..Commit::default() };
        let mut bytes = Vec::new();
        encode_commit(&commit, &mut bytes);
        decode_commit(&bytes).unwrap().check()
    };
    assert_eq!(commit(false, 3, &[]), Ok(()));
    assert_eq!(commit(true, 3, &[(5, 1), (6, 2)]), Ok(()));
    for (has_envelope, bodies, envelopes, told) in [
        (false, 2, &[][..], "3 jobs get 2 bodies"),
        (true, 3, &[(5, 2)], "job 7 has no envelope"),
        (false, 3, &[(5, 1)], "from 5 on have an envelope"),
        (true, 3, &[(5, 4)], "from 5 on have an envelope"),
        (true, 3, &[(4, 4)], "from 4 on have an envelope"),
    ] {
        let error = commit(has_envelope, bodies, envelopes).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
}

/// From before their number had a bound.
#[test]
fn very_many_tags_that_an_older_version_has_taken_are_kept() {
    let tags: Vec<(Box<str>, Box<str>)> = (0..300).map(|_| ("".into(), "".into())).collect();
    let bytes = Envelope::of_old(tags.clone()).encode();
    assert_eq!(Envelope::decode(&bytes).unwrap().tags(), tags);
}

/// They would not fit into the row that is written of them.
#[test]
fn more_failures_than_are_ever_written_are_refused() {
    let failure = |error: &str| Failure {
        attempt: Attempt(1),
        since: None,
        at: Time(1),
        error: error.into(),
        exit: None,
        worker: None,
    };
    let row = |failures| {
        let fresh = Job::fresh(Spec::plain(QueueName::new("q").unwrap()).into(), Time(0));
        let job = Job::remembered(fresh, JobState::Ready, JobCounts::default(), Newest::default(), failures);
        BlockRow::decode(1, &BlockRow::new(CommitNo(1), vec![(JobId(64).into(), job)]).encode())
    };
    assert!(row(vec![failure(&"x".repeat(Failure::TEXT_MAX)); Failure::KEPT]).is_ok());
    for failures in [vec![failure("x"); Failure::KEPT + 1], vec![failure(&"x".repeat(Failure::TEXT_MAX + 1))]]
    {
        let refused = row(failures);
        assert!(matches!(refused, Err(DecodeError::Value("the failures of a job"))), "{refused:?}");
    }
}

#[test]
fn what_neighbours_have_in_common_is_written_once() {
    let of = |ids: std::ops::Range<u64>, len| ids.map(move |id| (JobId(id), Bytes::from(vec![7; len])));
    let blobs: Vec<_> = of(64..90, 500).chain(of(91..100, 500)).chain(of(100..128, 3)).collect();
    let row = encode_shared(JobId(64), &blobs);
    assert!(row.len() < 1_100, "{} bytes", row.len());
    assert_eq!(BlobRow::decode(JobId(64), &row.into()).unwrap(), BlobRow::Packed(blobs));
}
