//! The domain: what a job queue decides. A pure state machine without IO, clock, randomness, async or logging:
//! time and randomness are passed in. [`Core::decide`] finds out what happens and emits it as events, [`State::apply`] makes it
//! so and tells of each change, and everything known here is the fold of the events. It must not know of sockets, files,
//! threads, or where the settings come from.
//!
//! # The states of a job, and what each command does in them
//!
//! Every job is in one state. `—` refuses, and nothing changes. The tests walk this very table.
//!
//! | command | scheduled | ready | leased | done | dead | cancelled | expired | waiting |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | claim | — | leased | — | — | — | — | — | — |
//! | claim by id | leased | leased | — | — | leased | — | — | — |
//! | complete | — | — | done | — | — | — | — | — |
//! | complete and submit | — | — | done | — | — | — | — | — |
//! | fail | — | — | scheduled | — | — | — | — | — |
//! | fail (last attempt) | — | — | dead | — | — | — | — | — |
//! | later | — | — | scheduled | — | — | — | — | — |
//! | later (too often) | — | — | dead | — | — | — | — | — |
//! | release | — | — | ready | — | — | — | — | — |
//! | release (delay) | — | — | scheduled | — | — | — | — | — |
//! | release (signal) | — | — | scheduled | — | — | — | — | — |
//! | extend | — | — | leased | — | — | — | — | — |
//! | checkpoint | — | — | leased | — | — | — | — | — |
//! | complete with a result | — | — | done | — | — | — | — | — |
//! | vanish | — | — | ready | — | — | — | — | — |
//! | vanish (too often) | — | — | dead | — | — | — | — | — |
//! | its worker comes back without it | — | — | ready | — | — | — | — | — |
//! | due | ready | — | — | — | — | — | — | — |
//! | what is waited for ends | — | — | — | — | — | — | — | ready |
//! | what is waited for ends otherwise | — | — | — | — | — | — | — | cancelled |
//! | lease over | — | — | ready | — | — | — | — | — |
//! | lease over (too often) | — | — | dead | — | — | — | — | — |
//! | ttl over (not begun) | expired | expired | — | — | — | — | — | expired |
//! | deadline over | expired | expired | — | — | — | — | — | expired |
//! | kept long enough | — | — | — | forgotten | forgotten | forgotten | forgotten | — |
//! | signal | scheduled | ready | leased | — | — | — | — | waiting |
//! | cancel | cancelled | cancelled | leased | — | — | — | — | cancelled |
//! | release (after a cancel) | — | — | cancelled | — | — | — | — | — |
//! | complete (after a cancel) | — | — | cancelled | — | — | — | — | — |
//! | complete and submit (after a cancel) | — | — | — | — | — | — | — | — |
//! | extend (after a cancel) | — | — | — | — | — | — | — | — |
//! | vanish (after a cancel) | — | — | cancelled | — | — | — | — | — |
//! | lease over (after a cancel) | — | — | cancelled | — | — | — | — | — |
//! | retry | — | — | — | ready | ready | ready | ready | — |
//! | kick | ready | — | — | — | ready | — | — | ready |
//! | bury | dead | dead | dead | — | — | — | — | dead |
//! | delete | forgotten | forgotten | — | forgotten | forgotten | forgotten | forgotten | forgotten |
//! | move | scheduled | ready | — | done | dead | cancelled | expired | waiting |
//! | edit | scheduled | ready | — | done | dead | cancelled | expired | waiting |
//! | prioritize | scheduled | ready | leased | — | — | — | — | waiting |
//! | purge | forgotten | forgotten | — | — | — | — | — | forgotten |
//!
//! A final state whose jobs are not kept (`keep` of the queue) is `forgotten` at once. complete (alone, or with what follows), fail, release and
//! extend name the attempt that they mean; any but the newest is refused as `lease lost` (or as not found, where
//! nothing is left of the job). A job that is cancelled while somebody is at it is `leased, cancelling` until its holder
//! says that it has stopped (by any settle), is gone, or lets its lease end: its keys and its place under the limits are its own until then, and
//! nothing that its holder says counts any more. It is told at once where its connection is known, and by the refusal of its next extend. Whoever held
//! a job that was buried learns of it in the same ways, and that lease is over at once. What is waited for may leave a job `scheduled`, if it is not due yet, or let it run or wait on
//! in spite of its end: that is the job's own choice (`OnUnmet`). A job that was released until a signal comes is `scheduled` until then: the signal makes
//! it `ready`, and so does the time that it waits at most. A job that comes back from its holder after its deadline expires at once.

