//! Version 2 of the protocol: required fields are in fixed places, and everything else is an option (`tagged.rs`), so
//! either side may have options that the other does not know. It knows the types of `protocol`, and no other version.

pub(super) mod request;
pub(super) mod response;
mod settle;
mod submit;
