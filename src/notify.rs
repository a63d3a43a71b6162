//! What the daemon tells the service manager: ready, reloading, stopping, alive (`sd_notify(3)`). Without a service
//! manager nothing happens, and a failure to reach it never stops the daemon.
//!
//! The messages come from the `sd-notify` crate; the socket is our own, opened once, non-blocking (a stuck service
//! manager must not hold up the loop, which feeds the watchdog) and able to reach abstract addresses.

use crate::clock;
use rustix::net::SendFlags;
use sd_notify::NotifyState;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

/// What the service manager sets for the daemon alone: no job may see it, or it could speak in our name.
pub const PRIVATE_ENV: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// The socket of the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn new(env: impl Fn(&str) -> Option<OsString>) -> Notifier {
        let number = |name| env(name).and_then(|text| text.to_str()?.parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros);
        let socket = env("NOTIFY_SOCKET").and_then(|address| connect(&address).ok());
        Notifier { socket, watchdog }
    }

    /// To whoever holds the other end of a socket, as if it were a service manager. `watchdog`: how long it may hear nothing.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn to(socket: UnixDatagram, watchdog: Option<Duration>) -> Notifier {
        Notifier { socket: Some(socket), watchdog }
    }

    /// How long the service manager may hear nothing before it gives us up.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog)
    }

    /// Something that no service manager asks for.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn tell(&self, key: &str, value: &str) {
        self.say(&[NotifyState::Custom(&format!("{key}={value}"))]);
    }

    /// Whether a service manager listens.
    pub fn has_manager(&self) -> bool {
        self.socket.is_some()
    }

    /// Started, or done with a reload.
    pub fn ready(&self, status: &str) {
        self.say(&[NotifyState::Ready, NotifyState::MainPid(process::id()), NotifyState::Status(status)]);
    }

    /// A reload begins; [`Notifier::ready`] ends it, also one that was refused.
    pub fn reloading(&self) {
        let now = i128::try_from(clock::monotonic().as_micros()).unwrap_or(i128::MAX);
        self.say(&[NotifyState::Reloading, NotifyState::MonotonicUsec(now)]);
    }

    /// The way down has begun and takes at most `within`: the service manager is asked not to kill us earlier,
    /// whatever its unit says, for `drain_timeout` may be longer.
    pub fn stopping(&self, status: &str, within: Duration) {
        let extend = format!("EXTEND_TIMEOUT_USEC={}", within.as_micros());
        self.say(&[NotifyState::Stopping, NotifyState::Status(status), NotifyState::Custom(&extend)]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.say(&[NotifyState::Status(text)]);
    }

    /// How often to call [`Notifier::alive`]: twice in the time after which we are given up.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|timeout| timeout / 2)
    }

    /// The loop turns.
    pub fn alive(&self) {
        self.say(&[NotifyState::Watchdog]);
    }

    fn say(&self, words: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        // One assignment a line, so no text may bring a line of its own.
        let lines = words.iter().map(|word| word.to_string().replace(['\n', '\r', '\0'], " ") + "\n");
        // Nobody to tell if it fails: the service manager is who would be told. Nobody waits for one that is stuck.
        let _ = rustix::net::send(socket, lines.collect::<String>().as_bytes(), SendFlags::DONTWAIT);
    }
}

fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match address.as_bytes().split_first() {
        Some((b'@', name)) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => socket.connect(address)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_service_manager_hears_each_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(|name| match name {
            "NOTIFY_SOCKET" => Some(path.clone().into()),
            "WATCHDOG_USEC" => Some("10000000".into()),
            _ => None,
        });
        notifier.ready("3 queues");
        assert_eq!(heard(&manager), format!("READY=1\nMAINPID={}\nSTATUS=3 queues\n", process::id()));
        notifier.reloading();
        let reloading = heard(&manager);
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        notifier.stopping("2 jobs run", Duration::from_secs(40));
        assert_eq!(heard(&manager), "STOPPING=1\nSTATUS=2 jobs run\nEXTEND_TIMEOUT_USEC=40000000\n");
        notifier.alive();
        assert_eq!(heard(&manager), "WATCHDOG=1\n");
        notifier.status("two\nREADY=1");
        assert_eq!(heard(&manager), "STATUS=two READY=1\n", "no text can forge a word");
        assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn an_abstract_address_is_reached() {
        let name = format!("musher-notify-{}", process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::new(|var| (var == "NOTIFY_SOCKET").then(|| format!("@{name}").into()));
        notifier.alive();
        assert_eq!(heard(&manager), "WATCHDOG=1\n");
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        let silent = Notifier::new(|_| None);
        silent.ready("ready");
        assert_eq!(silent.watchdog_interval(), None);
        Notifier::new(|name| (name == "NOTIFY_SOCKET").then(|| "/nowhere".into())).ready("ready");
    }

    #[test]
    fn a_watchdog_meant_for_another_process_is_not_ours() {
        let other = (process::id() + 1).to_string();
        let notifier = Notifier::new(|name| match name {
            "WATCHDOG_PID" => Some(other.clone().into()),
            "WATCHDOG_USEC" => Some("10000000".into()),
            _ => None,
        });
        assert_eq!(notifier.watchdog, None);
    }
}
