//! `musher`: arguments → command → exit code.

use mimalloc::MiMalloc;
use std::process::ExitCode;

// In the program, not in the library: who embeds the queue chooses an allocator himself.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    musher::cli::run()
}
