//! What a client may ask: the hot requests in binary, all others as JSON (`admin.rs`).

use super::admin::AdminRequest;
use super::frame::{finish_frame, start_frame};
use super::response::{ErrorCode, Fault};
use super::submit::{SubmitGroup, get_group, put_group};
use super::wire::{Malformed, Reader, put_text};
use super::{MAGIC, VERSION};
use bytes::{BufMut, Bytes};

const HELLO: u8 = 0x01;
/// The kind of a frame that submits jobs.
pub const SUBMIT: u8 = 0x10;
const CLAIM: u8 = 0x11;
const SETTLE: u8 = 0x12;
const EXTEND: u8 = 0x13;
const OUTPUT: u8 = 0x14;
const UNWAIT: u8 = 0x15;
/// The kind of a frame that submits jobs and waits for their ends.
pub const SUBMIT_AND_WAIT: u8 = 0x16;
const ADMIN: u8 = 0x20;
const BODY: u8 = 0x21;
const LOGS: u8 = 0x22;
const BACKUP: u8 = 0x23;

/// Whether a short request of this kind may take long to answer: one that looks at many jobs, or fetches what is long.
pub fn is_long(kind: u8) -> bool {
    matches!(kind, ADMIN | BODY | LOGS | BACKUP)
}

/// What is added to the number of a verdict that an exit follows.
const WITH_EXIT: u8 = 4;
const LATER: u8 = 8;

/// The longest question in JSON. Its form in memory takes up to thirty times as much.
const JSON_MAX: usize = 4 << 20;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The first of every connection.
    Hello {
        /// The protocol version that the client speaks.
        version: u16,
        /// What the client calls itself; for people.
        name: String,
    },
    /// Enqueue jobs: all or none.
    Submit(Vec<SubmitGroup>),
    /// The same, and wait for their ends: answered twice, with the new jobs and then with a list of
    /// [`EndView`](super::admin::EndView).
    SubmitAndWait {
        /// The jobs.
        groups: Vec<SubmitGroup>,
        /// Wait at most so long; without it, as long as it takes.
        timeout_ms: Option<u64>,
    },
    /// Lease jobs.
    Claim(Claim),
    /// End leases.
    Settle(Vec<Settle>),
    /// Prolong leases.
    Extend {
        /// Which.
        leases: Vec<LeaseRef>,
        /// To how many milliseconds from now; the queue's setting if not given.
        lease_ms: Option<u64>,
    },
    /// Keep a piece of a job's output.
    Output {
        /// The lease under which it runs.
        lease: LeaseRef,
        /// 1 for standard output, 2 for standard error.
        stream: u8,
        /// The piece.
        data: Bytes,
    },
    /// Answer a waiting request of this connection at once, with what there is.
    Unwait {
        /// The waiting request's number.
        request: u32,
    },
    /// A question or change in JSON.
    Admin(AdminRequest),
    /// A job's body.
    Body {
        /// The job.
        id: u64,
    },
    /// A job's output.
    Logs {
        /// The job.
        id: u64,
        /// Whether to go on until the job has ended.
        follow: bool,
    },
    /// A backup of everything.
    Backup,
}

/// A wish for work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Where to look, in this order.
    pub queues: Vec<String>,
    /// The most jobs.
    pub max: u32,
    /// How long the lease lasts, in milliseconds; the queue's setting if not given.
    pub lease_ms: Option<u64>,
    /// How long to wait for the first job, in milliseconds; 0 for not at all, `u64::MAX` for as long as it takes.
    pub wait_ms: u64,
    /// Whether the leases end when this connection does.
    pub bound: bool,
}

/// Names a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseRef {
    /// The job.
    pub id: u64,
    /// The attempt.
    pub attempt: u32,
}

