//! The lines of beanstalkd's protocol (its document, version 1.13, and where that is silent, what the server takes), and of two commands of
//! tuber: a line, without its end, into a command. It knows no connection and no job.

use super::tags::{self, More, is_of_name};
use crate::core::{JobId, Priority, QueueName};

/// The longest line, with the two bytes of its end.
pub(super) const LINE_MAX: usize = 224;

/// The longest one of a put that says more of its job than beanstalkd takes: two keys and what comes before them.
const PUT_MAX: usize = 1_024;

/// The most jobs that one command may reserve or delete.
const BATCH_MAX: u32 = 1_000;

/// The longest line that names so many jobs: the verb, and for each a space and twenty digits.
const BATCH_LINE_MAX: usize = DELETE_BATCH.len() + 21 * BATCH_MAX as usize + 2;

const DELETE_BATCH: &str = "delete-batch ";

/// The longest wait that a claim may ask for, in seconds.
const WAIT_MAX: u32 = i32::MAX as u32;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// A job follows, whose body has so many bytes.
    Put(Put),
    /// One job, within so many seconds if any are given.
    Reserve(Option<u32>),
    ReserveJob(JobId),
    /// So many jobs, within so many seconds.
    ReserveBatch(u32, u32),
    Delete(JobId),
    DeleteBatch(Vec<JobId>),
    /// With a priority, for after so many seconds.
    Release(JobId, Priority, u32),
    Bury(JobId, Priority),
    Touch(JobId),
    Kick(u64),
    KickJob(JobId),
    Peek(JobId),
    PeekReady,
    PeekDelayed,
    PeekBuried,
    Use(QueueName),
    Watch(QueueName),
    Ignore(QueueName),
    Stats,
    StatsTube(QueueName),
    StatsJob(JobId),
    ListTubes,
    ListTubeUsed,
    ListTubesWatched,
    /// For so many seconds.
    PauseTube(QueueName, u32),
    Quit,
}

/// What is said of a job before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    pub(super) priority: Priority,
    /// In seconds.
    pub(super) delay: u32,
    /// In seconds; at least one.
    pub(super) ttr: u32,
    /// In bytes.
    pub(super) body: u32,
    /// What follows these. A body that is too long is answered for before that.
    pub(super) more: More,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Format,
    Unknown,
}

/// What is counted of each command, in the order in which `stats` tells of it.
pub(super) const COUNTED: [&str; 22] = [
    "put",
    "peek",
    "peek-ready",
    "peek-delayed",
    "peek-buried",
    "reserve",
    "reserve-with-timeout",
    "delete",
    "release",
    "use",
    "watch",
    "ignore",
    "bury",
    "kick",
    "touch",
    "stats",
    "stats-job",
    "stats-tube",
    "list-tubes",
    "list-tube-used",
    "list-tubes-watched",
    "pause-tube",
];

impl Command {
    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Command::Put(_) => "put",
            Command::Reserve(None) => "reserve",
            Command::Reserve(Some(_)) => "reserve-with-timeout",
            Command::ReserveJob(_) => "reserve-job",
            Command::ReserveBatch(..) => "reserve-batch",
            Command::Delete(_) => "delete",
            Command::DeleteBatch(_) => "delete-batch",
            Command::Release(..) => "release",
            Command::Bury(..) => "bury",
            Command::Touch(_) => "touch",
            Command::Kick(_) => "kick",
            Command::KickJob(_) => "kick-job",
            Command::Peek(_) => "peek",
            Command::PeekReady => "peek-ready",
            Command::PeekDelayed => "peek-delayed",
            Command::PeekBuried => "peek-buried",
            Command::Use(_) => "use",
            Command::Watch(_) => "watch",
            Command::Ignore(_) => "ignore",
            Command::Stats => "stats",
            Command::StatsTube(_) => "stats-tube",
            Command::StatsJob(_) => "stats-job",
            Command::ListTubes => "list-tubes",
            Command::ListTubeUsed => "list-tube-used",
            Command::ListTubesWatched => "list-tubes-watched",
            Command::PauseTube(..) => "pause-tube",
            Command::Quit => "quit",
        }
    }
}

/// How long a line may be that begins like this one, with the two bytes of its end.
pub(super) fn longest(line: &[u8]) -> usize {
    match line {
        line if line.starts_with(b"put ") => PUT_MAX,
        line if line.starts_with(DELETE_BATCH.as_bytes()) => BATCH_LINE_MAX,
        _ => LINE_MAX,
    }
}

