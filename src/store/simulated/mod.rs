//! The store without a disk, for tests and the simulator: real records, real checkpoints and real recovery over a
//! [`SimulatedDisk`], which outlives the process and can be told to lose, tear, refuse and confirm late. No thread writes
//! its rows: whoever simulates says when, and how many.

mod disk;
mod home;
mod log;
mod rows;
#[cfg(test)]
mod tests;

pub use disk::{Planted, SimulatedDisk};
pub use home::SimulatedHome;
pub use log::{SimulatedLog, WriteFault};

use super::logged::LoggedStore;

/// One life of a process on a [`SimulatedDisk`]. Opened by [`SimulatedDisk::open`].
pub type SimulatedStore = LoggedStore<SimulatedLog, SimulatedHome>;
