//! Starts a program without copying this process: the child borrows its memory until it executes the program, as with
//! posix_spawn. That function cannot be used, since it does not let the child ask to be killed when this process dies.
//! It knows nothing of jobs.

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;

/// The child's stack until it is the program; it needs a few hundred bytes.
const STACK: usize = 64 << 10;
/// Signals are numbered from 1 to this.
const SIGNAL_MAX: i32 = 64;
/// Where a program is looked for if the environment has no `PATH`, as the C library does it.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
const SHELL: &[u8] = b"/bin/sh";

/// Starts `command` as the leader of a session of its own, without a terminal, which gets SIGKILL when the thread that
/// calls this ends. If it `adopts`, what is orphaned below it becomes its child. It enters the control group to which
/// `entrance` (its `cgroup.procs`) belongs; if the system refuses that, it stays in this process's. Of the command's
/// environment only what was set counts; in its arguments and directory `Command` has replaced what holds a zero
/// byte, so that must have been looked for before. `stdio` are its standard streams. Gives its number and a
/// descriptor of it.
///
/// # Errors
/// As [`Command::spawn`]; no process is left behind.
pub(super) fn spawn(
    command: &Command,
    stdio: [BorrowedFd<'_>; 3],
    adopts: bool,
    entrance: Option<BorrowedFd<'_>>,
) -> io::Result<(Pid, OwnedFd)> {
    if stdio.iter().any(|fd| fd.as_raw_fd() < 3) {
        // They would be overwritten before they are used. Programs in Rust begin with those three open.
        return Err(io::Error::other("this process has no standard streams"));
    }
    let program = Program::of(command)?;
    let mut birth = Birth {
        paths: pointers(&program.paths),
        arguments: pointers(&program.arguments),
        script: pointers(&program.script),
        environment: pointers(&program.environment),
        cwd: program.cwd.as_ref().map_or(ptr::null(), |cwd| cwd.as_ptr()),
        stdio: stdio.map(|fd| fd.as_raw_fd()),
        parent: getpid().as_raw_nonzero().get(),
        adopts,
        entrance: entrance.map_or(-1, |fd| fd.as_raw_fd()),
        error: 0,
    };
    let mut stack = Box::<[u8]>::new_uninit_slice(STACK);
    let mut pidfd: RawFd = -1;
    let pid = without_signals(|| {
        // SAFETY: the child runs `be_born` on `stack`, in this memory, while this thread is suspended until it has
        // become the program or ended (CLONE_VFORK); so `birth`, `stack` and what they point to outlive its use of
        // them, and nothing on this thread's own stack moves. It writes only there, to `birth.error` and to this
        // thread's errno. What `be_born` may do is documented there. Signals are blocked, so that no handler runs in
        // it. The top of the stack is aligned to 16 bytes. The fifth argument is where CLONE_PIDFD puts the
        // descriptor.
        unsafe {
            let top = stack.as_mut_ptr().add(STACK);
            let top = top.sub(top.addr() % 16);
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
            match libc::clone(be_born, top.cast(), flags, (&raw mut birth).cast(), &raw mut pidfd) {
                -1 => Err(io::Error::last_os_error()),
                pid => Ok(pid),
            }
        }
    })??;
    let pid = Pid::from_raw(pid).expect("0 is what only the child would see, and it never returns here");
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    let process = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: the field is ours; the read must not be left out because nothing here is seen to write it.
    let error = unsafe { ptr::read_volatile(&raw const birth.error) };
    if error != 0 {
        // It has ended without becoming the program; nobody asks for its status.
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        return Err(io::Error::from_raw_os_error(error));
    }
    Ok((pid, process))
}

/// What a program is started with, as the kernel wants it.
struct Program {
    /// Where it may be, in this order.
    paths: Vec<CString>,
    arguments: Vec<CString>,
    /// The arguments for a shell, if it turns out to be a script that does not say by what it is run. The second one
    /// is the path, put in then.
    script: Vec<CString>,
    environment: Vec<CString>,
    cwd: Option<CString>,
}

impl Program {
    fn of(command: &Command) -> io::Result<Program> {
        let name = command.get_program();
        let arguments: Vec<&OsStr> = std::iter::once(name).chain(command.get_args()).collect();
        let mut environment = Vec::new();
        let mut path = None;
        for (variable, value) in command.get_envs() {
            let Some(value) = value else { continue };
            if variable == "PATH" {
                path = Some(value);
            }
            let mut pair = OsString::with_capacity(variable.len() + value.len() + 2);
            pair.push(variable);
            pair.push("=");
            pair.push(value);
            environment.push(CString::new(pair.into_vec())?);
        }
        let arguments: Vec<CString> = arguments.into_iter().map(c_string).collect::<io::Result<_>>()?;
        let script =
            [CString::new(SHELL)?, CString::default()].into_iter().chain(arguments[1..].iter().cloned());
        Ok(Program {
            paths: candidates(name, path)?,
            script: script.collect(),
            arguments,
            environment,
            cwd: command.get_current_dir().map(|cwd| c_string(cwd.as_os_str())).transpose()?,
        })
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

/// Where a program may be: at its name if that has a slash, else in the directories of `PATH`.
fn candidates(name: &OsStr, path: Option<&OsStr>) -> io::Result<Vec<CString>> {
    let name = name.as_bytes();
    if name.is_empty() || name.contains(&b'/') {
        return Ok(vec![CString::new(name)?]);
    }
    let directories = path.map_or(DEFAULT_PATH, OsStr::as_bytes).split(|byte| *byte == b':');
    let in_directory = |directory: &[u8]| {
        // An empty one is the working directory.
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        Ok(CString::new([directory, slash, name].concat())?)
    };
    directories.map(in_directory).collect()
}

/// Where the program of this name is that would be started with such a `PATH`; else why none would be.
///
/// # Errors
/// As [`spawn`].
pub(super) fn find(name: &OsStr, path: Option<&OsStr>) -> io::Result<PathBuf> {
    let mut denied = None;
    for candidate in candidates(name, path)? {
        let candidate = Path::new(OsStr::from_bytes(candidate.as_bytes()));
        match rustix::fs::accessat(CWD, candidate, Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) if candidate.is_file() => return Ok(candidate.to_owned()),
            Ok(()) => denied = Some(Errno::ACCESS),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => denied = denied.or(Some(error)),
        }
    }
    Err(denied.unwrap_or(Errno::NOENT).into())
}

/// The addresses of strings and a null at the end; valid for as long as the strings are.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Does something with all signals blocked.
fn without_signals<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both sets are ours; the first is filled before it is read, the second is only written.
    let error = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr())
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let done = work();
    // SAFETY: `before` was written by the call above, which did not fail.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    Ok(done)
}

