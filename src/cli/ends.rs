//! What is waited for, jobs and groups, and how each ended: in words, and as an exit code. It asks nobody.

use super::exit::{FAILED, GONE, TRY_AGAIN};
use super::output::safe;
use crate::core::for_shell;
use crate::durations::show_duration;
use crate::protocol::admin::{EndView, GroupEndView};
use crate::views;
use crate::words::{count, counted};
use serde::Serialize;
use std::time::Duration;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Awaited {
    /// A job.
    Job(u64),
    /// All jobs of a group.
    Group(String),
}

/// How it is.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Ended {
    /// The job.
    Job(EndView),
    /// The group.
    Group(GroupEndView),
}

impl From<EndView> for Ended {
    fn from(end: EndView) -> Ended {
        Ended::Job(end)
    }
}

impl From<GroupEndView> for Ended {
    fn from(end: GroupEndView) -> Ended {
        Ended::Group(end)
    }
}

impl Ended {
    /// What it is of.
    pub(super) fn of(&self) -> Awaited {
        match self {
            Ended::Job(end) => Awaited::Job(end.id),
            Ended::Group(end) => Awaited::Group(end.group.clone()),
        }
    }

    /// Whether that is an end, and not how it was when the time was over.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Ended::Job(end) => has_ended(end),
            Ended::Group(end) => end.is_over(),
        }
    }

    fn state(&self) -> &str {
        match self {
            Ended::Job(end) => &end.state,
            Ended::Group(end) => &end.state,
        }
    }

    /// Whether all of it is done.
    pub(super) fn is_done(&self) -> bool {
        self.state() == "done"
    }

    /// Whether it is known that it has ended otherwise.
    pub(super) fn is_failed(&self) -> bool {
        self.has_ended() && !self.is_done() && self.state() != "gone"
    }

    /// What there is to say of it if it is not done, and what that means.
    fn told(&self, time: Option<Duration>) -> (String, u8) {
        let after = time.map_or_else(String::new, |time| format!(" after {}", show_duration(time)));
        match self {
            Ended::Job(end) => job_told(end, &after),
            Ended::Group(end) => group_told(end, &after),
        }
    }
}

/// Whether that is an end, and not how a job was when the time was over.
pub(super) fn has_ended(end: &EndView) -> bool {
    views::has_ended(&end.state) || end.state == "gone"
}

fn job_told(EndView { id, state, error, .. }: &EndView, after: &str) -> (String, u8) {
    let error = error.as_ref().map_or_else(String::new, |error| format!(": {}", safe(error)));
    match &**state {
        "gone" => {
            let why = "it has ended and nothing is kept of it, or there never was one";
            (format!("job {id} is gone: {why}"), GONE)
        }
        ended if views::has_ended(ended) => (format!("job {id} is {ended}{error}"), FAILED),
        state => (format!("job {id} is still {state}{after}"), TRY_AGAIN),
    }
}

fn group_told(end: &GroupEndView, after: &str) -> (String, u8) {
    let name = safe(&end.group);
    let left = || format!("{} left of {}", count(end.counts.live), counted(end.counts.total, "job", "jobs"));
    let ends = [
        (end.counts.dead, "dead"),
        (end.counts.expired, "expired"),
        (end.counts.cancelled, "cancelled"),
        (end.counts.gone, "deleted before the end"),
    ];
    let how = || {
        let some = ends.iter().filter(|(n, _)| *n > 0).map(|(n, how)| format!("{} {how}", count(*n)));
        let some: Vec<String> = some.collect();
        format!("{} of {}", some.join(", "), counted(end.counts.total, "job", "jobs"))
    };
    match &*end.state {
        GroupEndView::OPEN => {
            let told = format!(
                "group {name} is still open{after}: it takes jobs until `musher group seal {}`, and has {}",
                for_shell(&name),
                left()
            );
            (told, TRY_AGAIN)
        }
        GroupEndView::SEALED => (format!("group {name} has not ended{after}: {}", left()), TRY_AGAIN),
        GroupEndView::GONE if end.counts.gone == 0 => {
            (format!("group {name} is gone: it was deleted before it ended"), GONE)
        }
        GroupEndView::GONE => (format!("group {name}: {}", how()), GONE),
        GroupEndView::FAILED => (format!("group {name} has failed: {}", how()), FAILED),
        _ => (format!("group {name} is not done: {}", how()), FAILED),
    }
}

/// Says which are not done, and what that means for the exit code.
pub(super) fn tell(ends: &[Ended], time: Option<Duration>) -> u8 {
    let mut codes = Vec::new();
    for end in ends.iter().filter(|end| !end.is_done()) {
        let (told, code) = end.told(time);
        eprintln!("musher: {told}");
        codes.push(code);
    }
    [FAILED, TRY_AGAIN, GONE].into_iter().find(|code| codes.contains(code)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::GroupCountsView;

    fn job(state: &str) -> Ended {
        EndView { id: 1, state: state.into(), error: None, exit_status: None, exit_signal: None }.into()
    }

    fn group(state: &str) -> GroupEndView {
        let counts =
            GroupCountsView { total: 21, live: 1, done: 2, dead: 3, cancelled: 4, expired: 5, gone: 6 };
        GroupEndView { group: "g".into(), state: state.into(), counts }
    }

    #[test]
    fn the_worst_end_decides_the_exit_code() {
        for (states, code) in [
            (&["done"][..], 0),
            (&["done", "gone"], 4),
            (&["gone", "leased"], 75),
            (&["gone", "ready", "dead"], 1),
            (&["cancelled"], 1),
            (&["expired", "done"], 1),
        ] {
            assert_eq!(
                tell(&states.iter().map(|state| job(state)).collect::<Vec<_>>(), None),
                code,
                "{states:?}"
            );
        }
        for (state, code) in
            [("done", 0), ("failed", 1), ("cancelled", 1), ("gone", 4), ("open", 75), ("sealed", 75)]
        {
            assert_eq!(tell(&[job("done"), group(state).into()], None), code, "{state}");
        }
    }

    #[test]
    fn what_has_become_of_a_group_is_said_in_words() {
        let told = |state| Ended::from(group(state)).told(Some(Duration::from_secs(5))).0;
        assert_eq!(
            told("open"),
            "group g is still open after 5s: it takes jobs until `musher group seal g`, and has 1 left of 21 jobs"
        );
        assert_eq!(told("sealed"), "group g has not ended after 5s: 1 left of 21 jobs");
        assert_eq!(
            told("failed"),
            "group g has failed: 3 dead, 5 expired, 4 cancelled, 6 deleted before the end of 21 jobs"
        );
        let deleted = GroupEndView { counts: GroupCountsView::default(), ..group("gone") };
        assert_eq!(group_told(&deleted, "").0, "group g is gone: it was deleted before it ended");
    }
}
