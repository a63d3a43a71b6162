//! What operators see: how the log is set up (`init`), and the one table of the lines in it (`events`).

pub mod events;
mod init;

pub use init::{BadFilter, init};
