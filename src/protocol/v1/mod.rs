//! Version 1 of the protocol, as clients that are installed somewhere speak it: into the same requests, and out of the same
//! answers, as every version. It does not change any more; `tests/fixtures/protocol-1` holds it to that. It knows the types
//! of this folder, and no other version.

pub(super) mod request;
pub(super) mod response;
mod submit;
