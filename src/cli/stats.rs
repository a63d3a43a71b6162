//! `musher stats`: what happened lately, as plots and numbers.

pub(super) mod plot;

use super::exit::End;
use super::output::{self, count, terminal_width};
use crate::client::Client;
use crate::core::Time;
use crate::durations::{parse_duration, show_clock};
use crate::protocol::admin::{QueueStatsView, StatsView, Steps};
use crate::words::{counted, rate, span};
use clap::Args;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// How wide a plot is where there is no terminal, and at most.
const WIDTH: usize = 80;
const WIDTH_MAX: usize = 160;
/// How many queues are plotted unless one is named: the busiest.
const PLOTTED: usize = 5;

const EXAMPLES: &str = "\
Steps are of ten seconds up to an hour ago, beyond that of a minute, for up to a day; the plots have one bar for one or several of them. WAIT is \
how long jobs were ready before an attempt began, RUN how long attempts took: half of them at most p50, 99 of 100 at most p99.

Examples:
  musher stats                          the last hour, all queues
  musher stats mails --since 1d
  musher stats mails --since 10m --json | jq .queues[0].failed";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Stats {
    /// Only this queue
    queue: Option<String>,
    /// From how long ago on: 10m, 1h, 1d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    since: Duration,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(super) async fn run(&self, client: &Client) -> End {
        let stats = client.stats(self.since, self.queue.clone()).await?;
        if self.json {
            output::json(&stats)?;
            return Ok(ExitCode::SUCCESS);
        }
        show(&stats, self.queue.is_some())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn show(stats: &StatsView, is_one: bool) -> io::Result<()> {
    let mut queues: Vec<(&QueueStatsView, Sums)> =
        stats.queues.iter().map(|queue| (queue, Sums::of(queue))).collect();
    if !is_one {
        queues.retain(|(_, sums)| sums.is_any());
    }
    let steps = stats.queues.first().map_or(0, |queue| queue.submitted.len()) as u64;
    let whole = span(steps * stats.step_ms);
    if queues.is_empty() {
        return output::line(&format!("nothing has happened in the last {whole}"));
    }
    let mut busiest: Vec<&(&QueueStatsView, Sums)> = queues.iter().collect();
    busiest.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.busy()));
    let width = terminal_width().unwrap_or(WIDTH).min(WIDTH_MAX);
    for (queue, _) in busiest.into_iter().take(PLOTTED) {
        plots(stats, queue, width)?;
        output::line("")?;
    }
    table(&queues, known(stats) * stats.step_ms)?;
    if stats.left_out > 0 {
        let more = counted(stats.left_out, "more queue", "more queues");
        output::line(&format!("{more}: name one to see it"))?;
    }
    Ok(())
}

/// For how many steps anything is known.
fn known(stats: &StatsView) -> u64 {
    let steps = stats.queues.first().map(|queue| queue.submitted.iter().flatten().count());
    steps.unwrap_or(0) as u64
}

/// What happened in all steps together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    submitted: u64,
    started: u64,
    completed: u64,
    failed: u64,
    dead: u64,
    /// At the end.
    ready: u64,
}

impl Sums {
    fn of(queue: &QueueStatsView) -> Sums {
        let sum = |steps: &Steps| steps.iter().flatten().map(|count| u64::from(*count)).sum();
        Sums {
            submitted: sum(&queue.submitted),
            started: sum(&queue.started),
            completed: sum(&queue.completed),
            failed: sum(&queue.failed),
            dead: sum(&queue.dead),
            ready: queue.ready.iter().flatten().last().map_or(0, |ready| (*ready).into()),
        }
    }

    fn busy(&self) -> u64 {
        self.submitted + self.started + self.failed
    }

    fn is_any(&self) -> bool {
        *self != Sums::default()
    }
}

/// How a number is written.
type Shown<'a> = &'a dyn Fn(f64) -> String;

