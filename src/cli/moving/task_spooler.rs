//! What waits in task-spooler. Its list has the words of a command with blanks between them, which is not enough to run
//! it again: `rm "a b"` and `rm a b` look alike. But each task that waits has a process, which will become the command,
//! and the kernel tells its arguments, directory and environment. So a task comes if its process is found, and is left
//! otherwise.

use super::commands::{Commands, Task};
use crate::cli::exit::Failure;
use crate::protocol::{CommandJob, Start, describes_a_job};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

/// How long the program may take for its list, and how long that may be.
const PATIENCE: Duration = Duration::from_secs(10);
const LIST_MAX: u64 = 64 << 20;
/// How wide the columns before the command are, each followed by a blank: id, state, output, exit status, times. A longer
/// value pushes the rest to the right.
const WIDTHS: [usize; 5] = [4, 10, 20, 8, 14];

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    number: u64,
    state: String,
    /// What it ended with, if it has.
    status: Option<i64>,
    /// Its words, after what it waits for and its label.
    command: Vec<u8>,
}

/// A process that waits to become a command, or has become one.
#[derive(Debug)]
struct Waiting {
    /// When it began, and its number: in this order they came.
    begun: (u64, u32),
    argv: Vec<OsString>,
    cwd: PathBuf,
    env: Vec<(OsString, OsString)>,
}

pub(super) async fn read(program: Option<&Path>) -> Result<Commands, Failure> {
    let program = program.unwrap_or(Path::new("tsp"));
    let own = rustix::process::geteuid().as_raw();
    let socket = socket(|name| std::env::var_os(name), own);
    // Asked for its list, the program would start one.
    let server = listener(&socket).ok_or_else(|| {
        Failure::failed(format!(
            "no task-spooler listens at {}; TS_SOCKET says where one does",
            socket.display()
        ))
    })?;
    let list = list(program).await?;
    let waiting = processes(program, &socket, &server)
        .map_err(|error| Failure::failed(format!("/proc cannot be read: {error}")))?;
    let listed = parse(&list).ok_or_else(|| {
        Failure::failed(format!("`{} -l` does not print a list as task-spooler does", program.display()))
    })?;
    Ok(matched(listed, waiting))
}

/// What `tsp -l` prints.
async fn list(program: &Path) -> Result<Vec<u8>, Failure> {
    let name = program.display();
    let failed = |error: io::Error| {
        Failure::failed(format!(
            "task-spooler's list cannot be read: {name}: {error}; its program may have another name: say \
             --from task-spooler:PROGRAM"
        ))
    };
    let mut child = Command::new(program);
    let child = child.arg("-l").stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = child.spawn().map_err(failed)?;
    let all = async {
        let mut text = Vec::new();
        if let Some(out) = child.stdout.take() {
            out.take(LIST_MAX).read_to_end(&mut text).await?;
        }
        match child.wait().await? {
            status if status.success() => Ok(text),
            status => Err(io::Error::other(status.to_string())),
        }
    };
    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no list within 10 s"));
    timeout(PATIENCE, all).await.unwrap_or_else(late).map_err(failed)
}

/// Reads the list; a line that begins no task goes on with the command of the one before, which has a line break.
fn parse(list: &[u8]) -> Option<Vec<Listed>> {
    let mut lines = list.strip_suffix(b"\n").unwrap_or(list).split(|byte| *byte == b'\n');
    let head = lines.next()?;
    if !head.starts_with(b"ID ") || !head.windows(7).any(|part| part == b"Command") {
        return None;
    }
    let mut all: Vec<Listed> = Vec::new();
    for line in lines {
        match entry(line) {
            Some(listed) => all.push(listed),
            None => {
                let before = all.last_mut()?;
                before.command.push(b'\n');
                before.command.extend_from_slice(line);
            }
        }
    }
    Some(all)
}

