//! Writes lines to standard output one by one, and knows how many of them were read. A file or a terminal has taken a
//! line when it is written. A pipe keeps what is written until it is read, and its reader may go away before that:
//! `musher claim -n 100 | head -1` reads one line, and the kernel does not say what became of the others. So as long as
//! the reader is quick, there is only one line at a time in the pipe, and what is unread when the reader goes away was
//! not handed over. It does not know what the lines mean.

use crate::clock::monotonic;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, dup, ioctl_fionread, write};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How long a line waits in a pipe before its reader counts as slow. A slow one, which may wait for our end before it
/// reads, gets the others at once.
const QUICK: Duration = Duration::from_millis(100);
/// How long what was written last waits to be read.
const SLOW: Duration = Duration::from_millis(500);
/// How many times the reader is given the CPU before we sleep between looks, and how long.
const YIELDS: u32 = 20;
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000 };

/// Lines on their way.
#[derive(Debug)]
pub(super) struct Handover {
    out: OwnedFd,
    is_pipe: bool,
    is_quick: bool,
    written: u64,
    /// How much was written when each line was.
    ends: Vec<u64>,
}

impl Handover {
    /// To standard output.
    pub(super) fn to_stdout() -> io::Result<Handover> {
        let mut stdout = io::stdout().lock();
        stdout.flush()?;
        Ok(Handover::to(dup(stdout.as_fd())?))
    }

    fn to(out: OwnedFd) -> Handover {
        let kind = rustix::fs::fstat(&out).map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode));
        let is_pipe = kind == Ok(rustix::fs::FileType::Fifo);
        Handover { out, is_pipe, is_quick: true, written: 0, ends: Vec::new() }
    }

    /// Hands over one more line, which ends as lines do.
    pub(super) fn give(&mut self, line: &[u8]) -> io::Result<()> {
        self.write_all(line)?;
        self.ends.push(self.written);
        if self.is_quick {
            self.is_quick = self.until_read(QUICK)?;
        }
        Ok(())
    }

    /// Waits until all has been read, or the reader is slow. It must not have gone away before.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.until_read(SLOW).map(drop)
    }

    /// How many lines arrived whole.
    pub(super) fn arrived(&self) -> usize {
        let arrived = self.written.saturating_sub(self.unread());
        self.ends.partition_point(|end| *end <= arrived)
    }

    /// What is in the pipe. Of what others have written into it, too.
    fn unread(&self) -> u64 {
        if self.is_pipe { ioctl_fionread(&self.out).unwrap_or(0) } else { 0 }
    }

    /// Waits so long until a pipe's reader has taken everything, and says whether it has. An error if it has gone
    /// and has not.
    fn until_read(&mut self, most: Duration) -> io::Result<bool> {
        if !self.is_pipe {
            return Ok(true);
        }
        let (begun, mut looks) = (monotonic(), 0);
        loop {
            // Asked before: what is unread when the reader has gone stays so.
            let has_gone = looks >= YIELDS && self.wait(PollFlags::empty(), Some(&LOOK_EVERY))?;
            match self.unread() {
                0 => return Ok(true),
                _ if has_gone => return Err(io::ErrorKind::BrokenPipe.into()),
                _ if monotonic() - begun > most => return Ok(false),
                _ => std::thread::yield_now(),
            }
            looks += 1;
        }
    }

    /// Waits for that, or for the end of the reader; says whether that has come.
    fn wait(&self, what: PollFlags, most: Option<&Timespec>) -> io::Result<bool> {
        let mut ask = [PollFd::new(&self.out, what)];
        match poll(&mut ask, most) {
            Ok(_) | Err(Errno::INTR) => Ok(ask[0].revents().contains(PollFlags::ERR)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Write for Handover {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match write(&self.out, bytes) {
                Ok(taken) => {
                    self.written += taken as u64;
                    return Ok(taken);
                }
                Err(Errno::INTR) => {}
                // Somebody who shares it has made it so.
                Err(Errno::AGAIN) => drop(self.wait(PollFlags::OUT, None)?),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn pipe() -> (std::fs::File, Handover) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (read.into(), Handover::to(write))
    }

    #[test]
    fn a_reader_that_goes_after_a_line_has_no_more_than_that() {
        let (mut read, mut handover) = pipe();
        let reader = std::thread::spawn(move || {
            let mut text = [0; 1000];
            let got = read.read(&mut text).unwrap();
            String::from_utf8(text[..got].to_vec()).unwrap()
        });
        let mut given = 0;
        let error = loop {
            match handover.give(format!("line {given}\n").as_bytes()) {
                Ok(()) => given += 1,
                Err(error) => break error,
            }
        };
        let got = reader.join().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(handover.arrived(), got.lines().count(), "{got}");
    }

    #[test]
    fn a_slow_reader_gets_everything_and_what_it_leaves_is_known() {
        let (mut read, mut handover) = pipe();
        for line in ["one\n", "two\n", "three\n"] {
            handover.give(line.as_bytes()).unwrap();
        }
        handover.finish().unwrap();
        let mut text = [0; 6];
        read.read_exact(&mut text).unwrap();
        drop(read);
        assert_eq!(handover.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(handover.arrived(), 1, "of the second it has a part");
    }

    #[test]
    fn what_a_full_disk_does_not_take_has_not_arrived() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut handover = Handover::to(full.into());
        assert_eq!(handover.give(b"line\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(handover.arrived(), 0);
    }
}
