//! What people write who ask for jobs: options of a command line (`options`, with those of `ties` and `unique`), and JSON
//! (`json`, `flow` for graphs of jobs, `claimed` for workers), with the same names and rules. It reads, and asks nobody; what is meant by it, the protocol says.

pub(crate) mod claimed;
pub(crate) mod flow;
pub(crate) mod json;
pub(crate) mod options;
pub(crate) mod ties;
pub(crate) mod unique;
