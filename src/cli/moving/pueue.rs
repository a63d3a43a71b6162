//! What waits in pueue: its state file, of versions 2 to 4. It is read and never written; what a task says of itself
//! is believed only as far as it makes a command.

use super::commands::{Commands, Task};
use crate::cli::exit::Failure;
use crate::durations::parse_point;
use crate::protocol::{CommandJob, Start, describes_a_job};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The longest state that is read. 400 tasks take some 2 MB.
const STATE_MAX: u64 = 256 << 20;
/// The priority of jobs that say none.
const PRIORITY: i64 = 1024;
const DEFAULT_GROUP: &str = "default";

#[derive(Debug, Deserialize)]
struct State {
    tasks: BTreeMap<u64, Value>,
    #[serde(default)]
    groups: BTreeMap<String, Value>,
}

/// A task, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Entry {
    /// Since version 4.
    created_at: Option<String>,
    command: String,
    path: PathBuf,
    /// In order, so that the same task is the same job.
    #[serde(default)]
    envs: BTreeMap<String, String>,
    group: Option<String>,
    #[serde(default)]
    dependencies: Vec<u64>,
    #[serde(default)]
    priority: i32,
    label: Option<String>,
    status: Value,
}

/// Where a task is in its life.
#[derive(Debug, PartialEq)]
enum Status {
    Queued,
    /// Until when, if that is said.
    Stashed(Option<String>),
    Running,
    Succeeded,
    Failed,
    Other(String),
}

impl Status {
    /// Reads `"Queued"`, `{"Queued": {…}}` and the like.
    fn of(status: &Value) -> Status {
        let (name, more) = match status {
            Value::String(name) => (name.as_str(), &Value::Null),
            Value::Object(fields) => match fields.iter().next() {
                Some((name, more)) => (name.as_str(), more),
                None => ("", &Value::Null),
            },
            _ => ("", &Value::Null),
        };
        match name {
            "Queued" => Status::Queued,
            "Stashed" => Status::Stashed(more.get("enqueue_at").and_then(Value::as_str).map(str::to_owned)),
            "Running" | "Paused" => Status::Running,
            // Since version 4 the result has a name.
            "Done" if more.get("result").unwrap_or(more) == "Success" => Status::Succeeded,
            "Done" => Status::Failed,
            name => Status::Other(name.to_owned()),
        }
    }
}

/// Reads the state in this file, or where it usually is.
pub(super) fn read(file: Option<&Path>, stashed: bool, as_mine: bool) -> Result<Commands, Failure> {
    let path = match file {
        Some(file) if file.is_dir() => found_in(file),
        Some(file) => file.to_owned(),
        None => found_in(&directory()?),
    };
    let wrong =
        |error: String| Failure::failed(format!("pueue's state cannot be read: {}: {error}", path.display()));
    let file = File::open(&path).map_err(|error| wrong(error.to_string()))?;
    let owner = file.metadata().map_err(|error| wrong(error.to_string()))?.uid();
    let own = rustix::process::geteuid().as_raw();
    if owner != own && !as_mine {
        let message = format!(
            "{} is of user {owner}, and you are user {own}: its commands would run as you. Import it as that user, or say \
             --as-mine",
            path.display()
        );
        return Err(Failure::usage(message));
    }
    let text = text(file).map_err(|error| wrong(error.to_string()))?;
    parse(&text, stashed).map_err(wrong)
}

fn directory() -> Result<PathBuf, Failure> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    let data = data.ok_or_else(|| Failure::usage("where is pueue's state? Say --from pueue:FILE"))?;
    Ok(data.join("pueue"))
}

/// The file in pueue's directory: it may be set to compress it.
fn found_in(directory: &Path) -> PathBuf {
    let (plain, packed) = (directory.join("state.json"), directory.join("state.json.gz"));
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    if changed(&packed) > changed(&plain) { packed } else { plain }
}

fn text(mut file: File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.by_ref().take(STATE_MAX + 1).read_to_end(&mut text)?;
    if text.starts_with(b"\x1f\x8b") {
        io::Seek::rewind(&mut file)?;
        text.clear();
        let mut gzip = Command::new("gzip").arg("-dc").stdin(file).stdout(Stdio::piped()).spawn()?;
        if let Some(out) = gzip.stdout.take() {
            out.take(STATE_MAX + 1).read_to_end(&mut text)?;
        }
        if !gzip.wait()?.success() && text.len() as u64 <= STATE_MAX {
            return Err(io::Error::other("gzip cannot unpack it"));
        }
    }
    match text.len() as u64 > STATE_MAX {
        true => Err(io::Error::other("it has more than 256 MiB")),
        false => Ok(text),
    }
}

