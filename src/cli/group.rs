//! `musher group`: jobs that are waited for together.

use super::exit::End;
use super::output::{self, count, safe, user, when};
use super::which::{Change, Which};
use crate::client::Client;
use crate::protocol::admin::{AdminRequest, GroupView};
use clap::{Args, Subcommand};
use std::process::ExitCode;

const EXAMPLES: &str = "\
A group comes into being with its first job (`musher submit --group NAME`), or when something waits for it. It takes jobs until it
is sealed, and has ended when it is sealed and all of its jobs have. Some time after that it is forgotten
(limits.groups_kept), and its name is free.

Examples:
  musher submit photos cat.jpg --group album-7
  musher submit mails 'your album is ready' --after-group album-7
  musher group seal album-7
  musher group show album-7";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Group {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The groups
    #[command(
        after_help = "Examples:\n  musher group list\n  musher group list --json | jq 'select(.dead > 0)'"
    )]
    List {
        /// Print an object a line
        #[arg(long)]
        json: bool,
    },
    /// One group: how many of its jobs ended how
    #[command(after_help = "Example:\n  musher group show album-7")]
    Show(Named),
    /// Let it take no more jobs: it ends with the last that it has
    #[command(after_help = "Example:\n  musher group seal album-7")]
    Seal(Named),
    /// Cancel all of its jobs that have not ended
    #[command(after_help = "Example:\n  musher group cancel album-7 --yes")]
    Cancel(Cancel),
    /// Forget it, if all of its jobs have ended; they stay
    #[command(after_help = "Example:\n  musher group delete album-7")]
    Delete(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// Its name
    group: String,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Cancel {
    /// Its name
    group: String,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// Print a JSON object for each job
    #[arg(long)]
    json: bool,
}

impl Group {
    pub(super) async fn run(&self, client: &Client) -> End {
        match &self.verb {
            Verb::List { json } => list(client, *json).await?,
            Verb::Show(named) => {
                let view: GroupView =
                    client.ask(AdminRequest::GroupShow { name: named.group.clone() }).await?;
                show(&view, named.json)?;
            }
            Verb::Seal(named) => {
                let name = named.group.clone();
                client.done(AdminRequest::GroupSeal { name }).await?;
                told(named, "is sealed: it takes no more jobs")?;
            }
            Verb::Cancel(Cancel { group, yes, json }) => {
                // An error here is clearer than no jobs.
                let _: GroupView = client.ask(AdminRequest::GroupShow { name: group.clone() }).await?;
                let change = Change { edit: "cancel", ..Change::default() };
                return Which::live_of_group(group, *yes, *json).edit(client, &change).await;
            }
            Verb::Delete(named) => {
                let name = named.group.clone();
                client.done(AdminRequest::GroupDelete { name }).await?;
                told(named, "is forgotten; its jobs stay")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn told(Named { group, json }: &Named, what: &str) -> std::io::Result<()> {
    if *json {
        return output::json(&serde_json::json!({ "group": group, "ok": true }));
    }
    eprintln!("group {} {what}", safe(group));
    Ok(())
}

async fn list(client: &Client, json: bool) -> Result<(), super::exit::Failure> {
    let groups: Vec<GroupView> = client.ask(AdminRequest::Groups {}).await?;
    if json {
        return Ok(groups.iter().try_for_each(output::json)?);
    }
    if groups.is_empty() {
        return Ok(output::line(
            "no groups: one comes into being with its first job (`musher submit --group NAME`)",
        )?);
    }
    let head = ["GROUP", "STATE", "JOBS", "LEFT", "DONE", "FAILED", "CANCELLED", "MADE"];
    let rows: Vec<_> = groups
        .iter()
        .map(|group| {
            let numbers = [
                group.counts.total,
                group.counts.live,
                group.counts.done,
                group.counts.dead + group.counts.expired,
                group.counts.cancelled + group.counts.gone,
            ];
            let [total, live, done, failed, cancelled] = numbers.map(count);
            let state = state(group).to_owned();
            vec![safe(&group.group), state, total, live, done, failed, cancelled, when(group.made_at)]
        })
        .collect();
    Ok(output::table_without(&head, &rows, &["MADE", "CANCELLED"])?)
}

fn show(group: &GroupView, json: bool) -> std::io::Result<()> {
    if json {
        return output::json(group);
    }
    let mut facts = vec![
        ("group", safe(&group.group)),
        ("state", state(group).to_owned()),
        ("owner", user(group.owner)),
        ("made", when(group.made_at)),
        ("jobs", count(group.counts.total)),
        ("left", count(group.counts.live)),
    ];
    let ends = [
        ("done", group.counts.done),
        ("dead", group.counts.dead),
        ("expired", group.counts.expired),
        ("cancelled", group.counts.cancelled),
        ("deleted", group.counts.gone),
    ];
    facts.extend(ends.into_iter().filter(|(_, n)| *n > 0).map(|(end, n)| (end, count(n))));
    facts.extend(group.ended_at.map(|at| ("ended", when(at))));
    facts.extend(group.kept_until.map(|at| ("forgotten", when(at))));
    output::facts(&facts)
}

/// Where it is in its life, in a word.
pub(super) fn state(group: &GroupView) -> &'static str {
    match (group.sealed, group.ended_at) {
        (_, Some(_)) => "ended",
        (true, None) => "sealed",
        (false, None) => "open",
    }
}
