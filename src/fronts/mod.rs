//! The wire protocols that the daemon speaks, one folder each: bytes in, requests to the server, results out as bytes.
//! A front uses the server (`server::Front` is the interface); the server knows none of them.

mod beanstalk;
mod native;
#[cfg(test)]
mod tests;

pub(crate) use beanstalk::{Beanstalk, Tubes};
pub(crate) use native::Native;
