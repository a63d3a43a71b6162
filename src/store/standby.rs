//! A store that stands by: it takes in what another node has committed, into its state and its home, so that it can be the
//! owner's in no time. Knows neither who the owner is nor when that changes.

use super::codec::decode_commit;
use super::commit::CommitNo;
use super::error::AppendError;
use super::home::Home;
use super::log::Log;
use super::log::replicated::{Link, Position, Progress, ReplicatedLog, StreamCommit};
use super::logged::{LoggedStore, forget_rows};
use super::recent::Arrivals;
use crate::core::{Event, State, Time};
use bytes::Bytes;
use std::sync::Arc;

/// Why a commit could not be taken in. Final: what the state is now has no meaning.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// It makes no sense here: it or this node is damaged, or a newer version has written it.
    #[error("commit {} of the stream cannot be taken in: {detail}", number.0)]
    Commit { number: CommitNo, detail: String },
    /// This node's disk failed, or is full.
    #[error(transparent)]
    Disk(#[from] AppendError),
}

impl<L: Link, H: Home> LoggedStore<ReplicatedLog<L>, H> {
    /// Takes in the next commit, and brings `state` up to it. `maintain` is to be called from time to time, as after appends.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub(crate) fn follow(&mut self, state: &mut State, commit: StreamCommit) -> Result<(), FollowError> {
        let StreamCommit { number, payload, position } = commit;
        let next = self.log.last().next();
        if number < next {
            // It came home before, by a copy of the owner's.
            self.log.pass_over(position);
            return Ok(());
        }
        let followed = self.take_in(state, (number, next), payload, position);
        if matches!(followed, Err(FollowError::Commit { .. })) {
            // The log has it and the state has not: nothing of that may come home.
            self.log.give_up();
        }
        followed
    }

    fn take_in(
        &mut self,
        state: &mut State,
        (number, next): (CommitNo, CommitNo),
        payload: Bytes,
        position: Position,
    ) -> Result<(), FollowError> {
        let wrong = |detail: String| FollowError::Commit { number, detail };
        if number != next {
            return Err(wrong(format!("commit {} is the next one", next.0)));
        }
        let appended = self.log.follow(payload, position).map_err(AppendError::Disk)?;
        let commit = decode_commit(appended.record).map_err(|error| wrong(error.to_string()))?;
        commit.check().map_err(wrong)?;
        for event in &commit.events {
            check(state, event).map_err(wrong)?;
            state.apply(event);
        }
        self.time = commit.time;
        commit.tags.iter().for_each(|(jobs, envelope)| self.recent.push_tags(*jobs, envelope));
        let (bytes, attaches) = (appended.record.len() as u64, commit.blobs.attached.len() > 0);
        let replaces = commit.events.iter().any(|event| matches!(event, Event::BodyReplaced { .. }));
        let arrivals = Arrivals { blobs: commit.blobs, place: Some((appended.segment, appended.at)) };
        self.checkpoints.note(&commit.events, bytes, arrivals, &mut self.recent);
        forget_rows(&mut self.rows, replaces, attaches);
        Ok(())
    }

    /// The newest commit that it has.
    pub(crate) fn last(&self) -> CommitNo {
        self.log.last()
    }

    /// The same, and when it was decided.
    pub(crate) fn newest(&self) -> (CommitNo, Time) {
        (self.log.last(), self.time)
    }

    /// From now on its node is the owner, and appends.
    ///
    /// # Errors
    /// It has not taken in all that the stream had before.
    pub(crate) fn own(&mut self, link: L, progress: Arc<Progress>) -> Result<(), AppendError> {
        self.log.own(link, progress)
    }
}

/// That an event can follow a state: the owner's was the same, if nothing is damaged.
fn check(state: &State, event: &Event) -> Result<(), String> {
    if let Event::Submitted { jobs, .. } = event {
        return match jobs.first < state.next_id() {
            true => Err(format!("job {} arrives after later ones", jobs.first)),
            false => Ok(()),
        };
    }
    for range in event.jobs() {
        let known: u64 = state.iter(*range).map(|(part, _)| part.len).sum();
        if known != range.len {
            return Err(format!(
                "it names jobs from {} on, of which {} are unknown",
                range.first,
                range.len - known
            ));
        }
    }
    Ok(())
}
