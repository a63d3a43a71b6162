//! Faults on purpose, by which the simulation shows that it would notice. Some are of the disk; the others change what the
//! daemon is asked for, or is configured with, on its way from the clients, who know nothing of it.

use crate::clients::LEASE;
use clap::ValueEnum;
use musher::core::{Group, OnConflict, Rate, Settings};
use musher::store::simulated::Planted;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// Answers leave before their commit is on disk.
    Answers,
    /// Checkpoints lack rows, so a recovery folds over too little.
    Fold,
    /// The log says that leases are shorter than was told.
    Lease,
    /// Jobs may begin a little later than they should.
    Ttl,
    /// Jobs may end a little later than they should.
    Deadline,
    /// Keys do not take turns.
    Fair,
    /// The log does not say when keys have had their turns.
    Turns,
    /// All queues together have room for one job too many, and a few bytes.
    Totals,
    /// The log does not say how many bytes bodies have.
    Sizes,
    /// Jobs whose unique keys others want get higher priorities, and not all of what is theirs.
    Replace,
    /// The log has bodies that take the place of others in another order.
    Bodies,
    /// The log has no checkpoints.
    Checkpoints,
    /// The log has no results.
    Results,
    /// The log has no signals.
    Signals,
    /// The log does not say which jobs were cancelled while they ran.
    Cancels,
    /// The log does not say that workers may come back.
    Resume,
    /// The log does not say which queues were paused.
    Pauses,
    /// The log does not say what was bound to topics.
    Topics,
    /// The log gives jobs the envelopes of others of their commit.
    Envelopes,
    /// The log does not say which submits were done.
    Requests,
    /// A key may have one lease too many at once.
    KeyRate,
    /// A key has half of its leases only.
    SlowKeys,
    /// The log does not say what keys have used of their rates.
    Rates,
    /// Leases may last too long after a deadline.
    Overrun,
    /// A job is completed, and what follows from it is another request.
    Chain,
    /// Jobs do not wait for others.
    Flow,
    /// A daemon that dies leaves a part of a commit: a job is done, and what follows from it is lost.
    Torn,
}

impl Fault {
    /// What is wrong with the disk, if anything.
    pub(crate) fn of_disk(self) -> Option<Planted> {
        match self {
            Fault::Answers => Some(Planted::EarlyAnswers),
            Fault::Fold => Some(Planted::LostRows),
            Fault::Lease => Some(Planted::ShortLeases),
            Fault::Rates => Some(Planted::UnusedRates),
            Fault::Bodies => Some(Planted::OtherBodies),
            Fault::Checkpoints => Some(Planted::LostCheckpoints),
            Fault::Results => Some(Planted::LostResults),
            Fault::Signals => Some(Planted::LostSignals),
            Fault::Cancels => Some(Planted::LostCancels),
            Fault::Resume => Some(Planted::LostWorkers),
            Fault::Pauses => Some(Planted::LostPauses),
            Fault::Topics => Some(Planted::LostTopics),
            Fault::Envelopes => Some(Planted::OtherEnvelopes),
            Fault::Turns => Some(Planted::LostTurns),
            Fault::Sizes => Some(Planted::LostSizes),
            Fault::Torn => Some(Planted::TornCommits),
            Fault::Requests => Some(Planted::LostRequests),
            _ => None,
        }
    }

    /// What the daemon gets in place of these settings.
    pub(crate) fn settings(self, mut settings: Settings) -> Settings {
        if self == Fault::Totals && settings.total_backlog > 0 {
            settings.total_backlog += 1;
        }
        if self == Fault::Totals && settings.total_backlog_bytes > 0 {
            settings.total_backlog_bytes += 100;
        }
        let Settings { queues, default, .. } = &mut settings;
        for queue in queues.values_mut().chain([default]) {
            let rate = queue.per_key_rate.map(Rate::parts);
            match (self, rate) {
                (Fault::Overrun, _) => queue.lease *= 2,
                (Fault::Fair, _) => queue.fair = false,
                (Fault::KeyRate, Some((count, per, burst))) => {
                    queue.per_key_rate = Rate::new(count, per, Some(burst + 1));
                }
                (Fault::SlowKeys, Some((count, per, burst))) => {
                    queue.per_key_rate = Rate::new(count, per * 2, Some(burst));
                }
                _ => {}
            }
        }
        settings
    }

    /// What it is told of how long a lease shall last, where it would be as long as configured.
    pub(crate) fn lease(self) -> Option<Duration> {
        (self == Fault::Overrun).then_some(LEASE)
    }

    /// What it gets in place of these jobs.
    pub(crate) fn group(self, group: &mut Group) {
        match self {
            Fault::Replace if group.on_conflict == OnConflict::Replace => {
                group.on_conflict = OnConflict::Raise;
            }
            Fault::Flow => group.ties = None,
            Fault::Ttl => group.ttl = group.ttl.map(|ttl| ttl * 2),
            Fault::Deadline => group.deadline = group.deadline.map(|deadline| deadline * 2),
            _ => {}
        }
    }
}
