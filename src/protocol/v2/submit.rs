//! How version 2 encodes a group of jobs: its queue, its options, its bodies.

use crate::protocol::response::Fault;
use crate::protocol::submit::{JobOptions, Start, SubmitGroup, WireBackoff, get_bodies, growth, put_bodies};
use crate::protocol::tagged::{self, Value};
use crate::protocol::ties::{get_ties, put_ties};
use crate::protocol::unique::{get_unique, put_unique};
use crate::protocol::wire::{Malformed, Reader, TAGS_MAX, put_text, split_text, text_len};
use bytes::BufMut;

// What is left out is the queue's setting, or not wanted.
const PRIORITY: u8 = 1;
const DELAY: u8 = 2;
const AT: u8 = 3;
const TTL: u8 = 4;
const ATTEMPTS: u8 = 5;
const BACKOFF: u8 = 6;
const TIMEOUT: u8 = 7;
const TAGS: u8 = 8;
/// Whoever does not know it must not take the job: it would run beside others.
const KEY: u8 = 9;
// Those of unique keys come between.
/// Whoever does not know it must not take the job: it would run too late.
const DEADLINE: u8 = 15;
// Those of ties come behind.
/// Whoever does not know it would put the job into a queue that nobody looks at.
const TO_TOPIC: u8 = 20;

/// Kind, base, longest, jitter.
const BACKOFF_LEN: usize = 1 + 8 + 8 + 2;

pub(super) fn put_group(out: &mut Vec<u8>, group: &SubmitGroup) {
    put_text(out, &group.options.queue);
    put_options(out, &group.options);
    put_bodies(out, &group.bodies);
}

fn put_options(out: &mut Vec<u8>, options: &JobOptions) {
    let JobOptions {
        queue: _,
        priority,
        start,
        ttl_ms,
        deadline_ms,
        attempts,
        backoff,
        timeout_ms,
        tags,
        key,
        unique,
        ties,
        to_topic,
    } = options;
    let mut put = |number, value: Option<u64>| {
        if let Some(value) = value {
            tagged::put_number(out, number, value);
        }
    };
    put(PRIORITY, priority.map(u64::from));
    match start {
        Start::Now => {}
        Start::After(ms) => put(DELAY, Some(*ms)),
        Start::At(ms) => put(AT, Some(*ms)),
    }
    put(TTL, *ttl_ms);
    put(ATTEMPTS, attempts.map(u64::from));
    if let Some(backoff) = backoff {
        put_backoff(out, *backoff);
    }
    if let Some(ms) = timeout_ms {
        tagged::put_number(out, TIMEOUT, *ms);
    }
    put_tags(out, TAGS, tags);
    if let Some(key) = key {
        tagged::put_bytes(out, KEY | tagged::MUST, key.as_bytes());
    }
    if let Some(unique) = unique {
        put_unique(out, unique);
    }
    if let Some(ms) = deadline_ms {
        tagged::put_number(out, DEADLINE | tagged::MUST, *ms);
    }
    if let Some(ties) = ties {
        put_ties(out, ties);
    }
    if *to_topic {
        tagged::put_bytes(out, TO_TOPIC | tagged::MUST, &[]);
    }
    tagged::put_end(out);
}

/// `group` is as none is by default.
pub(super) fn get_group(group: &mut SubmitGroup, reader: &mut Reader) -> Result<(), Fault> {
    let options = &mut group.options;
    options.queue = reader.text("the queue's name")?;
    tagged::read(reader, "a job", |number, value| {
        match number {
            PRIORITY => options.priority = Some(value.u32("the priority")?),
            DELAY => options.start = Start::After(value.u64("the delay")?),
            AT if options.start != Start::Now => {
                return Err(Malformed("a delay and a start do not go together".into()));
            }
            AT => options.start = Start::At(value.u64("the start")?),
            TTL => options.ttl_ms = Some(value.u64("the time to live")?),
            ATTEMPTS => options.attempts = Some(value.u32("the attempts")?),
            BACKOFF => options.backoff = Some(get_backoff(value)?),
            TIMEOUT => options.timeout_ms = Some(value.u64("the timeout")?),
            TAGS => options.tags = get_tags(value)?,
            DEADLINE => options.deadline_ms = Some(value.u64("the deadline")?),
            TO_TOPIC => options.to_topic = true,
            KEY => options.key = Some(value.text("the key")?),
            other => {
                return Ok(get_unique(&mut options.unique, other, value)?
                    || get_ties(&mut options.ties, other, value)?);
            }
        }
        Ok(true)
    })?;
    group.bodies = get_bodies(reader)?.into_vec();
    Ok(())
}

fn put_backoff(out: &mut Vec<u8>, backoff: WireBackoff) {
    tagged::put_head(out, BACKOFF, BACKOFF_LEN);
    out.put_u8(backoff.growth);
    out.put_u64_le(backoff.base_ms);
    out.put_u64_le(backoff.max_ms);
    out.put_u16_le(backoff.jitter_permille);
}

fn get_backoff(value: Value<'_>) -> Result<WireBackoff, Malformed> {
    let value: [u8; BACKOFF_LEN] = value.bytes("the backoff")?;
    let number = |at: usize, len: usize| {
        value[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    Ok(WireBackoff {
        growth: growth(value[0])?,
        base_ms: number(1, 8),
        max_ms: number(9, 8),
        jitter_permille: number(17, 2) as u16,
    })
}

/// Writes names and values, if there are any, as an option: texts, up to the end of its value.
pub(super) fn put_tags(out: &mut Vec<u8>, number: u8, tags: &[(String, String)]) {
    if tags.is_empty() {
        return;
    }
    tagged::put_head(out, number, tags.iter().map(|(name, value)| text_len(name) + text_len(value)).sum());
    for (name, value) in tags {
        put_text(out, name);
        put_text(out, value);
    }
}

pub(super) fn get_tags(value: Value<'_>) -> Result<Vec<(String, String)>, Malformed> {
    let (mut rest, mut tags) = (value.all(), Vec::new());
    while !rest.is_empty() {
        if tags.len() == usize::from(TAGS_MAX) {
            return Err(Malformed(format!("more than {TAGS_MAX} tags: a job has at most {TAGS_MAX}")));
        }
        let mut text = |what| -> Result<String, Malformed> {
            let (text, after) = split_text(rest, what)?;
            rest = after;
            Ok(text.to_owned())
        };
        tags.push((text("a tag's name")?, text("a tag's value")?));
    }
    Ok(tags)
}
