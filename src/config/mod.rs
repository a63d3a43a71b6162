//! The configuration: as written (`raw`), then checked once, here at the edge; the rest of the daemon sees
//! [`Config`] only. Every problem is found in one go and names its file, line and key. The defaults are in
//! `defaults`, and `musher config show` prints them all; `reference` says what each key means.

mod access;
mod beanstalk;
mod check;
mod cluster;
mod defaults;
mod exits;
mod http;
mod limits;
mod otlp;
mod paths;
mod place;
mod problem;
mod programs;
mod push;
mod raw;
mod reference;
#[cfg(test)]
mod reference_tests;
mod schedules;
mod settings;
mod sharded;
mod show;
#[cfg(test)]
mod tests;
mod topics;
mod who;

pub use beanstalk::BeanstalkPlace;
pub use check::WORKERS_MAX;
pub use cluster::{Cluster, ClusterTls};
pub use http::{Http, HttpTls};
pub use limits::parse_rate;
pub use paths::{
    Env, Ids, SOCKET_PATH_MAX, Surroundings, client_socket, client_sockets, config_file, data_dir,
    serve_socket, socket_path_error,
};
pub use place::Place;
pub use problem::{ConfigErrors, Problem};
pub use push::Push;
#[cfg(test)]
pub(crate) use schedules::stored_at_most;
pub use schedules::{SCHEDULE_COMMAND_MAX, SCHEDULE_KEY_MAX, SCHEDULE_TAGS, Schedule};
pub use settings::{read_settings, setting_keys, show_setting};
pub use topics::Topic;

use crate::access::Rule;
use crate::core::{QueueName, QueueSettings, ScheduleName, Settings};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The queue whose jobs are commands (`musher run`). It is there without being configured.
pub const COMMANDS_QUEUE: &str = "commands";

/// The checked configuration, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[daemon]`
    pub daemon: Daemon,
    /// `[limits]`
    pub limits: Limits,
    /// `[storage]`
    pub storage: Storage,
    /// `[cluster]`, if the daemon is one node of several.
    pub cluster: Option<Cluster>,
    /// `[queues.…]`, and the built-in queue `commands`.
    pub queues: BTreeMap<QueueName, Queue>,
    /// `[schedules.…]`
    pub schedules: BTreeMap<ScheduleName, Schedule>,
    /// `[topics]`
    pub topics: Vec<Topic>,
    /// `[[access]]`; `None` if there is none.
    pub access: Option<Vec<Rule>>,
}

/// `[daemon]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// `data`: the directory of the jobs.
    pub data: PathBuf,
    /// `socket`: where clients connect.
    pub socket: PathBuf,
    /// `http` and the keys beside it, if it is served.
    pub http: Option<Http>,
    /// `beanstalk` and the key beside it, if that protocol is spoken.
    pub beanstalk: Option<BeanstalkPlace>,
    /// `otlp`: the collector that spans are sent to, if they are.
    pub otlp: Option<String>,
    /// `drain_timeout`: how long running attempts may take to end once the daemon stops.
    pub drain_timeout: Duration,
    /// `resume_within`: how long workers may take after a start to come back to their jobs.
    pub resume_within: Duration,
    /// `drain_submits`: what becomes of submits meanwhile.
    pub drain_submits: DrainSubmits,
    /// `job_oom_score_adj`: by how much likelier than the daemon its jobs are killed when memory runs out.
    pub job_oom_score_adj: u16,
}

