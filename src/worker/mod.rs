//! The hands: claims jobs, runs their commands, settles them by how these end. The daemon's own pool (a child
//! process of the daemon) and `musher work` are the same code with another connection. It speaks the protocol like
//! any outside worker, and must not know of engine, store or server.

mod exec;
mod output;
mod run;
mod supervise;
mod team;
#[cfg(test)]
mod tests;

pub use run::{WorkOptions, run_pool, run_work};
pub use team::{Handler, Plan, Team};
