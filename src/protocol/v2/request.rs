//! How version 2 encodes requests. The options of a request come last, and may be missing altogether. They come earlier
//! where the last field has no length of its own, or where a repeated submit must be recognised by its first bytes.

use super::settle::{get_settle, put_settle};
use super::submit::{get_group, put_group};
use crate::protocol::plain::{self, Limit};
use crate::protocol::request::{
    BACKUP, BESIDE, Beside, CHANGES, CHECKPOINT, CLAIM, Claim, EXTEND, LEAVE, LOGS, LeaseRef, OUTPUT,
    PROGRESS, REPLACE_BODY, Request, SETTLE, SIGNAL, SUBMIT, SUBMIT_AND_WAIT, TAKE_UP, stream,
};
use crate::protocol::response::{ErrorCode, Fault};
use crate::protocol::submit::SubmitGroup;
use crate::protocol::tagged::{self, Value};
use crate::protocol::wire::{Malformed, Reader, put_text};
use bytes::{BufMut, Bytes};

/// Of a submit. Whoever does not know it must not take the jobs: they might be there already.
const IDEMPOTENCY_KEY: u8 = 1;
/// Of a submit, and with the same reason: the job that is completed with it.
const COMPLETES: u8 = 2;

/// Of a submit that waits: at most so long.
const WAIT_MAX: u8 = 1;

// Of a claim.
const CLAIM_LEASE: u8 = 1;
const CLAIM_WAIT: u8 = 2;
const BOUND: u8 = 3;

/// Of an extend.
const EXTEND_LEASE: u8 = 1;

/// Of a checkpoint.
const CHECKPOINT_LEASE: u8 = 1;

/// Of a job's progress: its text.
const TEXT: u8 = 1;

/// Of a signal: its name.
const NAME: u8 = 1;
/// Of a piece of output: where it goes, if it may be there already.
const AGAIN_AT: u8 = 24;

/// Of a look at what a job has printed.
const FOLLOW: u8 = 1;

/// Of what becomes of jobs: who skips these tells of others too.
const OF_QUEUE: u8 = 1;
const OF_JOB: u8 = 2;

/// Of a backup.
const SHARD: u8 = 1;

pub(in crate::protocol) fn put(request: &Request, out: &mut Vec<u8>) {
    match request {
        Request::Submit(groups) => put_submit(out, None, None, groups),
        Request::SubmitOnce { groups, key } => put_submit(out, Some(key), None, groups),
        Request::CompleteAndSubmit { lease, groups, key } => {
            put_submit(out, key.as_deref(), Some(*lease), groups);
        }
        Request::SubmitAndWait { groups, timeout_ms } => {
            if let Some(ms) = timeout_ms {
                tagged::put_number(out, WAIT_MAX, *ms);
            }
            tagged::put_end(out);
            put_groups(out, groups);
        }
        Request::Claim(claim) => put_claim(out, claim),
        Request::Settle(items) => {
            out.put_u32_le(items.len() as u32);
            items.iter().for_each(|item| put_settle(out, item));
        }
        Request::Extend { leases, lease_ms } => {
            out.put_u32_le(leases.len() as u32);
            leases.iter().for_each(|lease| lease.put(out));
            if let Some(ms) = lease_ms {
                tagged::put_number(out, EXTEND_LEASE, *ms);
                tagged::put_end(out);
            }
        }
        Request::Output { lease, stream, data, again_at } => {
            lease.put(out);
            out.put_u8(*stream);
            if let Some(at) = again_at {
                tagged::put_number(out, AGAIN_AT, *at);
            }
            tagged::put_end(out);
            out.extend_from_slice(data);
        }
        Request::TakeUp { name, token, leases } => {
            put_text(out, name);
            out.extend_from_slice(token);
            out.put_u32_le(leases.len() as u32);
            leases.iter().for_each(|lease| lease.put(out));
        }
        Request::Leave => {}
        Request::Progress { lease, percent, text } => {
            lease.put(out);
            out.put_u8(*percent);
            if !text.is_empty() {
                tagged::put_bytes(out, TEXT, text.as_bytes());
                tagged::put_end(out);
            }
        }
        Request::Checkpoint { lease, lease_ms, data } => {
            lease.put(out);
            if let Some(ms) = lease_ms {
                tagged::put_number(out, CHECKPOINT_LEASE, *ms);
            }
            tagged::put_end(out);
            out.extend_from_slice(data);
        }
        Request::Beside { id, what } => {
            out.put_u64_le(*id);
            out.put_u8(*what as u8);
        }
        Request::Signal { id, name, body } => {
            out.put_u64_le(*id);
            tagged::put_bytes(out, NAME, name.as_bytes());
            tagged::put_end(out);
            out.extend_from_slice(body);
        }
        Request::ReplaceBody { id, body } => {
            out.put_u64_le(*id);
            tagged::put_end(out);
            out.extend_from_slice(body);
        }
        Request::Logs { id, follow } => {
            out.put_u64_le(*id);
            if *follow {
                tagged::put_number(out, FOLLOW, 1);
                tagged::put_end(out);
            }
        }
        Request::Changes { queue, job } => put_changes(out, queue.as_deref(), *job),
        Request::Backup { shard } => {
            if let Some(shard) = shard {
                tagged::put_number(out, SHARD | tagged::MUST, u64::from(*shard));
                tagged::put_end(out);
            }
        }
        plain => plain::put_request(plain, out),
    }
}

