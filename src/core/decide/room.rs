//! Decides whether there is room for new jobs in their queues, and what becomes of them, or of others, if not. Jobs and bytes
//! are bounded, of each queue and of all together.

use super::{Core, Decision};
use crate::core::change::Recorder;
use crate::core::command::Group;
use crate::core::event::{Event, RowEvent};
use crate::core::ids::{IdRange, Ids, JobId};
use crate::core::job::{Job, QueueName, Size};
use crate::core::rejection::{Bound, Rejection};
use crate::core::settings::Full;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Jobs, and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    jobs: u64,
    bytes: u64,
}

impl Load {
    fn of(group: &Group) -> Load {
        Load { jobs: group.count, bytes: group.size.bytes().saturating_mul(group.count) }
    }

    fn add(&mut self, more: Load) {
        self.jobs = self.jobs.saturating_add(more.jobs);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    /// How many jobs of a size fit.
    fn fitting(self, size: Size) -> u64 {
        self.jobs.min(self.bytes.checked_div(size.bytes()).unwrap_or(u64::MAX))
    }

    fn subtract(&mut self, jobs: u64, size: Size) {
        self.jobs -= jobs;
        self.bytes -= size.bytes() * jobs;
    }
}

/// The room that there is for the jobs of a submit that is not refused.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// How much is taken, of queues that do not take all.
    taken: BTreeMap<QueueName, Load>,
    /// How much is taken in all, if that is not all.
    in_all: Option<Load>,
    /// The queues that have too much with the new ones, and let old ones go.
    over: Vec<QueueName>,
    /// What was asked for so far, and what of it is taken as a whole.
    more: Load,
    whole: Load,
}

/// By how many bytes jobs grow that are there already, of each queue; and all together.
#[derive(Debug, Default)]
pub(super) struct Growth {
    own: BTreeMap<QueueName, u64>,
    all: u64,
}

impl Growth {
    /// Of those where it comes to more than none.
    pub(super) fn new(own: HashMap<&QueueName, i128>) -> Growth {
        let grows = |(name, bytes): (&QueueName, i128)| {
            let bytes = u64::try_from(bytes.min(i128::from(u64::MAX))).ok().filter(|bytes| *bytes > 0)?;
            Some((name.clone(), bytes))
        };
        let own: BTreeMap<_, _> = own.into_iter().filter_map(grows).collect();
        let all = own.values().fold(0, |all: u64, own| all.saturating_add(*own));
        Growth { own, all }
    }

    fn of(&self, name: &QueueName) -> u64 {
        self.own.get(name).copied().unwrap_or(0)
    }
}

impl Room {
    /// How many of so many jobs of a size are taken into a queue. What is taken takes room.
    pub(super) fn take(&mut self, queue: &QueueName, count: u64, size: Size) -> u64 {
        if self.takes_all() {
            return count;
        }
        let Some(own) = self.taken.get_mut(queue) else { return count };
        let in_all = self.in_all.as_mut();
        let taken = count.min(own.fitting(size)).min(in_all.as_ref().map_or(u64::MAX, |it| it.fitting(size)));
        own.subtract(taken, size);
        if let Some(in_all) = in_all {
            in_all.subtract(taken, size);
        }
        taken
    }

    /// Whether all jobs are taken.
    pub(super) fn takes_all(&self) -> bool {
        self.taken.is_empty()
    }
}

/// A bound, and how near it is.
#[derive(Clone, Copy, Debug)]
struct Near {
    bound: Bound,
    /// What waits, of the queue or of all.
    len: u64,
    /// What of it the queue has.
    own: u64,
    more: u64,
    limit: u64,
}

impl Near {
    fn refusal(self, queue: &QueueName, fits: bool) -> Rejection {
        let Near { bound, len, limit, .. } = self;
        Rejection::QueueFull { queue: queue.clone(), bound, len, limit, fits }
    }

    fn is_exceeded(self) -> bool {
        self.len.saturating_add(self.more) > self.limit
    }
}

