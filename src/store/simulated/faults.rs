//! What goes wrong on a simulated disk, and the random numbers that decide how.

/// What becomes of the next write to the log. In any case the process must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// There is no room for it: nothing is written.
    Full,
    /// It is written, but the sync fails: a power cut may keep it or not.
    SyncFails,
    /// The same, and the log says so only after the append has returned.
    FailsLater,
}

/// Faults on purpose, by which a simulation shows that it would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Commits count as durable before they are synced.
    EarlyAnswers,
    /// Now and then a checkpoint's row of jobs is not written.
    LostRows,
    /// Leases that no connection holds are over at once for a reader of the log.
    ShortLeases,
    /// For a reader of the log the bodies that take the place of others have changed places.
    OtherBodies,
    /// So have the envelopes of a commit.
    OtherEnvelopes,
    /// For it no job has got a checkpoint.
    LostCheckpoints,
    /// Nor a result.
    LostResults,
    /// Nor a signal.
    LostSignals,
    /// No job that is leased was cancelled.
    LostCancels,
    /// For it no worker may come back: what they hold is held by connections.
    LostWorkers,
    /// For it no queue was paused.
    LostPauses,
    /// For it nothing was bound to topics by command.
    LostTopics,
    /// For it no key has had its turn.
    LostTurns,
    /// For it no bytes of bodies are counted.
    LostSizes,
    /// No submit was done that can be sent again.
    LostRequests,
    /// Of the last commit that is not safe a part is left when the process ends: a job is done, and what follows from it in
    /// the same commit is lost.
    TornCommits,
    /// For a reader of the log no key has used anything of its rate.
    UnusedRates,
}

/// Numbers that look random and are the same each time (splitmix64).
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
