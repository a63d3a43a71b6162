//! What people are shown of queues.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A queue and what is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Its name.
    pub queue: String,
    /// Whether it gives out nothing.
    pub paused: bool,
    /// Until when, in milliseconds since 1970 (UTC), if that has an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<u64>,
    /// The daemon's own workers for it.
    pub workers: u32,
    /// Claims that wait for its jobs.
    pub waiting_claims: u64,
    /// Why a worker of it does not start its jobs, if one has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Its circuit, if attempts have failed in a row since the last that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<CircuitView>,
    /// For how long the ready job is ready that has waited longest, or nearly, in milliseconds, if one is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ready_ms: Option<u64>,
    /// Jobs by state.
    pub ready: u64,
    /// See `ready`.
    pub scheduled: u64,
    /// See `ready`.
    #[serde(default)]
    pub waiting: u64,
    /// See `ready`.
    pub leased: u64,
    /// See `ready`.
    pub done: u64,
    /// See `ready`.
    pub dead: u64,
    /// See `ready`.
    pub cancelled: u64,
    /// See `ready`.
    pub expired: u64,
    /// How many bytes the bodies of those have that are ready, scheduled or waiting, as far as that is bounded and so counted.
    #[serde(default)]
    pub waiting_bytes: u64,
    /// What went through it since its first job.
    pub totals: TotalsView,
}

/// The settings of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueSettingsView {
    /// The queue.
    pub queue: String,
    /// Whether it has a table in the configuration.
    pub configured: bool,
    /// Each that can be set at run time.
    pub settings: Vec<SettingView>,
}

/// A setting of a queue. Values are as the configuration has them, without quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingView {
    /// Its name in the configuration: `keep.done`.
    pub key: String,
    /// What holds.
    pub value: String,
    /// Where that comes from: `default`, `configuration`, or `set`, that is at run time.
    pub from: String,
    /// What would hold if nothing were set at run time.
    pub configured: String,
    /// The user who has set it, if somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u32>,
    /// When, in milliseconds since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// The circuit of a queue. Times are in milliseconds since 1970 (UTC).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CircuitView {
    /// How many attempts have failed in a row.
    pub failed: u64,
    /// After how many it opens.
    pub failures: u64,
    /// Since when it is open, and only probes are given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_since: Option<u64>,
    /// The job that runs as a probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<u64>,
    /// When the next probe may run, if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_probe_at: Option<u64>,
}

/// What went through a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs, reason = "each counts what its name says")]
pub struct TotalsView {
    pub submitted: u64,
    pub claimed: u64,
    pub completed: u64,
    pub failed: u64,
    pub died: u64,
    pub cancelled: u64,
    pub expired: u64,
    #[serde(default)]
    pub dropped: u64,
}