/// The end of one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Which.
    pub lease: LeaseRef,
    /// How it ended.
    pub verdict: Verdict,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Well.
    Complete,
    /// Badly: what the backoff says.
    Fail {
        /// What to remember of it.
        error: String,
        /// How its process ended, if there was one.
        exit: Option<Exit>,
    },
    /// Badly: again after this time, if attempts are left.
    FailRetryAfter {
        /// What to remember of it.
        error: String,
        /// How its process ended, if there was one.
        exit: Option<Exit>,
        /// In milliseconds.
        wait_ms: u64,
    },
    /// Badly, and never again.
    FailDead {
        /// What to remember of it.
        error: String,
        /// How its process ended, if there was one.
        exit: Option<Exit>,
    },
    /// Not now: again after a wait that grows each time, within the queue's `later_max`. No attempt is used up.
    Later {
        /// Why, to remember of it.
        error: String,
    },
    /// Given back without blame.
    Release {
        /// When it may run again, in milliseconds from now.
        delay_ms: u64,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// By itself, with this status; 0 is success.
    Status(u8),
    /// By this signal.
    Signal(u8),
}

impl Exit {
    /// The status that a shell has for it: that of the process, or 128 and the signal's number.
    pub fn shell(self) -> u8 {
        match self {
            Exit::Status(status) => status,
            Exit::Signal(signal) => signal.saturating_add(128),
        }
    }
}

impl Request {
    /// Writes the request as a frame at the end of `out`.
    pub fn encode(&self, number: u32, out: &mut Vec<u8>) {
        let start = start_frame(out, self.kind(), number);
        match self {
            Request::Hello { version, name } => {
                out.extend_from_slice(&MAGIC);
                out.put_u16_le(*version);
                put_text(out, name);
            }
            Request::Submit(groups) => put_groups(out, groups),
            Request::SubmitAndWait { groups, timeout_ms } => {
                out.put_u64_le(timeout_ms.unwrap_or(u64::MAX));
                put_groups(out, groups);
            }
            Request::Claim(claim) => put_claim(out, claim),
            Request::Settle(items) => {
                out.put_u32_le(items.len() as u32);
                items.iter().for_each(|item| put_settle(out, item));
            }
            Request::Extend { leases, lease_ms } => {
                out.put_u64_le(lease_ms.unwrap_or(0));
                out.put_u32_le(leases.len() as u32);
                leases.iter().for_each(|lease| put_lease(out, *lease));
            }
            Request::Output { lease, stream, data } => {
                put_lease(out, *lease);
                out.put_u8(*stream);
                out.extend_from_slice(data);
            }
            Request::Unwait { request } => out.put_u32_le(*request),
            Request::Admin(request) => {
                let json = serde_json::to_vec(request).expect("plain data always has a JSON form");
                out.extend_from_slice(&json);
            }
            Request::Body { id } => out.put_u64_le(*id),
            Request::Logs { id, follow } => {
                out.put_u64_le(*id);
                out.put_u8(u8::from(*follow));
            }
            Request::Backup => {}
        }
        finish_frame(out, start);
    }

    fn kind(&self) -> u8 {
        match self {
            Request::Hello { .. } => HELLO,
            Request::Submit(_) => SUBMIT,
            Request::SubmitAndWait { .. } => SUBMIT_AND_WAIT,
            Request::Claim(_) => CLAIM,
            Request::Settle(_) => SETTLE,
            Request::Extend { .. } => EXTEND,
            Request::Output { .. } => OUTPUT,
            Request::Unwait { .. } => UNWAIT,
            Request::Admin(_) => ADMIN,
            Request::Body { .. } => BODY,
            Request::Logs { .. } => LOGS,
            Request::Backup => BACKUP,
        }
    }

