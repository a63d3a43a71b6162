//! Works off tubes: each job is submitted here, and deleted there when that is on disk. Jobs that are ready there are
//! reserved, many at a time: if this program dies they are ready again. Delayed and buried ones would not be delayed or
//! buried any more after that, so they are not reserved but looked at, one after the other. The idempotency key of each
//! is the server's name and the job's id there: a job that was submitted here and not yet deleted there when something
//! died is not submitted again. It does not know how answers are read.

use super::Done;
use super::wire::{Found, Reply, Wire, field, number};
use crate::cli::exit::Failure;
use crate::cli::progress::Progress;
use crate::client::{Client, ClientError};
use crate::clock::{monotonic, wall};
use crate::durations::show_size;
use crate::protocol::{ErrorCode, JobOptions, Start, SubmitGroup};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// The most jobs that are reserved at once, and how many bytes of bodies about.
const BATCH_JOBS: u64 = 500;
const BATCH_BYTES: u64 = 16 << 20;
/// How long a job that cannot come is held before its time to run begins anew. The shortest there is is a second.
const TOUCH_EVERY: Duration = Duration::from_millis(300);
/// The most jobs of a tube that are held since they cannot come.
const HELD_MAX: usize = 10_000;
/// How often a job may be shown again after it was dealt with: another worker may put it back, but not for ever.
const AGAIN_MAX: u32 = 100;

/// Where a job is in its tube.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Ready,
    Delayed,
    Buried,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Ready => "ready",
            Place::Delayed => "delayed",
            Place::Buried => "buried",
        }
    }
}

/// A job, and what its server says of it.
struct Job {
    found: Found,
    priority: u32,
    /// How many seconds it is delayed still.
    delay: u64,
    /// How many seconds a worker has for it.
    time_to_run: u64,
}

impl Job {
    fn read(found: Found, place: Place, table: &str) -> Option<Job> {
        let delay = if place == Place::Delayed { number(table, "time-left")? } else { 0 };
        let priority = number(table, "pri")?.try_into().ok()?;
        Some(Job { found, priority, delay, time_to_run: number(table, "ttr")? })
    }

    fn options(&self, tube: &str) -> JobOptions {
        let delay = self.delay.saturating_mul(1000);
        JobOptions {
            queue: tube.to_owned(),
            priority: Some(self.priority),
            // As a point in time: the way here takes some as well.
            start: if delay == 0 { Start::Now } else { Start::At(wall().0.saturating_add(delay)) },
            timeout_ms: Some(self.time_to_run.saturating_mul(1000)),
            ..JobOptions::default()
        }
    }
}

/// What came of the submit of a job.
enum Fate {
    /// It is here.
    Here,
    /// It cannot be here.
    Refused(String),
    /// No job of its tube can be here.
    NoneOfTube(String),
}

/// A job that cannot come. It is reserved so that those behind it can be seen, until its tube is done.
struct Held {
    priority: u32,
    delay: u64,
    place: Place,
}

pub(super) struct Drain<'a> {
    client: &'a Client,
    wire: Wire,
    /// What the server calls itself.
    server: String,
    batch: usize,
    watched: String,
    held: BTreeMap<u64, Held>,
    touched: Duration,
    /// Tubes of which no job can be here.
    refused: HashSet<String>,
    done: Done,
    progress: Progress,
}

