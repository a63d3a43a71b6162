//! `musher status` and `musher queues`.

use super::ask::Target;
use super::exit::End;
use super::output::{self, count, safe, when};
use super::steady::Steady;
use crate::client::Client;
use crate::durations::parse_duration;
use crate::protocol::admin::{AdminRequest, CircuitView, QueueView, ShardView, StatusView};
use crate::words::{age, counted, size, span};
use clap::Args;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = STATUS)]
pub(super) struct Status {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    /// Show it again and again, every two seconds or as often as this says, until Ctrl-C; also over restarts of the daemon
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", value_parser = parse_duration)]
    watch: Option<Duration>,
}

const STATUS: &str = "\
Examples:
  musher status
  musher status --watch
  musher status --watch 10s --json | jq -c '[.queues[] | {queue, ready}]'
  musher status --json | jq .queues";

/// The least time from one look to the next.
const LOOK_LEAST: Duration = Duration::from_millis(100);
/// Has a terminal begin anew at its top.
const ANEW: &str = "\x1b[H\x1b[2J";

impl Status {
    /// What a program without a verb shows.
    pub(super) fn once() -> Status {
        Status { json: false, watch: None }
    }

    pub(super) async fn run(&self, to: &Target, client: Client) -> End {
        let Some(every) = self.watch else {
            self.show(&client.ask(AdminRequest::Status {}).await?)?;
            return Ok(ExitCode::SUCCESS);
        };
        let meanwhile = "jobs of its workers go on".to_owned();
        let mut steady = Steady::new(to.path(), client, None, meanwhile);
        let is_screen = !self.json && io::stdout().is_terminal();
        loop {
            let ask = async |client: &Client, _| Ok(client.ask(AdminRequest::Status {}).await?);
            let status: StatusView = steady.ask(ask).await?;
            match is_screen {
                true => output::text(ANEW)?,
                false if !self.json => output::line("")?,
                false => {}
            }
            self.show(&status)?;
            io::stdout().flush()?;
            tokio::time::sleep(every.max(LOOK_LEAST)).await;
        }
    }

    fn show(&self, status: &StatusView) -> io::Result<()> {
        if self.json {
            return output::json(status);
        }
        let StatusView { version, pid, mode, data, .. } = status;
        let up = span(status.uptime_ms);
        let mode = match status.draining_ms {
            Some(ms) => format!("{mode} for {}, ", span(ms)),
            None if mode == "running" => String::new(),
            None => format!("{mode}, "),
        };
        let node = status
            .node
            .as_ref()
            .map_or(String::new(), |node| format!("on node {} of a cluster, ", safe(node)));
        output::line(&format!("musher {version}, {node}{mode}up for {up}, pid {pid}"))?;
        let connections = counted(status.connections, "connection", "connections");
        output::line(&format!("data in {}; {} of memory; {connections}", safe(data), size(status.memory)))?;
        if !status.shards.is_empty() {
            output::line(&shards(&status.shards))?;
        }
        for ShardView { shard, error, .. } in &status.shards {
            if let Some(error) = error {
                output::line(&format!("without shard {shard}: {}", safe(error)))?;
            }
        }
        if status.clock_ahead_ms != 0 {
            let way = if status.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
            let by = span(status.clock_ahead_ms.unsigned_abs());
            output::line(&format!(
                "its clock is {by} {way} the system clock, which was set meanwhile; times are shown by the system \
                 clock"
            ))?;
        }
        if let Some(why) = &status.refusing {
            output::line(&format!("takes no new jobs: {}", safe(why)))?;
        }
        if status.schedules > 0 {
            let schedules = counted(status.schedules, "schedule", "schedules");
            output::line(&format!("{schedules}: `musher schedule list`"))?;
        }
        output::line("")?;
        if status.next_id <= 1 {
            output::line(
                "No job yet. Begin with:  musher submit mails 'hello'  or  musher run --wait -- date",
            )?;
            return Ok(());
        }
        queue_table(&status.queues)
    }
}

/// Which node runs which shards.
fn shards(all: &[ShardView]) -> String {
    let mut owners: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ShardView { shard, owner, .. } in all {
        if let Some(owner) = owner {
            owners.entry(owner).or_default().push(shard.to_string());
        }
    }
    let owners: Vec<_> =
        owners.iter().map(|(owner, shards)| format!("{} runs {}", safe(owner), shards.join(", "))).collect();
    format!("{}: {}", counted(all.len() as u64, "shard", "shards"), owners.join("; "))
}

