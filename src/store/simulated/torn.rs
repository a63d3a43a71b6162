//! A commit that is not atomic, as a planted fault.

use super::records::SALT;
use crate::core::Event;
use crate::store::codec::{decode_whole_commit, encode_commit};
use crate::store::commit::CommitNo;
use crate::store::log::record;
use bytes::Bytes;

/// What is left of a record if it is torn where jobs are done and others are submitted.
pub(super) fn torn(record: &[u8], number: CommitNo) -> Option<Vec<u8>> {
    let payload = Bytes::copy_from_slice(&record[record::HEADER..]);
    let mut commit = decode_whole_commit(&payload).ok()?;
    let is_link = |two: &[Event]| matches!(two, [Event::Completed { .. }, Event::Submitted { .. }]);
    let left = 1 + commit.events.windows(2).position(is_link)?;
    let of_jobs = |event: &Event| if let Event::Submitted { jobs, .. } = event { Some(*jobs) } else { None };
    let first = commit.events[left..].iter().find_map(of_jobs)?.first;
    commit.events.truncate(left);
    let replaced = commit.events.iter().filter(|event| matches!(event, Event::BodyReplaced { .. })).count();
    let jobs = commit.events.iter().filter_map(of_jobs).map(|jobs| jobs.len).sum::<u64>();
    commit.bodies.truncate(jobs as usize);
    commit.replaced.truncate(replaced);
    let attached = commit.events.iter().filter(|event| matches!(event, Event::Attached { .. })).count();
    commit.attached.truncate(attached);
    commit.envelopes.retain(|(jobs, _)| jobs.first < first);
    let mut bytes = vec![0; record::HEADER];
    encode_commit(&commit, &mut bytes);
    record::seal(SALT, number, &mut bytes);
    Some(bytes)
}
