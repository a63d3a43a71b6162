//! The one place where versions differ: a connection has one version, chosen at its greeting, which encodes and decodes
//! everything on it.

use super::frame::{finish_frame, start_frame};
use super::plain::Limit;
use super::request::Request;
use super::response::{Fault, Response};
use super::wire::Malformed;
use super::{v1, v2};
use bytes::Bytes;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The first one.
    One,
    /// The newest one.
    Two,
}

impl Version {
    /// What two sides speak that are both as new as this program.
    pub const NEWEST: Version = Version::Two;

    /// The version of this number, if this program speaks it.
    pub fn of(number: u16) -> Option<Version> {
        match number {
            1 => Some(Version::One),
            2 => Some(Version::Two),
            _ => None,
        }
    }

    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Version::One => 1,
            Version::Two => 2,
        }
    }

    /// Writes a request as a frame at the end of `out`.
    pub fn encode_request(self, request: &Request, number: u32, out: &mut Vec<u8>) {
        let start = start_frame(out, request.kind(), number);
        match self {
            Version::One => v1::request::put(request, out),
            Version::Two => v2::request::put(request, out),
        }
        finish_frame(out, start);
    }

    /// Reads a request's payload, of at most `batch` things: more are refused before they take memory.
    ///
    /// # Errors
    /// [`Fault`] says what is wrong with it. The connection can go on: the frame's end is known.
    pub fn decode_request(self, kind: u8, payload: Bytes, batch: usize) -> Result<Request, Fault> {
        match self {
            Version::One => v1::request::get(kind, payload, Limit { batch }),
            Version::Two => v2::request::get(kind, payload, Limit { batch }),
        }
    }

    /// Writes a response as a frame at the end of `out`.
    pub fn encode_response(self, response: &Response, number: u32, out: &mut Vec<u8>) {
        let start = start_frame(out, response.kind(), number);
        match self {
            Version::One => v1::response::put(response, out),
            Version::Two => v2::response::put(response, out),
        }
        finish_frame(out, start);
    }

    /// Reads a response's payload.
    ///
    /// # Errors
    /// [`Malformed`] if it does not have the protocol's form: client and server do not understand each other.
    pub fn decode_response(self, kind: u8, payload: Bytes) -> Result<Response, Malformed> {
        match self {
            Version::One => v1::response::get(kind, payload),
            Version::Two => v2::response::get(kind, payload),
        }
    }
}

impl Request {
    /// Writes it as the newest version does.
    pub fn encode(&self, number: u32, out: &mut Vec<u8>) {
        Version::NEWEST.encode_request(self, number, out);
    }

    /// Reads it as the newest version does.
    ///
    /// # Errors
    /// As for [`Version::decode_request`].
    pub fn decode(kind: u8, payload: Bytes, batch: usize) -> Result<Request, Fault> {
        Version::NEWEST.decode_request(kind, payload, batch)
    }
}

impl Response {
    /// Writes it as the newest version does.
    pub fn encode(&self, number: u32, out: &mut Vec<u8>) {
        Version::NEWEST.encode_response(self, number, out);
    }

    /// Reads it as the newest version does.
    ///
    /// # Errors
    /// As for [`Version::decode_response`].
    pub fn decode(kind: u8, payload: Bytes) -> Result<Response, Malformed> {
        Version::NEWEST.decode_response(kind, payload)
    }
}