fn entry(line: &[u8]) -> Option<Listed> {
    let (mut rest, mut columns) = (line, Vec::new());
    for width in WIDTHS {
        // A value ends at its first blank, and the next one begins behind the blank at its width, or behind its own end.
        let end = rest.iter().position(|byte| *byte == b' ')?;
        columns.push(std::str::from_utf8(&rest[..end]).ok()?);
        rest = rest.get(end.max(width) + 1..)?;
    }
    let [number, state, _, status, _] = columns[..] else { return None };
    let is_state = !state.is_empty() && state.bytes().all(|byte| byte.is_ascii_lowercase());
    let number = number.parse().ok().filter(|_| is_state)?;
    Some(Listed { number, state: state.to_owned(), status: status.parse().ok(), command: rest.to_vec() })
}

/// The processes of the same task-spooler: of the same program, user and socket, but for the one that has the list.
fn processes(program: &Path, socket: &Path, server: &str) -> io::Result<Vec<Waiting>> {
    let own = rustix::process::geteuid().as_raw();
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if !entry.metadata().is_ok_and(|metadata| metadata.uid() == own) {
            continue;
        }
        // It may end at any moment: then it is none of them.
        let Some(waiting) = process(pid, &entry.path()) else { continue };
        let is_program = waiting.argv.first().is_some_and(|first| Path::new(first).file_name() == Some(name));
        let variable =
            |name: &str| waiting.env.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        let has_list = has_open(&entry.path(), server);
        if is_program && self::socket(variable, own) == *socket && !has_list {
            found.push(waiting);
        }
    }
    found.sort_by_key(|waiting| waiting.begun);
    Ok(found)
}

fn process(pid: u32, at: &Path) -> Option<Waiting> {
    let words = |text: Vec<u8>| {
        let text = text.strip_suffix(b"\0").map(<[u8]>::to_vec).unwrap_or(text);
        text.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect::<Vec<_>>()
    };
    let argv = words(fs::read(at.join("cmdline")).ok()?);
    let cwd = fs::read_link(at.join("cwd")).ok()?;
    let env = words(fs::read(at.join("environ")).ok()?);
    let env = env.into_iter().filter_map(|variable| {
        let bytes = variable.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=')?;
        Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
    });
    let stat = fs::read_to_string(at.join("stat")).ok()?;
    // Behind the name, which may have anything in it: the 22nd field of all, since the machine was started.
    let begun = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    Some(Waiting { begun: (begun, pid), argv, cwd, env: env.collect() })
}

/// Where the list is asked for, as the program itself finds it.
fn socket(variable: impl Fn(&str) -> Option<OsString>, uid: u32) -> PathBuf {
    match variable("TS_SOCKET") {
        Some(path) => path.into(),
        None => {
            let directory = variable("TMPDIR").unwrap_or_else(|| "/tmp".into());
            PathBuf::from(directory).join(format!("socket-ts.{uid}"))
        }
    }
}

/// The number of the socket on which somebody listens there.
fn listener(socket: &Path) -> Option<String> {
    let table = fs::read("/proc/net/unix").ok()?;
    let table = String::from_utf8_lossy(&table);
    let path = socket.to_string_lossy();
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Number, references, protocol, flags (this one: it listens), type, state, inode, path.
        (fields.get(3) == Some(&"00010000") && fields.get(7) == Some(&&*path)).then(|| fields[6].to_owned())
    })
}

fn has_open(process: &Path, inode: &str) -> bool {
    let name = PathBuf::from(format!("socket:[{inode}]"));
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files.map(|file| file.path()).any(|file| fs::read_link(file).is_ok_and(|target| target == name))
}

/// Where in the arguments of a process the command begins that is listed like this, and what the list has before it.
fn command_in<'a>(listed: &'a [u8], argv: &[OsString]) -> Option<(usize, &'a [u8])> {
    (1..argv.len()).find_map(|at| {
        let words: Vec<&[u8]> = argv[at..].iter().map(|word| word.as_bytes()).collect();
        let before = listed.strip_suffix(words.join(&b' ').as_slice())?;
        let label = waits_for(before).1;
        let is_label = label.is_empty() || label.starts_with(b"[") && label.ends_with(b"]");
        is_label.then_some((at, before))
    })
}

/// The number of the task that must be done before, and the rest: `[3]&& [label]`.
fn waits_for(before: &[u8]) -> (Option<u64>, &[u8]) {
    let number = || {
        let end = before.windows(4).position(|part| part == b"]&& ")?;
        let number = std::str::from_utf8(before.get(1..end)?).ok()?.parse().ok()?;
        Some((Some(number), &before[end + 4..]))
    };
    number().unwrap_or((None, before))
}