impl Core {
    /// The bounds of a queue and of all that would be exceeded by so much more; or that are, if it is nothing.
    fn exceeded(&self, name: &QueueName, own_more: Load, all_more: Load) -> Vec<Near> {
        let (queue, settings) = (self.state.queue(name), self.settings.of(name));
        let own = queue.map_or_else(Load::default, |queue| Load {
            jobs: queue.counts().waiting(),
            bytes: queue.waiting_bytes(),
        });
        let all = Load { jobs: self.state.waiting(), bytes: self.state.waiting_bytes() };
        let near = |bound, len, own, more, limit| Near { bound, len, own, more, limit };
        let (total, total_bytes) = (self.settings.total_backlog, self.settings.total_backlog_bytes);
        [
            near(Bound::Jobs, own.jobs, own.jobs, own_more.jobs, settings.backlog),
            near(Bound::Bytes, own.bytes, own.bytes, own_more.bytes, settings.backlog_bytes),
            near(Bound::TotalJobs, all.jobs, own.jobs, all_more.jobs, total),
            near(Bound::TotalBytes, all.bytes, own.bytes, all_more.bytes, total_bytes),
        ]
        .into_iter()
        .filter(|near| near.limit > 0 && near.is_exceeded() && (near.more > 0 || own_more.jobs == 0))
        .collect()
    }

    /// Whether a queue takes any number of jobs.
    fn is_unbounded(&self, name: &QueueName) -> bool {
        let settings = self.settings.of(name);
        let own = settings.backlog | settings.backlog_bytes;
        own | self.settings.total_backlog | self.settings.total_backlog_bytes == 0
    }

    /// Why a queue takes no job of this size from another one, if so: what waits in all stays the same.
    pub(super) fn no_room_for(&self, name: &QueueName, size: Size) -> Option<Rejection> {
        let load = Load { jobs: 1, bytes: size.bytes() };
        let exceeded = self.exceeded(name, load, Load::default());
        let own = exceeded.into_iter().find(|it| matches!(it.bound, Bound::Jobs | Bound::Bytes));
        own.map(|it| it.refusal(name, true))
    }

    /// Why a job's body may not be one of this size, if so: it is longer, and the job waits where bytes are bounded.
    pub(super) fn no_room_to_grow(&self, job: &Job, size: Size) -> Option<Rejection> {
        let growth = self.growth(job, job.size(), size)?;
        self.no_room_for_all(&Growth::new(HashMap::from([(&job.spec.queue, growth)])))
    }

    /// By how much a job takes more room, or less, with a body of another size; `None` if it takes none. One that was not
    /// counted may be longer than the other, so that is not known: it is counted from now on, and not refused.
    pub(super) fn growth(&self, job: &Job, from: Size, to: Size) -> Option<i128> {
        let is_bounded = job.kind().waits() && self.counts_bytes_of(&job.spec.queue);
        (is_bounded && from.is_counted()).then(|| i128::from(to.bytes()) - i128::from(from.bytes()))
    }

    /// Why jobs may not grow by so much, if so.
    fn no_room_for_all(&self, growth: &Growth) -> Option<Rejection> {
        let load = |bytes| Load { jobs: 0, bytes };
        growth.own.iter().find_map(|(name, own)| {
            let exceeded = self.exceeded(name, load(*own), load(growth.all));
            let near = exceeded.into_iter().find(|it| matches!(it.bound, Bound::Bytes | Bound::TotalBytes));
            near.map(|it| it.refusal(name, it.more <= it.limit))
        })
    }

    /// Whether so much more fits into a queue, whatever else there is to say of it.
    pub fn has_room(&self, name: &QueueName, jobs: u64, bytes: u64) -> bool {
        let load = Load { jobs, bytes };
        self.exceeded(name, load, load).is_empty()
    }

    /// Whether the bytes of jobs of this queue are to be counted.
    pub fn counts_bytes_of(&self, name: &QueueName) -> bool {
        self.settings.total_backlog_bytes > 0 || self.settings.of(name).backlog_bytes > 0
    }
}