/// What a daemon that stops does with submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainSubmits {
    /// Refuses them: `draining`. Not on a socket of the service manager's, which calls the next daemon: there they
    /// are taken.
    Refuse,
    /// Takes them; they run after the next start.
    Accept,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `connections`: the most at a time.
    pub connections: usize,
    /// `frame`: the longest frame of the protocol, in bytes.
    pub frame: usize,
    /// `body`: the longest body of a job, in bytes.
    pub body: usize,
    /// `checkpoint`: the longest checkpoint of a job, in bytes.
    pub checkpoint: usize,
    /// `signal`: the longest signal of a job, in bytes.
    pub signal: usize,
    /// `result`: the longest result of a job, in bytes.
    pub result: usize,
    /// `backlog`: the most jobs that may wait in a queue that sets no other; 0 for no limit.
    pub backlog: u64,
    /// `backlog_bytes`: the most bytes that those may have; 0 for no limit.
    pub backlog_bytes: u64,
    /// `total_backlog`: the most jobs that may wait in all queues together; 0 for no limit.
    pub total_backlog: u64,
    /// `total_backlog_bytes`: the most bytes that those may have; 0 for no limit.
    pub total_backlog_bytes: u64,
    /// `queues`: the most queues.
    pub queues: usize,
    /// `queues_per_user`: the most queues that came into being with jobs of one user.
    pub queues_per_user: usize,
    /// `schedules`: the most schedules.
    pub schedules: usize,
    /// `idempotency`: how long a submit with an idempotency key is remembered.
    pub idempotency: Duration,
    /// `idempotency_keys`: the most submits that are remembered by their idempotency keys.
    pub idempotency_keys: usize,
    /// `idempotency_keys_per_user`: the most of one user.
    pub idempotency_keys_per_user: usize,
    /// `groups`: the most groups.
    pub groups: usize,
    /// `groups_per_user`: the most of one user.
    pub groups_per_user: usize,
    /// `groups_kept`: how long a group is remembered after its end.
    pub groups_kept: Duration,
    /// `queue_idle`: after what time without a submit an empty queue is forgotten that is not in the configuration.
    pub queue_idle: Duration,
    /// `batch`: the most jobs in one request.
    pub batch: usize,
    /// `disk_reserve`: below this free space, in bytes, submits are refused.
    pub disk_reserve: u64,
    /// `output`: the most bytes of output kept of a job.
    pub output: usize,
    /// `waiting`: the most queues and jobs that the waiting requests of one connection may name.
    pub waiting: usize,
    /// `buffers`: the most bytes that all connections together may have unread and unsent.
    pub buffers: usize,
    /// `metrics_queues`: how many queues have numbers of their own.
    pub metrics_queues: usize,
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// `log_file`: the size of one file of the log, in bytes.
    pub log_file: u64,
    /// `log_max`: the most that the log may take on disk, in bytes.
    pub log_max: u64,
    /// `checkpoint`: how often what lives on is moved out of the log.
    pub checkpoint: Duration,
    /// `cache`: the memory of the database's page cache, in bytes.
    pub cache: u64,
    /// `ballast`: a file that can be given up when the disk is full, in bytes.
    pub ballast: u64,
    /// `shrink_above`: a database larger than this, in bytes, is written anew when little of it lives.
    pub shrink_above: u64,
}

/// `[queues.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// What the core needs to know.
    pub settings: QueueSettings,
    /// The same if its table said nothing.
    pub usual: QueueSettings,
    /// `workers`: how many jobs the daemon runs at a time; 0 for none.
    pub workers: u32,
    /// `handler`: how the daemon runs them; `None` if only outside workers do.
    pub handler: Option<Handler>,
}

/// How the daemon itself runs the jobs of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// Runs this program with the job's body on its standard input.
    Exec(Vec<String>),
    /// Sends the job to a web server.
    Http(Push),
    /// Runs the command that is the job's body (`musher run`).
    Command,
}

/// What the command line says over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--socket`
    pub socket: Option<PathBuf>,
    /// `--workers`: for each queue that has a handler and sets no number of its own.
    pub workers: Option<u32>,
}

/// A configuration that can be used, and what was odd about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What should be said, though it is no error.
    pub warnings: Vec<Problem>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
}

