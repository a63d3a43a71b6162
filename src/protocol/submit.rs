//! What a submit carries: groups of jobs that are alike, each with its options and its bodies.

use super::VERSION;
use super::wire::{Malformed, Reader, get_tags, put_tags, put_text};
use bytes::{BufMut, Bytes};
use smallvec::SmallVec;

/// Bodies of a submit, one job each. Most submits have one.
pub type Bodies = SmallVec<[Bytes; 1]>;

/// Jobs that are alike but for their bodies.
#[derive(Clone, Debug, PartialEq)]
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
    /// After what time it is of no use any more.
    pub ttl_ms: Option<u64>,
    /// After how many failed attempts it is dead.
    pub attempts: Option<u32>,
    /// How it waits between attempts.
    pub backoff: Option<WireBackoff>,
    /// How long one attempt may run, 0 for without end; the queue's setting if not given.
    pub timeout_ms: Option<u64>,
    /// Names and values.
    pub tags: Vec<(String, String)>,
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

// Which options of a submit are there.
const DELAY: u8 = 1;
const AT: u8 = 1 << 1;
const TTL: u8 = 1 << 2;
const ATTEMPTS: u8 = 1 << 3;
const BACKOFF: u8 = 1 << 4;
const TIMEOUT: u8 = 1 << 5;
const TAGS: u8 = 1 << 6;
/// The priority is the queue's, and the number that is there says nothing.
const USUAL: u8 = 1 << 7;

pub(super) fn put_group(out: &mut Vec<u8>, group: &SubmitGroup) {
    let options = &group.options;
    put_text(out, &options.queue);
    out.put_u32_le(options.priority.unwrap_or(0));
    let at = out.len();
    out.put_u8(0);
    let mut there = if options.priority.is_none() { USUAL } else { 0 };
    match options.start {
        Start::Now => {}
        Start::After(ms) => {
            there |= DELAY;
            out.put_u64_le(ms);
        }
        Start::At(ms) => {
            there |= AT;
            out.put_u64_le(ms);
        }
    }
    if let Some(ms) = options.ttl_ms {
        there |= TTL;
        out.put_u64_le(ms);
    }
    if let Some(attempts) = options.attempts {
        there |= ATTEMPTS;
        out.put_u32_le(attempts);
    }
    if let Some(backoff) = options.backoff {
        there |= BACKOFF;
        out.put_u8(backoff.growth);
        out.put_u64_le(backoff.base_ms);
        out.put_u64_le(backoff.max_ms);
        out.put_u16_le(backoff.jitter_permille);
    }
    if let Some(ms) = options.timeout_ms {
        there |= TIMEOUT;
        out.put_u64_le(ms);
    }
    if !options.tags.is_empty() {
        there |= TAGS;
        put_tags(out, &options.tags);
    }
    out[at] = there;
    out.put_u32_le(group.bodies.len() as u32);
    for body in &group.bodies {
        out.put_u32_le(body.len() as u32);
        out.extend_from_slice(body);
    }
}

pub(super) fn get_group(reader: &mut Reader) -> Result<SubmitGroup, Malformed> {
    let (queue, priority) = (reader.text("the queue's name")?, reader.u32("the priority")?);
    let there = reader.u8("the option marks")?;
    if there & (DELAY | AT) == DELAY | AT {
        return Err(Malformed(format!(
            "option marks {there:#010b} do not exist together in version {VERSION}"
        )));
    }
    let has = |mark| there & mark != 0;
    let start = match there & (DELAY | AT) {
        DELAY => Start::After(reader.u64("the delay")?),
        AT => Start::At(reader.u64("the start")?),
        _ => Start::Now,
    };
    let options = JobOptions {
        queue,
        priority: (!has(USUAL)).then_some(priority),
        start,
        ttl_ms: has(TTL).then(|| reader.u64("the time to live")).transpose()?,
        attempts: has(ATTEMPTS).then(|| reader.u32("the attempts")).transpose()?,
        backoff: has(BACKOFF).then(|| get_backoff(reader)).transpose()?,
        timeout_ms: has(TIMEOUT).then(|| reader.u64("the timeout")).transpose()?,
        tags: if has(TAGS) { get_tags(reader)? } else { Vec::new() },
    };
    Ok(SubmitGroup { options, bodies: get_bodies(reader)?.into_vec() })
}

fn get_bodies(reader: &mut Reader) -> Result<Bodies, Malformed> {
    let count = reader.count(4, "bodies")?;
    let mut bodies = Bodies::with_capacity(count);
    for _ in 0..count {
        let len = reader.u32("a body's length")? as usize;
        bodies.push(reader.bytes(len, "a body")?);
    }
    Ok(bodies)
}

/// Reads the rest of a submit whose options are known.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn decode_bodies(rest: Bytes) -> Result<Bodies, Malformed> {
    let mut reader = Reader::new(rest);
    let bodies = get_bodies(&mut reader)?;
    reader.end()?;
    Ok(bodies)
}

impl SubmitGroup {
    /// How many bytes of a submit's payload come before the bodies, if this is its only group. Another submit that
    /// begins with the same bytes asks for the same options, and what follows them is for [`decode_bodies`].
    pub fn head_len(&self, payload: usize) -> usize {
        payload - 4 - self.bodies.iter().map(|body| 4 + body.len()).sum::<usize>()
    }
}

fn get_backoff(reader: &mut Reader) -> Result<WireBackoff, Malformed> {
    let growth = reader.u8("the backoff's kind")?;
    if growth > 2 {
        return Err(Malformed(format!("backoff kind {growth}: 0 is fixed, 1 linear, 2 exponential")));
    }
    Ok(WireBackoff {
        growth,
        base_ms: reader.u64("the backoff's base")?,
        max_ms: reader.u64("the backoff's maximum")?,
        jitter_permille: reader.u16("the backoff's jitter")?,
    })
}