    /// Reads a request's payload, of at most `batch` things: more are refused before they take memory.
    ///
    /// # Errors
    /// [`Fault`] says what is wrong with it. The connection can go on: the frame's end is known.
    pub fn decode(kind: u8, payload: Bytes, batch: usize) -> Result<Request, Fault> {
        let mut reader = Reader::new(payload);
        let limited = |count: usize| match count <= batch {
            true => Ok(count),
            false => Err(too_large(format!("{count} of one request: at most {batch} (limits.batch)"))),
        };
        let request = match kind {
            HELLO => get_hello(&mut reader)?,
            SUBMIT | SUBMIT_AND_WAIT => {
                let wait = if kind == SUBMIT { None } else { Some(reader.u64("the wait")?) };
                let count = limited(reader.count(11, "groups of jobs")?)?;
                let groups = (0..count).map(|_| get_group(&mut reader)).collect::<Result<_, _>>()?;
                match wait {
                    None => Request::Submit(groups),
                    Some(wait) => {
                        Request::SubmitAndWait { groups, timeout_ms: Some(wait).filter(|ms| *ms < u64::MAX) }
                    }
                }
            }
            CLAIM => Request::Claim(get_claim(&mut reader)?),
            SETTLE => {
                let count = limited(reader.count(13, "settles")?)?;
                Request::Settle((0..count).map(|_| get_settle(&mut reader)).collect::<Result<_, _>>()?)
            }
            EXTEND => {
                let lease_ms = Some(reader.u64("the lease")?).filter(|ms| *ms > 0);
                let count = limited(reader.count(12, "leases")?)?;
                let leases = (0..count).map(|_| get_lease(&mut reader)).collect::<Result<_, _>>()?;
                Request::Extend { leases, lease_ms }
            }
            OUTPUT => {
                let lease = get_lease(&mut reader)?;
                let stream = reader.u8("the stream")?;
                if !matches!(stream, 1 | 2) {
                    return Err(Malformed(format!("stream {stream}: only 1 and 2 exist")).into());
                }
                Request::Output { lease, stream, data: reader.rest() }
            }
            UNWAIT => Request::Unwait { request: reader.u32("the request number")? },
            ADMIN => Request::Admin(get_admin(&reader.rest())?),
            BODY => Request::Body { id: reader.u64("the id")? },
            BACKUP => Request::Backup,
            LOGS => Request::Logs { id: reader.u64("the id")?, follow: reader.u8("the follow mark")? != 0 },
            kind => {
                let message = format!("requests of kind {kind:#04x} do not exist in version {VERSION}");
                return Err(Malformed(message).into());
            }
        };
        reader.end()?;
        Ok(request)
    }
}

fn put_groups(out: &mut Vec<u8>, groups: &[SubmitGroup]) {
    out.put_u32_le(groups.len() as u32);
    groups.iter().for_each(|group| put_group(out, group));
}

/// Writes an `Output` request without owning the piece.
pub fn encode_output(number: u32, lease: LeaseRef, stream: u8, data: &[u8], out: &mut Vec<u8>) {
    let start = start_frame(out, OUTPUT, number);
    put_lease(out, lease);
    out.put_u8(stream);
    out.extend_from_slice(data);
    finish_frame(out, start);
}

fn too_large(message: String) -> Fault {
    Fault { code: ErrorCode::TooLarge, message }
}

fn get_admin(json: &[u8]) -> Result<AdminRequest, Fault> {
    if json.len() > JSON_MAX {
        return Err(too_large(format!("{} bytes of JSON: at most {JSON_MAX}; ask in parts", json.len())));
    }
    Ok(serde_json::from_slice(json).map_err(|error| Malformed(format!("its JSON: {error}")))?)
}

fn get_hello(reader: &mut Reader) -> Result<Request, Malformed> {
    if reader.bytes(MAGIC.len(), "the greeting")? != MAGIC[..] {
        return Err(Malformed("it does not begin with MUSH: this is Musher's own protocol".into()));
    }
    Ok(Request::Hello { version: reader.u16("the version")?, name: reader.text("the client's name")? })
}

fn put_lease(out: &mut Vec<u8>, lease: LeaseRef) {
    out.put_u64_le(lease.id);
    out.put_u32_le(lease.attempt);
}

fn get_lease(reader: &mut Reader) -> Result<LeaseRef, Malformed> {
    Ok(LeaseRef { id: reader.u64("a job's id")?, attempt: reader.u32("an attempt")? })
}

