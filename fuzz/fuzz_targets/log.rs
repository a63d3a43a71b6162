//! The log's files: whatever is in one, reading it gives records or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| musher::fuzzing::log(data));
