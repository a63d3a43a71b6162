//! What operators see: how the log is set up (`init`), the one table of the lines in it (`events`), and what keeps
//! them from being too many (`flood`).

pub mod events;
pub mod flood;
mod init;

pub use init::{BadFilter, init};
