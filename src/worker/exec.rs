//! Starts a job's process: its arguments, standard input, environment and process group. It knows nothing of
//! leases and deadlines (`supervise.rs`), and nothing of what becomes of the output (`output.rs`).

use super::cgroups::{Cgroup, Cgroups};
use super::files::{Given, JobFiles};
use super::orphans::Orphans;
use super::spawn::{self, spawn};
use super::user::{User, UserError};
use super::{Handler, Surroundings};
use crate::protocol::{ClaimedJob, CommandJob, Exit, Verdict, describes_a_job, is_of_trace};
use crate::watched::Watched;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, kill_process_group, pidfd_open,
    set_child_subreaper, set_parent_process_death_signal, setsid, waitpid,
};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use tokio::io::Interest;
use tokio::net::unix::pipe;

/// The exit status that a shell gives to a command that is not there.
const EXIT_NOT_FOUND: u8 = 127;
/// The same for one that is there and cannot be run.
const EXIT_NOT_STARTED: u8 = 126;

/// Why a job's process could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// The body of a command job is not one.
    #[error("the body is not a command: {0}; submit command jobs with `musher run`")]
    NotACommand(serde_json::Error),
    /// There are no arguments, not even a program's name.
    #[error("the command is empty")]
    Empty,
    /// The arguments, the directory, the environment or a tag hold a zero byte.
    #[error("cannot start `{program}`: an argument or a variable contains a zero byte")]
    ZeroByte { program: String },
    /// The working directory is not there.
    #[error("cannot start `{program}`: the working directory {cwd} is not there")]
    NoDirectory { program: String, cwd: String },
    /// This machine has too little of something at this moment.
    #[error("cannot start `{program}` now: {}", plain(source))]
    Shortage { program: String, source: io::Error },
    /// It cannot run as the one whose it is.
    #[error(transparent)]
    User(#[from] UserError),
    /// The one whose it is may not.
    #[error(
        "cannot start `{program}` as {user} in {cwd}: permission denied; {user} must be able to enter that directory \
         and to run that program"
    )]
    Denied { program: String, user: String, cwd: String },
    /// What the system said of a program that a job names.
    #[error("cannot start `{program}`: {}", plain(source))]
    OfCommand { program: String, source: io::Error },
    /// What the system said of a queue's handler.
    #[error("cannot start `{program}`: {}", plain(source))]
    OfHandler { program: String, source: io::Error },
}

/// The system's words without Rust's "(os error 2)".
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl StartError {
    /// What it means for the job. `None`: nothing, since the fault is not the job's but this machine's, or the
    /// handler's: then it has not been tried at all. Else a body that can never run is dead, and what can be mended is
    /// tried again, with the exit status that a shell gives.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let error = self.to_string();
        let exited = |status| Some(Verdict::Exited { error: error.clone(), exit: Exit::Status(status) });
        match self {
            StartError::NotACommand(_)
            | StartError::Empty
            | StartError::ZeroByte { .. }
            | StartError::User(UserError::NotRoot { .. }) => Some(Verdict::FailDead { error, exit: None }),
            StartError::User(UserError::Unknown { .. }) => Some(Verdict::Fail { error, exit: None }),
            StartError::NoDirectory { .. } | StartError::Denied { .. } => exited(EXIT_NOT_STARTED),
            StartError::OfCommand { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                exited(EXIT_NOT_FOUND)
            }
            StartError::OfCommand { .. } => exited(EXIT_NOT_STARTED),
            StartError::OfHandler { .. }
            | StartError::Shortage { .. }
            | StartError::User(UserError::Lookup { .. }) => None,
        }
    }
}

/// What keeps a handler's program from being started by this process, as far as can be seen without starting it.
pub(super) fn obstacle(handler: &Handler, around: &Surroundings) -> Option<StartError> {
    let Handler::Exec(argv) = handler else { return None };
    let program = argv.first()?;
    let path =
        around.environment.iter().find_map(|(name, value)| (name == "PATH").then_some(value.as_os_str()));
    let source = spawn::find(program.as_ref(), path).err()?;
    Some(StartError::OfHandler { program: program.clone(), source })
}

