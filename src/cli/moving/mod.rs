//! `musher import --from SOURCE`: moves in from another queue. What waits there becomes jobs here; what runs there is
//! left alone. Each source is a module that knows nothing of the others.

mod beanstalkd;
mod commands;
mod pueue;
mod task_spooler;

use super::exit::{End, Failure};
use crate::client::Client;
use beanstalkd::Address;
use clap::Args;
use std::path::PathBuf;

/// Where a beanstalkd listens if nothing else is said.
const PORT: u16 = 11300;

#[derive(Debug, Args)]
#[command(next_help_heading = "Moving in from another queue")]
pub(super) struct Moving {
    /// Take what waits in another queue: beanstalkd://HOST[:PORT], beanstalkd+unix:///PATH, pueue[:FILE], or
    /// task-spooler[:PROGRAM]
    #[arg(long, value_name = "SOURCE", value_parser = source, conflicts_with_all = ["ended", "run_waiting"])]
    from: Option<Source>,
    /// Print what would come, and change nothing anywhere
    #[arg(long, requires = "from")]
    dry_run: bool,
    /// Of beanstalkd: only this tube; may be repeated
    #[arg(long = "tube", value_name = "TUBE", requires = "from")]
    tubes: Vec<String>,
    /// Of beanstalkd: also what is buried; it is ready here
    #[arg(long, requires = "from")]
    buried: bool,
    /// Of pueue: also what is stashed without a time; it is ready here
    #[arg(long, requires = "from")]
    stashed: bool,
}

/// What is moved from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Beanstalkd(Address),
    /// Its state, if it is not where it usually is.
    Pueue(Option<PathBuf>),
    /// The program, if it has another name.
    TaskSpooler(Option<PathBuf>),
}

fn source(text: &str) -> Result<Source, String> {
    let at = |rest: &str| (!rest.is_empty()).then(|| PathBuf::from(rest));
    if let Some(path) = text.strip_prefix("beanstalkd+unix://") {
        let path = at(path).filter(|path| path.is_absolute());
        let path = path.ok_or("write it like beanstalkd+unix:///run/beanstalkd.sock")?;
        return Ok(Source::Beanstalkd(Address::Unix(path)));
    }
    if let Some(place) = text.strip_prefix("beanstalkd://") {
        let place = place.strip_suffix('/').unwrap_or(place);
        let wrong = || "write it like beanstalkd://127.0.0.1:11300 or beanstalkd://[::1]".to_owned();
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest),
            None => place.find(':').map_or((place, ""), |at| place.split_at(at)),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| wrong())?,
            None if port.is_empty() => PORT,
            None => return Err(wrong()),
        };
        let is_host = !host.is_empty() && !host.contains(['/', '@', '[', ']']);
        return if is_host { Ok(Source::Beanstalkd(Address::Tcp(host.into(), port))) } else { Err(wrong()) };
    }
    match text.split_once(':').unwrap_or((text, "")) {
        ("pueue", path) => Ok(Source::Pueue(at(path))),
        ("task-spooler" | "tsp", program) => Ok(Source::TaskSpooler(at(program))),
        _ => Err("known are beanstalkd://HOST[:PORT], beanstalkd+unix:///PATH, pueue[:FILE] and \
                  task-spooler[:PROGRAM]"
            .into()),
    }
}

impl Moving {
    pub(super) fn is_asked(&self) -> bool {
        self.from.is_some()
    }

    /// Moves in. `as_mine` allows a state that another user has written.
    pub(super) async fn run(&self, client: &Client, as_mine: bool, json: bool) -> End {
        let Some(from) = &self.from else { return Err(Failure::usage("say --from SOURCE")) };
        let of_beanstalkd = self.buried || !self.tubes.is_empty();
        if of_beanstalkd && !matches!(from, Source::Beanstalkd(_)) {
            return Err(Failure::usage("--tube and --buried are for beanstalkd"));
        }
        if self.stashed && !matches!(from, Source::Pueue(_)) {
            return Err(Failure::usage("--stashed is for pueue"));
        }
        match from {
            Source::Beanstalkd(address) => {
                let wish =
                    beanstalkd::Wish { tubes: &self.tubes, buried: self.buried, dry_run: self.dry_run, json };
                beanstalkd::run(client, address, wish).await
            }
            Source::Pueue(file) => {
                let found = pueue::read(file.as_deref(), self.stashed, as_mine)?;
                commands::run(client, found, self.dry_run, json).await
            }
            Source::TaskSpooler(program) => {
                let found = task_spooler::read(program.as_deref()).await?;
                commands::run(client, found, self.dry_run, json).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_as_they_are_written() {
        let tcp = |host: &str, port| Ok(Source::Beanstalkd(Address::Tcp(host.into(), port)));
        assert_eq!(source("beanstalkd://queue.example"), tcp("queue.example", 11300));
        assert_eq!(source("beanstalkd://127.0.0.1:7/"), tcp("127.0.0.1", 7));
        assert_eq!(source("beanstalkd://[::1]:7"), tcp("::1", 7));
        assert_eq!(source("beanstalkd://[::1]"), tcp("::1", 11300));
        let unix = Source::Beanstalkd(Address::Unix("/run/b.sock".into()));
        assert_eq!(source("beanstalkd+unix:///run/b.sock"), Ok(unix));
        assert_eq!(source("pueue"), Ok(Source::Pueue(None)));
        assert_eq!(source("pueue:/a:b"), Ok(Source::Pueue(Some("/a:b".into()))));
        assert_eq!(source("tsp"), Ok(Source::TaskSpooler(None)));
        assert_eq!(source("task-spooler:ts"), Ok(Source::TaskSpooler(Some("ts".into()))));
        for wrong in [
            "",
            "beanstalkd",
            "beanstalkd://",
            "beanstalkd://:1",
            "beanstalkd://h:x",
            "beanstalkd://h:70000",
            "beanstalkd://u@h",
            "beanstalkd://h/tube",
            "beanstalkd://[::1]x",
            "beanstalkd+unix://run/b",
            "redis://h",
        ] {
            assert!(source(wrong).is_err(), "{wrong}");
        }
    }
}
