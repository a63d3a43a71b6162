//! The options of a job with a unique key.

use super::options::millis;
use crate::durations::parse_duration;
use crate::protocol::{Held, OnConflict, Unique};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;

/// What may be asked for a job of which there shall be only one.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of the job")]
pub(crate) struct UniqueArgs {
    /// Submit it only if no other job of the queue holds this unique key; prints the id of the one that is there then
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) unique: Option<String>,
    /// How long it holds the key: until its first attempt begins, or until it has ended [default: unfinished]
    #[arg(long, value_name = "UNTIL", requires = "unique", conflicts_with = "unique_for")]
    pub(crate) unique_while: Option<UniqueWhile>,
    /// Let it hold the key for so long after its end as well; it is kept that long
    #[arg(long, value_name = "TIME", requires = "unique", value_parser = parse_duration)]
    pub(crate) unique_for: Option<Duration>,
    /// What happens if another job holds the key [default: existing]
    #[arg(long, value_name = "WAY", requires = "unique")]
    pub(crate) on_conflict: Option<Conflict>,
    /// With --on-conflict debounce: run at most so long after the first one was submitted
    #[arg(long, value_name = "TIME", requires = "unique", value_parser = parse_duration)]
    pub(crate) debounce_max: Option<Duration>,
}

/// How long a job holds its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UniqueWhile {
    /// Until its first attempt begins
    Waiting,
    /// Until it has ended
    Unfinished,
}

/// What happens if another job holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Conflict {
    /// Nothing: its id is printed
    Existing,
    /// If it has not begun, it gets body, priority and start of this one, and keeps its id and place
    Replace,
    /// If it waits, it gets the higher priority of both
    Raise,
    /// If it has not begun, it waits as long as this one would (--delay), again each time
    Debounce,
    /// Nothing is submitted; exit 1
    Reject,
}

impl UniqueArgs {
    /// The same for the protocol.
    pub(crate) fn for_wire(&self) -> Result<Option<Unique>, String> {
        let Some(key) = self.unique.clone() else {
            return match *self {
                UniqueArgs {
                    unique_while: None,
                    unique_for: None,
                    on_conflict: None,
                    debounce_max: None,
                    ..
                } => Ok(None),
                _ => {
                    Err("what is said of a unique key is for a job that has one: say `unique` as well".into())
                }
            };
        };
        let held = match (self.unique_while, self.unique_for) {
            (Some(UniqueWhile::Waiting), None) => Held::Waiting,
            (Some(UniqueWhile::Unfinished) | None, None) => Held::Unfinished,
            (None, Some(time)) => Held::For(millis(time)),
            (Some(_), Some(_)) => {
                return Err(
                    "a key is held either while its job is in a state, or for a time after its end".into()
                );
            }
        };
        let on_conflict = match self.on_conflict.unwrap_or(Conflict::Existing) {
            Conflict::Debounce => OnConflict::Debounce { max_ms: self.debounce_max.map(millis) },
            _ if self.debounce_max.is_some() => {
                return Err("a longest delay (debounce max) is for jobs that are debounced".into());
            }
            Conflict::Existing => OnConflict::Existing,
            Conflict::Replace => OnConflict::Replace,
            Conflict::Raise => OnConflict::Raise,
            Conflict::Reject => OnConflict::Reject,
        };
        Ok(Some(Unique { key, held, on_conflict }))
    }
}
