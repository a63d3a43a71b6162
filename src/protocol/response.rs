//! What the server answers, and what it says unasked (request number 0).

use super::frame::{finish_frame, start_frame};
use super::request::LeaseRef;
use super::wire::{Malformed, Reader, get_tags, put_tags, put_text};
use bytes::{BufMut, Bytes};

const WELCOME: u8 = 0x81;
const SUBMITTED: u8 = 0x90;
const JOBS: u8 = 0x91;
const SETTLED: u8 = 0x92;
const EXTENDED: u8 = 0x93;
const OK: u8 = 0x94;
const BODY: u8 = 0x95;
const OUTPUT: u8 = 0x96;
const PIECE: u8 = 0x97;
const JSON: u8 = 0xa0;
const REVOKED: u8 = 0xc0;
const STOPPING: u8 = 0xc1;
const RECONFIGURED: u8 = 0xc2;
const ERROR: u8 = 0xf0;

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To the greeting.
    Welcome {
        /// The protocol version that the server speaks.
        version: u16,
        /// The longest frame, the longest body (in bytes), and the most jobs of one request.
        frame_max: u32,
        /// See `frame_max`.
        body_max: u32,
        /// See `frame_max`.
        batch_max: u32,
        /// What the server calls itself; for people.
        name: String,
    },
    /// The ids of new jobs: `count` of them from `first` on.
    Submitted {
        /// The first id.
        first: u64,
        /// How many.
        count: u64,
    },
    /// Leased jobs; none if none was ready in time.
    Jobs(Vec<ClaimedJob>),
    /// One result a settle.
    Settled(Vec<Result<(), LeaseFault>>),
    /// One result an extend: the new end, in milliseconds since 1970.
    Extended(Vec<Result<u64, LeaseFault>>),
    /// Done.
    Ok,
    /// A body.
    Body(Bytes),
    /// A piece of a job's output; more answers to the same request follow, `Ok` last.
    Output {
        /// Which attempt said it.
        attempt: u32,
        /// 1 for standard output, 2 for standard error.
        stream: u8,
        /// The piece.
        data: Bytes,
    },
    /// A piece of a backup; more answers to the same request follow, `Ok` last.
    Piece(Bytes),
    /// An answer in JSON.
    Json(Bytes),
    /// Refused or failed.
    Error(Fault),
    /// Unasked.
    Notice(Notice),
}

/// What the server says unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A lease of this connection has ended under its holder: stop working on it.
    Revoked {
        /// Which.
        lease: LeaseRef,
        /// Why.
        why: Revocation,
    },
    /// The daemon is stopping: settle within this time; then it releases what is left.
    Stopping {
        /// In milliseconds.
        grace_ms: u64,
    },
    /// The configuration has changed.
    Reconfigured,
}

/// Why a lease ended under its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Its time was over.
    Expired,
    /// Somebody cancelled, buried or deleted the job.
    Cancelled,
}

/// A job as a worker gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedJob {
    /// The lease.
    pub lease: LeaseRef,
    /// How many attempts it has in all.
    pub attempts: u32,
    /// How long one attempt may run, in milliseconds; 0 for without end.
    pub timeout_ms: u64,
    /// How long the lease lasts from now, in milliseconds.
    pub lease_ms: u64,
    /// When the lease ends, in milliseconds since 1970.
    pub until_ms: u64,
    /// The queue it came from.
    pub queue: String,
    /// Its priority.
    pub priority: u32,
    /// The user who submitted it.
    pub owner: u32,
    /// Names and values.
    pub tags: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// Why one settle or extend was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseFault {
    /// No such job, or no longer.
    #[error("job {id} not found: it was never submitted, or has ended and is not kept")]
    NotFound {
        /// The job.
        id: u64,
    },
    /// The attempt is not in force any more.
    #[error(
        "lease lost: attempt {} of job {} is not in force (the job is {}, attempt {current}); drop its result",
        lease.attempt, lease.id, state_name(*state)
    )]
    Lost {
        /// What was named.
        lease: LeaseRef,
        /// The job's newest attempt.
        current: u32,
        /// The job's state, as an index of [`WIRE_STATES`].
        state: u8,
    },
}

/// The states by their number on the wire.
pub const WIRE_STATES: [&str; 7] = ["scheduled", "ready", "leased", "done", "dead", "cancelled", "expired"];

fn state_name(state: u8) -> &'static str {
    WIRE_STATES.get(usize::from(state)).copied().unwrap_or("in a state that this program does not know")
}

