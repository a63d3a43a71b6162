//! What a submit says of other jobs: which its jobs wait for, and the group that they belong to. Since version 2.

use super::tagged::{self, MUST, Value};
use super::wire::{Malformed, split_text, text_len};
use bytes::BufMut;

// Options of a group of jobs. Whoever does not know one must not take the jobs: they would run too early.
const AFTER: u8 = 16;
const ON_UNMET: u8 = 17;
const GROUP: u8 = 18;
const SEAL: u8 = 19;

// What is waited for.
const JOB: u8 = 0;
const PLACE: u8 = 1;
const OF_GROUP: u8 = 2;

/// How jobs are tied to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// What they wait for: all of it.
    pub after: Vec<After>,
    /// What becomes of them if one of these ends otherwise.
    pub on_unmet: OnUnmet,
    /// The group that they belong to.
    pub group: Option<String>,
    /// That it takes no more jobs after this submit.
    pub seal: bool,
}

/// One thing that jobs wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// What.
    pub on: AfterWhat,
    /// How it must end.
    pub when: Condition,
}

/// What jobs wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterWhat {
    /// A job that is there.
    Job(u64),
    /// A job of the same request, by its place in it, from 0 on; it must come before those that wait.
    Place(u32),
    /// All jobs of a group that is sealed by then. It comes into being if there is none of this name.
    Group(String),
}

/// How something must end that is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Done; all jobs of a group.
    #[default]
    Done,
    /// In any way.
    Ended,
    /// Dead or expired; one job of a group at least.
    Failed,
}

/// What becomes of a job if something that it waits for ends otherwise than it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnmet {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It runs all the same.
    Run,
    /// It waits on.
    Hold,
}

impl Condition {
    const ALL: [Condition; 3] = [Condition::Done, Condition::Ended, Condition::Failed];
}

impl OnUnmet {
    const ALL: [OnUnmet; 3] = [OnUnmet::Cancel, OnUnmet::Run, OnUnmet::Hold];
}

pub(super) fn put_ties(out: &mut Vec<u8>, ties: &Ties) {
    if !ties.after.is_empty() {
        tagged::put_head(out, AFTER | MUST, ties.after.iter().map(after_len).sum());
        ties.after.iter().for_each(|after| put_after(out, after));
    }
    if ties.on_unmet != OnUnmet::default() {
        tagged::put_number(out, ON_UNMET | MUST, ties.on_unmet as u64);
    }
    if let Some(group) = &ties.group {
        tagged::put_bytes(out, GROUP | MUST, group.as_bytes());
    }
    if ties.seal {
        tagged::put_bytes(out, SEAL | MUST, &[]);
    }
}

/// Reads an option, if it is one of these.
pub(super) fn get_ties(ties: &mut Option<Ties>, number: u8, value: Value<'_>) -> Result<bool, Malformed> {
    if !(AFTER..=SEAL).contains(&number) {
        return Ok(false);
    }
    let ties = ties.get_or_insert_default();
    match number {
        AFTER => ties.after = get_after(value.all())?,
        ON_UNMET => ties.on_unmet = one_of(&OnUnmet::ALL, value.u8("what an unmet wait means")?)?,
        GROUP => ties.group = Some(value.text("the group's name")?),
        _ => ties.seal = true,
    }
    Ok(true)
}

fn one_of<T: Copy>(all: &[T], number: u8) -> Result<T, Malformed> {
    let found = all.get(usize::from(number)).copied();
    found.ok_or_else(|| Malformed(format!("{number} in what jobs wait for: there is 0 to {}", all.len() - 1)))
}

fn after_len(after: &After) -> usize {
    2 + match &after.on {
        AfterWhat::Job(_) => 8,
        AfterWhat::Place(_) => 4,
        AfterWhat::Group(name) => text_len(name),
    }
}

fn put_after(out: &mut Vec<u8>, after: &After) {
    let when = after.when as u8;
    match &after.on {
        AfterWhat::Job(id) => {
            out.extend([JOB, when]);
            out.put_u64_le(*id);
        }
        AfterWhat::Place(place) => {
            out.extend([PLACE, when]);
            out.put_u32_le(*place);
        }
        AfterWhat::Group(name) => {
            out.extend([OF_GROUP, when]);
            super::wire::put_text(out, name);
        }
    }
}

fn get_after(mut rest: &[u8]) -> Result<Vec<After>, Malformed> {
    let short = || Malformed::short("what jobs wait for");
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (&[kind, when], after) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let when = one_of(&Condition::ALL, when)?;
        let (on, after) = match kind {
            JOB => {
                let (id, after) = after.split_first_chunk().ok_or_else(short)?;
                (AfterWhat::Job(u64::from_le_bytes(*id)), after)
            }
            PLACE => {
                let (place, after) = after.split_first_chunk().ok_or_else(short)?;
                (AfterWhat::Place(u32::from_le_bytes(*place)), after)
            }
            OF_GROUP => {
                let (name, after) = split_text(after, "the name of a group")?;
                (AfterWhat::Group(name.to_owned()), after)
            }
            other => {
                return Err(Malformed(format!(
                    "kind {other} of what jobs wait for: 0 is a job, 1 a place, 2 a group"
                )));
            }
        };
        all.push(After { on, when });
        rest = after;
    }
    Ok(all)
}
