//! Where things are when nobody says so: configuration file, data directory, socket. All of it follows from the
//! environment, which is passed in.

use nix::unistd::{Group, User};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

/// The longest path of a Unix socket, in bytes: `sun_path` has 108 (`unix(7)`), one of which ends it.
pub const SOCKET_PATH_MAX: usize = 107;

/// Looks up a variable of the environment.
pub type Env = Box<dyn Fn(&str) -> Option<OsString>>;

/// Looks up the number of a user or a group.
pub type Ids = Box<dyn Fn(&str) -> Option<u32>>;

/// What the defaults depend on, and what names mean here.
pub struct Surroundings {
    /// Looks up a variable of the environment.
    pub env: Env,
    /// Whether we are root.
    pub root: bool,
    /// Our user.
    pub uid: u32,
    /// The number of CPUs that we may use.
    pub cpus: u32,
    /// The name of the machine.
    pub host: String,
    /// Looks up a user.
    pub user: Ids,
    /// Looks up a group.
    pub group: Ids,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("root", &self.root)
            .field("cpus", &self.cpus)
            .finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn real() -> Surroundings {
        let cpus = thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
        Surroundings {
            env: Box::new(|name| std::env::var_os(name)),
            root: rustix::process::geteuid().is_root(),
            uid: rustix::process::geteuid().as_raw(),
            cpus,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            user: Box::new(|name| Some(User::from_name(name).ok()??.uid.as_raw())),
            group: Box::new(|name| Some(Group::from_name(name).ok()??.gid.as_raw())),
        }
    }

