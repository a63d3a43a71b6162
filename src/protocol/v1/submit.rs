//! How version 1 encodes a group of jobs: a byte of flags says which options follow, in a fixed order.

use crate::protocol::submit::{JobOptions, Start, SubmitGroup, WireBackoff, get_bodies, growth, put_bodies};
use crate::protocol::wire::{Malformed, Reader, get_tags, put_tags, put_text};
use bytes::BufMut;

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
    put_bodies(out, &group.bodies);
}

pub(super) fn get_group(reader: &mut Reader) -> Result<SubmitGroup, Malformed> {
    let (queue, priority) = (reader.text("the queue's name")?, reader.u32("the priority")?);
    let there = reader.u8("the option flags")?;
    if there & (DELAY | AT) == DELAY | AT {
        return Err(Malformed(format!("option flags {there:#010b} do not exist together in version 1")));
    }
    let has = |flag| there & flag != 0;
    let start = match there & (DELAY | AT) {
        DELAY => Start::After(reader.u64("the delay")?),
        AT => Start::At(reader.u64("the start")?),
        _ => Start::Now,
    };
    let options = JobOptions {
        unique: None,
        ties: None,
        to_topic: false,
        queue,
        priority: (!has(USUAL)).then_some(priority),
        start,
        ttl_ms: has(TTL).then(|| reader.u64("the time to live")).transpose()?,
        attempts: has(ATTEMPTS).then(|| reader.u32("the attempts")).transpose()?,
        backoff: has(BACKOFF).then(|| get_backoff(reader)).transpose()?,
        timeout_ms: has(TIMEOUT).then(|| reader.u64("the timeout")).transpose()?,
        tags: if has(TAGS) { get_tags(reader)? } else { Vec::new() },
        key: None,
        deadline_ms: None,
    };
    Ok(SubmitGroup { options, bodies: get_bodies(reader)?.into_vec() })
}

fn get_backoff(reader: &mut Reader) -> Result<WireBackoff, Malformed> {
    Ok(WireBackoff {
        growth: growth(reader.u8("the backoff's kind")?)?,
        base_ms: reader.u64("the backoff's base")?,
        max_ms: reader.u64("the backoff's maximum")?,
        jitter_permille: reader.u16("the backoff's jitter")?,
    })
}
