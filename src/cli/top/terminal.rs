//! The terminal itself: taken for a screen of our own, and given back as it was, whatever ends the program. It must not
//! know what is drawn.

use super::super::interrupt;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use signal_hook::consts::SIGTSTP;
use signal_hook::low_level::emulate_default_handler;
use std::io::{self, BufWriter, Stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// The terminal while it is ours. When this goes, it is given back.
#[derive(Debug)]
pub(super) struct Screen {
    // One write for each picture: over ssh that is one packet, or few.
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn enter() -> io::Result<Screen> {
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(io::stdout())))?;
        let screen = Screen { terminal };
        take()?;
        Ok(screen)
    }

    /// Draws what has changed since the last time.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame.buffer_mut()))?;
        Ok(())
    }

    /// How wide and high it is.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws everything at the next time, whatever is there.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        // Its own `clear` asks the terminal where the cursor is, and the answer would go to the thread that hears keys.
        self.terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(io::stdout())))?;
        execute!(io::stdout(), Clear(ClearType::All))
    }

    /// Stops the program as Ctrl-Z does, until the shell lets it go on.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        emulate_default_handler(SIGTSTP)?;
        take()?;
        self.forget()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether it is ours.
static IS_OURS: AtomicBool = AtomicBool::new(false);

fn take() -> io::Result<()> {
    IS_OURS.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide)
}

/// Gives it back, once: a second time the cursor would go back to where it was at first, over what was said meanwhile. It may be
/// gone.
fn give_back() {
    if !IS_OURS.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// What ends the program from outside of its loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// A signal.
    Signal(i32),
    /// A thread has panicked, and has said so.
    Panic,
}

/// Hears from now on what ends the program. A second signal ends it at once, with the terminal given back.
pub(super) fn listen() -> io::Result<(crate::signals::Listener, watch::Receiver<Option<Cut>>)> {
    let (tell, told) = watch::channel(None);
    let panicked = tell.clone();
    let before = panic::take_hook();
    // The message would be on a screen that is gone a moment later.
    panic::set_hook(Box::new(move |what| {
        give_back();
        panicked.send_replace(Some(Cut::Panic));
        before(what);
    }));
    let listener = interrupt::listen_for_end(move |signal| {
        if tell.send_replace(Some(Cut::Signal(signal))).is_some() {
            give_back();
            return true;
        }
        false
    })?;
    Ok((listener, told))
}
