//! Explains why no daemon can be reached, and what to do: there is none, it does not answer, or this user may not open
//! the socket.

use super::exit::{Failure, UNREACHABLE};
use crate::client::ClientError;
use crate::config::socket_path_error;
use nix::unistd::{Gid, Group, Uid, User, getgroups};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What to tell of an error at the first connection; `places` are the sockets that were looked at.
pub(super) fn explain(error: ClientError, places: &[PathBuf]) -> Failure {
    let ClientError::Connect { path, source } = &error else { return error.into() };
    if let Some(why) = socket_path_error(path) {
        return Failure::usage(format!("--socket {}: {why}", path.display()));
    }
    let message = match source.kind() {
        ErrorKind::PermissionDenied => denied(path),
        ErrorKind::NotFound if places.len() > 1 => {
            let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
            Some(format!(
                "no daemon answers: there is no socket at {}; start one with `musher serve`, or name its socket with \
                 --socket or MUSHER_SOCKET",
                places.join(", ")
            ))
        }
        _ => None,
    };
    match message {
        Some(message) => Failure { code: UNREACHABLE, message },
        None => error.into(),
    }
}

/// Which right is missing.
fn denied(socket: &Path) -> Option<String> {
    // The socket itself, or the directory on the way to it that does not let us look.
    let (path, found) = socket.ancestors().find_map(|path| Some((path, path.metadata().ok()?)))?;
    let need = if path == socket { 0o2 } else { 0o1 };
    let (mode, owner, group) = (found.mode(), found.uid(), Gid::from_raw(found.gid()));
    let of_group = |gid: Gid| Group::from_gid(gid).ok().flatten();
    let name = of_group(group).map_or_else(|| format!("number {group}"), |group| group.name);
    let owner =
        User::from_uid(Uid::from_raw(owner)).ok().flatten().map_or(owner.to_string(), |user| user.name);
    let us = User::from_uid(Uid::effective()).ok().flatten();
    let our_name = us.as_ref().map_or_else(|| Uid::effective().to_string(), |user| user.name.clone());
    let what = format!("the daemon's socket {} is not open to you ({our_name})", socket.display());
    let is_member = getgroups().is_ok_and(|groups| groups.contains(&group)) || Gid::effective() == group;
    Some(if mode & (need << 3) == 0 || is_member {
        format!("{what}: {} belongs to {owner} and has mode {:04o}", path.display(), mode & 0o7777)
    } else if us.is_some() && of_group(group).is_some_and(|group| group.mem.contains(&our_name)) {
        format!(
            "{what} yet: you were added to the group {name} after you logged in; log in again, or run `newgrp {name}`"
        )
    } else if of_group(group).is_none() {
        format!("{what}: it is open to {owner} and to the group {group}, which has no name here")
    } else {
        format!(
            "{what}: it is open to {owner} and to the group {name}; `usermod -aG {name} {our_name}` adds you to it, from \
             the next login on"
        )
    })
}
