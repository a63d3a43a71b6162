//! Rows of the database, one kind after the other: their bytes, their bounds, and what is refused.

use super::*;

/// Only a commit with one of them says so.
#[test]
fn the_bytes_of_checkpoints_and_results_are_these() {
    let attached = |what| Event::Attached { job: IdRange::from(JobId(3)), what };
    let detached = |what| Event::Detached { jobs: IdRange::new(JobId(3), 2).into(), what };
    let commit = Commit {
        time: Time(9),
        events: vec![
            attached(Beside::Checkpoint),
            attached(Beside::Result),
            detached(Beside::Checkpoint),
            detached(Beside::Result),
        ],
        attached: vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")],
        ..Commit::default()
    };
    let mut bytes = Vec::new();
    encode_commit(&commit, &mut bytes);
    let events = [38, 3, 40, 3, 39, 1, 3, 2, 41, 1, 3, 2];
    assert_eq!(bytes, [&[5, 9, 4][..], &events, &[0, 0, 2, 1, b'a', 2, b'b', b'c']].concat());
    decode_commit(&bytes).unwrap().check().unwrap();

    let mut fewer = Vec::new();
    encode_commit(&Commit { attached: vec![Bytes::new()], ..commit.clone() }, &mut fewer);
    let error = decode_commit(&fewer).unwrap().check().unwrap_err();
    assert!(error.contains("2 checkpoints, results and signals come, and 1 are there"), "{error}");

    let mut plain = Vec::new();
    encode_commit(&Commit { events: Vec::new(), attached: Vec::new(), ..commit }, &mut plain);
    assert_eq!(plain, [4, 9, 0, 0, 0]);
    let mut job = Job::fresh(Spec::plain(QueueName::new("q").unwrap()).into(), Time(0));
    let row = |job: &Job| BlockRow::new(CommitNo(1), vec![(JobId(64).into(), job.clone())]).encode();
    assert!(row(&job)[0] == 3 && !row_has_beside(&row(&job)));
    let len = row(&job).len();
    job.set_beside(Beside::Result, true);
    assert!(row(&job)[0] == 4 && row_has_beside(&row(&job)) && row(&job).len() == len + 2);
}

/// A row of jobs that has none is as it always was.
#[test]
fn checksums_of_blobs_stand_before_the_row_of_their_jobs() {
    let job = Job::fresh(Spec::plain(QueueName::new("q").unwrap()).into(), Time(0));
    let mut row = BlockRow::new(CommitNo(1), vec![(IdRange::new(JobId(64), 3), job)]);
    let plain = row.encode();
    row.sums.note(Blob::Body, JobId(66), b"a");
    row.sums.note(Blob::Signals, JobId(64), b"b");
    let bytes = row.encode();
    let sums = [b"a", b"b"].map(|blob| crc32c::crc32c(blob).to_le_bytes());
    assert_eq!(bytes, [&[5, 2, 0, 4][..], &sums[0], &[3, 1], &sums[1], &plain].concat());
    assert!(row_has_sums(&bytes) && !row_has_sums(&plain));
    assert_eq!((BlockRow::decode(1, &bytes).unwrap(), row_mask(&bytes).unwrap()), (row.clone(), row.mask()));
    for len in 0..bytes.len() {
        assert!(BlockRow::decode(1, &bytes[..len]).is_err());
    }
    assert!(BlockRow::decode(1, &[&[5, 0][..], &bytes].concat()).is_err(), "it has them once");
    assert!(row.sums.fit(Blob::Body, JobId(66), b"a") && !row.sums.fit(Blob::Body, JobId(66), b"b"));
    assert!(row.sums.fit(Blob::Body, JobId(65), b"b"), "of that there is none");

    row.runs.clear();
    for kind in Blob::ALL.into_iter().filter(|kind| *kind != Blob::Envelope) {
        block_range(1).iter().for_each(|id| row.sums.note(kind, id, b""));
    }
    let most = row.encode().len() - BlockRow::new(CommitNo(1), Vec::new()).encode().len();
    assert!(most <= super::sums::SUMS_MAX, "{most}");
}