/// A job's first process, the leader of its own session and process group. Dropping it kills the group.
#[derive(Debug)]
pub(super) struct Child {
    /// Its number, and that of its group.
    pid: Pid,
    /// Readable once the process has ended. Until it is reaped its number cannot belong to anybody else, so
    /// that the group can be signalled without a race.
    end: Watched,
    reaped: bool,
    orphans: Option<Orphans>,
    cgroup: Option<Cgroup>,
}

/// What it prints.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: pipe::Receiver,
}

impl Child {
    /// Returns when the process has ended. It is not reaped yet.
    pub(super) async fn ended(&self) {
        // The descriptor stays readable from then on. An error means that the runtime ends; so does the child.
        let _ = self.end.readable().await;
    }

    /// Signals the whole group.
    pub(super) fn signal(&self, signal: Signal) {
        debug_assert!(!self.reaped, "after the reaping the number may be somebody else's");
        // It fails only when nobody is left, or for a process that has taken on other rights: then there is
        // nothing more that could be done.
        let _ = kill_process_group(self.pid, signal);
        if signal == Signal::TERM {
            // A stopped process does not receive it.
            let _ = kill_process_group(self.pid, Signal::CONT);
        }
    }

    /// Kills all that the process has left, once it has ended; returns when that is gone.
    pub(super) async fn clear(&self) {
        self.signal(Signal::KILL);
        if let Some(cgroup) = &self.cgroup {
            cgroup.end().await;
        }
        if let Some(orphans) = &self.orphans {
            orphans.end_those_of(self.pid).await;
        }
    }

    /// Kills what is left of the group and takes the exit status. Waits if the process has not ended.
    pub(super) fn reap(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        self.reaped = true;
        let status = reap(self.pid);
        if let Some(orphans) = &self.orphans {
            orphans.forget(self.pid);
        }
        status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // Nobody asks for the status any more.
            let _ = self.reap();
        }
    }
}

/// Starts the process of a job.
///
/// # Errors
/// [`StartError`]; no process is left behind.
pub(super) fn start(
    argv: Option<&[String]>,
    job: &ClaimedJob,
    around: &Surroundings,
) -> Result<(Child, Pipes, Option<JobFiles>), StartError> {
    let (mut command, place) = match argv {
        Some(argv) => (of_handler(argv, around)?, None),
        None => of_body(job)?,
    };
    command.envs(variables(job, around));
    let (name, user) = (
        format!("{}@{}", job.lease.id, job.lease.attempt),
        place.as_ref().and_then(|place| place.user.as_ref()),
    );
    let files = around.files.of_job(&name, given(job), user.map(|_| job.owner)).map_err(|source| {
        StartError::Shortage { program: command.get_program().to_string_lossy().into_owned(), source }
    })?;
    if let Some(files) = &files {
        command.env("MUSHER_CHECKPOINT", files.checkpoint()).env("MUSHER_RESULT", files.result());
        if let Some((name, _)) = &job.signal {
            command.env("MUSHER_SIGNAL", name).env("MUSHER_SIGNAL_FILE", files.signal());
        }
    }
    let started = standard_input(argv.is_some(), job)
        .and_then(|stdin| launch(&mut command, place.as_ref(), stdin, around));
    let (child, pipes) = started.map_err(|error| explain(error, &command, place))?;
    Ok((child, pipes, files))
}

/// What a process finds in its files.
fn given(job: &ClaimedJob) -> Given<'_> {
    Given { checkpoint: job.checkpoint.as_deref(), signal: job.signal.as_ref().map(|(_, says)| &**says) }
}

