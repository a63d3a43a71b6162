//! The core's tests: the table of states walked cell by cell, long random sequences against a naive model, and
//! one small test for each promise that is easy to break.

mod model;
mod sequences;
mod table;
mod world;
