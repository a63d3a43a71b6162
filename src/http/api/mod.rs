//! What may be asked for: an address for each request of the native wire, with the same names, and answers as `musher VERB --json`
//! prints them. Each handler reads what was sent and asks the loop; nothing is decided here. What it takes and answers is in its
//! signature, and the document is made of that.

mod daemon;
mod flow;
mod jobs;
mod queues;
mod schedules;
mod streams;
mod taken;
mod work;

use super::answer::{ApiError, Done, Made, Octets, Reply, Told, ToldAll};
use super::bodies::Raw;
use super::described::Routes;
use taken::{Asked, Asker, At, Lease, Sent};

/// All of them.
pub(super) fn routes() -> Routes {
    let all = daemon::routes()
        .and(jobs::routes())
        .and(work::routes())
        .and(queues::routes())
        .and(schedules::routes())
        .and(flow::routes())
        .and(streams::routes());
    all.under("/api/v1")
}