fn put_claim(out: &mut Vec<u8>, claim: &Claim) {
    out.put_u16_le(claim.queues.len() as u16);
    claim.queues.iter().for_each(|queue| put_text(out, queue));
    out.put_u32_le(claim.max);
    out.put_u64_le(claim.lease_ms.unwrap_or(0));
    out.put_u64_le(claim.wait_ms);
    out.put_u8(u8::from(claim.bound));
}

fn get_claim(reader: &mut Reader) -> Result<Claim, Malformed> {
    let count = reader.u16("the number of queues")?;
    Ok(Claim {
        queues: (0..count).map(|_| reader.text("a queue's name")).collect::<Result<_, _>>()?,
        max: reader.u32("the number of jobs")?,
        lease_ms: Some(reader.u64("the lease")?).filter(|ms| *ms > 0),
        wait_ms: reader.u64("the wait")?,
        bound: reader.u8("the bound mark")? != 0,
    })
}

fn put_settle(out: &mut Vec<u8>, item: &Settle) {
    put_lease(out, item.lease);
    match &item.verdict {
        Verdict::Complete => out.put_u8(0),
        Verdict::Fail { error, exit } => {
            out.put_u8(failed(1, *exit));
            put_text(out, error);
            put_exit(out, *exit);
        }
        Verdict::FailRetryAfter { error, exit, wait_ms } => {
            out.put_u8(failed(2, *exit));
            put_text(out, error);
            out.put_u64_le(*wait_ms);
            put_exit(out, *exit);
        }
        Verdict::FailDead { error, exit } => {
            out.put_u8(failed(3, *exit));
            put_text(out, error);
            put_exit(out, *exit);
        }
        Verdict::Later { error } => {
            out.put_u8(LATER);
            put_text(out, error);
        }
        Verdict::Release { delay_ms } => {
            out.put_u8(4);
            out.put_u64_le(*delay_ms);
        }
    }
}

/// The number of a verdict that may have an exit behind it.
fn failed(verdict: u8, exit: Option<Exit>) -> u8 {
    if exit.is_some() { verdict + WITH_EXIT } else { verdict }
}

fn put_exit(out: &mut Vec<u8>, exit: Option<Exit>) {
    match exit {
        None => {}
        Some(Exit::Status(status)) => out.extend([1, status]),
        Some(Exit::Signal(signal)) => out.extend([2, signal]),
    }
}

fn get_exit(reader: &mut Reader, verdict: u8) -> Result<Option<Exit>, Malformed> {
    if verdict < WITH_EXIT {
        return Ok(None);
    }
    let (kind, value) = (reader.u8("the kind of exit")?, reader.u8("the exit")?);
    match kind {
        0 => Ok(None),
        1 => Ok(Some(Exit::Status(value))),
        2 => Ok(Some(Exit::Signal(value))),
        kind => Err(Malformed(format!("exit kind {kind}: 0 is unknown, 1 a status, 2 a signal"))),
    }
}

fn get_settle(reader: &mut Reader) -> Result<Settle, Malformed> {
    let lease = get_lease(reader)?;
    let kind = reader.u8("the verdict")?;
    let verdict = match kind {
        0 => Verdict::Complete,
        1 | 5 => Verdict::Fail { error: reader.text("the error")?, exit: get_exit(reader, kind)? },
        2 | 6 => {
            let (error, wait_ms) = (reader.text("the error")?, reader.u64("the wait")?);
            Verdict::FailRetryAfter { error, exit: get_exit(reader, kind)?, wait_ms }
        }
        3 | 7 => Verdict::FailDead { error: reader.text("the error")?, exit: get_exit(reader, kind)? },
        4 => Verdict::Release { delay_ms: reader.u64("the delay")? },
        LATER => Verdict::Later { error: reader.text("the error")? },
        verdict => return Err(Malformed(format!("verdict {verdict} does not exist in version {VERSION}"))),
    };
    Ok(Settle { lease, verdict })
}
