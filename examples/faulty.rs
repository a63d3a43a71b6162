//! A library to load before the daemon (`LD_PRELOAD`), which makes the disk bad for it: `examples/soak` uses it.
//! `FAULTY=<files>:<call>:<nth>:<errno>` lets the nth call on such files fail, and that one only;
//! `FAULTY=<files>:unsynced` turns all syncs of them into nothing. Files are `log` (in use), `new` (a log file in the
//! making), `mark`, `logdir`, `sled`, `copy` (of the database, while it is rewritten, or the old one that is
//! removed); calls are `write` and `sync`. `FAULTY_HIT` names a file that is made when the fault strikes.
//!
//! A sync that fails takes with it what it should have brought to the disk, as a kernel does: the old bytes are back,
//! and the next sync succeeds. So a program that goes on after it loses what it believes to be there.

use libc::{c_int, c_long, off_t, size_t, ssize_t};
use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What shall go wrong.
struct Plan {
    files: String,
    fault: Fault,
    hit: Option<PathBuf>,
}

enum Fault {
    Unsynced,
    Nth { call: Call, nth: u64, errno: c_int },
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Write,
    Sync,
}

static CALLS: AtomicU64 = AtomicU64::new(0);

/// What stood where something was written since the last sync.
struct Former {
    fd: c_int,
    at: off_t,
    bytes: Vec<u8>,
}

static UNSYNCED: Mutex<Vec<Former>> = Mutex::new(Vec::new());

/// `None` where nothing shall go wrong. A plan that cannot be read must not pass for one.
fn plan() -> Option<&'static Plan> {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    PLAN.get_or_init(|| {
        let text = std::env::var("FAULTY").ok()?;
        let parts: Vec<&str> = text.split(':').collect();
        let fault = match parts[..] {
            [_, "unsynced"] => Fault::Unsynced,
            [_, call, nth, errno] => Fault::Nth {
                call: if call == "write" { Call::Write } else { Call::Sync },
                nth: nth.parse().expect("FAULTY names which call fails by its number"),
                errno: errno.parse().expect("FAULTY names an error by its number"),
            },
            _ => panic!("FAULTY={text} is not understood"),
        };
        Some(Plan { files: parts[0].into(), fault, hit: std::env::var_os("FAULTY_HIT").map(PathBuf::from) })
    })
    .as_ref()
}

/// Which of the files a descriptor is, in the words of `FAULTY`.
fn files(fd: c_int) -> &'static str {
    let mut buffer = [0_u8; 512];
    let link = CString::new(format!("/proc/self/fd/{fd}")).expect("there is no NUL in it");
    // SAFETY: both pointers are valid for the call, and the buffer is as long as is said.
    let len = unsafe { libc::readlink(link.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let path = usize::try_from(len).map_or(&[][..], |len| &buffer[..len]);
    let Some(text) = str::from_utf8(path).ok() else { return "" };
    match text.rsplit('/').next().unwrap_or_default() {
        "log" => "logdir",
        name if text.contains("/log/") && name.ends_with(".log") => "log",
        name if text.contains("/log/") && name.ends_with(".new") => "new",
        "mark" => "mark",
        _ if text.contains("/sled.new") => "copy",
        _ if text.contains("/sled") => "sled",
        _ => "",
    }
}

/// The errno if this call is the one that shall fail.
fn strikes(fd: c_int, is: Call) -> Option<c_int> {
    let plan = plan()?;
    let Fault::Nth { call, nth, errno } = plan.fault else { return None };
    if call != is || files(fd) != plan.files || CALLS.fetch_add(1, Ordering::SeqCst) != nth {
        return None;
    }
    if let Some(hit) = &plan.hit {
        // The test that looks for it fails without it.
        let _ = std::fs::write(hit, std::path::Path::new(&plan.files).as_os_str().as_bytes());
    }
    Some(errno)
}

fn fail(errno: c_int) -> c_long {
    // SAFETY: the C library's pointer to this thread's errno is valid for as long as the thread.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Remembers what a write is about to replace, if a sync may have to undo it.
fn remember(fd: c_int, len: size_t, at: off_t) {
    let waits_for_sync = |plan: &Plan| matches!(plan.fault, Fault::Nth { call: Call::Sync, .. });
    if !plan().is_some_and(|plan| waits_for_sync(plan) && files(fd) == plan.files) {
        return;
    }
    let mut bytes = vec![0_u8; len];
    // SAFETY: the buffer is valid and as long as is said.
    let read = unsafe { libc::pread(fd, bytes.as_mut_ptr().cast(), len, at) };
    bytes.truncate(usize::try_from(read).unwrap_or(0));
    UNSYNCED.lock().unwrap_or_else(PoisonError::into_inner).push(Former { fd, at, bytes });
}

/// A sync: what was written before is safe, or, if it fails, as it was.
fn sync(fd: c_int, call: c_long) -> c_int {
    if plan().is_some_and(|plan| {
        matches!(plan.fault, Fault::Unsynced) && files_of_one_kind(files(fd), &plan.files)
    }) {
        return 0;
    }
    let errno = strikes(fd, Call::Sync);
    let formers: Vec<Former> = {
        let mut all = UNSYNCED.lock().unwrap_or_else(PoisonError::into_inner);
        let (ours, others) = std::mem::take(&mut *all).into_iter().partition(|former| former.fd == fd);
        *all = others;
        ours
    };
    let Some(errno) = errno else {
        // SAFETY: the call takes a number only.
        return unsafe { libc::syscall(call, fd) } as c_int;
    };
    for former in formers.iter().rev() {
        // SAFETY: the bytes are valid and as many as is said.
        unsafe {
            libc::syscall(libc::SYS_pwrite64, fd, former.bytes.as_ptr(), former.bytes.len(), former.at);
        }
    }
    fail(errno) as c_int
}

/// Without syncs, all of the log's files are one.
fn files_of_one_kind(found: &str, wanted: &str) -> bool {
    found == wanted || wanted == "log" && ["new", "mark", "logdir"].contains(&found)
}

/// Takes the place of write(2).
// SAFETY: name, parameters and result are those of the C library's function, and so is what it does: the system call, or
// the failure that the caller must be ready for.
#[unsafe(no_mangle)]
extern "C" fn write(fd: c_int, bytes: *const c_void, len: size_t) -> ssize_t {
    let done = match strikes(fd, Call::Write) {
        Some(errno) => fail(errno),
        // SAFETY: the caller's pointer and length go to the system as they are, which checks them.
        None => unsafe { libc::syscall(libc::SYS_write, fd, bytes, len) },
    };
    done as ssize_t
}

/// Takes the place of pwrite(2) by the name that programs for large files use.
// SAFETY: as with `write`.
#[unsafe(no_mangle)]
extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, len: size_t, at: off_t) -> ssize_t {
    let done = match strikes(fd, Call::Write) {
        Some(errno) => fail(errno),
        None => {
            remember(fd, len, at);
            // SAFETY: as in `write`.
            unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, len, at) }
        }
    };
    done as ssize_t
}

/// Takes the place of fsync(2).
// SAFETY: as with `write`.
#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

/// Takes the place of fdatasync(2).
// SAFETY: as with `write`.
#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}
