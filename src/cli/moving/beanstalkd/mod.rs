//! Moving in from a beanstalkd: which tubes it has, and what came of them. How a tube is worked off is in `drain`, what is
//! said on the wire in `wire`.

mod drain;
mod wire;

use crate::cli::batches::is_zero;
use crate::cli::exit::{End, Failure};
use crate::cli::output::{self, count};
use crate::cli::progress::Progress;
use crate::client::Client;
use crate::clock;
use crate::words::{self, counted};
use drain::Drain;
use serde::Serialize;
use std::process::ExitCode;
pub(super) use wire::Address;
use wire::{Wire, field, is_tube, items, number};

/// What is asked for.
pub(super) struct Wish<'a> {
    /// All, if none is named.
    pub(super) tubes: &'a [String],
    pub(super) buried: bool,
    pub(super) dry_run: bool,
    pub(super) json: bool,
}

/// A tube, and how many jobs it has in each state.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Tube {
    tube: String,
    ready: u64,
    delayed: u64,
    buried: u64,
    reserved: u64,
    paused: bool,
}

impl Tube {
    fn read(name: &str, table: &str) -> Option<Tube> {
        let jobs = |state| number(table, &format!("current-jobs-{state}"));
        Some(Tube {
            tube: name.to_owned(),
            ready: jobs("ready")?,
            delayed: jobs("delayed")?,
            buried: jobs("buried")?,
            reserved: jobs("reserved")?,
            paused: number(table, "pause").is_some_and(|seconds| seconds > 0),
        })
    }

    fn is_empty(&self) -> bool {
        self.ready + self.delayed + self.buried + self.reserved == 0
    }
}

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Done {
    /// They are here now; some perhaps since an earlier try.
    submitted: u64,
    /// Left there, since others have them.
    #[serde(skip_serializing_if = "is_zero")]
    reserved: u64,
    /// Left there, since they are buried.
    #[serde(skip_serializing_if = "is_zero")]
    buried: u64,
    /// Left there, since they cannot be here.
    #[serde(skip_serializing_if = "is_zero")]
    refused: u64,
    /// Submitted here while somebody there took them.
    #[serde(skip_serializing_if = "is_zero")]
    taken_there: u64,
}

impl Done {
    fn text(&self, from: &Address) -> String {
        let left = [
            (self.reserved, "reserved by others"),
            (self.buried, "buried (--buried moves them)"),
            (self.refused, "refused here"),
        ];
        let left: Vec<String> =
            left.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{} {why}", count(*n))).collect();
        let mut text = format!("{} moved here from beanstalkd at {from}", words::jobs(self.submitted));
        if !left.is_empty() {
            text += &format!("; left there: {}", left.join(", "));
        }
        if self.taken_there > 0 {
            let taken = counted(self.taken_there, "job was", "jobs were");
            text += &format!(
                "; {taken} taken by a worker there meanwhile and will run here as well: stop the workers there first"
            );
        }
        text
    }
}

pub(super) async fn run(client: &Client, address: &Address, wish: Wish<'_>) -> End {
    if let Some(wrong) = wish.tubes.iter().find(|name| !is_tube(name)) {
        return Err(Failure::usage(format!("`{wrong}` is not the name of a tube")));
    }
    let mut wire = Wire::connect(address, client.limits().body).await?;
    let ask = "stats".to_owned();
    let Some(stats) = wire.text(ask).await? else {
        return Err(Failure::failed(format!(
            "what answers at {address} is no beanstalkd: it has no `stats`"
        )));
    };
    let tubes = tubes(&mut wire, wish.tubes).await?;
    if wish.dry_run {
        return show(&tubes, wish.json);
    }
    for tube in tubes.iter().filter(|tube| tube.paused) {
        let name = &tube.tube;
        eprintln!("musher: note: tube {name} is paused there; here its queue is not: see `musher pause`");
    }
    let total =
        tubes.iter().map(|tube| tube.ready + tube.delayed + if wish.buried { tube.buried } else { 0 });
    let progress = Progress::of_jobs("import", Some(total.sum()));
    let server = server(&stats).map(str::to_owned).unwrap_or_else(|| {
        eprintln!("musher: note: this beanstalkd does not say which one it is: if this is cut off, some jobs may come twice");
        format!("{} {}", std::process::id(), clock::wall().0)
    });
    let mut drain = Drain::new(client, wire, server, &stats, progress);
    let mut ended = Ok(());
    for tube in &tubes {
        ended = drain.tube(&tube.tube, wish.buried).await;
        if ended.is_err() {
            break;
        }
    }
    let (mut done, refused, mut wire) = drain.end();
    if let Err(failure) = ended {
        let moved = counted(done.submitted, "job was", "jobs were");
        let message = format!(
            "{}\n{moved} moved; the same command goes on, and submits none twice (within limits.idempotency)",
            failure.message
        );
        return Err(Failure { message, ..failure });
    }
    // What is there now, not what was there at the beginning.
    for tube in &tubes {
        if let Some(now) = tube_of(&mut wire, &tube.tube).await? {
            done.reserved += now.reserved;
            match wish.buried {
                true if refused.contains(&tube.tube) => done.refused += now.buried,
                true => {}
                false => done.buried += now.buried,
            }
            if refused.contains(&tube.tube) {
                done.refused += now.ready + now.delayed;
            }
        }
    }
    if wish.json {
        output::json(&done)?;
    } else {
        eprintln!("{}", done.text(address));
    }
    match done.refused {
        0 => Ok(ExitCode::SUCCESS),
        refused => Err(Failure::failed(format!("{} could not be moved", words::jobs(refused)))),
    }
}

