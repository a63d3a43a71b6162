//! `musher wait`: waits until jobs have ended, across restarts of the daemon, and turns their ends into an exit code.

use super::ask::Target;
use super::beside;
use super::exit::{End, FAILED, Failure, GONE, TRY_AGAIN};
use super::interrupt::message_on_signal;
use super::job_options::{millis, parse_id};
use super::output::{self, safe};
use super::steady::Steady;
use crate::client::{Client, ClientError};
use crate::durations::{parse_duration, show_duration};
use crate::protocol::Beside;
use crate::protocol::admin::{AdminRequest, EditView, EndView};
use crate::views;
use clap::Args;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::JoinSet;

/// How many questions are under way at once, at most, for jobs that are waited for together.
const QUESTIONS: usize = 256;
/// How long to wait before asking again a daemon that has answered too early, because it stops.
const ASK_AGAIN: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Exit codes: 0 all are done, 1 one has failed (it is dead, cancelled or expired), 75 the time is over, 4 one has ended and
nothing is kept of it, so nobody knows how. The first of these that holds counts, in this order: 1, 75, 4, 0.
If the daemon restarts, this goes on when it is back; after a minute without one the exit code is 69, and the jobs go on.

Examples:
  musher wait 42
  musher wait 42 43 44 --timeout 5m
  first=$(musher wait 42 43 44 --any)           that one's id, and its exit code
  musher wait 42 --result > sums.txt
  musher wait 42 43 44 --first-error            all are done, or none goes on";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Wait {
    /// The jobs
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    ids: Vec<u64>,
    /// Wait at most this long; 0 only looks
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Wait until one of them has ended, and print its id
    #[arg(long, conflicts_with = "first_error")]
    any: bool,
    /// Wait until all are done, or one has failed: then the others that have not ended are cancelled
    #[arg(long)]
    first_error: bool,
    /// Print the result of the one job that is waited for, if it is done
    #[arg(long, conflicts_with_all = ["any", "first_error", "json"])]
    result: bool,
    /// Print a JSON object for each job that has ended, one a line
    #[arg(long)]
    json: bool,
}