/// What kind of fault an error is: for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum ErrorCode {
    /// The request does not have the form that the protocol says.
    Malformed = 1,
    /// The server does not speak this version.
    Version = 2,
    /// A value is not allowed.
    Invalid = 3,
    /// Something is larger than a limit.
    TooLarge = 4,
    /// No such job or queue.
    NotFound = 5,
    /// The caller may not do this.
    Forbidden = 6,
    /// The job's state does not allow it.
    WrongState = 7,
    /// The daemon is draining; try again after its restart.
    Draining = 20,
    /// The queue is full; try again later.
    QueueFull = 21,
    /// The disk, or the log, is nearly full; try again later.
    DiskFull = 22,
    /// There are too many of something (queues, connections, waiting requests), or the disk does not answer.
    Busy = 23,
    /// The daemon failed; its log says more.
    Internal = 40,
}

impl ErrorCode {
    const ALL: [ErrorCode; 12] = [
        ErrorCode::Malformed,
        ErrorCode::Version,
        ErrorCode::Invalid,
        ErrorCode::TooLarge,
        ErrorCode::NotFound,
        ErrorCode::Forbidden,
        ErrorCode::WrongState,
        ErrorCode::Draining,
        ErrorCode::QueueFull,
        ErrorCode::DiskFull,
        ErrorCode::Busy,
        ErrorCode::Internal,
    ];

    /// Whether the same request may succeed later.
    pub fn try_again(self) -> bool {
        matches!(self, ErrorCode::Draining | ErrorCode::QueueFull | ErrorCode::DiskFull | ErrorCode::Busy)
    }
}

/// A refusal or failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what, where, what to do.
    pub message: String,
}

impl From<Malformed> for Fault {
    fn from(error: Malformed) -> Fault {
        Fault { code: ErrorCode::Malformed, message: error.to_string() }
    }
}

impl Response {
    /// Writes the response as a frame at the end of `out`.
    pub fn encode(&self, number: u32, out: &mut Vec<u8>) {
        let start = start_frame(out, self.kind(), number);
        match self {
            Response::Welcome { version, frame_max, body_max, batch_max, name } => {
                out.put_u16_le(*version);
                out.put_u32_le(*frame_max);
                out.put_u32_le(*body_max);
                out.put_u32_le(*batch_max);
                put_text(out, name);
            }
            Response::Submitted { first, count } => {
                out.put_u64_le(*first);
                out.put_u64_le(*count);
            }
            Response::Jobs(jobs) => {
                out.put_u32_le(jobs.len() as u32);
                jobs.iter().for_each(|job| put_job(out, job));
            }
            Response::Settled(results) => {
                out.put_u32_le(results.len() as u32);
                results.iter().for_each(|result| put_result(out, result.as_ref().map(|()| None)));
            }
            Response::Extended(results) => {
                out.put_u32_le(results.len() as u32);
                results.iter().for_each(|result| put_result(out, result.as_ref().map(|until| Some(*until))));
            }
            Response::Ok => {}
            Response::Body(body) | Response::Piece(body) => out.extend_from_slice(body),
            Response::Output { attempt, stream, data } => {
                out.put_u32_le(*attempt);
                out.put_u8(*stream);
                out.extend_from_slice(data);
            }
            Response::Json(json) => out.extend_from_slice(json),
            Response::Error(fault) => {
                out.put_u16_le(fault.code as u16);
                put_text(out, &fault.message);
            }
            Response::Notice(Notice::Revoked { lease, why }) => {
                out.put_u64_le(lease.id);
                out.put_u32_le(lease.attempt);
                out.put_u8(match why {
                    Revocation::Expired => 1,
                    Revocation::Cancelled => 2,
                });
            }
            Response::Notice(Notice::Stopping { grace_ms }) => out.put_u64_le(*grace_ms),
            Response::Notice(Notice::Reconfigured) => {}
        }
        finish_frame(out, start);
    }

    pub(crate) fn kind(&self) -> u8 {
        match self {
            Response::Welcome { .. } => WELCOME,
            Response::Submitted { .. } => SUBMITTED,
            Response::Jobs(_) => JOBS,
            Response::Settled(_) => SETTLED,
            Response::Extended(_) => EXTENDED,
            Response::Ok => OK,
            Response::Body(_) => BODY,
            Response::Output { .. } => OUTPUT,
            Response::Piece(_) => PIECE,
            Response::Json(_) => JSON,
            Response::Error(_) => ERROR,
            Response::Notice(Notice::Revoked { .. }) => REVOKED,
            Response::Notice(Notice::Stopping { .. }) => STOPPING,
            Response::Notice(Notice::Reconfigured) => RECONFIGURED,
        }
    }