/// One line of bars for each thing, and the times below them.
fn plots(stats: &StatsView, queue: &QueueStatsView, width: usize) -> io::Result<()> {
    const NAMES: [&str; 4] = ["completed", "failed", "ready", "wait p99"];
    let indent = NAMES.iter().map(|name| name.len()).max().unwrap_or(0) + 2;
    let steps = queue.submitted.len();
    // Behind the bars stands how much the highest is.
    let room = width.saturating_sub(indent + 14).max(10);
    let per_bar = steps.div_ceil(room).max(1);
    let per_second = |most: f64| rate(most * 1e3 / (stats.step_ms * per_bar as u64) as f64);
    let ms = |most: f64| span(most as u64);
    let lines: [(&str, Vec<Option<f64>>, Shown<'_>); 4] = [
        (NAMES[0], plot::summed(&queue.completed, per_bar), &per_second),
        (NAMES[1], plot::summed(&queue.failed, per_bar), &per_second),
        (NAMES[2], plot::highest(&queue.ready, per_bar), &|most| count(most as u64)),
        (NAMES[3], plot::highest(&queue.wait_p99_ms, per_bar), &ms),
    ];
    output::line(&output::safe(&queue.queue))?;
    for (name, bars, shown) in lines {
        let most = bars.iter().flatten().copied().fold(0.0, f64::max);
        output::line(&format!("{name:<indent$}{}  ≤ {}", plot::bars(&bars), shown(most)))?;
    }
    let bars = steps.div_ceil(per_bar);
    let (from, until) = (stats.from_ms, stats.from_ms + steps as u64 * stats.step_ms);
    output::line(&format!(
        "{:indent$}{}",
        "",
        plot::axis(&show_clock(Time(from)), &show_clock(Time(until)), bars)
    ))
}

fn table(queues: &[(&QueueStatsView, Sums)], known_ms: u64) -> io::Result<()> {
    let head = [
        "QUEUE",
        "SUBMITTED",
        "COMPLETED",
        "FAILED",
        "DEAD",
        "RATE",
        "READY",
        "WAIT p50",
        "WAIT p99",
        "RUN p50",
        "RUN p99",
    ];
    let rows: Vec<_> = queues
        .iter()
        .map(|(queue, sums)| {
            let completed_rate = match known_ms {
                0 => "-".to_owned(),
                ms => rate(sums.completed as f64 * 1e3 / ms as f64),
            };
            let counts = [sums.submitted, sums.completed, sums.failed, sums.dead].map(count);
            let times = [
                middle(&queue.wait_p50_ms, &queue.started),
                most(&queue.wait_p99_ms),
                middle(&queue.run_p50_ms, &queue.started),
                most(&queue.run_p99_ms),
            ];
            let times = times.map(|ms| ms.map_or_else(|| "-".to_owned(), |ms| span(ms.into())));
            let name = output::safe(&queue.queue);
            [name]
                .into_iter()
                .chain(counts)
                .chain([completed_rate, count(sums.ready)])
                .chain(times)
                .collect::<Vec<_>>()
        })
        .collect();
    output::table_without(&head, &rows, &["SUBMITTED", "RUN p50", "WAIT p50", "DEAD", "READY", "RUN p99"])
}

/// The value of the step in the middle, where each counts as often as attempts began in it.
fn middle(values: &Steps, weights: &Steps) -> Option<u32> {
    let mut all: Vec<(u32, u64)> = values
        .iter()
        .zip(weights)
        .filter_map(|(value, weight)| Some(((*value)?, weight.unwrap_or(0).max(1).into())))
        .collect();
    all.sort_unstable();
    let half = all.iter().map(|(_, weight)| weight).sum::<u64>().div_ceil(2);
    let mut so_far = 0;
    all.into_iter().find_map(|(value, weight)| {
        so_far += weight;
        (so_far >= half).then_some(value)
    })
}

/// The most of any step.
fn most(values: &Steps) -> Option<u32> {
    values.iter().flatten().max().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_where_most_attempts_are() {
        let values = vec![Some(1), None, Some(100), Some(7)];
        assert_eq!(middle(&values, &vec![Some(1), Some(9), Some(1), Some(10)]), Some(7));
        assert_eq!(middle(&values, &vec![Some(50), None, Some(1), Some(1)]), Some(1));
        assert_eq!(middle(&vec![None], &vec![Some(1)]), None);
        assert_eq!(most(&values), Some(100));
    }

    #[test]
    fn sums_leave_out_what_is_not_known() {
        let queue = QueueStatsView {
            submitted: vec![Some(3), None, Some(4)],
            ready: vec![Some(9), Some(2), None],
            ..QueueStatsView::default()
        };
        let sums = Sums::of(&queue);
        assert_eq!((sums.submitted, sums.ready, sums.is_any()), (7, 2, true));
    }
}