impl Config {
    /// Reads and checks the configuration of this process: from `path`, else `MUSHER_CONFIG`, else the default
    /// file if it exists.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Loaded, ConfigErrors> {
        Config::load_in(path, overrides, &Surroundings::real())
    }

    /// [`Config::load`] in surroundings of the caller's choice.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load_in(
        path: Option<&Path>,
        overrides: &Overrides,
        around: &Surroundings,
    ) -> Result<Loaded, ConfigErrors> {
        let file = config_file(path, around);
        let (name, source) = match &file {
            None => ("configuration".to_owned(), String::new()),
            Some(file) => {
                let name = file.display().to_string();
                let source = std::fs::read_to_string(file).map_err(|error| {
                    let message = format!("the configuration cannot be read: {error}");
                    ConfigErrors(vec![Problem { place: name.clone(), key: String::new(), message }])
                })?;
                (name, source)
            }
        };
        Ok(Loaded { file, ..Config::read(&name, &source, overrides, around)? })
    }

    /// Checks a configuration that is no file; `name` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(
        name: &str,
        source: &str,
        overrides: &Overrides,
        around: &Surroundings,
    ) -> Result<Loaded, ConfigErrors> {
        let (config, warnings) = check::parse(name.to_owned(), source, overrides, around)?;
        Ok(Loaded { config, warnings, file: None })
    }

    /// What the core decides by.
    pub fn settings(&self) -> Settings {
        let Limits { backlog, backlog_bytes, total_backlog, total_backlog_bytes, .. } = self.limits;
        let default = QueueSettings { backlog, backlog_bytes, ..QueueSettings::default() };
        let queues = self.queues.iter().map(|(name, queue)| (name.clone(), queue.settings.clone())).collect();
        Settings {
            default,
            queues,
            topics: self.topics.iter().cloned().collect(),
            total_backlog,
            total_backlog_bytes,
            queues_max: self.limits.queues,
            queues_per_user: self.limits.queues_per_user,
            schedules_max: self.limits.schedules,
            requests_max: self.limits.idempotency_keys,
            requests_per_user: self.limits.idempotency_keys_per_user,
            requests_kept: self.limits.idempotency,
            groups_max: self.limits.groups,
            groups_per_user: self.limits.groups_per_user,
            groups_kept: self.limits.groups_kept,
            own_user: rustix::process::geteuid().as_raw(),
            queue_idle: self.limits.queue_idle,
        }
    }

    /// Where spans are sent, if they are.
    pub fn spans_url(&self) -> Option<hyper::Uri> {
        self.daemon.otlp.as_deref().map(otlp::url)
    }

    /// The effective configuration as TOML, with every default. Loading it gives the same configuration.
    pub fn show(&self) -> String {
        show::show(self)
    }

    /// Who may do what with a daemon of this configuration, for people: a line each.
    pub fn who_may(&self) -> Vec<String> {
        who::who_may(self)
    }

    /// What every key means, as Markdown: docs/configuration.md.
    pub fn reference() -> String {
        reference::markdown()
    }

    /// The same as a file to begin with, in which everything is a comment.
    pub fn template() -> String {
        reference::template()
    }

    /// The same as a man page, in roff.
    pub fn man_page() -> String {
        reference::man_page()
    }

    /// The keys that differ in `new` and that a reload cannot change.
    pub fn restart_needed(&self, new: &Config) -> Vec<&'static str> {
        let (old_daemon, old, storage) = (&self.daemon, &self.storage, &new.storage);
        let other_front = match (&old_daemon.http, &new.daemon.http) {
            (Some(old), Some(new)) => !old.is_same_front(new),
            (old, new) => old.is_some() || new.is_some(),
        };
        let place = |daemon: &Daemon| daemon.beanstalk.as_ref().map(|it| it.place.clone());
        let user = |daemon: &Daemon| daemon.beanstalk.as_ref().and_then(|it| it.user);
        let fixed = [
            ("daemon.data", old_daemon.data != new.daemon.data),
            ("daemon.socket", old_daemon.socket != new.daemon.socket),
            ("daemon.http", other_front),
            ("daemon.beanstalk", place(old_daemon) != place(&new.daemon)),
            ("daemon.beanstalk_user", user(old_daemon) != user(&new.daemon)),
            ("daemon.otlp", old_daemon.otlp != new.daemon.otlp),
            ("daemon.job_oom_score_adj", old_daemon.job_oom_score_adj != new.daemon.job_oom_score_adj),
            ("storage.log_file", old.log_file != storage.log_file),
            ("storage.log_max", old.log_max != storage.log_max),
            ("storage.checkpoint", old.checkpoint != storage.checkpoint),
            ("storage.cache", old.cache != storage.cache),
            ("storage.ballast", old.ballast != storage.ballast),
            ("storage.shrink_above", old.shrink_above != storage.shrink_above),
        ];
        let fixed = fixed.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key);
        fixed.chain(cluster::changed(self.cluster.as_ref(), new.cluster.as_ref())).collect()
    }
}
