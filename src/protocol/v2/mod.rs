//! Version 2 of the protocol: what a request cannot do without is in fixed places, and all else are options
//! (`tagged.rs`), so that either side may have some that the other does not know. It knows the types of this folder, and no
//! other version.

pub(super) mod request;
pub(super) mod response;
mod submit;
