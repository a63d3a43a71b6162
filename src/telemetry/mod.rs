//! What operators see: how the log is set up (`init`) and changed (`level`), the one table of the lines in it (`events`), what makes
//! text from outside fit for one (`escape`), what keeps them from being too many (`flood`), and how they are written without holding
//! anybody up (`writer`, `journal`, `json`).

mod escape;
pub mod events;
pub mod flood;
mod init;
mod journal;
mod json;
mod level;
mod writer;

pub use escape::{escape, is_trick};
pub use init::{BadFilter, BadFormat, Log, LogError, init};
pub use level::{LevelError, LogLevel, log_level, set_log_level};
pub use writer::write_patiently;
