//! What must be there: a fold of everything that was sent to the daemon and everything that it answered. An answer is a
//! promise; what was sent and not answered is in doubt, and may have happened or not. Each entry is checked against the
//! promises that it meets. Knows nothing of sockets and files.

use crate::plan::Plan;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A broken promise, in words.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

/// One thing that happened between this program and the daemon.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Submitting {
        submit: u64,
    },
    Submitted {
        submit: u64,
        first: u64,
        count: u64,
    },
    Refused {
        submit: u64,
    },
    Claimed(Claimed),
    Settling {
        id: u64,
        attempt: u32,
        verdict: Sent,
    },
    Settled {
        id: u64,
        attempt: u32,
        verdict: Sent,
    },
    Extending {
        id: u64,
    },
    Extended {
        id: u64,
        until: u64,
    },
    /// The connection that a bound lease hangs on is about to be closed.
    LettingGo {
        id: u64,
    },
    Deleting {
        ids: Vec<u64>,
    },
    Deleted {
        ids: Vec<u64>,
    },
    /// The daemon has died, and with it all connections.
    Died,
}

/// A job that was given out. Times are the daemon's.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) id: u64,
    pub(crate) submit: u64,
    pub(crate) attempt: u32,
    /// Whether its queue keeps what is done.
    pub(crate) kept: bool,
    pub(crate) bound: bool,
    pub(crate) granted: u64,
    pub(crate) until: u64,
}

/// How an attempt was ended, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Complete,
    Fail,
    FailDead,
    Release,
    Delete,
}

/// How a job that has ended is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Dead,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) attempt: u32,
    pub(crate) bound: bool,
    pub(crate) until: u64,
    /// An extend was not answered: it may end later.
    pub(crate) extending: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    pub(crate) submit: u64,
    /// Whether it stays when it is done. Known once it was given out.
    pub(crate) kept: bool,
    /// The newest attempt known.
    pub(crate) attempt: u32,
    /// How many failures are known.
    pub(crate) failed: u32,
    /// In force, as far as was said.
    pub(crate) lease: Option<Lease>,
    /// Settles that were sent and not answered, each with its attempt.
    pub(crate) doubt: Vec<(u32, Sent)>,
    pub(crate) end: Option<End>,
}

#[derive(Clone, Debug)]
pub(crate) enum Submit {
    /// Not answered; jobs of it were seen nevertheless.
    Doubt { seen: BTreeSet<u64> },
    /// Its jobs are there, from this id on.
    There { first: u64 },
}

#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) seed: u64,
    pub(crate) submits: HashMap<u64, Submit>,
    /// Jobs that must be there, but for those whose end is in doubt.
    pub(crate) jobs: BTreeMap<u64, Job>,
    /// Jobs that must not be there any more, and their submits.
    pub(crate) gone: HashMap<u64, u64>,
    pub(crate) highest: u64,
    /// Promises that were made, for the report.
    pub(crate) acknowledged: u64,
    /// Whether a shard may have lost its owner, and with it what hung on connections, of which not all have noticed it.
    pub(crate) is_shard_lost: bool,
}

