//! `musher`: arguments → command → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    musher::cli::run()
}
