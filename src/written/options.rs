//! The options of a job, as `submit` and `run` take them.

use super::ties::TieArgs;
use super::unique::UniqueArgs;
use crate::durations::{parse_duration, parse_point};
use crate::protocol::{JobOptions, Start, WireBackoff};
use clap::Args;
use std::time::Duration;

/// The longest wait of a backoff that names none: as in queues that set nothing.
const LONGEST_WAIT_MS: u64 = 24 * 3600 * 1000;

/// What may be asked for a job.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of the job")]
pub(crate) struct JobArgs {
    /// Run it only after this time, such as 10s or 1h30m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "at")]
    pub(crate) delay: Option<Duration>,
    /// Run it only at this point in time, such as 2026-12-24T18:00 or with a zone; at once if that is past
    #[arg(long, value_name = "POINT")]
    pub(crate) at: Option<String>,
    #[command(flatten)]
    pub(crate) like: LikeArgs,
    /// Of jobs with the same key only so many run at a time (the queue's per_key), in the order of arrival
    #[arg(long, value_name = "KEY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) unique: UniqueArgs,
    #[command(flatten)]
    pub(crate) ties: TieArgs,
}

/// What may be asked for a job but when it begins.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of the job")]
pub(crate) struct LikeArgs {
    /// Its priority in the queue: 0 goes first [default: the queue's]
    #[arg(long, value_name = "N")]
    pub(crate) priority: Option<u32>,
    /// Let it expire if it has not begun after this time
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub(crate) ttl: Option<Duration>,
    /// Let it expire if it has not ended after this time, with all its attempts; one that runs then is stopped by its worker
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub(crate) deadline: Option<Duration>,
    /// After how many failed attempts the job is dead [default: the queue's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempts: Option<u32>,
    /// How it waits between attempts: fixed, linear or exponential, the first wait, the longest
    #[arg(long, value_name = "KIND:BASE[:MAX]", value_parser = parse_backoff)]
    pub(crate) backoff: Option<WireBackoff>,
    /// How long one attempt may run; 0 for no limit [default: the queue's]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// A name and a value, for people and workers; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = parse_tag)]
    pub(crate) tags: Vec<(String, String)>,
}

impl JobArgs {
    /// The same for the protocol.
    pub(crate) fn for_queue(&self, queue: &str) -> Result<JobOptions, String> {
        let start = match (&self.at, self.delay) {
            (Some(point), _) => Start::At(parse_point(point).map_err(|error| error.to_string())?.0),
            (None, Some(delay)) => Start::After(millis(delay)),
            (None, None) => Start::Now,
        };
        Ok(JobOptions {
            queue: queue.to_owned(),
            priority: self.like.priority,
            start,
            ttl_ms: self.like.ttl.map(millis),
            deadline_ms: self.like.deadline.map(millis),
            attempts: self.like.attempts,
            backoff: self.like.backoff,
            timeout_ms: self.like.timeout.map(millis),
            tags: self.like.tags.clone(),
            key: self.key.clone(),
            unique: self.unique.for_wire()?,
            ties: self.ties.for_wire()?,
            to_topic: false,
        })
    }
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = parse_duration(text).map_err(|error| error.to_string())?;
    check_ttl(Some(ttl)).map(|()| ttl)
}

/// No time to live, or to end, is no job.
pub(crate) fn check_ttl(ttl: Option<Duration>) -> Result<(), String> {
    match ttl {
        Some(Duration::ZERO) => {
            Err("it would be over before the job could begin; leave it out for a job without it".into())
        }
        _ => Ok(()),
    }
}

/// Reads a job's id.
pub(crate) fn parse_id(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(id) if id > 0 => Ok(id),
        _ => Err("an id is a number, such as 42, as `musher submit` prints it".into()),
    }
}

/// Reads how long a lease lasts.
pub(crate) fn parse_lease_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text).map_err(|error| error.to_string())? {
        Duration::ZERO => Err("a lease of no time is over at once; leave it out for the queue's".into()),
        lease => Ok(lease),
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn parse_tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like order=42".into()),
    }
}

pub(crate) fn parse_backoff(text: &str) -> Result<WireBackoff, String> {
    let mut parts = text.split(':');
    let growth = match parts.next() {
        Some("fixed") => 0,
        Some("linear") => 1,
        Some("exponential") => 2,
        _ => return Err("write it like exponential:1s:1d, fixed:5s or linear:10s:1h".into()),
    };
    let mut time = |what: &str| match parts.next() {
        Some(text) => {
            parse_duration(text).map(|time| Some(millis(time))).map_err(|error| format!("{what}: {error}"))
        }
        None => Ok(None),
    };
    let base_ms = time("the first wait")?.ok_or("say the first wait as well, such as fixed:5s")?;
    let max_ms = time("the longest wait")?.unwrap_or(base_ms.max(LONGEST_WAIT_MS));
    if parts.next().is_some() || max_ms < base_ms {
        return Err("it has a kind, a first wait, and a longest one that is not shorter".into());
    }
    Ok(WireBackoff { growth, base_ms, max_ms, jitter_permille: 200 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_is_a_kind_and_two_times() {
        let backoff = parse_backoff("linear:2s:1m").unwrap();
        assert_eq!((backoff.growth, backoff.base_ms, backoff.max_ms), (1, 2_000, 60_000));
        for bad in ["", "fixed", "fast:1s", "fixed:1s:2s:3s", "fixed:10s:1s", "fixed:10"] {
            assert!(parse_backoff(bad).is_err(), "{bad}");
        }
    }
}