#[test]
fn what_is_bound_to_topics_reads_as_it_was_written_and_has_bounds() {
    let queue = |nth: usize| QueueName::new(&format!("{nth:0100}")).unwrap();
    let pattern = Pattern::new("a.*").unwrap();
    let short: Arc<[QueueName]> = ["q", "p"].map(|name| QueueName::new(name).unwrap()).into();
    let bound = RowEvent::TopicBound { pattern: pattern.clone(), queues: short.clone() };
    let unbound = RowEvent::TopicUnbound { pattern: pattern.clone() };
    let events = vec![Event::Row(bound), Event::Row(unbound)];
    let mut bytes = Vec::new();
    encode_commit(&Commit { time: Time(9), events, ..Commit::default() }, &mut bytes);
    let (bound, unbound) = ([50, 3, b'a', b'.', b'*', 2, 1, b'q', 1, b'p'], [51, 3, b'a', b'.', b'*']);
    assert_eq!(bytes, [&[4, 9, 2][..], &bound, &unbound, &[0, 0]].concat());

    let row = |queues: Vec<QueueName>| {
        let row = Row::Topic(TopicRow { pattern: pattern.clone(), queues: queues.into() });
        StampedRow { commit: CommitNo(u64::MAX), row }
    };
    let most = row((0..Topics::QUEUES_MAX).map(queue).collect());
    assert_eq!(StampedRow::decode(b"$a.*", &most.encode()).unwrap(), most);
    assert!(most.encode().len() <= ROW_MAX && &*row_key(&most.row.key()) == b"$a.*");
    let refused = [
        row(Vec::new()),
        row((0..=Topics::QUEUES_MAX).map(queue).collect()),
        row(vec![queue(1), queue(2), queue(1)]),
    ];
    for row in refused {
        assert!(matches!(StampedRow::decode(b"$a.*", &row.encode()), Err(DecodeError::Value(_))));
    }
    for key in [&b"$"[..], b"$two words", b"$\xff", b"a.*"] {
        assert!(StampedRow::decode(key, &most.encode()).is_err(), "{key:?}");
    }
}

#[test]
fn meta_and_queues_read_as_they_were_written() {
    let meta = MetaRow { home: CommitNo(1 << 40), time: Time(5), next_id: JobId(77), mark: None };
    assert_eq!(MetaRow::decode(&meta.encode()).unwrap(), meta);
    let totals = Totals {
        submitted: 9,
        claimed: 8,
        completed: 7,
        failed: 6,
        died: 5,
        cancelled: 4,
        expired: 3,
        dropped: 2,
    };
    let probe = Some(LeaseId { id: JobId(6), attempt: Attempt(7) });
    let open = OpenCircuit { since: Time(4), probes: 5, next: Time(8), probe };
    let queue = QueueRow {
        name: QueueName::new("q").unwrap(),
        paused_until: Some(Time(5_000)),
        totals,
        maker: Some(7),
        used: Time(9_000),
        rate_used: RateUsed(1 << 60),
        overrides: crate::store::workload::Workload::overrides(&mut crate::store::workload::Draw(7)),
        circuit: Circuit { failed: 12, open: Some(open) },
    };
    let row = StampedRow { commit: CommitNo(3), row: Row::Queue(queue) };
    assert_eq!(StampedRow::decode(b"q", &row.encode()).unwrap(), row);
    assert!(StampedRow::decode(b"two words", &row.encode()).is_err());
}

#[test]
fn bodies_read_as_they_were_written() {
    let bodies = vec![(JobId(65), Bytes::from_static(b"one")), (JobId(70), Bytes::new())];
    let row = Bytes::from(encode_packed(JobId(64), &bodies));
    assert_eq!(BlobRow::decode(JobId(64), &row).unwrap(), BlobRow::Packed(bodies));
    let big = Bytes::from(vec![7; 2 * PACKED_MAX + 1]);
    assert_eq!(pieces(&big).map(|(n, piece)| (n, piece.len())).last(), Some((2, 1)));
    let row = Bytes::from(encode_piece(big.len(), &big[..5]));
    assert_eq!(
        BlobRow::decode(JobId(64), &row).unwrap(),
        BlobRow::Piece { total: big.len() as u64, bytes: big.slice(..5) }
    );
    assert_eq!(blob_key_parts(&blob_key(JobId(5), 3)), Some((JobId(5), 3)));
}