    /// Reads a response's payload.
    ///
    /// # Errors
    /// [`Malformed`] if it does not have the protocol's form: client and server do not understand each other.
    pub fn decode(kind: u8, payload: Bytes) -> Result<Response, Malformed> {
        let mut reader = Reader::new(payload);
        let response = match kind {
            WELCOME => Response::Welcome {
                version: reader.u16("the version")?,
                frame_max: reader.u32("a limit")?,
                body_max: reader.u32("a limit")?,
                batch_max: reader.u32("a limit")?,
                name: reader.text("the server's name")?,
            },
            SUBMITTED => Response::Submitted { first: reader.u64("an id")?, count: reader.u64("a count")? },
            JOBS => {
                let count = reader.count(50, "jobs")?;
                Response::Jobs((0..count).map(|_| get_job(&mut reader)).collect::<Result<_, _>>()?)
            }
            SETTLED => {
                let count = reader.count(1, "results")?;
                Response::Settled(
                    (0..count).map(|_| get_result(&mut reader, |_| Ok(()))).collect::<Result<_, _>>()?,
                )
            }
            EXTENDED => {
                let count = reader.count(1, "results")?;
                let end = |reader: &mut Reader| reader.u64("the lease's end");
                Response::Extended(
                    (0..count).map(|_| get_result(&mut reader, end)).collect::<Result<_, _>>()?,
                )
            }
            OK => Response::Ok,
            BODY => Response::Body(reader.rest()),
            OUTPUT => Response::Output {
                attempt: reader.u32("the attempt")?,
                stream: reader.u8("the stream")?,
                data: reader.rest(),
            },
            PIECE => Response::Piece(reader.rest()),
            JSON => Response::Json(reader.rest()),
            ERROR => {
                let code = reader.u16("the code")?;
                let code = ErrorCode::ALL
                    .into_iter()
                    .find(|known| *known as u16 == code)
                    .unwrap_or(ErrorCode::Internal);
                Response::Error(Fault { code, message: reader.text("the message")? })
            }
            REVOKED => {
                let lease = LeaseRef { id: reader.u64("an id")?, attempt: reader.u32("an attempt")? };
                let why =
                    if reader.u8("the reason")? == 1 { Revocation::Expired } else { Revocation::Cancelled };
                Response::Notice(Notice::Revoked { lease, why })
            }
            STOPPING => Response::Notice(Notice::Stopping { grace_ms: reader.u64("the time")? }),
            RECONFIGURED => Response::Notice(Notice::Reconfigured),
            kind => {
                return Err(Malformed(format!("responses of kind {kind:#04x} do not exist in this version")));
            }
        };
        reader.end()?;
        Ok(response)
    }
}

fn put_job(out: &mut Vec<u8>, job: &ClaimedJob) {
    out.put_u64_le(job.lease.id);
    out.put_u32_le(job.lease.attempt);
    out.put_u32_le(job.attempts);
    out.put_u64_le(job.timeout_ms);
    out.put_u64_le(job.lease_ms);
    out.put_u64_le(job.until_ms);
    put_text(out, &job.queue);
    out.put_u32_le(job.priority);
    out.put_u32_le(job.owner);
    put_tags(out, &job.tags);
    out.put_u32_le(job.body.len() as u32);
    out.extend_from_slice(&job.body);
}

fn get_job(reader: &mut Reader) -> Result<ClaimedJob, Malformed> {
    Ok(ClaimedJob {
        lease: LeaseRef { id: reader.u64("an id")?, attempt: reader.u32("an attempt")? },
        attempts: reader.u32("the attempts")?,
        timeout_ms: reader.u64("the timeout")?,
        lease_ms: reader.u64("the lease")?,
        until_ms: reader.u64("the lease's end")?,
        queue: reader.text("the queue's name")?,
        priority: reader.u32("the priority")?,
        owner: reader.u32("the owner")?,
        tags: get_tags(reader)?,
        body: {
            let len = reader.u32("the body's length")? as usize;
            reader.bytes(len, "the body")?
        },
    })
}

/// Writes the result for one lease: 0 (and its new end, for an extend), or why it was refused.
fn put_result(out: &mut Vec<u8>, result: Result<Option<u64>, &LeaseFault>) {
    match result {
        Ok(until) => {
            out.put_u8(0);
            if let Some(until) = until {
                out.put_u64_le(until);
            }
        }
        Err(LeaseFault::NotFound { id }) => {
            out.put_u8(1);
            out.put_u64_le(*id);
        }
        Err(LeaseFault::Lost { lease, current, state }) => {
            out.put_u8(2);
            out.put_u64_le(lease.id);
            out.put_u32_le(lease.attempt);
            out.put_u32_le(*current);
            out.put_u8(*state);
        }
    }
}

fn get_result<T>(
    reader: &mut Reader,
    value: impl Fn(&mut Reader) -> Result<T, Malformed>,
) -> Result<Result<T, LeaseFault>, Malformed> {
    Ok(match reader.u8("a result")? {
        0 => Ok(value(reader)?),
        1 => Err(LeaseFault::NotFound { id: reader.u64("an id")? }),
        2 => Err(LeaseFault::Lost {
            lease: LeaseRef { id: reader.u64("an id")?, attempt: reader.u32("an attempt")? },
            current: reader.u32("an attempt")?,
            state: reader.u8("a state")?,
        }),
        code => return Err(Malformed(format!("result {code} does not exist in this version"))),
    })
}
