//! Precaution 1: sled's `flush` calls `sync_file_range(2)`, which flushes neither the drive's cache nor the file's
//! metadata: on a disk that was cut off at random moments, flushed inserts were lost at 52 of 60. The call goes
//! through the C symbol, so a function of that name here takes its place at link time and calls `fdatasync`: 0 of 60.
//! Which definition wins is up to the linker, so `database.rs` checks at every start that this one did.

use std::ffi::{c_int, c_uint};
use std::sync::atomic::{AtomicU64, Ordering};

static CALLS: AtomicU64 = AtomicU64::new(0);

/// How often sled has synced through the function below.
pub(super) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

unsafe extern "C" {
    /// `fdatasync(2)`. Any number may be passed: one that is no open file is answered with `EBADF`.
    safe fn fdatasync(fd: c_int) -> c_int;
}

/// How much is brought to the disk at once. sled writes up to 8 MiB and then syncs; a commit of the log that comes in
/// between would wait for all of it.
const STEP: i64 = 256 << 10;

/// Takes the place of the C library's function: brings the range to the disk in small steps, then syncs the whole file,
/// and the drive's cache with it. The result and `errno` are those of the system's calls, which sled checks in the same
/// way.
// SAFETY: the symbol replaces one of the C library on purpose. Name, parameters and result are those of
// sync_file_range(2), whose contract (the range is written when it returns 0) `fdatasync` more than keeps; nobody
// else in this program calls it. It touches no memory of the caller and does not unwind.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(fd: c_int, offset: i64, bytes: i64, flags: c_uint) -> c_int {
    CALLS.fetch_add(1, Ordering::Relaxed);
    let mut at = 0;
    while at < bytes {
        let step = STEP.min(bytes - at);
        // SAFETY: the call takes numbers only; wrong ones are answered with an error.
        let done = unsafe { libc::syscall(libc::SYS_sync_file_range, fd, offset + at, step, flags) };
        // Only one of the calls is told of a failed write, so no error may be passed over. A system without the call has
        // written nothing, and `fdatasync` does it all.
        if done < 0 && std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS) {
            return -1;
        }
        at += step;
    }
    fdatasync(fd)
}