impl Wait {
    pub(super) async fn run(&self, to: &Target, client: Client) -> End {
        if self.result && self.ids.len() > 1 {
            return Err(Failure::usage("--result is of one job: name one"));
        }
        let ids = self.ids.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let again = format!("the jobs go on; `musher wait {ids}` waits again");
        let _heard = message_on_signal(again.clone())?;
        let mut steady = Steady::new(to.path(), client, self.timeout, again);
        let enough: fn(&EndView) -> bool = match (self.any, self.first_error) {
            (true, _) => |_| true,
            (_, true) => |end| end.state != "done",
            _ => |_| false,
        };
        let single = self.any || self.first_error;
        let mut ends = ends(&mut steady, &self.ids, single, enough).await?;
        if self.any {
            // Those that have not are nobody's concern, unless none has.
            if let Some(first) = ends.iter().position(has_ended) {
                ends = vec![ends.swap_remove(first)];
            }
        }
        for end in ends.iter().filter(|end| has_ended(end)) {
            match (self.json, self.any) {
                (true, _) => output::json(end)?,
                (false, true) => output::line(&end.id.to_string())?,
                (false, false) => {}
            }
        }
        if self.first_error && ends.iter().any(|end| has_ended(end) && end.state != "done") {
            ends.retain(has_ended);
            if ends.iter().any(|end| end.state != "done" && end.state != "gone") {
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
}

impl Wait {
    /// One has failed: those that have not ended are of no use any more.
    async fn cancel_others(&self, steady: &mut Steady, ended: &[EndView]) -> Result<(), Failure> {
        let is_open = |id: &&u64| !ended.iter().any(|end| end.id == **id);
        let ids: Vec<u64> = self.ids.iter().filter(is_open).copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let results: Vec<EditView> = steady
            .ask(async |client, _| {
                let edit = AdminRequest::Edit {
                    edit: "cancel".into(),
                    ids: ids.clone(),
                    state: None,
                    queue: None,
                    to: None,
                    priority: None,
                };
                Ok(client.ask(edit).await?)
            })
            .await?;
        let cancelled = results.iter().filter(|result| result.error.is_none()).count() as u64;
        eprintln!(
            "musher: {} cancelled",
            crate::words::counted(cancelled, "other job was", "other jobs were")
        );
        Ok(())
    }
}

/// Waits for one job that is on its way, whatever becomes of the daemon; its end.
pub(super) async fn end_of(steady: &mut Steady, id: u64) -> Result<EndView, Failure> {
    let ends = ends(steady, &[id], true, |_| true).await?;
    ends.into_iter().next().ok_or_else(|| ClientError::Unexpected.into())
}

/// Waits until all jobs have ended, or one of which that is `enough`, or the time is over: how they are, in the order of
/// the ids. `single`: one at a time is of interest, so each is asked for by itself.
async fn ends(
    steady: &mut Steady,
    ids: &[u64],
    single: bool,
    enough: impl Fn(&EndView) -> bool,
) -> Result<Vec<EndView>, Failure> {
    // What has ended stays known, if the daemon that is asked next knows it no more.
    let mut known: HashMap<u64, EndView> = HashMap::new();
    let share = if single { 1 } else { ids.len().div_ceil(QUESTIONS).max(1) };
    loop {
        steady
            .ask(async |client, left| Ok(ask(client, left, ids, share, &mut known, &enough).await?))
            .await?;
        let is_over = steady.left() == Some(Duration::ZERO);
        let all = ids.iter().all(|id| known.get(id).is_some_and(has_ended));
        if all || is_over || known.values().any(|end| has_ended(end) && enough(end)) {
            return Ok(ids.iter().filter_map(|id| known.get(id).cloned()).collect());
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// One round of questions on one connection.
async fn ask(
    client: &Client,
    left: Option<Duration>,
    ids: &[u64],
    share: usize,
    known: &mut HashMap<u64, EndView>,
    enough: impl Fn(&EndView) -> bool,
) -> Result<(), ClientError> {
    let open: Vec<u64> = ids.iter().copied().filter(|id| !known.get(id).is_some_and(has_ended)).collect();
    let mut questions = JoinSet::new();
    for ids in open.chunks(share) {
        let (client, ids, timeout_ms) = (client.clone(), ids.to_vec(), left.map(millis));
        questions
            .spawn(async move { client.ask::<Vec<EndView>>(AdminRequest::Wait { ids, timeout_ms }).await });
    }
    while let Some(answer) = questions.join_next().await {
        // It does not panic; if it does, there is no answer.
        let answer = answer.map_err(|_| ClientError::Unexpected)??;
        let is_enough = answer.iter().any(|end| has_ended(end) && enough(end));
        known.extend(answer.into_iter().map(|end| (end.id, end)));
        if is_enough {
            break;
        }
    }
    Ok(())
}

/// Whether that is an end, and not how a job was when the time was over.
pub(super) fn has_ended(end: &EndView) -> bool {
    views::has_ended(&end.state) || end.state == "gone"
}

/// Says which jobs are not done, and what that means for the exit code.
pub(super) fn tell(ends: &[EndView], time: Option<Duration>) -> u8 {
    let mut codes = Vec::new();
    for end in ends.iter().filter(|end| end.state != "done") {
        let id = end.id;
        let error = end.error.as_ref().map_or_else(String::new, |error| format!(": {}", safe(error)));
        if end.state == "gone" {
            eprintln!(
                "musher: job {id} is gone: it has ended and nothing is kept of it, or there never was one"
            );
            codes.push(GONE);
        } else if has_ended(end) {
            eprintln!("musher: job {id} is {}{error}", end.state);
            codes.push(FAILED);
        } else {
            let time = time.map_or_else(String::new, |time| format!(" after {}", show_duration(time)));
            eprintln!("musher: job {id} is still {}{time}", end.state);
            codes.push(TRY_AGAIN);
        }
    }
    [FAILED, TRY_AGAIN, GONE].into_iter().find(|code| codes.contains(code)).unwrap_or(0)
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
                tell(&states.iter().map(|state| end(state)).collect::<Vec<_>>(), None),
                code,
                "{states:?}"
            );
        }
    }

    #[test]
    fn a_command_ends_as_in_a_shell() {
        assert_eq!(command_status(&EndView { exit_signal: Some(9), ..end("dead") }), Some(137));
        assert_eq!(command_status(&EndView { exit_status: Some(3), ..end("dead") }), Some(3));
        assert_eq!(command_status(&end("cancelled")), None);
    }
}