impl<'a> Drain<'a> {
    pub(super) fn new(
        client: &'a Client,
        wire: Wire,
        server: String,
        stats: &str,
        progress: Progress,
    ) -> Drain<'a> {
        // Longer bodies than ours may be are not kept.
        let longest = number(stats, "max-job-size").unwrap_or(u64::MAX).min(client.limits().body as u64);
        let batch = (BATCH_BYTES / longest.max(1)).clamp(1, BATCH_JOBS) as usize;
        Drain {
            client,
            wire,
            server,
            batch,
            watched: "default".into(),
            held: BTreeMap::new(),
            touched: monotonic(),
            refused: HashSet::new(),
            done: Done::default(),
            progress,
        }
    }

    /// What was done, the tubes of which no job can be here, and the connection.
    pub(super) fn end(self) -> (Done, HashSet<String>, Wire) {
        (self.done, self.refused, self.wire)
    }

    /// Works off a tube until it is found empty.
    pub(super) async fn tube(&mut self, tube: &str, buried: bool) -> Result<(), Failure> {
        let mut commands = vec![format!("use {tube}"), format!("watch {tube}")];
        if self.watched != tube {
            commands.push(format!("ignore {}", self.watched));
            self.watched = tube.to_owned();
        }
        for (command, reply) in commands.iter().zip(self.wire.ask_all(&commands).await?) {
            if !matches!(&reply, Reply::Line(line) if line.starts_with("USING ") || line.starts_with("WATCHING "))
            {
                return Err(self.wire.odd(command, &reply));
            }
        }
        let ended = self.all_of(tube, buried).await;
        // Also when it failed: what is held is delayed or buried no more if the connection ends before.
        let given_back = self.give_back().await;
        ended.and(given_back)
    }

    /// Delayed ones first: what becomes due meanwhile is found among those that are ready.
    async fn all_of(&mut self, tube: &str, buried: bool) -> Result<(), Failure> {
        self.looked_at(tube, Place::Delayed).await?;
        if buried && !self.refused.contains(tube) {
            self.looked_at(tube, Place::Buried).await?;
        }
        if !self.refused.contains(tube) {
            self.reserved(tube).await?;
        }
        // A paused tube gives nothing to reserve, and shows what it has.
        if !self.refused.contains(tube) {
            self.looked_at(tube, Place::Ready).await?;
        }
        Ok(())
    }

    /// Takes what is ready, as long as there is any.
    async fn reserved(&mut self, tube: &str) -> Result<(), Failure> {
        let ask = "reserve-with-timeout 0".to_owned();
        loop {
            self.touch().await?;
            let (mut ids, mut found, mut is_empty) = (HashSet::new(), Vec::new(), false);
            for reply in self.wire.ask_all(&vec![ask.clone(); self.batch]).await? {
                match reply {
                    // One whose time to run is short may come twice.
                    Reply::Job(job) => found.extend(ids.insert(job.id).then_some(job)),
                    // Also if the time of one of ours is nearly over: that is said only where none is ready.
                    Reply::Line(line) if line == "TIMED_OUT" || line == "DEADLINE_SOON" => is_empty = true,
                    other => return Err(self.wire.odd(&ask, &other)),
                }
            }
            let tables = self.stats(found.iter().map(|job| job.id)).await?;
            let jobs = found.into_iter().zip(tables);
            let jobs = jobs.filter_map(|(found, table)| Some(Job::read(found, Place::Ready, &table?)));
            let jobs = jobs.collect::<Option<Vec<Job>>>().ok_or_else(|| self.says_nothing())?;
            if !self.take(tube, jobs, Place::Ready).await? || is_empty {
                return Ok(());
            }
        }
    }

    /// Takes what can be seen in this place, one after the other.
    async fn looked_at(&mut self, tube: &str, place: Place) -> Result<(), Failure> {
        let ask = format!("peek-{}", place.name());
        let (mut last, mut again) = (None, 0);
        loop {
            self.touch().await?;
            let found = match self.wire.ask(ask.clone()).await? {
                Reply::Job(found) => found,
                Reply::Line(line) if line == "NOT_FOUND" => return Ok(()),
                other => return Err(self.wire.odd(&ask, &other)),
            };
            again = if last == Some(found.id) { again + 1 } else { 0 };
            if again > AGAIN_MAX {
                let message =
                    format!("beanstalkd at {} shows job {} again and again", self.wire.address(), found.id);
                return Err(Failure::failed(message));
            }
            last = Some(found.id);
            // It may have gone, or got to another place.
            let table = self.stats([found.id].into_iter()).await?.pop().flatten();
            let Some(table) = table.filter(|table| field(table, "state") == Some(place.name())) else {
                continue;
            };
            let job = Job::read(found, place, &table).ok_or_else(|| self.says_nothing())?;
            if !self.take(tube, vec![job], place).await? {
                return Ok(());
            }
        }
    }

    /// Submits jobs here and deletes there those that are here now, also if others are refused for a while. Says whether there is
    /// more to be had in this place.
    async fn take(&mut self, tube: &str, jobs: Vec<Job>, place: Place) -> Result<bool, Failure> {
        let fates = self.submit(tube, &jobs).await;
        let (mut here, mut goes_on, mut ended) = (Vec::new(), true, Ok(()));
        for (job, fate) in jobs.into_iter().zip(fates) {
            let (id, is_known) = (job.found.id, self.held.contains_key(&job.found.id));
            match fate {
                Ok(Fate::Here) => here.push(format!("delete {id}")),
                Ok(Fate::Refused(why)) => {
                    if !is_known {
                        self.say(&format!("job {id} of tube {tube} is left there: {why}"));
                    }
                    self.done.refused += u64::from(!is_known);
                    goes_on &= self.hold(job, place).await?;
                }
                Ok(Fate::NoneOfTube(why)) => {
                    if self.refused.insert(tube.to_owned()) {
                        self.say(&format!("the jobs of tube {tube} are left there: {why}"));
                    }
                    goes_on = false;
                    if place == Place::Ready {
                        self.hold(job, place).await?;
                    }
                }
                Err(failure) => ended = ended.and(Err(failure)),
            }
        }
        for (command, reply) in here.iter().zip(self.wire.ask_all(&here).await?) {
            match reply {
                Reply::Line(line) if line == "DELETED" => {}
                // Its time to run was over, or it became due, and a worker there has it.
                Reply::Line(line) if line == "NOT_FOUND" => self.done.taken_there += 1,
                other => return Err(self.wire.odd(command, &other)),
            }
        }
        self.done.submitted += here.len() as u64;
        self.progress.is(self.done.submitted);
        ended.map(|()| goes_on)
    }

    /// Each job is a request, since each has a key of its own; all of them share the daemon's syncs.
    async fn submit(&self, tube: &str, jobs: &[Job]) -> Vec<Result<Fate, Failure>> {
        let send = |job: &Job| {
            let (client, key) = (self.client.clone(), format!("beanstalkd {} {}", self.server, job.found.id));
            let (options, body) = (job.options(tube), job.found.body.clone()?);
            let submit = async move { once(&client, key, options, body).await };
            Some(tokio::spawn(submit))
        };
        let under_way: Vec<_> = jobs.iter().map(send).collect();
        let mut fates = Vec::with_capacity(jobs.len());
        for (job, answer) in jobs.iter().zip(under_way) {
            fates.push(match answer {
                Some(answer) => answer.await.unwrap_or_else(|error| Err(Failure::failed(error))),
                None => {
                    let (len, max) = (job.found.len, show_size(self.client.limits().body as u64));
                    let why = format!("its body has {len} bytes, at most {max} are allowed (limits.body)");
                    Ok(Fate::Refused(why))
                }
            });
        }
        fates
    }

    /// The tables of jobs, of those that are there.
    async fn stats(&mut self, ids: impl Iterator<Item = u64>) -> Result<Vec<Option<String>>, Failure> {
        let commands: Vec<String> = ids.map(|id| format!("stats-job {id}")).collect();
        let replies = self.wire.ask_all(&commands).await?;
        let table = |(command, reply): (&String, Reply)| match reply {
            Reply::Text(table) => Ok(Some(table)),
            Reply::Line(line) if line == "NOT_FOUND" => Ok(None),
            other => Err(self.wire.odd(command, &other)),
        };
        commands.iter().zip(replies).map(table).collect()
    }

    /// Keeps a job that cannot come out of the way of those behind it; says whether that is done.
    async fn hold(&mut self, job: Job, place: Place) -> Result<bool, Failure> {
        let id = job.found.id;
        if place != Place::Ready || self.held.contains_key(&id) {
            let command = format!("reserve-job {id}");
            match self.wire.ask(command.clone()).await? {
                Reply::Job(_) => {}
                // It was reserved already, or another has it.
                Reply::Line(line) if line == "NOT_FOUND" => {}
                // Before version 1.12.
                Reply::Line(line) if line == "UNKNOWN_COMMAND" => {
                    let place = place.name();
                    self.say(&format!(
                        "this beanstalkd is too old to show the {place} jobs behind it: delete job {id} there"
                    ));
                    return Ok(false);
                }
                other => return Err(self.wire.odd(&command, &other)),
            }
        }
        let held = Held { priority: job.priority, delay: job.delay, place };
        self.held.insert(id, held);
        if self.held.len() >= HELD_MAX {
            self.say("too many jobs of this tube cannot come; the rest of it is left there");
            return Ok(false);
        }
        Ok(true)
    }

    /// Begins the time to run of held jobs anew, if it is time.
    async fn touch(&mut self) -> Result<(), Failure> {
        if self.held.is_empty() || monotonic() < self.touched + TOUCH_EVERY {
            return Ok(());
        }
        self.touched = monotonic();
        let commands: Vec<String> = self.held.keys().map(|id| format!("touch {id}")).collect();
        // Whose time was over is ready, and is held again when it comes.
        self.wire.ask_all(&commands).await.map(drop)
    }

    /// Puts held jobs back to where they were.
    async fn give_back(&mut self) -> Result<(), Failure> {
        let held = std::mem::take(&mut self.held);
        let commands = held.iter().map(|(id, Held { priority, delay, place })| match place {
            Place::Ready | Place::Delayed => format!("release {id} {priority} {delay}"),
            Place::Buried => format!("bury {id} {priority}"),
        });
        let commands: Vec<String> = commands.collect();
        self.wire.ask_all(&commands).await.map(drop)
    }

    fn say(&self, what: &str) {
        self.progress.aside(|| eprintln!("musher: {what}"));
    }

    fn says_nothing(&self) -> Failure {
        let from = self.wire.address();
        Failure::failed(format!(
            "beanstalkd at {from} does not say what priority and time to run its jobs have"
        ))
    }
}