mod apply;
mod change;
pub mod check;
mod circuit;
mod command;
mod decide;
mod event;
mod exits;
mod explain;
mod fair;
mod flow;
mod groups;
mod ids;
mod job;
mod kept;
mod key_pages;
mod keyed;
mod kickable;
mod lanes;
mod limits;
mod next;
mod overrides;
mod pattern;
mod queue;
mod queued_keys;
mod rate;
mod ready;
mod recent;
mod rejection;
mod requests;
mod retry;
mod rows;
mod runs;
mod schedule;
mod served;
mod settings;
mod sorted;
mod state;
mod time;
mod topics;
mod unique;
mod visibility;
mod waiters;
mod weights;

pub use change::{Change, Observer, QueueChange, Recorder};
pub use circuit::{Circuit, CircuitSettings, OpenCircuit};
pub use command::{
    Claim, ClaimOrder, Command, Edit, Group, GroupAction, Groups, LeaseId, OnConflict, Only, Outcome,
    Receipt, ScheduleAction, Start, Then, TopicAction, Verdict,
};
pub use decide::{Core, Moment};
pub use event::{AfterFailure, Ending, Event, RowEvent};
pub use exits::{ExitMeaning, Exits, OnExit};
pub use explain::{Awaited, Reason};
pub use fair::Turn;
pub use flow::{After, AfterWhat, Condition, Edge, EdgeFate, OnUnmet, Target, Ties, Waits};
pub use groups::{BadGroupName, GroupCounts, GroupName, GroupNo, JobGroup, JobGroups};
pub use ids::{IdRange, Ids, JobId, RangeSet};
pub(crate) use job::JobCounts;
pub(crate) use job::Newest;
pub use job::{
    Attempt, BadQueueName, BadSignalName, Beside, Exit, Expiry, Failure, Final, Grant, Handling,
    HandlingCounts, Holder, Job, Key, Lease, Priority, QueueName, Signal, SignalName, Signals, Size, Spec,
    SpecOptions, State as JobState, StateKind, UniqueWhile, Worker, for_shell,
};
pub use lanes::KeyRules;
pub use limits::Limit;
pub use overrides::{Override, Overrides, Setting, SettingKey};
pub use pattern::Pattern;
pub use queue::{Counts, Queue, URGENT};
pub use rate::{Rate, RateUsed};
pub use recent::RecentEnd;
pub use rejection::{
    Bound, EditRejection, FlowRejection, LeaseRejection, Rejection, ScheduleRejection, SignalRejection,
    TopicRejection,
};
pub use requests::{DoneRequest, DoneRequests, PageNo, RequestAnswer, RequestKey};
pub use retry::{BACKOFF_MAX, Backoff, Growth};
pub use rows::{GroupRow, KeysRow, QueueRow, RequestsRow, Row, RowKey, ScheduleRow, TopicRow};
pub use schedule::{
    BadScheduleName, CatchUp, Overlap, Payload, Plan, Rhythm, Run, Schedule, ScheduleChange, ScheduleClock,
    ScheduleName, Schedules,
};
pub use served::ServedKey;
pub use settings::{Full, Keep, QueueSettings, Retries, Settings};
pub use state::{Ahead, State, Totals};
pub use time::Time;
pub use topics::{BadTopics, Topics};
pub use visibility::Visibility;

#[cfg(test)]
mod tests;