pub(in crate::protocol) fn get(kind: u8, payload: Bytes, limit: Limit) -> Result<Request, Fault> {
    let mut reader = Reader::new(payload);
    let reader = &mut reader;
    let request = match kind {
        SUBMIT => {
            let (mut key, mut completes) = (None, None);
            tagged::read(reader, "a submit", |number, value| {
                match number {
                    IDEMPOTENCY_KEY => key = Some(value.text("the idempotency key")?),
                    COMPLETES => completes = Some(get_lease(value)?),
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            let groups = get_groups(reader, limit)?;
            match (completes, key) {
                (None, None) => Request::Submit(groups),
                (None, Some(key)) => Request::SubmitOnce { groups, key },
                (Some(lease), key) => Request::CompleteAndSubmit { lease, groups, key },
            }
        }
        SUBMIT_AND_WAIT => {
            let mut timeout_ms = None;
            tagged::read(reader, "a submit that waits", |number, value| {
                number_of(&mut timeout_ms, (WAIT_MAX, number), value, "the wait")
            })?;
            Request::SubmitAndWait { groups: get_groups(reader, limit)?, timeout_ms }
        }
        CLAIM => Request::Claim(get_claim(reader)?),
        SETTLE => {
            let count = limit.check(reader.count(13, "settles")?)?;
            let items = (0..count).map(|_| get_settle(reader)).collect::<Result<_, _>>()?;
            tagged::skip_at_end(reader, "a request")?;
            Request::Settle(items)
        }
        EXTEND => {
            let count = limit.check(reader.count(12, "leases")?)?;
            let leases = (0..count).map(|_| LeaseRef::get(reader)).collect::<Result<_, _>>()?;
            let mut lease_ms = None;
            tagged::read_at_end(reader, "an extend", |number, value| {
                number_of(&mut lease_ms, (EXTEND_LEASE, number), value, "the lease")
            })?;
            Request::Extend { leases, lease_ms: lease_ms.filter(|ms| *ms > 0) }
        }
        OUTPUT => {
            let (lease, stream) = (LeaseRef::get(reader)?, stream(reader.u8("the stream")?)?);
            let mut again_at = None;
            tagged::read(reader, "a piece of output", |number, value| {
                number_of(&mut again_at, (AGAIN_AT, number), value, "its place")
            })?;
            Request::Output { lease, stream, data: reader.rest(), again_at }
        }
        TAKE_UP => {
            let (name, token) = (reader.text("the worker's name")?, token(reader)?);
            // They take no more memory than they have bytes, and a worker has as many as it has.
            let count = reader.count(12, "leases")?;
            let leases = (0..count).map(|_| LeaseRef::get(reader)).collect::<Result<_, _>>()?;
            tagged::skip_at_end(reader, "a request")?;
            Request::TakeUp { name, token, leases }
        }
        LEAVE => {
            tagged::skip_at_end(reader, "a request")?;
            Request::Leave
        }
        PROGRESS => {
            let (lease, percent) = (LeaseRef::get(reader)?, reader.u8("the percentage")?);
            let mut text = String::new();
            tagged::read_at_end(reader, "a job's progress", |number, value| {
                let is_text = number == TEXT;
                if is_text {
                    text = value.text("what is said of it")?;
                }
                Ok(is_text)
            })?;
            Request::Progress { lease, percent, text }
        }
        CHECKPOINT => {
            let (lease, mut lease_ms) = (LeaseRef::get(reader)?, None);
            tagged::read(reader, "a checkpoint", |number, value| {
                number_of(&mut lease_ms, (CHECKPOINT_LEASE, number), value, "the lease")
            })?;
            Request::Checkpoint { lease, lease_ms: lease_ms.filter(|ms| *ms > 0), data: reader.rest() }
        }
        BESIDE => {
            let (id, what) = (reader.u64("the id")?, Beside::of(reader.u8("what it is")?)?);
            tagged::skip_at_end(reader, "a request")?;
            Request::Beside { id, what }
        }
        SIGNAL => {
            let (id, mut name) = (reader.u64("the id")?, String::new());
            tagged::read(reader, "a signal", |number, value| {
                let is_name = number == NAME;
                if is_name {
                    name = value.text("the signal's name")?;
                }
                Ok(is_name)
            })?;
            Request::Signal { id, name, body: reader.rest() }
        }
        REPLACE_BODY => {
            let id = reader.u64("the id")?;
            tagged::skip(reader, "a change of a body")?;
            Request::ReplaceBody { id, body: reader.rest() }
        }
        LOGS => {
            let (id, mut follow) = (reader.u64("the id")?, None);
            tagged::read_at_end(reader, "a request", |number, value| {
                number_of(&mut follow, (FOLLOW, number), value, "the follow flag")
            })?;
            Request::Logs { id, follow: follow.is_some_and(|flag| flag != 0) }
        }
        CHANGES => get_changes(reader)?,
        BACKUP => {
            let mut shard = None;
            tagged::read_at_end(reader, "a request", |number, value| {
                if number == SHARD {
                    shard = Some(value.u32("a shard")?);
                }
                Ok(number == SHARD)
            })?;
            Request::Backup { shard }
        }
        kind => {
            let request = plain::get_request(kind, reader)?.ok_or_else(|| unknown_kind(kind))?;
            tagged::skip_at_end(reader, "a request")?;
            request
        }
    };
    reader.end()?;
    Ok(request)
}

fn unknown_kind(kind: u8) -> Fault {
    let message = format!(
        "requests of kind {kind:#04x} are not known to this daemon (musher {}, version 2 of the protocol): if the \
         client is newer, update the daemon",
        env!("CARGO_PKG_VERSION")
    );
    Fault { code: ErrorCode::Unsupported, message }
}

/// Takes the one option that there is, a number.
fn number_of(
    found: &mut Option<u64>,
    (wanted, number): (u8, u8),
    value: Value<'_>,
    what: &str,
) -> Result<bool, Malformed> {
    if number == wanted {
        *found = Some(value.u64(what)?);
    }
    Ok(number == wanted)
}

fn put_submit(out: &mut Vec<u8>, key: Option<&str>, completes: Option<LeaseRef>, groups: &[SubmitGroup]) {
    if let Some(key) = key {
        tagged::put_bytes(out, IDEMPOTENCY_KEY | tagged::MUST, key.as_bytes());
    }
    if let Some(lease) = completes {
        let mut bytes = Vec::new();
        lease.put(&mut bytes);
        tagged::put_bytes(out, COMPLETES | tagged::MUST, &bytes);
    }
    tagged::put_end(out);
    put_groups(out, groups);
}

fn token(reader: &mut Reader) -> Result<[u8; 16], Malformed> {
    let mut token = [0; 16];
    let bytes = reader.bytes(token.len(), "the worker's token")?;
    token.copy_from_slice(&bytes);
    Ok(token)
}

fn get_lease(value: Value<'_>) -> Result<LeaseRef, Malformed> {
    let mut reader = Reader::new(Bytes::copy_from_slice(&value.bytes::<12>("the lease")?));
    let lease = LeaseRef::get(&mut reader)?;
    reader.end()?;
    Ok(lease)
}

fn put_groups(out: &mut Vec<u8>, groups: &[SubmitGroup]) {
    out.put_u32_le(groups.len() as u32);
    groups.iter().for_each(|group| put_group(out, group));
}

/// Room is made for so many groups before they are read: what is only announced takes no more.
const GROUPS_AT_ONCE: usize = 1 << 10;

fn get_groups(reader: &mut Reader, limit: Limit) -> Result<Vec<SubmitGroup>, Fault> {
    let count = limit.check(reader.count(7, "groups of jobs")?)?;
    let mut groups = Vec::with_capacity(count.min(GROUPS_AT_ONCE));
    for _ in 0..count {
        // It is read into its place: it has some hundreds of bytes, and there may be thousands.
        groups.push(SubmitGroup::default());
        groups.last_mut().map_or(Ok(()), |group| get_group(group, reader))?;
    }
    Ok(groups)
}

fn put_changes(out: &mut Vec<u8>, queue: Option<&str>, job: Option<u64>) {
    if let Some(queue) = queue {
        tagged::put_bytes(out, OF_QUEUE | tagged::MUST, queue.as_bytes());
    }
    if let Some(job) = job {
        tagged::put_number(out, OF_JOB | tagged::MUST, job);
    }
    if queue.is_some() || job.is_some() {
        tagged::put_end(out);
    }
}

fn get_changes(reader: &mut Reader) -> Result<Request, Fault> {
    let (mut queue, mut job) = (None, None);
    tagged::read_at_end(reader, "a request", |number, value| {
        match number {
            OF_QUEUE => queue = Some(value.text("a queue's name")?),
            OF_JOB => job = Some(value.u64("a job's id")?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Request::Changes { queue, job })
}

fn put_claim(out: &mut Vec<u8>, claim: &Claim) {
    let Claim { queues, max, lease_ms, wait_ms, bound } = claim;
    out.put_u16_le(queues.len() as u16);
    queues.iter().for_each(|queue| put_text(out, queue));
    out.put_u32_le(*max);
    if let Some(ms) = lease_ms {
        tagged::put_number(out, CLAIM_LEASE, *ms);
    }
    if *wait_ms > 0 {
        tagged::put_number(out, CLAIM_WAIT, *wait_ms);
    }
    if *bound {
        tagged::put_number(out, BOUND, 1);
    }
    tagged::put_end(out);
}

fn get_claim(reader: &mut Reader) -> Result<Claim, Fault> {
    let count = reader.u16("the number of queues")?;
    let queues = (0..count).map(|_| reader.text("a queue's name")).collect::<Result<_, _>>()?;
    let mut claim = Claim { queues, max: reader.u32("the number of jobs")?, ..Claim::default() };
    tagged::read_at_end(reader, "a claim", |number, value| {
        match number {
            CLAIM_LEASE => claim.lease_ms = Some(value.u64("the lease")?).filter(|ms| *ms > 0),
            CLAIM_WAIT => claim.wait_ms = value.u64("the wait")?,
            BOUND => claim.bound = value.u64("the bound flag")? != 0,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(claim)
}
