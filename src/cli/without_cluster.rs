//! `musher cluster` where clusters are no part of the program: says which one has them.

use super::exit::{End, Failure};
use clap::Args;
use std::ffi::OsString;

/// Takes whatever follows.
#[derive(Debug, Args)]
pub(super) struct WithoutCluster {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<OsString>,
}

impl WithoutCluster {
    #[allow(clippy::unused_self, reason = "as the other verbs are run")]
    pub(super) fn run(&self) -> End {
        let message = "this program was built without clusters: install a package, which has them, or build it with \
                       `cargo install --path . --features cluster`";
        Err(Failure::usage(message))
    }
}
