//! The native wire, shared by server and client: frames, requests, responses, and the JSON of the questions that
//! people ask. `docs/protocol.md` says the same byte by byte. It knows no other module of this crate but `views`, the
//! answers to those: wire types are plain data, and change only on purpose.

pub mod admin;
mod command;
mod frame;
mod request;
mod response;
mod submit;
#[cfg(test)]
mod tests;
mod wire;

pub use command::{CommandJob, Word, describes_a_job};
pub use frame::{
    FrameError, HEADER, Header, finish_frame, frame_len, peek_frame, put_head, split_frame, start_frame,
};
pub use request::{
    Claim, Exit, LeaseRef, Request, SUBMIT, SUBMIT_AND_WAIT, Settle, Verdict, encode_output, is_long,
};
pub use response::{ClaimedJob, ErrorCode, Fault, LeaseFault, Notice, Response, Revocation, WIRE_STATES};
pub use submit::{Bodies, JobOptions, Start, SubmitGroup, WireBackoff, decode_bodies};
pub use wire::{Malformed, Reader, TAGS_MAX};

/// The version of the protocol that this program speaks.
pub const VERSION: u16 = 1;

/// What every connection sends first, so that a stranger is told from a client.
pub const MAGIC: [u8; 4] = *b"MUSH";
