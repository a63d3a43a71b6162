//! What operators see and do: the state of the daemon, its queues and its jobs, why a job does not run, and backups.
//! Turns what the core knows into views, which are plain data; each front encodes them.
//!
//! The arrows: `list` → `jobs` → `commands`; `list` → `groups`; `status` → `numbers`; `settings`, `explain`, `schedules`, `topics` and `backup` use none of
//! them.

mod backup;
mod commands;
mod explain;
mod groups;
mod jobs;
mod list;
mod numbers;
mod schedules;
mod settings;
mod status;
mod topics;

pub(crate) use backup::start as start_backup;
pub(crate) use explain::explain;
pub(crate) use groups::{change_group, group, group_ends, groups, wait_for_groups};
pub(crate) use jobs::{ends, job, stderr_tail, tags};
pub(crate) use list::list;
pub(crate) use numbers::{metrics, stats};
pub(crate) use schedules::{
    ScheduleRequest, add as add_schedule, next_times, pause as pause_schedule, remove as remove_schedule,
    schedule, schedules, trigger as trigger_schedule,
};
pub(crate) use settings::{set as set_queue, show as queue_settings};
pub(crate) use status::{drain, dump, handlers, log_level, queues, status};
pub(crate) use topics::{bind as bind_topic, topics, unbind as unbind_topic};
