//! Who somebody is: what the kernel says of the process at the other end of a Unix socket, user and groups at the moment of the connect;
//! and what the system says of a user. It knows no rules and no connections of ours.

use crate::access::Caller;
use nix::unistd::{Gid, Uid, User, getgrouplist};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The option of a socket that tells the groups of its peer (Linux 4.13), as all architectures that we build for
/// number it; the crate libc does not name it.
const SO_PEERGROUPS: libc::c_int = 59;
/// The most groups that a process is in (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// Who is on the other side, and the number of the process; 0 where it cannot be seen.
///
/// # Errors
/// The kernel does not say who it is: then it must not be served.
pub(crate) fn of(socket: impl AsFd) -> io::Result<(Caller, u32)> {
    let (uid, own, pid) = user_of(&socket)?;
    let mut groups = groups_of(&socket)?;
    if !groups.contains(&own) {
        groups.push(own);
    }
    Ok((Caller { uid, groups }, pid))
}

/// The user of a name or a number, with all groups; `None` if there is no such name.
///
/// # Errors
/// The system does not say.
pub(crate) fn of_name(user: &str) -> io::Result<Option<Caller>> {
    match user.parse() {
        Ok(uid) => of_user(uid).map(Some),
        Err(_) => User::from_name(user)?.map(caller).transpose(),
    }
}

/// The user of a number, which need not have a name, with all groups.
///
/// # Errors
/// The system does not say.
pub(crate) fn of_user(uid: u32) -> io::Result<Caller> {
    match User::from_uid(Uid::from_raw(uid))? {
        Some(user) => caller(user),
        None => Ok(Caller { uid, groups: Vec::new() }),
    }
}

fn caller(user: User) -> io::Result<Caller> {
    let name = std::ffi::CString::new(user.name)?;
    let groups = getgrouplist(&name, user.gid)?;
    Ok(Caller { uid: user.uid.as_raw(), groups: groups.into_iter().map(Gid::as_raw).collect() })
}

/// User, group and number of the process. The number may well be 0: so it is for one that cannot be seen
/// from here, when the daemon has process numbers of its own (`pid_namespaces(7)`), and rustix takes that for an error.
fn user_of(socket: impl AsFd) -> io::Result<(u32, u32, u32)> {
    let mut who = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut bytes = size_of_val(&who) as libc::socklen_t; // twelve
    // SAFETY: the descriptor is open for the whole call, since it is borrowed. The kernel writes at most `bytes`
    // bytes to `who`, which has as many, and any bytes are valid numbers; it writes the length to `bytes`, which is a
    // local of the type that it asks for.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut who).cast(),
            &mut bytes,
        )
    };
    if result == 0 {
        Ok((who.uid, who.gid, who.pid.cast_unsigned()))
    } else {
        Err(io::Error::last_os_error())
    }
}

fn groups_of(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let socket = socket.as_fd();
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut bytes = size_of_val(&groups[..]) as libc::socklen_t; // at most 4 * GROUPS_MAX: fits
        // SAFETY: the descriptor is open for the whole call, since it is borrowed. The kernel writes at most `bytes`
        // bytes to the vector, which has as many, and any bytes are valid numbers; it writes the length to `bytes`,
        // which is a local of the type that it asks for.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &mut bytes,
            )
        };
        let error = io::Error::last_os_error();
        if result == 0 {
            groups.truncate(bytes as usize / size_of::<libc::gid_t>());
            return Ok(groups);
        }
        if error.raw_os_error() != Some(libc::ERANGE) || groups.len() >= GROUPS_MAX {
            return Err(error);
        }
        // Too many for the vector.
        groups = vec![0; GROUPS_MAX];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_of_a_pair_is_this_process_with_all_its_groups() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let (peer, pid) = of(&one).unwrap();
        assert_eq!(pid, std::process::id());
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        let mut expected: Vec<u32> =
            nix::unistd::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        expected.push(rustix::process::getegid().as_raw());
        expected.sort_unstable();
        expected.dedup();
        let mut groups = peer.groups;
        groups.sort_unstable();
        assert_eq!(groups, expected);
    }
}
