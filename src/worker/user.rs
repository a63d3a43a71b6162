//! Whose rights a command job has: those of the user who submitted it, and never anybody else's. Only root can take on
//! another user's rights; a worker of another user refuses the jobs of others.

use nix::unistd::{Uid, User as Account, getgrouplist};
use rustix::process::{Gid, chdir, geteuid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Why a job cannot run as its owner.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    /// This process is not root.
    #[error(
        "its command must run as user {owner}, who submitted it, and this worker runs as user {own}: only a worker \
         that runs as root can do that"
    )]
    NotRoot { owner: u32, own: u32 },
    /// There is no such user, or no longer.
    #[error(
        "its command must run as user {owner}, who submitted it, and there is no such user on this machine"
    )]
    Unknown { owner: u32 },
    /// The system's directory did not answer.
    #[error("user {owner} cannot be looked up: {source}")]
    Lookup { owner: u32, source: io::Error },
}

/// Another user, whose rights a command gets.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: String,
    uid: Uid,
    gid: u32,
    groups: Vec<Gid>,
    home: PathBuf,
    shell: PathBuf,
}

impl User {
    /// The owner of a job; `None` if that is the user of this process, so that nothing needs to be changed.
    ///
    /// # Errors
    /// See [`UserError`]: the job must not run here.
    pub(super) fn of_owner(owner: u32) -> Result<Option<User>, UserError> {
        let own = geteuid();
        if own.as_raw() == owner {
            return Ok(None);
        }
        if !own.is_root() {
            return Err(UserError::NotRoot { owner, own: own.as_raw() });
        }
        let lookup = |error: nix::Error| UserError::Lookup { owner, source: error.into() };
        let account = Account::from_uid(Uid::from_raw(owner)).map_err(lookup)?;
        let Account { name, uid, gid, dir: home, shell, .. } = account.ok_or(UserError::Unknown { owner })?;
        // It comes from a C string.
        let c_name = CString::new(name.as_bytes()).map_err(|_| UserError::Unknown { owner })?;
        let groups = getgrouplist(&c_name, gid).map_err(lookup)?;
        let groups = groups.into_iter().map(|gid| Gid::from_raw(gid.as_raw())).collect();
        Ok(Some(User { name, uid, gid: gid.as_raw(), groups, home, shell }))
    }

    /// Has the command run with this user's rights only, from `cwd`, which the user must be able to enter. The
    /// usual variables name the user unless `has_variable` says that they are set.
    pub(super) fn run(&self, command: &mut Command, cwd: CString, has_variable: impl Fn(&str) -> bool) {
        let variables = [
            ("HOME", self.home.as_os_str()),
            ("SHELL", self.shell.as_os_str()),
            ("USER", self.name.as_ref()),
            ("LOGNAME", self.name.as_ref()),
        ];
        command.envs(variables.into_iter().filter(|(name, _)| !has_variable(name)));
        let (uid, gid) = (rustix::process::Uid::from_raw(self.uid.as_raw()), Gid::from_raw(self.gid));
        let groups = self.groups.clone();
        let change = move || {
            // The groups first: without root's rights they cannot be changed any more.
            set_thread_groups(&groups)?;
            set_thread_gid(gid)?;
            set_thread_uid(uid)?;
            Ok(chdir(&*cwd)?)
        };
        // SAFETY: between fork and exec only calls that are safe in a signal handler are allowed. These are four bare
        // system calls for the one thread that there is then; nothing is allocated or locked, the groups and the path
        // were made before, and an error is a plain number.
        unsafe { command.pre_exec(change) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_jobs_run_as_they_are() {
        assert!(User::of_owner(geteuid().as_raw()).unwrap().is_none());
    }

    #[test]
    fn nobody_runs_as_somebody_whom_the_machine_does_not_know_nor_without_being_root() {
        let error = User::of_owner(3_999_999_998).unwrap_err();
        assert_eq!(matches!(error, UserError::Unknown { .. }), geteuid().is_root(), "{error}");
        assert_eq!(matches!(error, UserError::NotRoot { .. }), !geteuid().is_root(), "{error}");
    }
}
