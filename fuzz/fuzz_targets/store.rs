//! What is on disk: commits, blocks of jobs, bodies, and the other rows.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| musher::fuzzing::store(data));