/// Gives each task its process: those whose commands look alike in the order in which they came.
fn matched(listed: Vec<Listed>, waiting: Vec<Waiting>) -> Commands {
    let mut found = Commands { source: "task-spooler", ..Commands::default() };
    let states: BTreeMap<u64, (String, Option<i64>)> =
        listed.iter().map(|task| (task.number, (task.state.clone(), task.status))).collect();
    let mut lives: Vec<Listed> =
        listed.into_iter().filter(|task| task.state != "finished" && task.state != "skipped").collect();
    found.ended = (states.len() - lives.len()) as u64;
    // The list is in the order in which they will run.
    lives.sort_by_key(|task| task.number);
    for task in &lives {
        if task.state != "queued" {
            found.running += 1;
            continue;
        }
        let alike: Vec<&Waiting> =
            waiting.iter().filter(|process| command_in(&task.command, &process.argv).is_some()).collect();
        let like = |other: &&Listed| {
            alike.first().is_some_and(|one| command_in(&other.command, &one.argv).is_some())
        };
        let rivals: Vec<u64> = lives.iter().filter(like).map(|other| other.number).collect();
        let place = rivals.iter().position(|number| *number == task.number);
        let process = place.and_then(|place| alike.get(place)).filter(|_| rivals.len() == alike.len());
        let made = match process {
            Some(process) => command(task, process, &states),
            None => {
                Err("its process is not found, so its arguments, directory and environment are not known"
                    .into())
            }
        };
        match made {
            Ok(made) => found.tasks.push(made),
            Err(why) => drop(found.left.insert(task.number, why)),
        }
    }
    found
}

