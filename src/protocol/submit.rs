//! What a submit carries: groups of jobs with the same options, each with its bodies. Bodies are encoded alike in all
//! versions of the protocol.

use super::ties::Ties;
use super::unique::Unique;
use super::wire::{Malformed, Reader};
use bytes::{BufMut, Bytes};
use smallvec::SmallVec;
use std::ops::Range;

/// Bodies of a submit, one job each. Most submits have one.
pub type Bodies = SmallVec<[Bytes; 1]>;

/// Jobs that are alike but for their bodies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubmitGroup {
    /// What is asked for.
    pub options: JobOptions,
    /// The bodies: one job each.
    pub bodies: Vec<Bytes>,
}

/// What a producer may ask for. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobOptions {
    /// The queue.
    pub queue: String,
    /// 0 goes first; the queue's setting if not given.
    pub priority: Option<u32>,
    /// When it may run.
    pub start: Start,
    /// After what time it expires, if it has not begun.
    pub ttl_ms: Option<u64>,
    /// After what time it expires, if it has not ended. Since version 2.
    pub deadline_ms: Option<u64>,
    /// After how many failed attempts it is dead.
    pub attempts: Option<u32>,
    /// How it waits between attempts.
    pub backoff: Option<WireBackoff>,
    /// How long one attempt may run, 0 for no limit; the queue's setting if not given.
    pub timeout_ms: Option<u64>,
    /// Names and values.
    pub tags: Vec<(String, String)>,
    /// Of jobs of a queue with the same key, only so many run at a time (`per_key`), and in order. Since version 2.
    pub key: Option<String>,
    /// Of jobs of a queue with the same unique key there is only one. Since version 2.
    pub unique: Option<Unique>,
    /// Whether `queue` is the name of a topic: then there is one of each job in each queue that is bound to it. Since version 2.
    pub to_topic: bool,
    /// What they wait for, and the group that they belong to. Since version 2.
    pub ties: Option<Ties>,
}

/// When a job may run for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At once.
    #[default]
    Now,
    /// So many milliseconds from now.
    After(u64),
    /// At this time, in milliseconds since 1970 (UTC).
    At(u64),
}

/// How a job waits between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireBackoff {
    /// 0 fixed, 1 linear, 2 exponential.
    pub growth: u8,
    /// The first wait, in milliseconds.
    pub base_ms: u64,
    /// The longest wait, in milliseconds.
    pub max_ms: u64,
    /// The reach of jitter, in thousandths.
    pub jitter_permille: u16,
}

pub(super) fn put_bodies(out: &mut Vec<u8>, bodies: &[Bytes]) {
    out.put_u32_le(bodies.len() as u32);
    for body in bodies {
        out.put_u32_le(body.len() as u32);
        out.extend_from_slice(body);
    }
}

pub(super) fn get_bodies(reader: &mut Reader) -> Result<Bodies, Malformed> {
    let count = reader.count(4, "bodies")?;
    let mut bodies = Bodies::with_capacity(count);
    for _ in 0..count {
        let len = reader.u32("a body's length")? as usize;
        bodies.push(reader.bytes(len, "a body")?);
    }
    Ok(bodies)
}

/// Says where the bodies lie in the rest of a submit whose options are known, and how many there are. Nothing is
/// allocated or shared for it.
///
/// # Errors
/// [`Malformed`] says what is wrong with it. Some may have been found before.
pub fn find_bodies(rest: &[u8], mut found: impl FnMut(Range<usize>)) -> Result<u64, Malformed> {
    let mut at = 0;
    let length = |at: &mut usize| {
        let length = rest.get(*at..).and_then(|rest| rest.first_chunk::<4>());
        *at += 4;
        length.map(|length| u32::from_le_bytes(*length)).ok_or_else(|| Malformed::short("a body's length"))
    };
    let count = length(&mut at)?;
    for _ in 0..count {
        let len = length(&mut at)? as usize;
        let end = at + len;
        if end > rest.len() {
            return Err(Malformed::short("a body"));
        }
        found(at..end);
        at = end;
    }
    match rest.len() - at {
        0 => Ok(count.into()),
        n => Err(Malformed::behind(n)),
    }
}

impl SubmitGroup {
    /// How many bytes of a submit's payload come before the bodies, if this is its only group. Another submit that
    /// begins with the same bytes asks for the same options, and what follows them is for [`find_bodies`].
    pub fn head_len(&self, payload: usize) -> usize {
        payload - 4 - self.bodies.iter().map(|body| 4 + body.len()).sum::<usize>()
    }
}

/// Checks the number of a kind of backoff.
pub(super) fn growth(number: u8) -> Result<u8, Malformed> {
    match number {
        0..=2 => Ok(number),
        _ => Err(Malformed(format!("backoff kind {number}: 0 is fixed, 1 linear, 2 exponential"))),
    }
}