fn parse(text: &[u8], stashed: bool) -> Result<Commands, String> {
    let state: State =
        serde_json::from_slice(text).map_err(|error| format!("it is no state of pueue: {error}"))?;
    let mut found = Commands { source: "pueue", ..Commands::default() };
    let mut entries = BTreeMap::new();
    for (number, value) in state.tasks {
        match serde_json::from_value::<Entry>(value) {
            Ok(entry) => drop(entries.insert(number, entry)),
            Err(error) => drop(found.left.insert(number, format!("it is no task of pueue: {error}"))),
        }
    }
    let statuses: BTreeMap<u64, Status> =
        entries.iter().map(|(number, entry)| (*number, Status::of(&entry.status))).collect();
    for (number, entry) in entries {
        match task(number, entry, &statuses, stashed) {
            Ok(Some(task)) => found.tasks.push(task),
            Ok(None) if statuses[&number] == Status::Running => found.running += 1,
            Ok(None) => found.ended += 1,
            Err(why) => drop(found.left.insert(number, why)),
        }
    }
    for (name, group) in state.groups.iter().filter(|(_, group)| group["status"] == "Paused") {
        if found.tasks.iter().any(|task| task.queue.as_deref().unwrap_or(DEFAULT_GROUP) == name) {
            let at_once = group["parallel_tasks"].as_u64().unwrap_or(1);
            found.notes.push(format!(
                "group {name} is paused in pueue ({at_once} at a time); here its queue is not: see `musher pause`"
            ));
        }
    }
    Ok(found)
}