/// All that the child needs, made before it is born, and what it leaves if it fails.
struct Birth {
    paths: Vec<*const libc::c_char>,
    arguments: Vec<*const libc::c_char>,
    script: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    /// Null to stay where it is.
    cwd: *const libc::c_char,
    stdio: [RawFd; 3],
    parent: i32,
    adopts: bool,
    /// -1 for none.
    entrance: RawFd,
    error: i32,
}

/// The child. It runs in its parent's memory: it makes system calls that are its own affair and touches nothing but its
/// `Birth`. It must not allocate, lock or panic.
extern "C" fn be_born(birth: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `spawn` passes a `Birth` and is suspended, so nobody else uses it.
    let birth = unsafe { &mut *birth.cast::<Birth>() };
    // SAFETY: as said above.
    birth.error = unsafe { become_program(birth) }.raw_os_error();
    // Ends without the exit handlers, which are the parent's: that is what `clone` makes of a return.
    127
}

/// Returns only if it fails.
///
/// # Safety
/// To be called by `be_born` only.
unsafe fn become_program(birth: &mut Birth) -> Errno {
    let errno = || {
        // SAFETY: it is this thread's own.
        Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
    };
    // SAFETY: plain system calls with numbers, and with strings and arrays of them that end with a null and that
    // `spawn` keeps alive. Each acts on the child alone: its death signal, session, descriptors, directory and handlers
    // are its own, as neither CLONE_FILES, CLONE_FS nor CLONE_SIGHAND was asked for.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return errno();
        }
        // Dead already, before the line above? Then no signal will come.
        if libc::getppid() != birth.parent {
            return Errno::PIPE;
        }
        if birth.entrance >= 0 {
            libc::write(birth.entrance, c"0".as_ptr().cast(), 1);
        }
        if libc::setsid() < 0 || (birth.adopts && libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) != 0) {
            return errno();
        }
        for (target, fd) in (0..).zip(&birth.stdio) {
            if libc::dup2(*fd, target) < 0 {
                return errno();
            }
        }
        if !birth.cwd.is_null() && libc::chdir(birth.cwd) != 0 {
            return errno();
        }
        reset_signals();
        let mut denied = false;
        for path in &birth.paths {
            if path.is_null() {
                break;
            }
            libc::execve(*path, birth.arguments.as_ptr(), birth.environment.as_ptr());
            let mut error = errno();
            if error == Errno::NOEXEC
                && let [shell, script, ..] = &mut birth.script[..]
            {
                *script = *path;
                let shell = *shell;
                libc::execve(shell, birth.script.as_ptr(), birth.environment.as_ptr());
                error = errno();
            }
            match error {
                Errno::ACCESS => denied = true,
                Errno::NOENT | Errno::NOTDIR => {}
                error => return error,
            }
        }
        if denied { Errno::ACCESS } else { Errno::NOENT }
    }
}

