//! `musher wait`: waits until jobs and groups have ended, across restarts of the daemon, and turns their ends into an exit code.

use super::ask::Target;
use super::beside;
use super::ends::{Awaited, Ended, tell};
use super::exit::{End, Failure};
use super::interrupt::message_on_signal;
use super::output;
use super::steady::Steady;
use super::which::{self, cancel};
use crate::client::{Client, ClientError};
use crate::durations::parse_duration;
use crate::protocol::Beside;
use crate::protocol::admin::{AdminRequest, EndView, WaitForGroups};
use crate::written::options::{millis, parse_id};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::JoinSet;

/// How many questions are under way at once, at most, for jobs, or groups, that are waited for together.
const QUESTIONS: usize = 256;
/// How long to wait before asking again a daemon that has answered too early, because it stops.
const ASK_AGAIN: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Exit codes: 0 all are done, 1 one has failed (it is dead, cancelled or expired), 75 the time is over, 4 one has ended and
nothing is kept of it, so nobody knows how. The first of these that holds counts, in this order: 1, 75, 4, 0.
A group has ended when it is sealed and all of its jobs have ended; it is done if all of them are.
If the daemon restarts, this goes on when it is back; after a minute without one the exit code is 69, and the jobs go on.

Examples:
  musher wait 42
  musher wait 42 43 44 --timeout 5m
  first=$(musher wait 42 43 44 --any)           that one's id, and its exit code
  musher wait 42 --result > sums.txt
  musher wait 42 43 44 --first-error            all are done, or none goes on
  musher wait --group album-7 --timeout 1h
  musher wait --group album-7 --first-error     all jobs of the group are done, or the rest is cancelled";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Wait {
    /// The jobs
    #[arg(required_unless_present = "groups", value_name = "ID", value_parser = parse_id)]
    ids: Vec<u64>,
    /// A group: wait until it is sealed and all of its jobs have ended; may be repeated
    #[arg(long = "group", value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
    groups: Vec<String>,
    /// Wait at most this long; 0 only looks
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Wait until one of them has ended, and print its id, or the group's name
    #[arg(long, conflicts_with = "first_error")]
    any: bool,
    /// Wait until all are done, or one has failed, or one job of a group: then the others that have not ended are cancelled
    #[arg(long)]
    first_error: bool,
    /// Print the result of the one job that is waited for, if it is done
    #[arg(long, conflicts_with_all = ["any", "first_error", "json", "groups"])]
    result: bool,
    /// Print a JSON object for each job, or group, that has ended, one a line
    #[arg(long)]
    json: bool,
}

impl Wait {
    pub(super) async fn run(&self, to: &Target, client: Client) -> End {
        if self.result && self.ids.len() > 1 {
            return Err(Failure::usage("--result is of one job: name one"));
        }
        let again = format!("the jobs go on; `musher wait {}` waits again", self.named().join(" "));
        let _heard = message_on_signal(again.clone())?;
        let mut steady = Steady::new(to.path(), client, self.timeout, again);
        let enough: fn(&Ended) -> bool = match (self.any, self.first_error) {
            (true, _) => |_| true,
            (_, true) => |end| !end.is_done(),
            _ => |_| false,
        };
        let groups = self.groups.iter().cloned().map(Awaited::Group);
        let awaited: Vec<Awaited> = self.ids.iter().copied().map(Awaited::Job).chain(groups).collect();
        let how = How { single: self.any || self.first_error, first_error: self.first_error };
        let mut ends = ends(&mut steady, &awaited, how, enough).await?;
        if self.any {
            // Those that have not are nobody's concern, unless none has.
            if let Some(first) = ends.iter().position(Ended::has_ended) {
                ends = vec![ends.swap_remove(first)];
            }
        }
        for end in ends.iter().filter(|end| end.has_ended()) {
            match (self.json, self.any, end) {
                (true, ..) => output::json(end)?,
                (false, true, Ended::Job(end)) => output::line(&end.id.to_string())?,
                (false, true, Ended::Group(end)) => output::line(&end.group)?,
                (false, false, _) => {}
            }
        }
        if self.first_error && ends.iter().any(|end| end.has_ended() && !end.is_done()) {
            ends.retain(Ended::has_ended);
            if ends.iter().any(Ended::is_failed) {
                self.cancel_others(&mut steady, &ends).await?;
            }
        }
        let code = tell(&ends, self.timeout);
        if self.result && code == 0 {
            let id = self.ids[0];
            beside::print(
                &steady.ask(async |client, _| Ok(client.beside(id, Beside::Result).await?)).await?,
            )?;
        }
        Ok(ExitCode::from(code))
    }

    /// What is waited for, as arguments.
    fn named(&self) -> Vec<String> {
        let groups = self.groups.iter().map(|group| format!("--group {group}"));
        self.ids.iter().map(u64::to_string).chain(groups).collect()
    }

