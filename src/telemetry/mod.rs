//! What operators see: how the log is set up (`init`), the one table of the lines in it (`events`), what keeps them
//! from being too many (`flood`), and how they leave without holding anybody up (`outlet`, `journal`).

pub mod events;
pub mod flood;
mod init;
mod journal;
mod outlet;

pub use init::{BadFilter, Log, LogError, init};
pub use outlet::write_patiently;
