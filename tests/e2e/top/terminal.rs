//! A program in a terminal: a pseudo-terminal, and behind it as much of a terminal as the screen needs (ECMA-48: where the cursor
//! goes, what is erased).

use crate::helper::until;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

pub(super) struct Terminal {
    program: Child,
    /// Our side, while the terminal is there.
    master: Option<File>,
    /// The program's side, which we have open too: a terminal that nobody has open is gone.
    slave: OwnedFd,
    modes: LocalModes,
    said: Vec<u8>,
    size: (usize, usize),
}

impl Terminal {
    /// Starts a program as the first of a session whose terminal this is.
    pub(super) fn start(program: &Command, size: (usize, usize)) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options()
            .read(true)
            .write(true)
            // It is to be the terminal of the program's session, not of ours.
            .custom_flags(OFlags::NOCTTY.bits() as i32)
            .open(name.to_str().unwrap())
            .unwrap();
        fcntl_setfl(&master, OFlags::NONBLOCK).unwrap();
        tcsetwinsize(&master, winsize(size)).unwrap();
        let modes = tcgetattr(&slave).unwrap().local_modes;
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap());
        }
        let command = command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        let program = command.spawn().unwrap();
        Terminal { program, master: Some(master.into()), slave: slave.into(), modes, said: Vec::new(), size }
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.master.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    pub(super) fn resize(&mut self, size: (usize, usize)) {
        self.size = size;
        tcsetwinsize(self.master.as_ref().unwrap(), winsize(size)).unwrap();
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.program.id() as i32).unwrap(), signal).unwrap();
    }

    /// The terminal goes.
    pub(super) fn hang_up(&mut self) {
        self.master = None;
    }

    /// All that the program has said so far.
    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// Waits until there is this on the screen.
    pub(super) async fn until(&mut self, text: &str) {
        self.until_is(text, true).await;
    }

    /// Waits until there is not.
    pub(super) async fn until_not(&mut self, text: &str) {
        self.until_is(text, false).await;
    }

    async fn until_is(&mut self, text: &str, there: bool) {
        let mut shown = String::new();
        let what = format!("`{text}` on the screen: {there}");
        let wait = until(&what, async || {
            self.hear();
            shown = self.screen();
            (shown.contains(text) == there).then_some(())
        });
        wait.await;
    }

    /// Waits for the program's end, and sees to it that the terminal is as it was.
    pub(super) async fn ended(&mut self) -> Option<i32> {
        let code = self.until_ended().await;
        let said = self.said();
        let (left, shown) = (said.rfind("\x1b[?1049l"), said.rfind("\x1b[?25h"));
        let taken = said.rfind("\x1b[?1049h");
        assert!(taken.is_some() && left > taken && shown > said.rfind("\x1b[?25l"), "{said:?}");
        assert_eq!(
            said.matches("\x1b[?1049l").count(),
            1,
            "once: a second time the cursor would go back over what is said"
        );
        assert_eq!(tcgetattr(&self.slave).unwrap().local_modes, self.modes);
        code
    }

    pub(super) async fn until_ended(&mut self) -> Option<i32> {
        let code = until("it ends", async || {
            self.hear();
            self.try_wait()
        });
        let code = code.await;
        self.hear();
        code
    }

    /// How it has ended, if it has.
    #[expect(clippy::option_option, reason = "a program that a signal has ended has no code")]
    pub(super) fn try_wait(&mut self) -> Option<Option<i32>> {
        Some(self.program.try_wait().unwrap()?.code())
    }

    /// Reads what there is.
    fn hear(&mut self) {
        let Some(master) = &mut self.master else { return };
        let mut piece = [0; 4096];
        while let Ok(len @ 1..) = master.read(&mut piece) {
            self.said.extend_from_slice(&piece[..len]);
        }
    }

    /// The screen as it is now: that of the program, with what it has drawn since the last time that all was erased.
    fn screen(&self) -> String {
        let said = self.said();
        let (width, height) = self.size;
        let mut cells = vec![vec![' '; width]; height];
        let (mut x, mut y) = (0, 0);
        let mut rest = said.as_str();
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\x1b' if rest.starts_with('[') => {
                    let Some(end) = rest[1..].find(|c| ('@'..='~').contains(&c)) else { break };
                    let (what, numbers) = (rest.as_bytes()[1 + end], &rest[1..=end]);
                    rest = &rest[end + 2..];
                    let mut numbers = numbers.split(';').map(|number| number.parse().unwrap_or(1));
                    match what {
                        b'H' => (y, x) = (numbers.next().unwrap_or(1) - 1, numbers.next().unwrap_or(1) - 1),
                        b'J' => cells.iter_mut().flatten().for_each(|cell| *cell = ' '),
                        _ => {}
                    }
                }
                '\n' => y += 1,
                '\r' => x = 0,
                c => {
                    if let Some(cell) = cells.get_mut(y).and_then(|line| line.get_mut(x)) {
                        *cell = c;
                    }
                    x += 1;
                }
            }
        }
        cells.into_iter().map(|line| line.into_iter().collect::<String>() + "\n").collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn winsize((width, height): (usize, usize)) -> Winsize {
    Winsize { ws_row: height as u16, ws_col: width as u16, ws_xpixel: 0, ws_ypixel: 0 }
}