/// Reads a line, which is not longer than [`longest`] says. Of a put with tags in which something is wrong it is known at least how long the
/// body is that follows.
pub(super) fn parse(line: &[u8]) -> Result<Command, Bad> {
    let lost = |body| Put { priority: Priority(0), delay: 0, ttr: 1, body, more: More::NotTaken };
    command(line).or_else(|bad| tags::lost_body(line).map(|body| Command::Put(lost(body))).ok_or(bad))
}

/// Verbs are found by how a line begins, the first one that fits; with those that have arguments the space behind them belongs to them.
fn command(line: &[u8]) -> Result<Command, Bad> {
    if line.contains(&0) {
        return Err(Bad::Format);
    }
    for (verb, read) in VERBS {
        if let Some(rest) = line.strip_prefix(verb.as_bytes()) {
            let has_its_length = |command: &Command| line.len() + 2 <= LINE_MAX || command.may_be_long();
            return read(&mut Words(rest)).filter(has_its_length).ok_or(Bad::Format);
        }
    }
    Err(Bad::Unknown)
}

impl Command {
    /// Whether its line may be longer than beanstalkd takes one.
    fn may_be_long(&self) -> bool {
        match self {
            Command::Put(put) => matches!(put.more, More::Keys(_) | More::NotTaken),
            Command::DeleteBatch(_) => true,
            _ => false,
        }
    }
}

