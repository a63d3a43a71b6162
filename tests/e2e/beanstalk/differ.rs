//! Random commands, given to the real beanstalkd and to the daemon one after the other: both must say the same, command by command,
//! and of every job and tube in the end. What takes time, and what is known to differ (docs/beanstalkd.md), is not played.

use super::client::Conn;
use super::{BEANSTALKD, served};
use crate::helper::{DEADLINE, block_on, skipped};
use fastrand::Rng;
use musher::clock::monotonic;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// How many scripts, and how many commands each has.
const SCRIPTS: u64 = 200;
const COMMANDS: usize = 40;
const TUBES: [&str; 3] = ["default", "a", "b"];
const CONNECTIONS: usize = 3;

/// What differs from server to server, or from moment to moment.
const OWN: [&str; 17] = [
    "age",
    "time-left",
    "file",
    "pid",
    "version",
    "rusage-utime",
    "rusage-stime",
    "uptime",
    "binlog-oldest-index",
    "binlog-current-index",
    "binlog-records-migrated",
    "binlog-records-written",
    "binlog-max-size",
    "id",
    "hostname",
    "os",
    "server",
];

struct Real(Child);

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One of the servers, with the ids that it has given to jobs.
struct Side<'a> {
    socket: &'a Path,
    conns: Vec<Option<Conn>>,
    ids: Vec<u64>,
    names: HashMap<u64, usize>,
}

impl Side<'_> {
    fn conn(&mut self, at: usize) -> &mut Conn {
        self.conns[at].get_or_insert_with(|| Conn::new(self.socket))
    }

    /// Asks, and says what came with jobs by their order, and counters from `base` on.
    fn ask(&mut self, at: usize, command: &str, base: &BTreeMap<String, u64>) -> String {
        let mut text = command.to_owned();
        for (nth, id) in self.ids.iter().enumerate().rev() {
            text = text.replace(&format!("j{nth}#"), &id.to_string());
        }
        let conn = self.conn(at);
        conn.send(&text);
        let reply = conn.reply();
        let (line, body) = reply.split_once('\n').unwrap_or((&reply, ""));
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if words[0] == "INSERTED" {
            let id = words[1].parse().unwrap();
            self.names.insert(id, self.ids.len());
            self.ids.push(id);
        }
        if ["INSERTED", "RESERVED", "FOUND"].contains(&&*words[0]) {
            let name = words[1].parse().ok().and_then(|id: u64| self.names.get(&id).copied());
            words[1] = format!("{name:?}");
        }
        if words[0] != "OK" {
            return format!("{} {body}", words.join(" "));
        }
        let counts = |line: &str| -> Option<String> {
            let Some((key, value)) = line.split_once(": ") else { return Some(line.to_owned()) };
            let value = match (value.parse::<u64>(), base.get(key)) {
                (Ok(now), Some(before)) => (now - before).to_string(),
                _ => value.trim_matches('"').to_owned(),
            };
            (!OWN.contains(&key)).then(|| format!("{key}: {value}"))
        };
        let mut lines: Vec<String> = body.lines().filter_map(counts).collect();
        if body.contains("\n- ") {
            lines.sort();
        }
        lines.join("\n")
    }

    /// The counters that only go up, as they are.
    fn base(&mut self) -> BTreeMap<String, u64> {
        let of = |text: String| -> Vec<(String, u64)> {
            let pairs = text.lines().filter_map(|line| line.split_once(": "));
            let is_total =
                |key: &str| key.starts_with("cmd-") || key.starts_with("total-") || key == "job-timeouts";
            pairs
                .filter(|(key, _)| is_total(key))
                .filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?)))
                .collect()
        };
        of(self.conn(0).ask("stats")).into_iter().collect()
    }
}

fn command(random: &mut Rng, jobs: usize) -> String {
    let pick = |random: &mut Rng, all: &[&str]| all[random.usize(..all.len())].to_owned();
    let job = match jobs {
        0 => "999999999".to_owned(),
        jobs => format!("j{}#", random.usize(..jobs)),
    };
    let tube = pick(random, &TUBES);
    let priority = pick(random, &["0", "1", "1023", "1024", "4294967295"]);
    let delay = pick(random, &["0", "0", "0", "100", "200"]);
    let line = match random.u32(..34) {
        0..8 => {
            let body = pick(random, &["", "a", "abc", "\r\n\r\n", "quit\r\n"]);
            format!("put {priority} {delay} 100 {}\r\n{body}", body.len())
        }
        8..14 => "reserve-with-timeout 0".to_owned(),
        14 => format!("reserve-job {job}"),
        15..18 => format!("delete {job}"),
        18..20 => format!("release {job} {priority} {delay}"),
        20..22 => format!("bury {job} {priority}"),
        22 => format!("touch {job}"),
        23 => format!("kick {}", random.u32(..4)),
        24 => format!("kick-job {job}"),
        25 => format!("peek {job}"),
        26 => pick(random, &["peek-ready", "peek-delayed", "peek-buried"]),
        27..29 => format!("use {tube}"),
        29 => format!("watch {tube}"),
        30 => format!("ignore {tube}"),
        31 => pick(random, &["list-tubes", "list-tube-used", "list-tubes-watched", "stats"]),
        32 => format!("{} {tube}", pick(random, &["stats-tube", "stats-tube", "watch"])),
        _ => pick(
            random,
            &["nonsense", "put", "delete", "kick -1", "peek x", "stats ", "use -a", "release 1 1"],
        ),
    };
    line + "\r\n"
}

