//! Version 1 of the protocol, for clients that are installed already: the requests and answers of every version, in the
//! encoding of version 1. It does not change any more; `tests/fixtures/protocol-1` checks that. It knows the types of
//! `protocol`, and no other version.

pub(super) mod request;
pub(super) mod response;
mod submit;
