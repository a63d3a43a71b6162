//! The native wire, shared by server and client: frames, requests, responses, and the JSON of queries.
//! `docs/protocol.md` describes it byte by byte. It knows no other module of this crate but `views`, which has the
//! answers to queries, and `traceparent`: wire types are plain data, and change only on purpose.
//!
//! The arrows: `version` → `v1`, `v2` → `plain` → `greeting`, `request`, `response`, `submit` → `tagged` → `wire`. The
//! types of requests and answers are the same in all versions; each version has its own encoding.

pub mod admin;
mod command;
mod frame;
mod greeting;
mod plain;
mod request;
mod response;
mod submit;
mod tagged;
#[cfg(test)]
mod tests;
mod ties;
mod trace;
mod unique;
mod v1;
mod v2;
mod version;
mod wire;

pub use command::{CommandJob, Word, describes_a_job};
pub use frame::{
    FrameError, HEADER, Header, finish_frame, frame_len, peek_frame, put_head, split_frame,
    split_whole_frame, start_frame,
};
pub use greeting::{MAGIC, Versions};
pub use request::{
    Beside, Claim, Exit, LeaseRef, Request, SUBMIT, SUBMIT_AND_WAIT, Settle, Verdict, is_long,
};
pub use response::{
    ClaimedJob, ErrorCode, Fault, JobChange, LeaseFault, Notice, Response, Revocation, WIRE_STATES, is_last,
};
pub use submit::{Bodies, JobOptions, Start, SubmitGroup, WireBackoff, find_bodies};
pub use ties::{After, AfterWhat, Condition, OnUnmet, Ties};
pub use trace::{TRACEPARENT, TRACESTATE, Trace};
pub(crate) use trace::{is_of_trace, without_trace};
pub use unique::{Held, OnConflict, Receipt, Received, Unique};
pub use version::Version;
pub use wire::{Malformed, Reader, TAG_BYTES_MAX, TAGS_MAX};