/// What the ids of the jobs are of: a beanstalkd makes up a name at each start, since its ids begin anew. Under one that is not
/// made up like that another job could have the same id and be taken for one that is here already.
fn server(stats: &str) -> Option<&str> {
    field(stats, "id").filter(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The tubes that are asked for and have jobs.
async fn tubes(wire: &mut Wire, asked: &[String]) -> Result<Vec<Tube>, Failure> {
    let names: Vec<String> = match asked {
        [] => {
            let list = wire.text("list-tubes".into()).await?.unwrap_or_default();
            items(&list).filter(|name| is_tube(name)).map(str::to_owned).collect()
        }
        asked => asked.to_vec(),
    };
    let mut tubes: Vec<Tube> = Vec::new();
    for name in names {
        match tube_of(wire, &name).await? {
            Some(tube) if tube.is_empty() || tubes.iter().any(|other| other.tube == name) => {}
            Some(tube) => tubes.push(tube),
            // It may have gone since the list was made.
            None if asked.is_empty() => {}
            None => {
                return Err(Failure::failed(format!("beanstalkd at {} has no tube {name}", wire.address())));
            }
        }
    }
    Ok(tubes)
}

async fn tube_of(wire: &mut Wire, name: &str) -> Result<Option<Tube>, Failure> {
    let Some(table) = wire.text(format!("stats-tube {name}")).await? else { return Ok(None) };
    let odd =
        || Failure::failed(format!("beanstalkd at {} says nothing of the jobs of {name}", wire.address()));
    Tube::read(name, &table).ok_or_else(odd).map(Some)
}

/// Prints what would come.
fn show(tubes: &[Tube], json: bool) -> End {
    if json {
        tubes.iter().try_for_each(output::json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |tube: &Tube| {
        let counts = [tube.ready, tube.delayed, tube.buried, tube.reserved].map(count);
        let paused = if tube.paused { "paused" } else { "" };
        [&[tube.tube.clone()][..], &counts, &[paused.to_owned()]].concat()
    };
    let rows: Vec<Vec<String>> = tubes.iter().map(row).collect();
    output::table_without(&["TUBE", "READY", "DELAYED", "BURIED", "RESERVED", ""], &rows, &[])?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tube_and_its_server_as_they_are_told() {
        let table = "---\nname: a\ncurrent-jobs-urgent: 9\ncurrent-jobs-ready: 1\ncurrent-jobs-reserved: 2\n\
                     current-jobs-delayed: 3\ncurrent-jobs-buried: 4\npause: 5\n";
        let tube = Tube::read("a", table).unwrap();
        let tube = (tube.ready, tube.reserved, tube.delayed, tube.buried, tube.paused);
        assert_eq!(tube, (1, 2, 3, 4, true));
        assert_eq!(Tube::read("a", "---\nname: a\n"), None);
        assert_eq!(server("---\npid: 7\nid: 245ffcd44288ab0a\n"), Some("245ffcd44288ab0a"));
        assert_eq!((server("---\npid: 7\n"), server("---\nid: here\n")), (None, None));
    }

    #[test]
    fn the_account_names_what_was_left() {
        let address = Address::Tcp("h".into(), 1);
        let done = Done { submitted: 1, ..Done::default() };
        assert_eq!(done.text(&address), "1 job moved here from beanstalkd at h:1");
        let done = Done { submitted: 1_200, reserved: 2, buried: 3, refused: 1, taken_there: 1 };
        let text = done.text(&address);
        assert!(
            text.contains("2 reserved by others, 3 buried (--buried moves them), 1 refused here"),
            "{text}"
        );
        assert!(text.contains("1 job was taken by a worker there"), "{text}");
    }
}