/// Plays a script on both; returns the first command that they do not agree on, and what they say.
fn play(seed: u64, sides: &mut [Side<'_>; 2]) -> Result<(), String> {
    let mut random = Rng::with_seed(seed);
    let bases = [sides[0].base(), sides[1].base()];
    let nothing = BTreeMap::new();
    let mut ask = |sides: &mut [Side<'_>; 2], at: usize, command: &str| {
        let of_all = command == "stats\r\n";
        let [one, other] = sides;
        let base = |nth: usize| if of_all { &bases[nth] } else { &nothing };
        let (wanted, found) = (one.ask(at, command, base(0)), other.ask(at, command, base(1)));
        if wanted == found { Ok(()) } else { Err(format!("{command:?} of c{at}: {wanted:?}, not {found:?}")) }
    };
    for _ in 0..COMMANDS {
        let at = random.usize(..CONNECTIONS);
        if random.u32(..25) == 0 && at > 0 {
            for side in &mut *sides {
                side.conns[at] = None;
                // Both are to know of it: what it held is free again.
                let deadline = monotonic() + DEADLINE;
                let open = side.conns.iter().flatten().count().to_string();
                while super::client::value(&side.conn(0).ask("stats"), "current-connections") != open {
                    assert!(monotonic() < deadline, "a connection does not end");
                }
            }
            // How often that was asked is not to be compared.
            return finish(sides, &mut ask);
        }
        let command = command(&mut random, sides[0].ids.len());
        ask(sides, at, &command)?;
    }
    finish(sides, &mut ask)?;
    ask(sides, 0, "stats\r\n")
}

/// Every job and tube is the same.
fn finish(
    sides: &mut [Side<'_>; 2],
    ask: &mut impl FnMut(&mut [Side<'_>; 2], usize, &str) -> Result<(), String>,
) -> Result<(), String> {
    for job in 0..sides[0].ids.len() {
        ask(sides, 0, &format!("stats-job j{job}#\r\n"))?;
    }
    for tube in &TUBES[1..] {
        ask(sides, 0, &format!("stats-tube {tube}\r\n"))?;
    }
    ask(sides, 0, "list-tubes\r\n")
}

/// Leaves no job behind.
fn clean(side: &mut Side<'_>) {
    side.conns.iter_mut().for_each(|conn| *conn = None);
    let mut conn = Conn::new(side.socket);
    let deadline = monotonic() + DEADLINE;
    while super::client::value(&conn.ask("stats"), "current-connections") != "1" {
        assert!(monotonic() < deadline, "a connection does not end");
    }
    for tube in TUBES {
        conn.ask(&format!("use {tube}"));
        for kind in ["ready", "delayed", "buried"] {
            while let Some(id) = conn.ask(&format!("peek-{kind}")).strip_prefix("FOUND ") {
                let id = id.split(' ').next().unwrap().to_owned();
                assert_eq!(conn.ask(&format!("delete {id}")), "DELETED");
            }
        }
    }
}

#[test]
fn random_commands_are_answered_as_beanstalkd_answers_them() {
    if !Path::new(BEANSTALKD).exists() {
        return skipped("beanstalkd is not installed");
    }
    block_on(async {
        let daemon = served("body = \"65535B\"\n").await;
        let (ours, dir) = (daemon.1.clone(), tempfile::tempdir().unwrap());
        let theirs = dir.path().join("beanstalkd");
        let listen = format!("unix:{}", theirs.display());
        let real = Command::new(BEANSTALKD).args(["-l", &listen]).stderr(Stdio::null()).spawn().unwrap();
        let _real = Real(real);
        let deadline = monotonic() + DEADLINE;
        while std::os::unix::net::UnixStream::connect(&theirs).is_err() {
            assert!(monotonic() < deadline, "beanstalkd does not start");
        }
        for seed in 1..=SCRIPTS {
            let side = |socket| Side {
                socket,
                conns: vec![None, None, None],
                ids: Vec::new(),
                names: HashMap::new(),
            };
            let mut sides = [side(&*theirs), side(&*ours)];
            let played = play(seed, &mut sides);
            assert_eq!(played, Ok(()), "script {seed}: beanstalkd's is the first");
            sides.iter_mut().for_each(clean);
        }
        daemon.0.stop().await;
    });
}
