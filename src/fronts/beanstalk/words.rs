//! What is said in beanstalkd's protocol, with the end of its line.

pub(super) const BAD_FORMAT: &str = "BAD_FORMAT\r\n";
pub(super) const BURIED: &str = "BURIED\r\n";
pub(super) const DEADLINE_SOON: &str = "DEADLINE_SOON\r\n";
pub(super) const DELETED: &str = "DELETED\r\n";
pub(super) const DRAINING: &str = "DRAINING\r\n";
pub(super) const EXPECTED_CRLF: &str = "EXPECTED_CRLF\r\n";
pub(super) const INTERNAL_ERROR: &str = "INTERNAL_ERROR\r\n";
pub(super) const JOB_TOO_BIG: &str = "JOB_TOO_BIG\r\n";
pub(super) const KICKED: &str = "KICKED\r\n";
pub(super) const NOT_FOUND: &str = "NOT_FOUND\r\n";
/// No job for a claim of several.
pub(super) const NONE_RESERVED: &str = "RESERVED_BATCH 0\r\n";
pub(super) const NOT_IGNORED: &str = "NOT_IGNORED\r\n";
/// There is no room: in a queue, on the disk, or for what a request would have remembered.
pub(super) const OUT_OF_MEMORY: &str = "OUT_OF_MEMORY\r\n";
pub(super) const PAUSED: &str = "PAUSED\r\n";
pub(super) const RELEASED: &str = "RELEASED\r\n";
pub(super) const TIMED_OUT: &str = "TIMED_OUT\r\n";
pub(super) const TOUCHED: &str = "TOUCHED\r\n";
pub(super) const UNKNOWN_COMMAND: &str = "UNKNOWN_COMMAND\r\n";