/// Starts the process and takes charge of it.
fn launch(
    command: &mut Command,
    place: Option<&Place>,
    stdin: OwnedFd,
    around: &Surroundings,
) -> io::Result<(Child, Pipes)> {
    let Surroundings { orphans, cgroups, .. } = around;
    let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, stderr_end) = pipe_with(PipeFlags::CLOEXEC)?;
    let pipes = Pipes { stdout: listen(stdout)?, stderr: listen(stderr)? };
    let cgroup = cgroups.as_ref().and_then(Cgroups::take);
    let entrance = cgroup.as_ref().and_then(Cgroup::entrance);
    let (pid, process) = if place.is_some_and(|place| place.user.is_some()) {
        command.stdin(stdin).stdout(stdout_end).stderr(stderr_end);
        let started = lead_and_die_with_this_process(command, orphans.is_some(), entrance).spawn();
        // The command would keep the ends of the pipes open.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let pid = Pid::from_child(&started?);
        (pid, pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from))
    } else {
        let stdio = [stdin.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()];
        let (pid, process) = spawn(command, stdio, orphans.is_some(), entrance.as_ref().map(AsFd::as_fd))?;
        (pid, Ok(process))
    };
    if let Some(orphans) = orphans {
        orphans.spare(pid);
    }
    match process.and_then(|process| Watched::new(process, Interest::READABLE)) {
        Ok(end) => Ok((Child { pid, end, reaped: false, orphans: orphans.clone(), cgroup }, pipes)),
        Err(error) => {
            // It cannot be watched, so it must not run.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = reap(pid);
            if let Some(orphans) = orphans {
                orphans.forget(pid);
            }
            Err(error)
        }
    }
}

/// Waits for the end of a process that is a child of this one.
fn reap(pid: Pid) -> io::Result<ExitStatus> {
    match waitpid(Some(pid), WaitOptions::empty())? {
        Some((_, status)) => Ok(ExitStatus::from_raw(status.as_raw())),
        None => Err(io::Error::other("the system says nothing of a process that has ended")),
    }
}

fn of_handler(argv: &[String], around: &Surroundings) -> Result<Command, StartError> {
    let mut command = program(argv)?;
    let inherited = around.environment.iter().filter(|(name, _)| !describes_a_job(name));
    command.env_clear().envs(inherited.map(|(name, value)| (name, value)));
    Ok(command)
}

/// Where a command job runs, and as whom if that is not this process's user.
struct Place {
    cwd: PathBuf,
    user: Option<String>,
}

fn of_body(job: &ClaimedJob) -> Result<(Command, Option<Place>), StartError> {
    let CommandJob { argv, cwd, env } = serde_json::from_slice(&job.body).map_err(StartError::NotACommand)?;
    let mut command = program(&argv)?;
    command.env_clear();
    let user = User::of_owner(job.owner)?;
    let program = || argv[0].as_os_str().to_string_lossy().into_owned();
    let path =
        CString::new(cwd.as_os_str().as_bytes()).map_err(|_| StartError::ZeroByte { program: program() })?;
    match &user {
        None => drop(command.current_dir(&cwd.0)),
        Some(user) => {
            user.run(&mut command, path, |name| env.iter().any(|(set, _)| set.as_os_str() == name));
        }
    }
    // Older clients capture those of the job in which they run, too.
    command.envs(env.into_iter().filter(|(name, _)| !describes_a_job(name.as_os_str())));
    Ok((command, Some(Place { cwd: cwd.0.into(), user: user.map(|user| user.name) })))
}