/// The bound that sled's blobs depend on: see precaution 3.
#[test]
fn the_largest_rows_of_jobs_and_schedules_stay_below_their_bound() {
    let text = "x".repeat(Failure::TEXT_MAX);
    // One that waits for others has just arrived: it has no failures.
    let row = |waits: bool| {
        BlockRow::new(
            CommitNo(u64::MAX),
            block_range(1)
                .iter()
                .map(|id| {
                    let name = QueueName::new(&format!("{:0200}", id.0)).unwrap();
                    let group = Some(GroupNo(u64::MAX));
                    let options = SpecOptions {
                        has_envelope: true,
                        owner: u32::MAX,
                        group,
                        ..SpecOptions::plain(name)
                    };
                    let spec = Spec::from(options).with_key(Some(Key::new([255; 16]))).into();
                    let (at, exit) = (Time(1 << 60), Some(Exit::Status(255)));
                    let (attempt, later, started) = (Attempt(u32::MAX), u32::MAX, Some(at));
                    let worker = Some(Worker { uid: u32::MAX, pid: u32::MAX });
                    let counts = JobCounts { attempt, failed: u32::MAX, crashes: u32::MAX, later };
                    let failure =
                        Failure { attempt, since: started, at, error: text.as_str().into(), exit, worker };
                    let (end, failures) =
                        (Final { at, keep_until: at }, vec![failure; if waits { 0 } else { Failure::KEPT }]);
                    let mut job = Job::fresh(spec, at);
                    job.set_expiry(Expiry { begin_by: at, end_by: at });
                    let newest = Newest { started, worker };
                    let mut job = Job::remembered(job, JobState::Dead(end), counts, newest, failures);
                    let edge = |nth| Edge {
                        on: Target::Job(JobId(u64::MAX - nth)),
                        when: Condition::Ended,
                        is_held: true,
                    };
                    let edges = (0..Waits::MAX as u64).rev().map(edge).collect();
                    if waits {
                        job.set_waits(Waits { edges, on_unmet: OnUnmet::Hold }.into());
                    }
                    let signal = || Signal {
                        name: SignalName::new(&"s".repeat(SignalName::MAX)).unwrap(),
                        no: u32::MAX,
                    };
                    let kept = (0..Signals::KEPT_MAX).map(|_| signal()).collect();
                    let signals = Signals { awaited: None, taken: Some(signal()), kept, count: u32::MAX };
                    let beside = [Beside::Checkpoint, Beside::Result, Beside::Signals];
                    beside.into_iter().for_each(|what| job.set_beside(what, true));
                    job.set_signals(signals);
                    job.set_handled(HandlingCounts {
                        delay: u32::MAX,
                        releases: u32::MAX,
                        timeouts: u32::MAX,
                        buries: u32::MAX,
                        kicks: u32::MAX,
                        no: u64::MAX,
                    });
                    (IdRange::from(id), job)
                })
                .collect(),
        )
    };
    assert!([true, false].into_iter().all(|waits| row(waits).encode().len() <= ROW_MAX));
    let mut plan = Workload::plan(&mut Draw(1));
    let text = || "x".repeat(Rhythm::TEXT_MAX).into();
    let tags = vec![("n".repeat(Envelope::TAGS_MAX / 2).into(), "v".repeat(Envelope::TAGS_MAX / 2).into())];
    plan.rhythm = Rhythm::Cron { fields: text(), zone: text() };
    plan.payload.body = vec![7; Payload::BODY_MAX].into();
    plan.payload.envelope = Some((*Envelope::new(tags).unwrap().encode()).into());
    let change = ScheduleChange::Set { plan: Arc::new(plan), since: Time::NEVER, next: Time::NEVER };
    let (name, mut state) = (ScheduleName::new(&"n".repeat(QueueName::MAX)).unwrap(), State::default());
    state.apply(&Event::Row(RowEvent::Schedule { name, change }));
    let row = StampedRow { commit: CommitNo(u64::MAX), row: state.rows().remove(0) };
    assert!(row.encode().len() <= ROW_MAX);
}
