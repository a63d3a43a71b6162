//! Tests that cannot run on this machine say so: in their output, and in the list that `.ci/run` prints at its end
//! (`tests/e2e/helper.rs` writes to the same).

use std::fs::File;
use std::io::Write;

/// Says that the test that runs cannot run here.
pub(crate) fn skipped(why: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {why}\n", thread.name().unwrap_or("a test"));
    eprint!("skipped: {line}");
    // This program is target/PROFILE/deps/NAME.
    let program = std::env::current_exe().unwrap();
    let directory = program.ancestors().nth(3).unwrap().join("tmp");
    std::fs::create_dir_all(&directory).unwrap();
    let mut list = File::options().append(true).create(true).open(directory.join("skipped")).unwrap();
    list.write_all(line.as_bytes()).unwrap();
}