impl Account {
    pub(crate) fn new(seed: u64) -> Account {
        Account {
            seed,
            submits: HashMap::new(),
            jobs: BTreeMap::new(),
            gone: HashMap::new(),
            highest: 0,
            acknowledged: 0,
            is_shard_lost: false,
        }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<(), Broken> {
        match *entry {
            Entry::Submitting { submit } => {
                self.submits.insert(submit, Submit::Doubt { seen: BTreeSet::new() });
            }
            Entry::Refused { submit } => self.refused(submit)?,
            Entry::Submitted { submit, first, count } => {
                self.acknowledged += count;
                self.submitted(submit, first, count)?;
            }
            Entry::Claimed(ref claimed) => {
                self.acknowledged += 1;
                self.claimed(claimed)?;
            }
            Entry::Settling { id, attempt, verdict } => self.doubt(id, (attempt, verdict)),
            Entry::Settled { id, attempt, verdict } => {
                self.acknowledged += 1;
                self.settled(id, (attempt, verdict));
            }
            Entry::Extending { id } => self.with_lease(id, |lease| lease.extending = true),
            Entry::Extended { id, until } => {
                self.acknowledged += 1;
                self.with_lease(id, |lease| (lease.extending, lease.until) = (false, until));
            }
            Entry::LettingGo { id } => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.lease = None;
                }
            }
            Entry::Deleting { ref ids } => {
                ids.iter().for_each(|id| self.doubt(*id, (0, Sent::Delete)));
            }
            Entry::Deleted { ref ids } => ids.iter().for_each(|id| self.go(*id)),
            Entry::Died => self.died(),
        }
        Ok(())
    }

    fn doubt(&mut self, id: u64, sent: (u32, Sent)) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.doubt.push(sent);
        }
    }

    fn with_lease(&mut self, id: u64, change: impl FnOnce(&mut Lease)) {
        if let Some(lease) = self.jobs.get_mut(&id).and_then(|job| job.lease.as_mut()) {
            change(lease);
        }
    }

    fn refused(&mut self, submit: u64) -> Result<(), Broken> {
        match self.submits.remove(&submit) {
            Some(Submit::Doubt { seen }) if !seen.is_empty() => {
                Err(Broken(format!("submit {submit} was refused, but jobs of it were given out: {seen:?}")))
            }
            _ => Ok(()),
        }
    }

    fn submitted(&mut self, submit: u64, first: u64, count: u64) -> Result<(), Broken> {
        let planned = Plan::of(self.seed, submit).jobs();
        if count != planned {
            return Err(Broken(format!("submit {submit} of {planned} jobs was answered with {count}")));
        }
        self.there(submit, first, count)
    }

    /// A submit's jobs are known to be there, or to have been.
    pub(crate) fn there(&mut self, submit: u64, first: u64, count: u64) -> Result<(), Broken> {
        for id in first..first + count {
            let before = self.jobs.get(&id).map(|job| job.submit).or_else(|| self.gone.get(&id).copied());
            if let Some(before) = before.filter(|before| *before != submit) {
                return Err(Broken(format!("id {id} was given twice: to submits {before} and {submit}")));
            }
            if before.is_none() {
                self.jobs.insert(id, Job { submit, ..Job::default() });
            }
        }
        self.highest = self.highest.max(first + count - 1);
        let before = self.submits.insert(submit, Submit::There { first });
        if let Some(Submit::Doubt { seen }) = before
            && let Some(stray) = seen.iter().find(|id| !(first..first + count).contains(id))
        {
            return Err(Broken(format!(
                "job {stray} says that it is of submit {submit}, which began at {first}"
            )));
        }
        Ok(())
    }

    fn claimed(&mut self, claimed: &Claimed) -> Result<(), Broken> {
        let Claimed { id, submit, attempt, kept, bound, granted, until } = *claimed;
        if self.gone.contains_key(&id) {
            return Err(Broken(format!("job {id} was given out (attempt {attempt}) after its end")));
        }
        match self.submits.get_mut(&submit) {
            None => {
                return Err(Broken(format!(
                    "job {id} is of submit {submit}, which nobody sent or which was refused"
                )));
            }
            Some(Submit::Doubt { seen }) => drop(seen.insert(id)),
            Some(Submit::There { .. }) => {}
        }
        self.highest = self.highest.max(id);
        let job = self.jobs.entry(id).or_insert_with(|| Job { submit, ..Job::default() });
        if job.submit != submit {
            return Err(Broken(format!("id {id} was given twice: to submits {} and {submit}", job.submit)));
        }
        if let Some(end) = job.end {
            return Err(Broken(format!("job {id} was given out (attempt {attempt}) after it was {end:?}")));
        }
        if attempt <= job.attempt {
            return Err(Broken(format!(
                "job {id} was given out in attempt {attempt} after attempt {}",
                job.attempt
            )));
        }
        let may_have_ended = |lease: &Lease| lease.bound && self.is_shard_lost;
        let is_in_force =
            |lease: &Lease| job.doubt.is_empty() && granted < lease.until && !may_have_ended(lease);
        if let Some(lease) = job.lease.filter(is_in_force) {
            return Err(Broken(format!(
                "job {id} was leased twice at a time: attempt {} until {}, attempt {attempt} from {granted} on",
                lease.attempt, lease.until
            )));
        }
        // That it was given out once more answers what was in doubt.
        job.doubt.clear();
        (job.attempt, job.kept) = (attempt, kept);
        job.lease = Some(Lease { attempt, bound, until, extending: false });
        Ok(())
    }

    fn settled(&mut self, id: u64, sent: (u32, Sent)) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        // Where the job is in another's hands by now, this answer was overtaken by that one.
        let Some(at) = job.doubt.iter().position(|doubt| *doubt == sent) else { return };
        job.doubt.remove(at);
        job.lease = None;
        match sent.1 {
            Sent::Complete if job.kept => job.end = Some(End::Done),
            Sent::Complete | Sent::Delete => self.go(id),
            Sent::FailDead => job.end = Some(End::Dead),
            Sent::Fail => job.failed += 1,
            Sent::Release => {}
        }
    }

    pub(crate) fn go(&mut self, id: u64) {
        if let Some(job) = self.jobs.remove(&id) {
            self.gone.insert(id, job.submit);
        }
    }

    fn died(&mut self) {
        self.is_shard_lost = false;
        for job in self.jobs.values_mut() {
            job.lease = job.lease.filter(|lease| !lease.bound);
        }
    }
}
