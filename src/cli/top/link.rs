//! The connection to the daemon, for the screen: carries out what is asked, one thing after the other, finds the daemon again
//! when it was away, and follows the output of a job on a connection of its own, which ends with it. It must not know what
//! is on the screen.
//!
//! It asks, about once a second, and does not follow what becomes of all jobs: that would cost the daemon something for each change,
//! however many there are, and a look costs the same on an idle daemon and a busy one.

use super::ask::{Ask, Change, Heard, JobSeen, Look, Output, Seen};
use super::model::UNCHANGED_AWAY;
use crate::cli::output::{safe, user};
use crate::cli::show::describe;
use crate::client::{Again, Client, ClientError};
use crate::clock::monotonic;
use crate::protocol::admin::{
    AdminRequest, EditView, ExplainView, JobView, JobsView, QueueSettingsView, ScheduleView, StatsView,
    StatusView, WorkerView,
};
use crate::protocol::{Malformed, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::path::Path;
use std::pin::Pin;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Of how long ago on the past of a queue is shown, in milliseconds.
pub(super) const PAST_MS: u64 = 600_000;
/// The settings that bound what of a queue runs, and what they are called.
const LIMITS: [(&str, &str); 4] =
    [("concurrency", "at most"), ("per_key", "per key"), ("rate", "rate"), ("per_key_rate", "rate per key")];

/// Carries out what is asked until nobody asks or hears any more.
pub(super) async fn run(
    socket: &Path,
    first: Client,
    mut asked: mpsc::Receiver<Ask>,
    heard: mpsc::Sender<Heard>,
) {
    let (mut client, mut names) = (first, Names::default());
    loop {
        let ask = tokio::select! {
            ask = asked.recv() => ask,
            () = client.closed() => {
                if away(socket, &mut client, (&mut asked, &heard), ClientError::Closed(String::new())).await.is_none() {
                    return;
                }
                continue;
            }
        };
        let Some(ask) = ask else { return };
        let (said, gone) = match ask {
            Ask::Look(look) => match self::look(&client, *look, &mut names).await {
                Ok(seen) => (Some(Heard::Seen(Box::new(seen))), None),
                Err(error) if error.is_disconnect() => (None, Some(error)),
                Err(error) => (Some(Heard::Refused(error.to_string())), None),
            },
            Ask::Change(change) => match self::change(&client, &change).await {
                Ok(edit) => (Some(Heard::Changed(change, Ok(edit))), None),
                Err(error) => {
                    let why = Heard::Changed(change, Err(error.to_string()));
                    (Some(why), error.is_disconnect().then_some(error))
                }
            },
        };
        if let Some(said) = said
            && heard.send(said).await.is_err()
        {
            return;
        }
        if let Some(error) = gone
            && away(socket, &mut client, (&mut asked, &heard), error).await.is_none()
        {
            return;
        }
    }
}

/// The daemon is away: calls it until it is back. `None` if nobody hears any more.
async fn away(
    socket: &Path,
    client: &mut Client,
    (asked, heard): (&mut mpsc::Receiver<Ask>, &mpsc::Sender<Heard>),
    error: ClientError,
) -> Option<()> {
    heard.send(Heard::Away(error.to_string())).await.ok()?;
    let mut again = Again::default();
    loop {
        sleep(again.wait()).await;
        // What was asked when it was there is not done when it is back, when nobody thinks of it any more.
        while let Ok(ask) = asked.try_recv() {
            if let Ask::Change(change) = ask {
                heard.send(Heard::Changed(change, Err(UNCHANGED_AWAY.to_owned()))).await.ok()?;
            }
        }
        match Client::connect(socket).await {
            Ok(next) => {
                *client = next;
                return heard.send(Heard::Back).await.ok();
            }
            Err(error) => heard.send(Heard::Away(error.to_string())).await.ok()?,
        }
    }
}

async fn change(client: &Client, change: &Change) -> Result<Option<EditView>, ClientError> {
    if change.is_edit() {
        return Ok(client.ask::<Vec<EditView>>(change.request()).await?.into_iter().next());
    }
    client.done(change.request()).await.map(|()| None)
}

/// Names of users: the system is asked once for each.
#[derive(Debug, Default)]
struct Names(HashMap<u32, String>);

impl Names {
    fn worker(&mut self, worker: Option<WorkerView>) -> String {
        let Some(WorkerView { uid, pid }) = worker else { return "-".to_owned() };
        let name = self.0.entry(uid).or_insert_with(|| user(uid));
        pid.map_or_else(|| name.clone(), |pid| format!("{pid} of {name}"))
    }
}

/// A question that is on its way.
struct Pending<T>(Option<Answer>, PhantomData<T>);

type Answer = Pin<Box<dyn Future<Output = Result<Bytes, ClientError>>>>;

impl<T: DeserializeOwned> Pending<T> {
    /// Sends it, if there is one.
    fn send(client: &Client, question: Option<AdminRequest>) -> Result<Pending<T>, ClientError> {
        let Some(question) = question else { return Ok(Pending(None, PhantomData)) };
        let (_, answer) = client.start_ask(question)?;
        Ok(Pending(Some(Box::pin(answer)), PhantomData))
    }

    /// The answer; that the connection has ended is the only thing that ends a look.
    async fn answer(self) -> Result<Option<Result<T, String>>, ClientError> {
        let Some(answer) = self.0 else { return Ok(None) };
        match answer.await {
            Ok(json) => match serde_json::from_slice(&json) {
                Ok(answer) => Ok(Some(Ok(answer))),
                Err(error) => Ok(Some(Err(format!("the daemon's answer cannot be read: {error}")))),
            },
            Err(error) if error.is_disconnect() => Err(error),
            Err(error) => Ok(Some(Err(error.to_string()))),
        }
    }
}

/// Asks for all of it at once, and takes the answers.
async fn look(client: &Client, look: Look, names: &mut Names) -> Result<Seen, ClientError> {
    let status = Pending::<StatusView>::send(client, Some(AdminRequest::Status {}))?;
    let jobs = Pending::<JobsView>::send(client, look.jobs.clone().map(AdminRequest::List))?;
    let schedules = look.schedules.then_some(AdminRequest::Schedules {});
    let schedules = Pending::<Vec<ScheduleView>>::send(client, schedules)?;
    let job = Pending::<JobView>::send(client, look.job.map(|id| AdminRequest::Show { id }))?;
    let explained = look.job.map(|id| AdminRequest::Explain { id });
    let explained = Pending::<ExplainView>::send(client, explained)?;
    let mut pasts = Vec::new();
    for name in &look.past {
        let ask = AdminRequest::Stats { since_ms: PAST_MS, queue: Some(name.clone()) };
        pasts.push((name.clone(), Pending::<StatsView>::send(client, Some(ask))?));
    }
    let mut settings = Vec::new();
    for name in &look.limits {
        let ask = AdminRequest::QueueShow { queue: name.clone() };
        settings.push((name.clone(), Pending::<QueueSettingsView>::send(client, Some(ask))?));
    }
    let mut refused = None;
    let status = match status.answer().await? {
        Some(Ok(status)) => status,
        Some(Err(why)) => return Err(ClientError::Malformed(Malformed(why))),
        None => return Err(ClientError::Unexpected),
    };
    let jobs = kept(jobs.answer().await?, &mut refused);
    let workers = jobs.iter().flat_map(|page| &page.jobs).map(|job| names.worker(job.worker)).collect();
    let schedules = kept(schedules.answer().await?, &mut refused);
    let job = match (job.answer().await?, explained.answer().await?) {
        (Some(Err(why)), _) => Some(Err(why)),
        (Some(Ok(job)), explained) => {
            let facts = describe(&job);
            let reasons = match explained {
                Some(Ok(view)) => view.reasons.iter().map(|reason| safe(reason)).collect(),
                Some(Err(why)) => vec![safe(&why)],
                None => Vec::new(),
            };
            Some(Ok(JobSeen { job, facts, reasons }))
        }
        (None, _) => None,
    };
    let (mut past, mut limits) = (Vec::new(), Vec::new());
    for (name, answer) in pasts {
        if let Some(Ok(stats)) = answer.answer().await? {
            let step = stats.step_ms;
            past.extend(stats.queues.into_iter().next().map(|queue| (name, queue, step)));
        }
    }
    for (name, answer) in settings {
        if let Some(Ok(view)) = answer.answer().await? {
            limits.push((name, limits_in_words(&view)));
        }
    }
    let at = monotonic();
    Ok(Seen { look, at, status, past, limits, jobs, workers, schedules, job, refused })
}

/// The answer; why there is none is kept for the person to see.
fn kept<T>(answer: Option<Result<T, String>>, refused: &mut Option<String>) -> Option<T> {
    match answer? {
        Ok(answer) => Some(answer),
        Err(why) => {
            refused.get_or_insert(why);
            None
        }
    }
}

fn limits_in_words(view: &QueueSettingsView) -> String {
    let of = |(key, words): &(&str, &str)| {
        let setting = view.settings.iter().find(|setting| setting.key == *key)?;
        let is_limit = setting.value.starts_with(|c: char| c.is_ascii_digit() && c != '0');
        is_limit.then(|| format!("{words} {}", safe(&setting.value)))
    };
    LIMITS.iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

/// Follows the output of a job until it has ended, over restarts of the daemon.
pub(super) async fn follow(socket: &Path, id: u64, heard: &mpsc::Sender<Heard>) {
    let mut again = Again::default();
    loop {
        let ended = follow_once(socket, id, heard).await;
        let said = match ended {
            Ok(true) => Output::End,
            Err(error) if !error.is_disconnect() => Output::Refused(error.to_string()),
            // The screen says that the daemon is away by what it hears of the other connection.
            Ok(false) | Err(_) => {
                sleep(again.wait()).await;
                continue;
            }
        };
        // Who does not hear it any more has left.
        let _ = heard.send(Heard::Output(said)).await;
        return std::future::pending().await;
    }
}

/// Whether it has come to the end.
async fn follow_once(socket: &Path, id: u64, heard: &mpsc::Sender<Heard>) -> Result<bool, ClientError> {
    let client = Client::connect(socket).await?;
    let mut pieces = client.logs(id, true).await?;
    let mut said = Output::Anew;
    loop {
        if heard.send(Heard::Output(said)).await.is_err() {
            return Ok(true);
        }
        said = match pieces.recv().await {
            Some(Ok(Response::Output { attempt, stream, data })) => Output::Piece { attempt, stream, data },
            Some(Ok(_)) => return Ok(true),
            Some(Err(error)) => return Err(error),
            None => return Ok(false),
        };
    }
}