fn command(
    task: &Listed,
    process: &Waiting,
    states: &BTreeMap<u64, (String, Option<i64>)>,
) -> Result<Task, String> {
    let (at, before) = command_in(&task.command, &process.argv).ok_or("its process has another command")?;
    let (other, label) = waits_for(before);
    let after = match other.map(|other| (other, states.get(&other))) {
        None => Vec::new(),
        Some((_, Some((state, Some(0))))) if state == "finished" => Vec::new(),
        Some((other, Some((state, _)))) if state == "queued" => vec![other],
        Some((other, Some((state, _)))) => {
            return Err(format!("it waits for task {other}, which is {state} there"));
        }
        Some((other, None)) => return Err(format!("it waits for task {other}, which is not there")),
    };
    let mut hash = Sha256::new();
    for word in process.argv.iter().chain([&process.cwd.clone().into_os_string()]) {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    let (begun, pid) = process.begun;
    let env = process.env.iter().filter(|(name, _)| !describes_a_job(name));
    let label = label.strip_prefix(b"[").and_then(|label| label.strip_suffix(b"]"));
    Ok(Task {
        number: task.number,
        // A process is known by when it began, and by its number.
        key: format!("task-spooler {} {begun} {pid} {:x}", task.number, hash.finalize()),
        queue: None,
        command: CommandJob {
            argv: process.argv[at..].iter().cloned().map(Into::into).collect(),
            cwd: process.cwd.clone().into_os_string().into(),
            env: env.map(|(name, value)| (name.clone().into(), value.clone().into())).collect(),
        },
        start: Start::Now,
        priority: None,
        label: label.map(|label| String::from_utf8_lossy(label).into_owned()),
        after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
ID   State      Output               E-Level  Times(r/u/s)   Command [run=1/1]
7    running    /tmp/ts-out.HSg8QK                           sleep 300
9    queued     (file)                                       [8]&& [l[x]]echo a
b
10   queued     stdout                                       true
8    queued     (file)                                       [lab]sh -c echo \"x  y\"; echo z
11   queued     (file)                                       true
6    finished   /tmp/a/long/directory/ts-out.abc123 0        0.00/0.00/0.00 true
";

    fn waiting(pid: u32, argv: &[&str]) -> Waiting {
        let argv = argv.iter().map(Into::into).collect();
        Waiting {
            begun: (100, pid),
            argv,
            cwd: format!("/{pid}").into(),
            env: vec![("A".into(), "b".into())],
        }
    }

    #[test]
    fn the_list_is_read_as_it_is_printed() {
        let listed = parse(LIST.as_bytes()).unwrap();
        let numbers: Vec<u64> = listed.iter().map(|task| task.number).collect();
        assert_eq!(numbers, [7, 9, 10, 8, 11, 6]);
        assert_eq!(listed[1].command, b"[8]&& [l[x]]echo a\nb");
        assert_eq!((listed[5].state.as_str(), listed[5].status), ("finished", Some(0)));
        assert_eq!(listed[5].command, b"true");
        assert_eq!((listed[0].status, listed[0].command.as_slice()), (None, &b"sleep 300"[..]));
        for wrong in ["", "usage: ts [-i]\n", "ID Command\nno task\n"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn each_task_gets_the_arguments_of_its_own_process() {
        let processes = vec![
            waiting(1, &["tsp", "sleep", "300"]),
            waiting(2, &["tsp", "-L", "lab", "-n", "sh", "-c", "echo \"x  y\"; echo z"]),
            waiting(3, &["/usr/bin/tsp", "-d", "-Ll[x]", "echo", "a\nb"]),
            waiting(4, &["tsp", "true"]),
            waiting(5, &["tsp", "-f", "true"]),
        ];
        let found = matched(parse(LIST.as_bytes()).unwrap(), processes);
        assert!(found.left.is_empty(), "{:?}", found.left);
        assert_eq!((found.running, found.ended), (1, 1));
        let told: Vec<_> = found
            .tasks
            .iter()
            .map(|task| (task.number, task.command.cwd.as_os_str().to_str().unwrap()))
            .collect();
        assert_eq!(told, [(8, "/2"), (9, "/3"), (10, "/4"), (11, "/5")]);
        assert_eq!(found.tasks[0].command.argv, ["sh", "-c", "echo \"x  y\"; echo z"].map(Into::into));
        assert_eq!(found.tasks[0].label.as_deref(), Some("lab"));
        assert_eq!(found.tasks[1].command.argv, ["echo", "a\nb"].map(Into::into));
        assert_eq!((found.tasks[1].label.as_deref(), &found.tasks[1].after), (Some("l[x]"), &vec![8]));
    }

    #[test]
    fn a_task_whose_process_is_not_sure_is_left() {
        // Two processes look like task 8, none like 9, and one of the two like 10 and 11 is missing.
        let processes = vec![
            waiting(2, &["tsp", "-L", "lab", "sh", "-c", "echo \"x  y\"; echo z"]),
            waiting(3, &["tsp", "-L", "lab", "sh", "-c", "echo \"x ", "y\"; echo z"]),
            waiting(4, &["tsp", "true"]),
        ];
        let found = matched(parse(LIST.as_bytes()).unwrap(), processes);
        assert!(found.tasks.is_empty(), "{:?}", found.tasks);
        assert_eq!(found.left.keys().copied().collect::<Vec<_>>(), [8, 9, 10, 11]);
    }

    #[test]
    fn what_a_task_waits_for_must_be_done_or_come_too() {
        let list = |state: &str, status: &str| {
            format!(
                "ID   State      Output               E-Level  Times(r/u/s)   Command [run=1/1]\n\
                 {:<4} {:<10} {:<20} {:<8} {:<14} {}\n{:<4} {:<10} {:<20} {:<8} {:<14} {}\n",
                1, state, "(file)", status, "", "sleep 1", 2, "queued", "(file)", "", "", "[1]&& true"
            )
        };
        let found = |state, status| {
            let processes = vec![waiting(1, &["tsp", "sleep", "1"]), waiting(2, &["tsp", "-d", "true"])];
            matched(parse(list(state, status).as_bytes()).unwrap(), processes)
        };
        assert_eq!(found("queued", "").tasks[1].after, [1]);
        assert!(found("finished", "0").tasks[0].after.is_empty());
        assert!(found("finished", "1").left[&2].contains("which is finished there"));
        assert!(found("running", "").left[&2].contains("which is running there"));
    }
}