/// Takes this program's handlers away, which must not run in the child, and then blocks no signal. What is ignored
/// stays so, but for SIGPIPE, which only Rust's runtime ignores.
///
/// # Safety
/// To be called by the child only.
unsafe fn reset_signals() {
    // SAFETY: plain system calls on values of our own; zeroes are a valid action, SIG_DFL, and a valid empty set.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        let mut signal = 1;
        while signal <= SIGNAL_MAX {
            let mut action: libc::sigaction = std::mem::zeroed();
            // It fails for the two that belong to the C library, and for those nobody can handle.
            if libc::sigaction(signal, ptr::null(), &raw mut action) == 0
                && action.sa_sigaction != libc::SIG_DFL
                && (action.sa_sigaction != libc::SIG_IGN || signal == libc::SIGPIPE)
            {
                libc::sigaction(signal, &raw const default, ptr::null_mut());
            }
            signal += 1;
        }
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, WaitOptions, WaitStatus, waitpid};
    use std::fs::{self, File, Permissions};
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    /// What a command prints, and how it ends.
    fn run(command: &Command) -> io::Result<(String, WaitStatus)> {
        let (mut reader, writer) = io::pipe().unwrap();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let (pid, _) = spawn(command, [null.as_fd(), writer.as_fd(), null.as_fd()], false, None)?;
        drop(writer);
        let mut printed = String::new();
        reader.read_to_string(&mut printed).unwrap();
        Ok((printed, ended(pid)))
    }

    fn ended(pid: Pid) -> WaitStatus {
        waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap().1
    }

    fn error(command: &Command) -> Option<i32> {
        run(command).unwrap_err().raw_os_error()
    }

    #[test]
    fn a_name_without_a_slash_is_looked_for_in_the_jobs_path() {
        let table: [(&str, Option<&str>, &[&str]); 5] = [
            ("ls", Some("/a:/b/c"), &["/a/ls", "/b/c/ls"]),
            ("ls", Some(":/a:"), &["ls", "/a/ls", "ls"]),
            ("ls", None, &["/bin/ls", "/usr/bin/ls"]),
            ("./ls", Some("/a"), &["./ls"]),
            ("", Some("/a"), &[""]),
        ];
        for (name, path, expected) in table {
            let found = candidates(OsStr::new(name), path.map(OsStr::new)).unwrap();
            assert_eq!(
                found.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>(),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn a_program_that_can_be_run_is_found_without_running_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("text"), "").unwrap();
        fs::create_dir(dir.path().join("sh")).unwrap();
        let path = format!("{}:/nowhere:/usr/bin:/bin", dir.path().display());
        let found = |name: &str| {
            find(OsStr::new(name), Some(OsStr::new(&path))).map_err(|error| error.raw_os_error())
        };
        assert_eq!(found("sh"), Ok("/usr/bin/sh".into()));
        assert_eq!(found("/bin/sh"), Ok("/bin/sh".into()));
        assert_eq!(found("no-such-program"), Err(Some(libc::ENOENT)));
        assert_eq!(found("/usr/bin"), Err(Some(libc::EACCES)));
        assert_eq!(found("text"), Err(Some(libc::EACCES)));
    }

    #[test]
    fn a_program_has_its_arguments_environment_and_directory_and_no_other() {
        let mut command = Command::new("sh");
        command.args(["-c", "pwd; echo $1; env | grep -v -e PWD -e SHLVL -e _=", "sh", "one two"]);
        command.env_clear().envs([("FRUIT", "plum"), ("PATH", "/nowhere:/usr/bin:/bin")]).current_dir("/usr");
        let (printed, status) = run(&command).unwrap();
        let mut printed: Vec<&str> = printed.lines().collect();
        printed.sort_unstable();
        assert_eq!(printed, ["/usr", "FRUIT=plum", "PATH=/nowhere:/usr/bin:/bin", "one two"]);
        assert_eq!(status.exit_status(), Some(0));
    }

    #[test]
    fn a_program_leads_a_session_of_its_own_and_blocks_and_ignores_nothing_that_rust_does() {
        let mut command = Command::new("cat");
        command.args(["/proc/self/stat", "/proc/self/status"]);
        let (printed, _) = run(&command).unwrap();
        let mut lines = printed.lines();
        let numbers: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(
            [numbers[4], numbers[5]],
            [numbers[0]; 2],
            "its own number is that of its group and session"
        );
        let [blocked, ignored] =
            ["SigBlk", "SigIgn"].map(|name| lines.find(|line| line.starts_with(name)).unwrap());
        let mask = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        assert_eq!(mask(blocked), 0);
        assert_eq!(mask(ignored) & 1 << (libc::SIGPIPE - 1), 0);
    }

    #[test]
    fn a_program_dies_with_the_thread_that_started_it() {
        let start = || {
            let null = File::open("/dev/null").unwrap();
            let mut command = Command::new("sleep");
            command.arg("20");
            spawn(&command, [null.as_fd(); 3], false, None).unwrap().0
        };
        let pid = std::thread::spawn(start).join().unwrap();
        assert_eq!(ended(pid).terminating_signal(), Some(Signal::KILL.as_raw()));
    }

    #[test]
    fn a_script_that_names_no_program_is_run_by_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        fs::write(&script, "echo $0 $1\n").unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("script");
        command.arg("one").env("PATH", dir.path());
        assert_eq!(run(&command).unwrap().0, format!("{} one\n", script.display()));
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("text"), "").unwrap();
        let named = |name: &str| {
            let mut command = Command::new(name);
            command.env("PATH", dir.path());
            command
        };
        assert_eq!(error(&named("no-such-program")), Some(libc::ENOENT));
        assert_eq!(error(&named("")), Some(libc::ENOENT));
        assert_eq!(error(&named("text")), Some(libc::EACCES));
        assert_eq!(error(named("/bin/sh").current_dir("/no/where")), Some(libc::ENOENT));
        let zero = run(named("/bin/sh").env("A", "a\0b")).unwrap_err();
        assert_eq!((zero.kind(), zero.raw_os_error()), (io::ErrorKind::InvalidInput, None));
    }
}