fn program(argv: &[impl AsRef<OsStr>]) -> Result<Command, StartError> {
    let [program, arguments @ ..] = argv else { return Err(StartError::Empty) };
    // `Command` would say so only when it starts the program itself.
    if argv.iter().any(|argument| argument.as_ref().as_bytes().contains(&0)) {
        return Err(StartError::ZeroByte { program: program.as_ref().to_string_lossy().into_owned() });
    }
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// What every job learns of itself.
fn variables(job: &ClaimedJob, around: &Surroundings) -> Vec<(String, OsString)> {
    let lease = format!("{}@{}", job.lease.id, job.lease.attempt);
    let mut variables: Vec<(String, OsString)> = vec![
        ("MUSHER_LEASE".into(), lease.into()),
        ("MUSHER_JOB_ID".into(), job.lease.id.to_string().into()),
        ("MUSHER_QUEUE".into(), (*job.queue).into()),
        ("MUSHER_ATTEMPT".into(), job.lease.attempt.to_string().into()),
        ("MUSHER_MAX_ATTEMPTS".into(), job.attempts.to_string().into()),
        ("MUSHER_LEASE_UNTIL".into(), job.until_ms.to_string().into()),
    ];
    variables.extend(around.socket.as_ref().map(|socket| ("MUSHER_SOCKET".into(), socket.into())));
    variables.extend(job.deadline_ms.map(|deadline| ("MUSHER_DEADLINE".into(), deadline.to_string().into())));
    variables.extend(job.key.iter().map(|key| ("MUSHER_KEY".into(), key.into())));
    variables.extend(job.tags.iter().map(|(name, value)| (tag_variable(name), value.into())));
    // Under the names that tracing libraries look for, too.
    let of_trace = job.tags.iter().filter(|(name, _)| is_of_trace(name));
    variables.extend(of_trace.map(|(name, value)| (name.to_ascii_uppercase(), value.into())));
    variables
}

/// The variable of a tag: `MUSHER_TAG_` and its name in capitals, with `_` for what a name of a variable cannot
/// hold.
fn tag_variable(name: &str) -> String {
    let name = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    "MUSHER_TAG_".chars().chain(name).collect()
}

/// The body as a file in memory. Unlike a pipe it takes a body of any length at once, so that nobody needs to
/// feed it while the job runs, and it is gone with the last process that holds it.
fn standard_input(is_wanted: bool, job: &ClaimedJob) -> io::Result<OwnedFd> {
    if job.body.is_empty() || !is_wanted {
        return Ok(File::open("/dev/null")?.into());
    }
    let file = File::from(memfd_create("musher-body", MemfdFlags::CLOEXEC)?);
    // Written at a place, not by the cursor: the job begins to read at 0.
    file.write_all_at(&job.body, 0)?;
    Ok(file.into())
}

/// Has the child enter a control group if there is one, lead a session, adopt what is orphaned below it if asked to, and
/// be killed when this process dies, however it dies. For processes that are not started by `spawn`, which sees to
/// that itself: those of other users. While one has their rights they can stop it, and `spawn` waits.
fn lead_and_die_with_this_process(
    command: &mut Command,
    adopts: bool,
    entrance: Option<OwnedFd>,
) -> &mut Command {
    let this = getpid();
    let ask = move || {
        if let Some(entrance) = &entrance {
            let _ = rustix::io::write(entrance, b"0");
        }
        setsid()?;
        if adopts {
            set_child_subreaper(Some(getpid()))?;
        }
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Dead already, before the line above? Then no signal will come.
        if getppid() == Some(this) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec only calls that are safe in a signal handler are allowed. `ask` makes bare
    // system calls, write, setsid, prctl, getpid and getppid; it takes no lock and allocates nothing (an error from
    // an `ErrorKind` is a plain value). The signal follows the *thread* that forked: `serve` runs on a current-thread
    // runtime, whose thread is the one that lives as long as the worker.
    unsafe { command.pre_exec(ask) }
}

fn listen(pipe: OwnedFd) -> io::Result<pipe::Receiver> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    pipe::Receiver::from_owned_fd_unchecked(pipe)
}

fn explain(source: io::Error, command: &Command, place: Option<Place>) -> StartError {
    let program = command.get_program().to_string_lossy().into_owned();
    if source.kind() == io::ErrorKind::InvalidInput && source.raw_os_error().is_none() {
        return StartError::ZeroByte { program };
    }
    match (Errno::from_io_error(&source), place) {
        (Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE), _) => {
            StartError::Shortage { program, source }
        }
        (Some(Errno::NOENT | Errno::NOTDIR), Some(Place { cwd, .. })) if !cwd.is_dir() => {
            StartError::NoDirectory { program, cwd: cwd.display().to_string() }
        }
        (Some(Errno::ACCESS), Some(Place { cwd, user: Some(user) })) => {
            StartError::Denied { program, user, cwd: cwd.display().to_string() }
        }
        (_, Some(_)) => StartError::OfCommand { program, source },
        (_, None) => StartError::OfHandler { program, source },
    }
}
