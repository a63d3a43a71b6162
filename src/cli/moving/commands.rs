//! Commands that wait in another queue become command jobs. They are submitted one by one, so that each has an
//! idempotency key of its own, and those that others wait for come first. It does not know where they were found; there
//! nothing is changed.

use crate::cli::batches::is_zero;
use crate::cli::exit::{End, Failure};
use crate::cli::output::{self, count, safe};
use crate::client::{Client, ClientError};
use crate::config::COMMANDS_QUEUE;
use crate::protocol::admin::{AdminRequest, QueueView};
use crate::protocol::{
    After, AfterWhat, CommandJob, Condition, ErrorCode, JobOptions, Start, SubmitGroup, Ties,
};
use crate::words::counted;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Commands {
    /// Whose they are: `pueue`.
    pub(super) source: &'static str,
    pub(super) tasks: Vec<Task>,
    /// What cannot come, and why.
    pub(super) left: BTreeMap<u64, String>,
    pub(super) running: u64,
    pub(super) ended: u64,
    /// What people should know beside.
    pub(super) notes: Vec<String>,
}

/// A command that waits.
#[derive(Debug)]
pub(super) struct Task {
    /// Its number there.
    pub(super) number: u64,
    /// By what it is known again.
    pub(super) key: String,
    /// `None` for where commands usually go.
    pub(super) queue: Option<String>,
    pub(super) command: CommandJob,
    pub(super) start: Start,
    pub(super) priority: Option<u32>,
    pub(super) label: Option<String>,
    /// The numbers of tasks that must be done before.
    pub(super) after: Vec<u64>,
}

/// How it is told to take away there what is here.
fn how_to_remove(source: &str, numbers: &[u64]) -> String {
    let numbers = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    match source {
        "pueue" => format!("pueue remove {numbers}"),
        _ => format!("for id in {numbers}; do tsp -r $id; done"),
    }
}

#[derive(Debug, Serialize)]
struct Left {
    task: u64,
    why: String,
}