fn queue_table(queues: &[QueueView]) -> io::Result<()> {
    // Most have none.
    let have_waiting = queues.iter().any(|q| q.waiting > 0);
    let head = [
        "QUEUE",
        "READY",
        "SCHEDULED",
        "WAITING",
        "LEASED",
        "DEAD",
        "OLDEST",
        "KEPT",
        "COMPLETED",
        "FAILED",
        "WORKERS",
    ];
    let head: Vec<_> = head.into_iter().filter(|column| have_waiting || *column != "WAITING").collect();
    let rows: Vec<_> = queues
        .iter()
        .map(|q| {
            let is_open = q.circuit.as_ref().is_some_and(|circuit| circuit.open_since.is_some());
            let name = match (q.paused, q.paused_until, is_open) {
                (true, None, _) => format!("{} (paused)", q.queue),
                (true, Some(until), _) => format!("{} (paused; resumes {})", q.queue, when(until)),
                (false, _, true) => format!("{} (circuit open)", q.queue),
                (false, _, false) => q.queue.clone(),
            };
            let kept = q.done + q.cancelled + q.expired;
            let waiting = have_waiting.then_some(q.waiting);
            let now = [q.ready, q.scheduled].into_iter().chain(waiting).chain([q.leased, q.dead]);
            let then = [kept, q.totals.completed, q.totals.failed];
            let workers = if q.workers > 0 { q.workers.to_string() } else { "-".into() };
            let numbers = now.map(count).chain([age(q.oldest_ready_ms)]).chain(then.map(count));
            [name].into_iter().chain(numbers).chain([workers]).collect::<Vec<_>>()
        })
        .collect();
    output::table_without(&head, &rows, &["KEPT", "FAILED", "WORKERS", "COMPLETED"])?;
    let open = queues.iter().filter_map(|queue| Some((&queue.queue, circuit(queue.circuit.as_ref()?)?)));
    open.into_iter().try_for_each(|(queue, what)| output::line(&format!("queue {queue}: {what}")))?;
    for QueueView { queue, totals, .. } in queues.iter().filter(|queue| queue.totals.dropped > 0) {
        output::line(&format!(
            "queue {queue}: {} dropped for want of room",
            crate::words::jobs(totals.dropped)
        ))?;
    }
    let held = queues.iter().filter_map(|queue| Some((&queue.queue, queue.held.as_ref()?)));
    held.into_iter().try_for_each(|(queue, why)| output::line(&format!("queue {queue}: {}", safe(why))))
}

/// What an open circuit does.
pub(super) fn circuit(circuit: &CircuitView) -> Option<String> {
    let since = when(circuit.open_since?);
    let failed = counted(circuit.failed, "attempt", "attempts");
    let probe = match (circuit.probe, circuit.next_probe_at) {
        (Some(id), _) => format!("job {id} runs as a probe"),
        (None, Some(at)) => format!("the next probe runs {}", when(at)),
        (None, None) => "one job at a time runs as a probe".to_owned(),
    };
    Some(format!("its circuit is open since {since}, {failed} in a row failed; {probe}"))
}

const QUEUES: &str = "\
Jobs now: READY to run, SCHEDULED for later, WAITING for others (if there are any), LEASED (running), DEAD, KEPT (ended, but still shown). OLDEST: for how long the
ready job is ready that has waited longest. Totals: COMPLETED jobs, FAILED attempts. WORKERS are the daemon's own.

Examples:
  musher queues
  musher queues --json | jq 'select(.dead > 0)'";

#[derive(Debug, Args)]
#[command(after_help = QUEUES)]
pub(super) struct Queues {
    /// Print JSON objects, one a line
    #[arg(long)]
    json: bool,
}

impl Queues {
    pub(super) async fn run(&self, client: &Client) -> End {
        let queues: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await?;
        if self.json {
            queues.iter().try_for_each(output::json)?
        } else if queues.is_empty() {
            output::line("no queues yet: a queue is created with its first job")?
        } else {
            queue_table(&queues)?
        }
        Ok(ExitCode::SUCCESS)
    }
}