impl<R: Recorder> Decision<'_, R> {
    /// Makes room for the queues of these jobs, and says how many jobs they take. The number of queues is limited, and what
    /// waits in each and in all. Those that are there and grow must fit whatever becomes of the new ones.
    pub(super) fn make_room(&mut self, groups: &[Group], growth: &Growth) -> Result<Room, Rejection> {
        if let Some(rejection) = self.core.no_room_for_all(growth) {
            return Err(rejection);
        }
        let grown = Load { jobs: 0, bytes: growth.all };
        let mut room = Room { more: grown, whole: grown, ..Room::default() };
        if let [only] = groups {
            let queue = &only.spec.queue;
            let new = self.room_in(queue, Load::of(only), growth.of(queue), &mut room)?;
            self.make_room_for_queues(new, only.spec.owner, &HashSet::new())?;
            return Ok(room);
        }
        // In the order of names, so that the same submit gets the same refusal.
        let mut more: BTreeMap<&QueueName, Load> = BTreeMap::new();
        for group in groups.iter().filter(|group| group.count > 0) {
            more.entry(&group.spec.queue).or_default().add(Load::of(group));
        }
        let mut new = 0;
        for (queue, load) in &more {
            new += self.room_in(queue, *load, growth.of(queue), &mut room)?;
        }
        // All of one request are of one user.
        let maker = groups.first().map_or(0, |group| group.spec.owner);
        self.make_room_for_queues(new, maker, &more.keys().copied().collect())?;
        Ok(room)
    }

    /// Whether one queue can take so much more, beside so many bytes by which its jobs grow. Returns how many queues this
    /// makes: one if it is new.
    fn room_in(
        &self,
        name: &QueueName,
        load: Load,
        growth: u64,
        room: &mut Room,
    ) -> Result<usize, Rejection> {
        let is_new = usize::from(self.state().queue(name).is_none());
        if load.jobs == 0 || self.core.is_unbounded(name) {
            return Ok(is_new);
        }
        room.more.add(load);
        let mut own = load;
        own.add(Load { jobs: 0, bytes: growth });
        let exceeded = self.core.exceeded(name, own, room.more);
        let Some(first) = exceeded.first() else {
            room.whole.add(load);
            return Ok(is_new);
        };
        match self.core.settings.of(name).full {
            Full::DropNew => take_some(name, &exceeded, growth, room),
            // What others have waiting does not go for it.
            Full::DropOld if exceeded.iter().all(|it| it.len - it.own + it.more <= it.limit) => {
                room.over.push(name.clone());
                room.whole.add(load);
            }
            Full::DropOld | Full::Reject | Full::Wait(_) => {
                return Err(first.refusal(name, exceeded.iter().all(|it| it.more <= it.limit)));
            }
        }
        Ok(is_new)
    }

    /// These jobs are not taken: they have ids, and that is all.
    pub(super) fn turn_away(&mut self, queue: &QueueName, first: JobId, count: u64) {
        if count > 0 {
            self.emit(RowEvent::NotTaken { queue: queue.clone(), jobs: IdRange::new(first, count) });
        }
    }

    /// Lets old jobs go where there are too many with the new ones, which are there by now.
    pub(super) fn let_old_go(&mut self, room: Room) {
        for name in room.over {
            let exceeded = self.core.exceeded(&name, Load::default(), Load::default());
            let over = |jobs, bytes| {
                let of = exceeded.iter().filter(|it| it.bound == jobs || it.bound == bytes);
                of.map(|it| it.len - it.limit).max().unwrap_or(0)
            };
            let jobs = over(Bound::Jobs, Bound::TotalJobs);
            let bytes = over(Bound::Bytes, Bound::TotalBytes);
            let jobs: Ids = self.core.state.last_in_line(&name, jobs, bytes);
            if !jobs.is_empty() {
                self.emit(Event::Dropped { jobs });
            }
        }
    }
}

/// As much is taken into a queue as there is room for beside what goes into others.
fn take_some(name: &QueueName, exceeded: &[Near], growth: u64, room: &mut Room) {
    let left = |bound, others: u64| {
        let near = exceeded.iter().find(|it| it.bound == bound);
        near.map_or(u64::MAX, |it| it.limit.saturating_sub(it.len).saturating_sub(others))
    };
    let own = Load { jobs: left(Bound::Jobs, 0), bytes: left(Bound::Bytes, growth) };
    room.taken.insert(name.clone(), own);
    if exceeded.iter().any(|it| matches!(it.bound, Bound::TotalJobs | Bound::TotalBytes)) {
        let Load { jobs, bytes } = room.whole;
        room.in_all =
            Some(Load { jobs: left(Bound::TotalJobs, jobs), bytes: left(Bound::TotalBytes, bytes) });
    }
}