#[derive(Debug, Serialize)]
struct Moved {
    task: u64,
    /// `None` if it came in an earlier import and was changed there since: then its id here is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
struct Done {
    moved: Vec<Moved>,
    left: Vec<Left>,
    #[serde(skip_serializing_if = "is_zero")]
    running: u64,
    #[serde(skip_serializing_if = "is_zero")]
    ended: u64,
}

pub(super) async fn run(client: &Client, mut found: Commands, dry_run: bool, json: bool) -> End {
    for note in &found.notes {
        eprintln!("musher: note: {note}");
    }
    let mut here = BTreeMap::new();
    let ended = match dry_run {
        true => show(&found, json),
        false => submit_all(client, &mut found, &mut here).await,
    };
    // Said also when something went wrong in the middle: what is here must not run there as well.
    let numbers: Vec<u64> = here.keys().copied().collect();
    let source = found.source;
    let done = Done {
        moved: here.into_iter().map(|(task, job)| Moved { task, job }).collect(),
        left: found.left.into_iter().map(|(task, why)| Left { task, why }).collect(),
        running: found.running,
        ended: found.ended,
    };
    for Left { task, why } in &done.left {
        eprintln!("musher: task {task} of {source} is left there: {}", safe(why));
    }
    if json && !dry_run {
        output::json(&done)?;
    } else if !dry_run {
        for Moved { task, job } in &done.moved {
            match job {
                Some(job) => output::line(&format!("task {task} is job {job}"))?,
                None => output::line(&format!("task {task} is here since an earlier import"))?,
            }
        }
        let tasks = counted(numbers.len() as u64, "task is", "tasks are");
        let (running, ended) = (count(found.running), count(found.ended));
        eprintln!(
            "{tasks} here now; left in {source}: {running} running, {ended} ended, {} others",
            done.left.len()
        );
    }
    if !numbers.is_empty() {
        let remove = how_to_remove(source, &numbers);
        eprintln!("musher: they wait in {source} as well, and run there too unless you type: {remove}");
    }
    ended?;
    match done.left.len() as u64 {
        0 => Ok(ExitCode::SUCCESS),
        _ if dry_run => Ok(ExitCode::SUCCESS),
        left => Err(Failure::failed(format!("{} could not be moved", counted(left, "task", "tasks")))),
    }
}

fn show(found: &Commands, json: bool) -> Result<(), Failure> {
    if json {
        let tasks: Vec<u64> = found.tasks.iter().map(|task| task.number).collect();
        let left: Vec<u64> = found.left.keys().copied().collect();
        let (running, ended) = (found.running, found.ended);
        output::json(
            &serde_json::json!({ "tasks": tasks, "left": left, "running": running, "ended": ended }),
        )?;
        return Ok(());
    }
    let row = |task: &Task| {
        let words = task.command.argv.iter().map(|word| word.as_os_str().to_string_lossy());
        let command = safe(&words.collect::<Vec<_>>().join(" "));
        let directory = safe(&task.command.cwd.as_os_str().to_string_lossy());
        let queue = task.queue.as_deref().unwrap_or(COMMANDS_QUEUE);
        vec![task.number.to_string(), safe(queue), directory, command]
    };
    let rows: Vec<Vec<String>> = found.tasks.iter().map(row).collect();
    Ok(output::table_without(&["TASK", "QUEUE", "DIRECTORY", "COMMAND"], &rows, &[])?)
}

/// Submits whatever does not wait for something that is not here, until nothing more does.
async fn submit_all(
    client: &Client,
    found: &mut Commands,
    here: &mut BTreeMap<u64, Option<u64>>,
) -> Result<(), Failure> {
    let mut waiting = std::mem::take(&mut found.tasks);
    let mut queues = BTreeSet::new();
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut later = Vec::new();
        for task in waiting {
            if let Some(other) = task.after.iter().find(|other| found.left.contains_key(other)) {
                found.left.insert(task.number, format!("it waits for task {other}, which is left there"));
                continue;
            }
            if task.after.iter().any(|other| !here.contains_key(other)) {
                later.push(task);
                continue;
            }
            let ids: Option<Vec<u64>> = task.after.iter().map(|other| *here.get(other)?).collect();
            let Some(ids) = ids else {
                let why =
                    "it waits for a task that came in an earlier import and was changed since".to_owned();
                found.left.insert(task.number, why);
                continue;
            };
            let (number, queue) = (task.number, task.queue.clone());
            match submit(client, task, ids).await? {
                Ok(id) => {
                    here.insert(number, id);
                    queues.extend(queue);
                }
                Err(why) => drop(found.left.insert(number, why)),
            }
        }
        if later.len() == before {
            let circle = |task: &Task| (task.number, "it waits for something that never comes".to_owned());
            found.left.extend(later.iter().map(circle));
            break;
        }
        waiting = later;
    }
    if queues.is_empty() {
        return Ok(());
    }
    let there: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await?;
    for QueueView { queue, .. } in there.iter().filter(|it| it.workers == 0 && queues.contains(&it.queue)) {
        eprintln!(
            "musher: note: nobody runs the commands of queue {queue}: set handler = \"command\" for it in the configuration"
        );
    }
    Ok(())
}

/// Submits one. The id that it has here, if that is known; or why it cannot come.
async fn submit(
    client: &Client,
    task: Task,
    after: Vec<u64>,
) -> Result<Result<Option<u64>, String>, Failure> {
    let ties = Ties {
        after: after.into_iter().map(|id| After { on: AfterWhat::Job(id), when: Condition::Done }).collect(),
        ..Ties::default()
    };
    let options = JobOptions {
        queue: task.queue.unwrap_or_else(|| COMMANDS_QUEUE.into()),
        priority: task.priority,
        start: task.start,
        // As `musher run` has it.
        attempts: Some(1),
        tags: task.label.into_iter().map(|label| ("label".to_owned(), label)).collect(),
        ties: (!ties.after.is_empty()).then_some(ties),
        ..JobOptions::default()
    };
    let body = serde_json::to_vec(&task.command).map_err(Failure::failed)?;
    let group = SubmitGroup { options, bodies: vec![body.into()] };
    match client.submit_once(task.key, vec![group]).await {
        Ok(receipts) => Ok(Ok(Some(receipts.first_id()))),
        Err(ClientError::Refused(fault)) if fault.code == ErrorCode::NotUnique => Ok(Ok(None)),
        Err(error @ ClientError::TooLarge { .. }) => Ok(Err(error.to_string())),
        Err(ClientError::Refused(fault)) => match fault.code {
            ErrorCode::TooLarge | ErrorCode::Invalid | ErrorCode::Forbidden | ErrorCode::NotFound => {
                Ok(Err(fault.to_string()))
            }
            _ => Err(ClientError::Refused(fault).into()),
        },
        Err(error) => Err(error.into()),
    }
}