/// What a task is here; nothing if it does not wait any more.
fn task(
    number: u64,
    entry: Entry,
    statuses: &BTreeMap<u64, Status>,
    stashed: bool,
) -> Result<Option<Task>, String> {
    let start = match &statuses[&number] {
        Status::Queued => Start::Now,
        Status::Stashed(Some(at)) => Start::At(parse_point(at).map_err(|error| error.to_string())?.0),
        Status::Stashed(None) if stashed => Start::Now,
        Status::Stashed(None) => {
            return Err(
                "it is stashed without a time: enqueue it there, or say --stashed to let it run here".into(),
            );
        }
        Status::Running | Status::Succeeded | Status::Failed => return Ok(None),
        Status::Other(name) => return Err(format!("it is `{name}` there")),
    };
    let mut after = Vec::new();
    for other in entry.dependencies {
        match statuses.get(&other) {
            Some(Status::Succeeded) => {}
            Some(Status::Running) => return Err(format!("it waits for task {other}, which runs there")),
            Some(Status::Failed) => return Err(format!("it waits for task {other}, which has failed there")),
            Some(_) => after.push(other),
            None => return Err(format!("it waits for task {other}, which is not there")),
        }
    }
    let key = match &entry.created_at {
        Some(created) => format!("pueue {number} {created}"),
        None => {
            let mut hash = Sha256::new();
            hash.update(entry.path.as_os_str().as_encoded_bytes());
            hash.update([0]);
            hash.update(&entry.command);
            format!("pueue {number} {:x}", hash.finalize())
        }
    };
    let env = entry.envs.into_iter().filter(|(name, _)| !describes_a_job(name.as_ref()));
    let command = CommandJob {
        argv: ["sh", "-c", &entry.command].map(Into::into).into(),
        cwd: entry.path.into_os_string().into(),
        env: env.map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
    };
    // There a high number goes first, and 0 is the usual one.
    let priority = (entry.priority != 0).then(|| (PRIORITY - i64::from(entry.priority)).max(0) as u32);
    let queue = entry.group.filter(|group| group != DEFAULT_GROUP);
    Ok(Some(Task { number, key, queue, command, start, priority, label: entry.label, after }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(status: Value) -> Value {
        json!({
            "id": 0, "created_at": "2026-01-02T03:04:05.678901234+01:00", "original_command": "make", "command": "make all",
            "path": "/src", "envs": {"B": "2", "A": "1", "MUSHER_JOB_ID": "7"}, "group": "default", "dependencies": [],
            "priority": 0, "label": null, "status": status,
        })
    }

    fn parsed(tasks: Value, stashed: bool) -> Commands {
        let state = json!({"tasks": tasks, "groups": {"gpu": {"status": "Paused", "parallel_tasks": 2}}});
        parse(&serde_json::to_vec(&state).unwrap(), stashed).unwrap()
    }

    #[test]
    fn states_of_versions_2_and_4() {
        for (status, is) in [
            (json!("Queued"), Status::Queued),
            (json!({"Queued": {"enqueued_at": "…"}}), Status::Queued),
            (json!({"Stashed": {"enqueue_at": null}}), Status::Stashed(None)),
            (json!({"Stashed": {"enqueue_at": "x"}}), Status::Stashed(Some("x".into()))),
            (json!("Running"), Status::Running),
            (json!({"Paused": {"start": "…"}}), Status::Running),
            (json!({"Done": "Success"}), Status::Succeeded),
            (json!({"Done": {"Failed": 2}}), Status::Failed),
            (json!({"Done": {"end": "…", "result": "Success"}}), Status::Succeeded),
            (json!({"Done": {"end": "…", "result": {"Failed": 1}}}), Status::Failed),
            (json!({"Locked": {"previous_status": "Queued"}}), Status::Other("Locked".into())),
            (json!(7), Status::Other(String::new())),
        ] {
            assert_eq!(Status::of(&status), is, "{status}");
        }
    }

    #[test]
    fn a_task_becomes_a_command() {
        let mut queued = entry(json!({"Queued": {"enqueued_at": "…"}}));
        (queued["group"], queued["priority"], queued["label"]) = (json!("gpu"), json!(10), json!("mine"));
        let found = parsed(json!({"4": queued}), false);
        let task = &found.tasks[0];
        assert_eq!(task.command.argv, ["sh", "-c", "make all"].map(Into::into));
        assert_eq!(task.command.cwd, "/src".into());
        let env = [("A".into(), "1".into()), ("B".into(), "2".into())];
        assert_eq!(task.command.env, env, "without what tells of a job");
        assert_eq!((task.number, task.queue.as_deref(), task.priority), (4, Some("gpu"), Some(1014)));
        assert_eq!(task.key, "pueue 4 2026-01-02T03:04:05.678901234+01:00");
        assert_eq!(task.label.as_deref(), Some("mine"));
        assert!(found.notes[0].contains("group gpu is paused"), "{:?}", found.notes);
        let timed = entry(json!({"Stashed": {"enqueue_at": "2026-01-02T03:04:05.5+01:00"}}));
        let task = &parsed(json!({"1": timed}), false).tasks[0];
        assert_eq!(
            (task.start, task.queue.as_deref(), task.priority),
            (Start::At(1_767_319_445_500), None, None)
        );
    }

    #[test]
    fn what_cannot_come_is_named_and_the_rest_is_counted() {
        let with = |status: Value, dependencies: Value| {
            let mut entry = entry(status);
            entry["dependencies"] = dependencies;
            entry
        };
        let tasks = json!({
            "0": entry(json!({"Done": {"result": "Success"}})),
            "1": entry(json!({"Running": {}})),
            "2": with(json!("Queued"), json!([0])),
            "3": with(json!("Queued"), json!([1])),
            "4": with(json!("Queued"), json!([2])),
            "5": with(json!("Queued"), json!([99])),
            "6": entry(json!({"Stashed": {"enqueue_at": null}})),
            "7": {"command": 7},
            "8": entry(json!({"Stashed": {"enqueue_at": "soon"}})),
        });
        let found = parsed(tasks.clone(), false);
        let numbers: Vec<u64> = found.tasks.iter().map(|task| task.number).collect();
        assert_eq!((numbers, found.running, found.ended), (vec![2, 4], 1, 1));
        assert_eq!((&found.tasks[0].after, &found.tasks[1].after), (&vec![], &vec![2]));
        let left: Vec<u64> = found.left.keys().copied().collect();
        assert_eq!(left, [3, 5, 6, 7, 8], "{:?}", found.left);
        assert!(parsed(tasks, true).tasks.iter().any(|task| task.number == 6));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for text in ["", "[]", "{}", "{\"tasks\": {\"x\": 1}}", "{\"tasks\": []}"] {
            assert!(parse(text.as_bytes(), false).is_err(), "{text}");
        }
        assert!(parse(b"{\"tasks\": {}}", false).unwrap().tasks.is_empty());
    }

    #[test]
    fn a_compressed_state_is_read_too() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("state.json");
        let state = json!({"tasks": {"0": entry(json!("Queued"))}});
        std::fs::write(&plain, serde_json::to_vec(&state).unwrap()).unwrap();
        assert_eq!(read(Some(dir.path()), false, false).unwrap().tasks.len(), 1);
        assert!(Command::new("gzip").arg(&plain).status().unwrap().success());
        assert_eq!(read(Some(dir.path()), false, false).unwrap().tasks.len(), 1);
        std::fs::write(dir.path().join("state.json.gz"), b"\x1f\x8bno").unwrap();
        let failure = read(Some(dir.path()), false, false).unwrap_err();
        assert!(failure.message.contains("cannot be read"), "{}", failure.message);
    }
}