async fn once(client: &Client, key: String, options: JobOptions, body: Bytes) -> Result<Fate, Failure> {
    let group = SubmitGroup { options, bodies: vec![body] };
    match client.submit_once(key, vec![group]).await {
        Ok(_) => Ok(Fate::Here),
        // It came in an earlier try, with the time that was left to it then.
        Err(ClientError::Refused(fault)) if fault.code == ErrorCode::NotUnique => Ok(Fate::Here),
        Err(error @ ClientError::TooLarge { .. }) => Ok(Fate::Refused(error.to_string())),
        Err(ClientError::Refused(fault)) => match fault.code {
            ErrorCode::TooLarge => Ok(Fate::Refused(fault.to_string())),
            ErrorCode::Invalid | ErrorCode::Forbidden => Ok(Fate::NoneOfTube(fault.to_string())),
            _ => Err(ClientError::Refused(fault).into()),
        },
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_keeps_its_priority_its_time_to_run_and_what_is_left_of_its_delay() {
        let found = || Found { id: 7, len: 1, body: Some("x".into()) };
        let table =
            "---\nid: 7\nstate: delayed\npri: 4294967295\ndelay: 100\nttr: 4294967295\ntime-left: 99\n";
        let options = Job::read(found(), Place::Delayed, table).unwrap().options("a/b");
        assert_eq!((options.queue.as_str(), options.priority), ("a/b", Some(u32::MAX)));
        assert_eq!(options.timeout_ms, Some(4_294_967_295_000));
        let Start::At(at) = options.start else { panic!("{:?}", options.start) };
        assert!(at.abs_diff(wall().0 + 99_000) < 5_000, "{at}");
        // The time left of one that is reserved is that of its reservation.
        let options = Job::read(found(), Place::Ready, table).unwrap().options("a");
        assert_eq!(options.start, Start::Now);
        assert!(Job::read(found(), Place::Ready, "---\nid: 7\npri: -1\nttr: 1\n").is_none());
        assert!(Job::read(found(), Place::Delayed, "---\npri: 1\nttr: 1\n").is_none());
    }
}
