//! Whether the program of a handler can be started here: looked up as it will be, but not run.

use super::paths::Surroundings;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where a name is looked for if PATH is not set.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What stands in the way of starting this program, a whole path or a name; `None` if nothing does.
pub(super) fn cannot_start(program: &str, around: &Surroundings) -> Option<String> {
    const UNTIL: &str = "its jobs wait or fail until that changes";
    let path = Path::new(program);
    if path.is_absolute() {
        let what = match found(path) {
            Found::Program => return None,
            Found::Nothing => "does not exist here",
            Found::NoFile => "is no file",
            Found::NotExecutable => "is not executable (chmod +x)",
        };
        return Some(format!("`{program}` {what}; {UNTIL}"));
    }
    let list = (around.env)("PATH").unwrap_or_else(|| USUAL_PATH.into());
    let places: Vec<PathBuf> = std::env::split_paths(&list).map(|dir| dir.join(program)).collect();
    if places.iter().any(|place| found(place) == Found::Program) {
        return None;
    }
    match places.iter().find(|place| found(place) == Found::NotExecutable) {
        Some(place) => Some(format!("`{}` is not executable (chmod +x); {UNTIL}", place.display())),
        None => {
            let list = list.to_string_lossy();
            Some(format!("`{program}` is not in PATH ({list}) here; write the whole path, or {UNTIL}"))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Program,
    Nothing,
    NoFile,
    NotExecutable,
}

/// By the permissions alone, whoever asks: the daemon is often another user than who checks its configuration.
fn found(path: &Path) -> Found {
    match path.metadata() {
        Err(_) => Found::Nothing,
        Ok(meta) if !meta.is_file() => Found::NoFile,
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Found::NotExecutable,
        Ok(_) => Found::Program,
    }
}