    /// One has failed: those that have not ended are of no use any more, nor is the rest of any group.
    async fn cancel_others(&self, steady: &mut Steady, ended: &[Ended]) -> Result<(), Failure> {
        let is_open = |id: &&u64| !ended.iter().any(|end| end.of() == Awaited::Job(**id));
        let ids: Vec<u64> = self.ids.iter().filter(is_open).copied().collect();
        let mut cancelled = steady.ask(async |client, _| cancel(client, &ids).await).await?;
        for group in &self.groups {
            cancelled += steady
                .ask(async |client, _| {
                    let left = which::live_of_group(client, group).await?;
                    cancel(client, &left).await
                })
                .await?;
        }
        if !ids.is_empty() || cancelled > 0 {
            let others = crate::words::counted(cancelled, "other job was", "other jobs were");
            eprintln!("musher: {others} cancelled");
        }
        Ok(())
    }
}

/// How several are waited for.
#[derive(Clone, Copy)]
struct How {
    /// One at a time is of interest, so each is asked for by itself.
    single: bool,
    /// A group is waited for no longer when one of its jobs has failed.
    first_error: bool,
}

/// Waits for one job that is on its way, whatever becomes of the daemon; its end.
pub(super) async fn end_of(steady: &mut Steady, id: u64) -> Result<EndView, Failure> {
    let how = How { single: true, first_error: false };
    match ends(steady, &[Awaited::Job(id)], how, |_| true).await?.pop() {
        Some(Ended::Job(end)) => Ok(end),
        Some(Ended::Group(_)) | None => Err(ClientError::Unexpected.into()),
    }
}

/// Waits until all have ended, or one of which that is `enough`, or the time is over: how they are, in the order asked for.
async fn ends(
    steady: &mut Steady,
    awaited: &[Awaited],
    how: How,
    enough: impl Fn(&Ended) -> bool,
) -> Result<Vec<Ended>, Failure> {
    // What has ended stays known, if the daemon that is asked next knows it no more.
    let mut known: HashMap<Awaited, Ended> = HashMap::new();
    let has_ended = |known: &HashMap<Awaited, Ended>, what| known.get(what).is_some_and(Ended::has_ended);
    loop {
        steady
            .ask(async |client, left| {
                let open: Vec<Awaited> =
                    awaited.iter().filter(|what| !has_ended(&known, what)).cloned().collect();
                let questions = questions(client, left, &open, how);
                Ok(answers(questions, &mut known, &enough).await?)
            })
            .await?;
        let is_over = steady.left() == Some(Duration::ZERO);
        let all = awaited.iter().all(|what| has_ended(&known, what));
        if all || is_over || known.values().any(|end| end.has_ended() && enough(end)) {
            return Ok(awaited.iter().filter_map(|what| known.get(what).cloned()).collect());
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Questions that are under way on one connection.
type Questions = JoinSet<Result<Vec<Ended>, ClientError>>;

/// Asks for all that is open.
fn questions(client: &Client, left: Option<Duration>, open: &[Awaited], how: How) -> Questions {
    let (mut ids, mut groups) = (Vec::new(), Vec::new());
    for what in open {
        match what {
            Awaited::Job(id) => ids.push(*id),
            Awaited::Group(name) => groups.push(name.clone()),
        }
    }
    let (mut questions, timeout_ms) = (Questions::new(), left.map(millis));
    let share = |all: usize| if how.single { 1 } else { all.div_ceil(QUESTIONS).max(1) };
    for ids in ids.chunks(share(ids.len())) {
        let (client, wait) = (client.clone(), AdminRequest::Wait { ids: ids.to_vec(), timeout_ms });
        questions.spawn(async move {
            let ends: Vec<EndView> = client.ask(wait).await?;
            Ok(ends.into_iter().map(Ended::from).collect())
        });
    }
    for groups in groups.chunks(share(groups.len())) {
        let wait = WaitForGroups { groups: groups.to_vec(), first_error: how.first_error, timeout_ms };
        let client = client.clone();
        questions.spawn(async move {
            Ok(client.wait_for_groups(wait).await?.into_iter().map(Ended::from).collect())
        });
    }
    questions
}

/// Takes the answers, up to one that is `enough`.
async fn answers(
    mut questions: Questions,
    known: &mut HashMap<Awaited, Ended>,
    enough: impl Fn(&Ended) -> bool,
) -> Result<(), ClientError> {
    while let Some(answer) = questions.join_next().await {
        // It does not panic; if it does, there is no answer.
        let answer = answer.map_err(|_| ClientError::Unexpected)??;
        let is_enough = answer.iter().any(|end| end.has_ended() && enough(end));
        known.extend(answer.into_iter().map(|end| (end.of(), end)));
        if is_enough {
            break;
        }
    }
    Ok(())
}

/// The exit status of the command whose job ended so, in the form of shells, if it is known.
pub(super) fn command_status(end: &EndView) -> Option<u8> {
    end.exit_signal.map(|signal| signal.saturating_add(128)).or(end.exit_status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(state: &str) -> EndView {
        EndView { id: 1, state: state.into(), error: None, exit_status: None, exit_signal: None }
    }

    #[test]
    fn a_command_ends_as_in_a_shell() {
        assert_eq!(command_status(&EndView { exit_signal: Some(9), ..end("dead") }), Some(137));
        assert_eq!(command_status(&EndView { exit_status: Some(3), ..end("dead") }), Some(3));
        assert_eq!(command_status(&end("cancelled")), None);
    }
}
