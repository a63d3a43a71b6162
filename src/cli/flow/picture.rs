//! Draws the jobs of a group: as a tree of lines, or in the language of Graphviz. What waits for what is read from the tags that a
//! flow gives its jobs, and from what they wait for still.

use crate::cli::group;
use crate::cli::output::safe;
use crate::protocol::admin::{GroupView, JobView};
use crate::words::{counted, jobs as jobs_in_words};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

/// Jobs with what each waits for, or waited for.
struct Graph<'a> {
    jobs: BTreeMap<u64, &'a JobView>,
    parents: BTreeMap<u64, BTreeSet<u64>>,
}

impl<'a> Graph<'a> {
    fn of(all: &'a [JobView]) -> Graph<'a> {
        let steps: HashMap<&str, u64> =
            all.iter().filter_map(|job| Some((tag(job, "step")?, job.id))).collect();
        let jobs: BTreeMap<u64, &JobView> = all.iter().map(|job| (job.id, job)).collect();
        let parents_of = |job: &JobView| {
            let needs = tag(job, "needs").into_iter().flat_map(|needs| needs.split(','));
            let named = needs.filter_map(|name| steps.get(name).copied());
            let waited_for = job.waits_for.iter().filter_map(|wait| wait.job);
            // Ids rise along each wait, so whatever the tags say, there is no circle.
            named.chain(waited_for).filter(|id| *id < job.id && jobs.contains_key(id)).collect()
        };
        let parents = all.iter().map(|job| (job.id, parents_of(job))).collect();
        Graph { jobs, parents }
    }

    /// Those that come after each job, or first of all: each below the last of those that it waits for.
    fn below(&self) -> HashMap<Option<u64>, Vec<u64>> {
        let mut below: HashMap<Option<u64>, Vec<u64>> = HashMap::new();
        for (id, parents) in &self.parents {
            below.entry(parents.last().copied()).or_default().push(*id);
        }
        below
    }
}

fn tag<'a>(job: &'a JobView, name: &str) -> Option<&'a str> {
    job.tags.iter().find(|(tag, _)| tag == name).map(|(_, value)| value.as_str())
}

fn name(job: &JobView) -> String {
    tag(job, "step").map_or_else(|| safe(&job.queue), safe)
}

/// A line for the group, and one for each job, below the last one that it waits for.
pub(super) fn tree(group: &GroupView, jobs: &[JobView]) -> String {
    let graph = Graph::of(jobs);
    let children = graph.below();
    let mut text = format!(
        "group {}: {}, {}, {} left\n",
        safe(&group.group),
        group::state(group),
        jobs_in_words(group.counts.total),
        group.counts.live
    );
    let forgotten = group.counts.total.saturating_sub(jobs.len() as u64);
    if forgotten > 0 {
        let _ = writeln!(
            text,
            "{} not kept any more (the queues' keep says how long)",
            counted(forgotten, "job is", "jobs are")
        );
    }
    // Deep flows are no deep recursion: what is to be drawn is a stack.
    let mut stack: Vec<(u64, Vec<bool>)> = Vec::new();
    let push = |stack: &mut Vec<(u64, Vec<bool>)>, of: Option<u64>, above: &[bool]| {
        let below = children.get(&of).map(Vec::as_slice).unwrap_or_default();
        for (nth, id) in below.iter().enumerate().rev() {
            let mut lines = above.to_vec();
            lines.push(nth + 1 == below.len());
            stack.push((*id, lines));
        }
    };
    push(&mut stack, None, &[]);
    while let Some((id, lasts)) = stack.pop() {
        line(&mut text, &graph, id, &lasts);
        push(&mut stack, Some(id), &lasts);
    }
    text
}

/// `lasts`: of each level above, and of its own, whether it is the last one.
fn line(text: &mut String, graph: &Graph<'_>, id: u64, lasts: &[bool]) {
    let job = graph.jobs[&id];
    // The first level stands at the margin.
    if let Some((own, above)) = lasts[1..].split_last() {
        above.iter().for_each(|last| text.push_str(if *last { "   " } else { "│  " }));
        text.push_str(if *own { "└─ " } else { "├─ " });
    }
    let others: Vec<String> =
        graph.parents[&id].iter().rev().skip(1).map(|id| name(graph.jobs[id])).collect();
    let also =
        if others.is_empty() { String::new() } else { format!(" (after {} as well)", others.join(", ")) };
    let why = job.failures.last().filter(|_| job.state != "done").map(|failure| safe(&failure.error));
    let why = why.map_or_else(String::new, |error| format!(": {error}"));
    let _ = writeln!(text, "{} {} {}{why}{also}", job.id, name(job), job.state);
}

/// The same as a graph that `dot` draws.
pub(super) fn dot(group: &GroupView, jobs: &[JobView]) -> String {
    let graph = Graph::of(jobs);
    let mut text = format!(
        "digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box, style=filled];\n",
        quoted(&group.group)
    );
    for (id, job) in &graph.jobs {
        let label = format!("{}\\n{} {}", quoted(&name(job)), id, job.state);
        let _ = writeln!(text, "  j{id} [label=\"{label}\", fillcolor={}];", colour(&job.state));
    }
    for (id, parents) in &graph.parents {
        parents.iter().for_each(|parent| {
            let _ = writeln!(text, "  j{parent} -> j{id};");
        });
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn colour(state: &str) -> &'static str {
    match state {
        "done" => "palegreen",
        "leased" => "lightskyblue",
        "ready" | "scheduled" => "lightyellow",
        "dead" | "expired" => "salmon",
        "cancelled" => "lightgrey",
        _ => "white",
    }
}