type Read = fn(&mut Words<'_>) -> Option<Command>;

/// In the order in which they are tried.
const VERBS: [(&str, Read); 27] = [
    ("put ", put),
    ("peek ", |words| words.only_id(Command::Peek)),
    ("peek-ready", |words| words.nothing(Command::PeekReady)),
    ("peek-delayed", |words| words.nothing(Command::PeekDelayed)),
    ("peek-buried", |words| words.nothing(Command::PeekBuried)),
    ("reserve-with-timeout", |words| {
        let wait = words.number(WAIT_MAX.into())? as u32; // at most that
        words.nothing(Command::Reserve(Some(wait)))
    }),
    ("reserve-job", |words| words.only_id(Command::ReserveJob)),
    ("reserve-batch ", |words| {
        let most = words.number(BATCH_MAX.into()).filter(|most| *most > 0)? as u32; // at most that
        let wait = if words.0.is_empty() { 0 } else { words.number(WAIT_MAX.into())? as u32 }; // the same
        words.nothing(Command::ReserveBatch(most, wait))
    }),
    (DELETE_BATCH, |words| {
        let mut ids = vec![words.id()?];
        while !words.0.is_empty() {
            ids.push(words.id()?);
        }
        (ids.len() <= BATCH_MAX as usize).then_some(Command::DeleteBatch(ids))
    }),
    ("reserve", |words| words.nothing(Command::Reserve(None))),
    ("delete ", |words| words.only_id(Command::Delete)),
    ("release ", |words| {
        let (id, priority, delay) = (words.id()?, words.priority()?, words.u32()?);
        words.nothing(Command::Release(id, priority, delay))
    }),
    ("bury ", |words| {
        let (id, priority) = (words.id()?, words.priority()?);
        words.nothing(Command::Bury(id, priority))
    }),
    ("kick ", |words| words.lax_count().map(Command::Kick)),
    ("kick-job ", |words| words.only_id(Command::KickJob)),
    ("touch ", |words| words.only_id(Command::Touch)),
    ("stats-job ", |words| words.only_id(Command::StatsJob)),
    ("stats-tube", |words| words.only_tube(Command::StatsTube)),
    ("stats", |words| words.nothing(Command::Stats)),
    ("use ", |words| words.only_tube(Command::Use)),
    ("watch ", |words| words.only_tube(Command::Watch)),
    ("ignore ", |words| words.only_tube(Command::Ignore)),
    ("list-tubes-watched", |words| words.nothing(Command::ListTubesWatched)),
    ("list-tube-used", |words| words.nothing(Command::ListTubeUsed)),
    ("list-tubes", |words| words.nothing(Command::ListTubes)),
    ("quit", |_| Some(Command::Quit)),
    ("pause-tube", |words| {
        let (tube, seconds) = (words.tube()?, words.u32()?);
        words.nothing(Command::PauseTube(tube, seconds))
    }),
];

fn put(words: &mut Words<'_>) -> Option<Command> {
    let (priority, delay) = (words.priority()?, words.u32()?);
    let (ttr, body) = (words.u32()?.max(1), words.u32()?);
    Some(Command::Put(Put { priority, delay, ttr, body, more: tags::parse(words.0) }))
}

/// What is left of a line.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    /// Nothing may follow.
    fn nothing(&self, command: Command) -> Option<Command> {
        self.0.is_empty().then_some(command)
    }

    fn only_id(&mut self, command: fn(JobId) -> Command) -> Option<Command> {
        let id = self.id()?;
        self.nothing(command(id))
    }

    fn only_tube(&mut self, command: fn(QueueName) -> Command) -> Option<Command> {
        let tube = self.tube()?;
        self.nothing(command(tube))
    }

    fn skip_spaces(&mut self) {
        let spaces = self.0.iter().take_while(|byte| **byte == b' ').count();
        self.0 = &self.0[spaces..];
    }

    /// Digits behind any spaces, up to this number.
    fn number(&mut self, most: u64) -> Option<u64> {
        self.skip_spaces();
        let len = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        // Digits are text.
        std::str::from_utf8(digits).ok()?.parse().ok().filter(|number| *number <= most)
    }

    fn u32(&mut self) -> Option<u32> {
        self.number(u32::MAX.into()).map(|number| number as u32) // at most that
    }

    fn priority(&mut self) -> Option<Priority> {
        self.u32().map(Priority)
    }

    fn id(&mut self) -> Option<JobId> {
        self.number(u64::MAX).map(JobId)
    }

    /// A number as C's `strtoul` reads it, of which the lower half counts: what clients have come to rely on.
    fn lax_count(&mut self) -> Option<u64> {
        let blanks = self.0.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
        self.0 = &self.0[blanks..];
        let is_negative = self.0.first() == Some(&b'-');
        if is_negative || self.0.first() == Some(&b'+') {
            self.0 = &self.0[1..];
        }
        if !self.0.first().is_some_and(u8::is_ascii_digit) {
            return None;
        }
        let number = self.number(u64::MAX)?;
        let number = if is_negative { number.wrapping_neg() } else { number };
        Some(number & u64::from(u32::MAX))
    }

    /// A name of a tube behind any spaces.
    fn tube(&mut self) -> Option<QueueName> {
        self.skip_spaces();
        let len = self.0.iter().take_while(|byte| is_of_name(**byte)).count();
        let (name, rest) = self.0.split_at(len);
        self.0 = rest;
        QueueName::new(std::str::from_utf8(name).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tube(name: &str) -> QueueName {
        QueueName::new(name).unwrap()
    }

    #[test]
    fn lines_are_commands() {
        let put = |priority, delay, ttr, body, more| {
            Ok(Command::Put(Put { priority: Priority(priority), delay, ttr, body, more }))
        };
        let (format, unknown) = (Err(Bad::Format), Err(Bad::Unknown));
        for (line, expected) in [
            ("put 1 2 3 4", put(1, 2, 3, 4, More::Nothing)),
            ("put  1  0 0  0", put(1, 0, 1, 0, More::Nothing)),
            ("put 4294967295 0 1 4294967295", put(u32::MAX, 0, 1, u32::MAX, More::Nothing)),
            ("put 0 0 1 2 ", put(0, 0, 1, 2, More::Unknown)),
            ("put 0 0 1 2 grp:a", put(0, 0, 1, 2, More::NotTaken)),
            ("put 4294967296 0 1 2", format.clone()),
            ("put 0 0 1", format.clone()),
            ("put -1 0 1 2", format.clone()),
            ("put", unknown.clone()),
            ("reserve", Ok(Command::Reserve(None))),
            ("reservefoo", format.clone()),
            ("reserve ", format.clone()),
            ("reserve-with-timeout 7", Ok(Command::Reserve(Some(7)))),
            ("reserve-with-timeout 2147483647", Ok(Command::Reserve(Some(WAIT_MAX)))),
            ("reserve-with-timeout 2147483648", format.clone()),
            ("reserve-with-timeout -1", format.clone()),
            ("reserve-with-timeout", format.clone()),
            ("reserve-job 18446744073709551615", Ok(Command::ReserveJob(JobId(u64::MAX)))),
            ("reserve-job", format.clone()),
            ("reserve-batch 5", Ok(Command::ReserveBatch(5, 0))),
            ("reserve-batch 1000 30", Ok(Command::ReserveBatch(1000, 30))),
            ("reserve-batch 0", format.clone()),
            ("reserve-batch 1001", format.clone()),
            ("reserve-batch 5 x", format.clone()),
            ("reserve-batch 5 6 7", format.clone()),
            ("reserve-batch", format.clone()),
            ("delete-batch 1 20  3", Ok(Command::DeleteBatch([1, 20, 3].map(JobId).into()))),
            ("delete-batch 1 x", format.clone()),
            ("delete-batch ", format.clone()),
            ("delete-batch", unknown.clone()),
            ("delete  3", Ok(Command::Delete(JobId(3)))),
            ("delete 3 ", format.clone()),
            ("delete", unknown.clone()),
            ("release 3 4 5", Ok(Command::Release(JobId(3), Priority(4), 5))),
            ("release 3 4", format.clone()),
            ("bury 3 4", Ok(Command::Bury(JobId(3), Priority(4)))),
            ("touch 3", Ok(Command::Touch(JobId(3)))),
            ("kick 3", Ok(Command::Kick(3))),
            ("kick -1", Ok(Command::Kick(u64::from(u32::MAX)))),
            ("kick 1x", Ok(Command::Kick(1))),
            ("kick 4294967296", Ok(Command::Kick(0))),
            ("kick 99999999999999999999", format.clone()),
            ("kick x", format.clone()),
            ("kick", unknown.clone()),
            ("kick-job 3", Ok(Command::KickJob(JobId(3)))),
            ("peek 3", Ok(Command::Peek(JobId(3)))),
            ("peek-readyx", format.clone()),
            ("peek-delayed", Ok(Command::PeekDelayed)),
            ("stats", Ok(Command::Stats)),
            ("statsfoo", format.clone()),
            ("stats-job 3", Ok(Command::StatsJob(JobId(3)))),
            ("stats-tube a", Ok(Command::StatsTube(tube("a")))),
            ("stats-tube", format.clone()),
            ("use a;$(b)", Ok(Command::Use(tube("a;$(b)")))),
            ("use -a", format.clone()),
            ("use a:b", format.clone()),
            ("use a b", format.clone()),
            ("use", unknown.clone()),
            ("watch a", Ok(Command::Watch(tube("a")))),
            ("ignore a", Ok(Command::Ignore(tube("a")))),
            ("list-tubes", Ok(Command::ListTubes)),
            ("list-tubes-watched", Ok(Command::ListTubesWatched)),
            ("list-tube-used", Ok(Command::ListTubeUsed)),
            ("pause-tube a 3", Ok(Command::PauseTube(tube("a"), 3))),
            ("pause-tube a", format.clone()),
            ("pause-tube", format.clone()),
            ("quitfoo", Ok(Command::Quit)),
            ("stats\0", format.clone()),
            ("PUT 0 0 1 2", unknown.clone()),
            ("", unknown.clone()),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        }
        assert!(parse(format!("use {}", "x".repeat(200)).as_bytes()).is_ok());
        assert_eq!(parse(format!("use {}", "x".repeat(201)).as_bytes()), format);
    }

    #[test]
    fn only_lines_that_beanstalkd_does_not_know_are_longer_than_its_own() {
        let ids = vec![u64::MAX.to_string(); BATCH_MAX as usize].join(" ");
        let longest_batch = format!("{DELETE_BATCH}{ids}");
        assert!(longest_batch.len() + 2 <= longest(longest_batch.as_bytes()));
        assert!(
            matches!(parse(longest_batch.as_bytes()), Ok(Command::DeleteBatch(ids)) if ids.len() == 1000)
        );
        assert_eq!(parse(format!("{longest_batch} 1").as_bytes()), Err(Bad::Format), "one too many");
        let key = "k".repeat(200);
        let number = u32::MAX;
        let put = format!("put {number} {number} {number} {number} idp:{key}:{number} con:{key}:{number}");
        assert!(put.len() + 2 <= longest(put.as_bytes()));
        assert!(parse(put.as_bytes()).is_ok());
        assert_eq!(parse(format!("put 0 0 1 {}2", "0".repeat(220)).as_bytes()), Err(Bad::Format));
        assert_eq!(parse(format!("put 0 0 1 2 {}", "x".repeat(220)).as_bytes()), Err(Bad::Format));
        assert_eq!(longest(b"delete 3"), LINE_MAX);
    }

    #[test]
    fn every_command_that_is_counted_is_a_verb() {
        for name in COUNTED {
            assert!(VERBS.iter().any(|(verb, _)| verb.trim_end() == name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_command_or_none(line in prop::collection::vec(any::<u8>(), 0..64), verb in 0..VERBS.len()) {
            let _ = parse(&line);
            let _ = parse(&[VERBS[verb].0.as_bytes(), &line].concat());
        }
    }
}
