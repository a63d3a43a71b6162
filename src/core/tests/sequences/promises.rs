//! What workers may rely on, whatever the sequence: seen only through commands and outcomes.

use super::super::world::View;
use crate::core::*;
use std::collections::BTreeMap;

/// What workers may rely on, seen only through commands and outcomes.
#[derive(Default)]
pub(super) struct Promises {
    newest_id: u64,
    attempts: BTreeMap<JobId, Attempt>,
}

fn queue_row(row: &Row) -> Option<&QueueRow> {
    if let Row::Queue(queue) = row { Some(queue) } else { None }
}

impl Promises {
    pub(super) fn hold(
        &mut self,
        (before, after): (&View, &View),
        outcome: &Result<Outcome, Rejection>,
        settings: &Settings,
        in_turn: bool,
    ) {
        let job_in = |view: &View, id: JobId| {
            view.0.iter().find(|(range, _)| range.first <= id && id < range.end()).map(|(_, job)| job.clone())
        };
        match outcome {
            Err(_) => assert_eq!(before, after, "a refusal changes nothing"),
            Ok(Outcome::Submitted(ids)) => {
                assert!(ids.first.0 > self.newest_id, "ids are never used twice");
                self.newest_id = ids.end().0 - 1;
                // Queues that made room for those of this submit have taken their totals along.
                let submitted = |rows: &[Row], name: &QueueName| {
                    let mut queues = rows.iter().filter_map(queue_row);
                    queues.find(|queue| queue.name == *name).map_or(0, |queue| queue.totals.submitted)
                };
                let queues = after.1.iter().filter_map(queue_row);
                let arrived = queues.map(|q| q.totals.submitted - submitted(&before.1, &q.name)).sum::<u64>();
                let dropped = |view: &View| {
                    view.1.iter().filter_map(queue_row).map(|queue| queue.totals.dropped).sum::<u64>()
                };
                assert!(
                    arrived == ids.len || dropped(after) > dropped(before),
                    "all jobs of a submit arrive, or are counted"
                );
            }
            Ok(Outcome::Received(receipts)) => {
                // Of a full queue the oldest may go at once, whatever the submit was told of it.
                let dropped = |view: &View| -> u64 {
                    view.1.iter().filter_map(queue_row).map(|queue| queue.totals.dropped).sum()
                };
                for receipt in receipts {
                    match receipt {
                        Receipt::New(id) => {
                            assert!(id.0 > self.newest_id, "ids are never used twice");
                            self.newest_id = id.0;
                        }
                        Receipt::Existing(id) | Receipt::Changed(id) | Receipt::Replaced(id) => {
                            let is_there = job_in(after, *id).is_some() || dropped(after) > dropped(before);
                            assert!(is_there, "who holds a unique key is there");
                        }
                    }
                }
            }
            Ok(Outcome::Claimed(grants)) => {
                for grant in grants {
                    let was = job_in(before, grant.id).unwrap();
                    assert_ne!(was.kind(), StateKind::Leased, "one live lease a job");
                    let last = self.attempts.insert(grant.id, grant.attempt).unwrap_or_default();
                    assert!(grant.attempt > last, "each lease has a higher number");
                }
                // Those that have come back have turns of their own, but never before a lower priority.
                let is_fresh = |job: &Job| job.failed() + job.crashes() + job.later() == 0;
                let fresh = |id| is_fresh(&job_in(before, id).unwrap());
                for (at, one) in grants.iter().enumerate() {
                    for next in grants[at + 1..].iter().filter(|next| next.spec.queue == one.spec.queue) {
                        let (first, second) = (one.spec.priority, next.spec.priority);
                        assert!(first <= second, "priority comes first");
                        let by_arrival = first < second || !fresh(one.id) || !fresh(next.id);
                        // What its key holds back may go after others that came later.
                        let alike = one.spec.key == next.spec.key;
                        assert!(by_arrival || !alike || one.id < next.id, "then order of arrival");
                    }
                }
                for grant in grants {
                    let skipped = after.0.iter().any(|(range, job)| {
                        let rank = |priority, id| (priority, if fresh(grant.id) { id } else { JobId(0) });
                        // Where keys take turns, those without one are passed over by others.
                        let takes_turns = settings.of(&grant.spec.queue).fair && grant.spec.key.is_some();
                        job.state() == JobState::Ready
                            && job.spec.key.is_none()
                            && (!takes_turns || job.spec.priority < grant.spec.priority)
                            && job.spec.queue == grant.spec.queue
                            && (is_fresh(job) || job.spec.priority < grant.spec.priority)
                            && rank(job.spec.priority, range.first) < rank(grant.spec.priority, grant.id)
                    });
                    assert!(!skipped || !in_turn, "nobody is passed over");
                }
            }
            Ok(_) => {}
        }
        for (id, newest) in &self.attempts {
            assert!(job_in(after, *id).is_none_or(|job| job.attempt() >= *newest), "attempts never go down");
        }
    }
}
