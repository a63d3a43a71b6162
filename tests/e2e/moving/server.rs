//! A beanstalkd for tests: the real program if it is installed, and one of ours in this process, with what an import
//! asks for and faults to order. And whoever fills and looks at either.

use crate::helper::until;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// The real one; it ends with the test.
pub(super) struct Real(Child);

impl Real {
    /// Starts it, if it is installed.
    pub(super) async fn start(socket: &Path) -> Option<Real> {
        let mut command = Command::new("beanstalkd");
        command.arg("-l").arg(format!("unix:{}", socket.display()));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = match child {
            Ok(child) => Real(child),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("beanstalkd: {error}"),
        };
        until("beanstalkd answers", async || UnixStream::connect(socket).ok()).await;
        Some(child)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Job {
    tube: String,
    state: &'static str,
    pri: u32,
    delay: u32,
    ttr: u32,
    body: Vec<u8>,
    /// The connection that has it, and where it was before.
    holder: u64,
}

#[derive(Default)]
struct State {
    jobs: BTreeMap<u64, Job>,
    next: u64,
    paused: HashSet<String>,
    /// A command, and what is answered once instead of the right thing; the connection ends where that is nothing.
    wrong: HashMap<String, &'static str>,
    connections: u64,
}

/// Ours. It never looks at a clock: what is delayed stays so.
#[derive(Clone)]
pub(super) struct Ours(Arc<Mutex<State>>);

impl Ours {
    pub(super) fn start(socket: &Path) -> Ours {
        let listener = UnixListener::bind(socket).unwrap();
        let ours = Ours(Arc::default());
        let serving = ours.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(&stream.unwrap()));
            }
        });
        ours
    }

    pub(super) fn answer_wrongly(&self, command: &str, answer: &'static str) {
        self.0.lock().unwrap().wrong.insert(command.into(), answer);
    }

    pub(super) fn hang_up_at(&self, command: &str) {
        self.answer_wrongly(command, "");
    }

    fn serve(&self, stream: &UnixStream) {
        let connection = {
            let mut state = self.0.lock().unwrap();
            state.connections += 1;
            state.connections
        };
        let (mut input, mut used, mut watched) =
            (BufReader::new(stream), "default".to_owned(), HashSet::from(["default".to_owned()]));
        let mut line = String::new();
        while input.read_line(&mut line).is_ok_and(|read| read > 0) {
            let command = line.trim_end().to_owned();
            line.clear();
            let mut state = self.0.lock().unwrap();
            match state.wrong.remove(&command) {
                Some("") => break,
                Some(answer) => {
                    (&*stream).write_all(format!("{answer}\r\n").as_bytes()).unwrap();
                    continue;
                }
                None => {}
            }
            let words: Vec<&str> = command.split(' ').collect();
            let mut body = Vec::new();
            if words[0] == "put" {
                body = vec![0; words[4].parse::<usize>().unwrap() + 2];
                input.read_exact(&mut body).unwrap();
                body.truncate(body.len() - 2);
            }
            let answer = state.answer(connection, &words, body, &mut used, &mut watched);
            drop(state);
            if (&*stream).write_all(&answer).is_err() {
                break;
            }
        }
        // What it has reserved is ready again, whatever it was.
        for job in self.0.lock().unwrap().jobs.values_mut().filter(|job| job.holder == connection) {
            (job.state, job.holder) = ("ready", 0);
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

impl State {
    fn answer(
        &mut self,
        connection: u64,
        words: &[&str],
        body: Vec<u8>,
        used: &mut String,
        watched: &mut HashSet<String>,
    ) -> Vec<u8> {
        let id = || words[1].parse::<u64>().unwrap();
        let line = |text: &str| format!("{text}\r\n").into_bytes();
        let text = |text: String| format!("OK {}\r\n{text}\r\n", text.len()).into_bytes();
        let job = |word: &str, id: u64, job: &Job| {
            [format!("{word} {id} {}\r\n", job.body.len()).as_bytes(), &job.body, b"\r\n"].concat()
        };
        let first = |state: &State, fits: &dyn Fn(&Job) -> bool| {
            let fitting = state.jobs.iter().filter(|(_, job)| fits(job));
            fitting.min_by_key(|(id, job)| (job.delay, job.pri, **id)).map(|(id, _)| *id)
        };
        match words[0] {
            "put" => {
                self.next += 1;
                let number = |at: usize| words[at].parse::<u32>().unwrap();
                let (pri, delay, ttr, tube) = (number(1), number(2), number(3), used.clone());
                let state = if delay > 0 { "delayed" } else { "ready" };
                self.jobs.insert(self.next, Job { tube, state, pri, delay, ttr, body, holder: 0 });
                line(&format!("INSERTED {}", self.next))
            }
            "use" => {
                *used = words[1].into();
                line(&format!("USING {used}"))
            }
            "watch" | "ignore" => {
                if words[0] == "watch" {
                    watched.insert(words[1].into())
                } else {
                    watched.remove(words[1])
                };
                line(&format!("WATCHING {}", watched.len()))
            }
            "pause-tube" => {
                self.paused.insert(words[1].into());
                line("PAUSED")
            }
            "stats" => text("---\nmax-job-size: 1000000\nid: 0123456789abcdef\n".into()),
            "list-tubes" => {
                let tubes: HashSet<&str> =
                    self.jobs.values().map(|job| &*job.tube).chain(["default"]).collect();
                text(tubes.iter().fold("---\n".to_owned(), |text, tube| text + &format!("- {tube}\n")))
            }
            "stats-tube" => {
                let count = |state| {
                    self.jobs.values().filter(|job| job.tube == words[1] && job.state == state).count()
                };
                let counts = ["ready", "reserved", "delayed", "buried"]
                    .map(|state| format!("current-jobs-{state}: {}\n", count(state)));
                let pause = u32::from(self.paused.contains(words[1]));
                text(format!("---\nname: {}\n{}pause: {pause}\n", words[1], counts.concat()))
            }
            "stats-job" => match self.jobs.get(&id()) {
                Some(Job { tube, state, pri, delay, ttr, .. }) => text(format!(
                    "---\nid: {}\ntube: {tube}\nstate: {state}\npri: {pri}\ndelay: {delay}\nttr: {ttr}\ntime-left: {delay}\n",
                    id()
                )),
                None => line("NOT_FOUND"),
            },
            "peek-ready" | "peek-delayed" | "peek-buried" => {
                match first(self, &|job| job.tube == *used && words[0].ends_with(job.state)) {
                    Some(id) => job("FOUND", id, &self.jobs[&id]),
                    None => line("NOT_FOUND"),
                }
            }
            "reserve-with-timeout" | "reserve-job" => {
                let is_there = |job: &Job| {
                    job.state == "ready" && watched.contains(&job.tube) && !self.paused.contains(&job.tube)
                };
                let found = match words[0] {
                    "reserve-job" => {
                        Some(id()).filter(|id| self.jobs.get(id).is_some_and(|job| job.holder == 0))
                    }
                    _ => first(self, &is_there),
                };
                match found.and_then(|id| Some((id, self.jobs.get_mut(&id)?))) {
                    Some((id, found)) => {
                        (found.state, found.holder, found.delay) = ("reserved", connection, 0);
                        job("RESERVED", id, found)
                    }
                    None if words[0] == "reserve-job" => line("NOT_FOUND"),
                    None => line("TIMED_OUT"),
                }
            }
            "delete" => match self.jobs.get(&id()) {
                Some(job) if job.holder == 0 || job.holder == connection => {
                    self.jobs.remove(&id());
                    line("DELETED")
                }
                _ => line("NOT_FOUND"),
            },
            "release" | "bury" | "touch" => match self.jobs.get_mut(&id()) {
                Some(job) if job.holder == connection => {
                    let number = |at: usize| words.get(at).map_or(0, |word| word.parse::<u32>().unwrap());
                    match words[0] {
                        "touch" => return line("TOUCHED"),
                        "bury" => (job.state, job.holder, job.pri) = ("buried", 0, number(2)),
                        _ => {
                            (job.pri, job.delay, job.holder) = (number(2), number(3), 0);
                            job.state = if job.delay > 0 { "delayed" } else { "ready" };
                        }
                    }
                    line(if words[0] == "bury" { "BURIED" } else { "RELEASED" })
                }
                _ => line("NOT_FOUND"),
            },
            _ => line("UNKNOWN_COMMAND"),
        }
    }
}

/// Fills either of them, and looks at it.
pub(super) struct Producer {
    stream: BufReader<UnixStream>,
}

impl Producer {
    pub(super) fn of(socket: &PathBuf) -> Producer {
        Producer { stream: BufReader::new(UnixStream::connect(socket).unwrap()) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Says this, and returns the line that is answered.
    pub(super) fn says(&mut self, what: impl AsRef<[u8]>) -> String {
        self.stream.get_mut().write_all(&[what.as_ref(), b"\r\n"].concat()).unwrap();
        self.line()
    }

    /// Puts a job and returns its id.
    pub(super) fn put(&mut self, tube: &str, (pri, delay, ttr): (u32, u32, u32), body: &[u8]) -> u64 {
        self.says(format!("use {tube}"));
        let head = format!("put {pri} {delay} {ttr} {}\r\n", body.len());
        self.says([head.as_bytes(), body].concat()).strip_prefix("INSERTED ").unwrap().parse().unwrap()
    }

    /// Buries the one job of this tube that is ready.
    pub(super) fn bury(&mut self, tube: &str, pri: u32) {
        let id = self.reserve(tube);
        assert_eq!(self.says(format!("bury {id} {pri}")), "BURIED");
    }

    /// Reserves the one job of this tube that is ready.
    pub(super) fn reserve(&mut self, tube: &str) -> u64 {
        self.says(format!("watch {tube}"));
        let line = self.says("reserve-with-timeout 0");
        let [_, id, len] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let mut body = vec![0; len.parse::<usize>().unwrap() + 2];
        self.stream.read_exact(&mut body).unwrap();
        self.says(format!("ignore {tube}"));
        id.parse().unwrap()
    }

    /// How many jobs of a tube are ready, delayed, buried and reserved; a tube that has gone has none.
    pub(super) fn counts(&mut self, tube: &str) -> [u64; 4] {
        let line = self.says(format!("stats-tube {tube}"));
        let Some(len) = line.strip_prefix("OK ") else { return [0; 4] };
        let mut table = vec![0; len.parse::<usize>().unwrap() + 2];
        self.stream.read_exact(&mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        ["ready", "delayed", "buried", "reserved"].map(|state| {
            let name = format!("current-jobs-{state}: ");
            table.lines().find_map(|line| line.strip_prefix(&name)).unwrap().trim().parse().unwrap()
        })
    }
}