    fn var(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// A directory from the environment. A relative one is ignored, as the XDG base directory specification
    /// asks.
    fn dir(&self, name: &str) -> Option<PathBuf> {
        self.var(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// The first of the directories in a variable of systemd, which are separated by colons.
    fn first_dir(&self, name: &str) -> Option<PathBuf> {
        let list = self.var(name)?;
        let first = list.as_bytes().split(|byte| *byte == b':').next()?;
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(first))).filter(|path| path.is_absolute())
    }
}

/// The configuration file to read: the one that is named, else the first default that exists, if any.
pub fn config_file(named: Option<&Path>, around: &Surroundings) -> Option<PathBuf> {
    let named = named.map(Path::to_path_buf).or_else(|| around.var("MUSHER_CONFIG").map(PathBuf::from));
    if named.is_some() {
        return named;
    }
    let system = around.root || around.var("NOTIFY_SOCKET").is_some_and(|at| at == "/run/systemd/notify");
    let config_home =
        || around.dir("XDG_CONFIG_HOME").or_else(|| around.dir("HOME").map(|home| home.join(".config")));
    let candidates = [
        around.first_dir("CONFIGURATION_DIRECTORY").map(|dir| dir.join("musher.toml")),
        system.then(|| PathBuf::from("/etc/musher/musher.toml")),
        config_home().map(|dir| dir.join("musher/musher.toml")),
    ];
    candidates.into_iter().flatten().find(|path| path.is_file())
}

/// The data directory when none is set. Root's is the machine's, whatever home `sudo` has left in the
/// environment: jobs must not seem lost because somebody started the daemon another way.
pub fn data_dir(around: &Surroundings) -> Option<PathBuf> {
    let home = || around.dir("HOME").map(|home| home.join(".local/state/musher"));
    around
        .first_dir("STATE_DIRECTORY")
        .or_else(|| around.dir("XDG_STATE_HOME").map(|dir| dir.join("musher")))
        .or_else(|| if around.root { Some(PathBuf::from("/var/lib/musher")) } else { home() })
}

/// The system's socket.
const SYSTEM_SOCKET: &str = "/run/musher/musher.sock";

/// Where the socket of a daemon may be when nobody says so, the best place first: a daemon takes the first, and clients
/// look at all of them. `data` is its data directory, where that is known.
fn sockets(around: &Surroundings, data: Option<&Path>) -> Vec<PathBuf> {
    let runtime = around.first_dir("RUNTIME_DIRECTORY").map(|dir| dir.join("musher.sock"));
    if around.root {
        return runtime.into_iter().chain([PathBuf::from(SYSTEM_SOCKET)]).collect();
    }
    let user = around.dir("XDG_RUNTIME_DIR").map(|dir| dir.join("musher/musher.sock"));
    runtime.into_iter().chain(user).chain(data.map(|data| data.join("musher.sock"))).collect()
}

/// The socket to serve when none is set.
pub fn serve_socket(around: &Surroundings, data: &Path) -> PathBuf {
    sockets(around, Some(data)).swap_remove(0)
}

/// The sockets that a client may talk to, the best first: only the one that is named (`--socket`), else only
/// `MUSHER_SOCKET`, else all places where daemons are when nobody says so, one's own before the system's.
pub fn client_sockets(named: Option<&Path>, around: &Surroundings) -> Vec<PathBuf> {
    let named = named.map(Path::to_path_buf).or_else(|| around.var("MUSHER_SOCKET").map(PathBuf::from));
    if let Some(path) = named {
        return vec![path];
    }
    let mut places = sockets(around, data_dir(around).as_deref());
    if !around.root && around.dir("XDG_RUNTIME_DIR").is_none() {
        // cron and su do not set it, but a daemon of the same user's may have been started where it is set.
        places.insert(0, PathBuf::from(format!("/run/user/{}/musher/musher.sock", around.uid)));
    }
    let system = PathBuf::from(SYSTEM_SOCKET);
    if !places.contains(&system) {
        places.push(system);
    }
    places
}

/// The socket that a client talks to: of those that it may talk to the first that is there, else the first that cannot be
/// looked at, so that whoever tries it is told why, else the first.
pub fn client_socket(named: Option<&Path>, around: &Surroundings) -> PathBuf {
    let mut places = client_sockets(named, around);
    let looked: Vec<_> = places.iter().map(|path| path.try_exists().ok()).collect();
    let find = |wanted| looked.iter().position(|found| *found == wanted);
    let first = find(Some(true)).or_else(|| find(None)).unwrap_or(0);
    places.swap_remove(first)
}

/// Why a socket cannot have this path, if so.
pub fn socket_path_error(path: &Path) -> Option<String> {
    let length = path.as_os_str().len();
    (length > SOCKET_PATH_MAX).then(|| {
        format!(
            "the path has {length} bytes, a socket's path at most {SOCKET_PATH_MAX}; choose a shorter one"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(root: bool, vars: &'static [(&str, &str)]) -> Surroundings {
        let env = move |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        Surroundings {
            env: Box::new(env),
            root,
            uid: 7,
            cpus: 4,
            host: String::new(),
            user: Box::new(|_| None),
            group: Box::new(|_| None),
        }
    }

    #[test]
    fn the_data_directory_follows_from_the_environment() {
        for (root, vars, expected) in [
            (false, &[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("HOME", "/h")] as &[_], "/var/lib/a"),
            (false, &[("XDG_STATE_HOME", "/state"), ("HOME", "/h")], "/state/musher"),
            (false, &[("XDG_STATE_HOME", "relative"), ("HOME", "/h")], "/h/.local/state/musher"),
            (false, &[("HOME", "/h")], "/h/.local/state/musher"),
            (true, &[("HOME", "/root")], "/var/lib/musher"),
        ] {
            assert_eq!(data_dir(&around(root, vars)), Some(PathBuf::from(expected)), "{vars:?}");
        }
        assert_eq!(data_dir(&around(false, &[])), None);
    }

    #[test]
    fn the_socket_to_serve_follows_from_the_environment() {
        for (root, vars, expected) in [
            (false, &[("RUNTIME_DIRECTORY", "/run/a:/run/b")] as &[_], "/run/a/musher.sock"),
            (true, &[("XDG_RUNTIME_DIR", "/run/user/0")], "/run/musher/musher.sock"),
            (false, &[("XDG_RUNTIME_DIR", "/run/user/7")], "/run/user/7/musher/musher.sock"),
            (false, &[], "/data/musher.sock"),
        ] {
            let socket = serve_socket(&around(root, vars), Path::new("/data"));
            assert_eq!(socket, Path::new(expected), "{vars:?}");
        }
    }

    #[test]
    fn a_client_prefers_what_is_named_then_what_exists() {
        let here = around(false, &[("MUSHER_SOCKET", "/named.sock")]);
        assert_eq!(client_socket(None, &here), Path::new("/named.sock"));
        assert_eq!(client_socket(Some(Path::new("/option.sock")), &here), Path::new("/option.sock"));
    }

    /// A service whose unit hides /run/user could not reach the system's daemon.
    #[test]
    fn a_place_that_cannot_be_looked_at_does_not_hide_a_socket_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let state: &'static str = dir.path().to_str().unwrap().to_owned().leak();
        // Below a file nothing can be looked at.
        let vars = vec![("XDG_RUNTIME_DIR", "/proc/version"), ("XDG_STATE_HOME", state)].leak();
        let here = around(false, vars);
        assert_eq!(client_socket(None, &here), Path::new("/proc/version/musher/musher.sock"));
        let there = dir.path().join("musher").join("musher.sock");
        std::fs::create_dir(dir.path().join("musher")).unwrap();
        std::fs::write(&there, "").unwrap();
        assert_eq!(client_socket(None, &here), there);
    }

    /// The daemon served its state directory, and the client looked in /run only: "no daemon", or the system's one.
    #[test]
    fn a_client_looks_wherever_a_daemon_may_be() {
        let places = |root, vars| client_sockets(None, &around(root, vars));
        for (root, vars) in [
            (false, &[("HOME", "/h")] as &[_]),
            (false, &[("HOME", "/h"), ("XDG_STATE_HOME", "/state")]),
            (false, &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/7")]),
            (false, &[("STATE_DIRECTORY", "/var/lib/a"), ("RUNTIME_DIRECTORY", "/run/a")]),
            (true, &[("HOME", "/root"), ("XDG_RUNTIME_DIR", "/run/user/0")]),
        ] {
            let here = around(root, vars);
            let served = serve_socket(&here, &data_dir(&here).unwrap());
            assert!(places(root, vars).contains(&served), "{vars:?}");
        }
        let texts = |root, vars| -> Vec<String> {
            places(root, vars).iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(
            texts(false, &[("HOME", "/h")]),
            [
                "/run/user/7/musher/musher.sock",
                "/h/.local/state/musher/musher.sock",
                "/run/musher/musher.sock"
            ]
        );
        assert_eq!(texts(true, &[("HOME", "/root")]), ["/run/musher/musher.sock"]);
        assert_eq!(texts(false, &[]), ["/run/user/7/musher/musher.sock", "/run/musher/musher.sock"]);
    }

    #[test]
    fn a_named_configuration_file_is_taken_even_if_it_does_not_exist() {
        let here = around(false, &[("MUSHER_CONFIG", "/nowhere.toml")]);
        assert_eq!(config_file(None, &here), Some(PathBuf::from("/nowhere.toml")));
        assert_eq!(config_file(Some(Path::new("/other.toml")), &here), Some(PathBuf::from("/other.toml")));
        assert_eq!(config_file(None, &around(false, &[("XDG_CONFIG_HOME", "/nowhere")])), None);
    }
}
