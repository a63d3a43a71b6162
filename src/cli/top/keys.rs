//! What a person types, as the model knows it, and the thread that hears it from the terminal. It must not know what keys
//! mean.

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io;
use std::thread;
use tokio::sync::mpsc;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
    Escape,
    Next,
    Previous,
    Backspace,
    Char(char),
    /// Ctrl and a letter.
    Control(char),
}

/// What the terminal says.
#[derive(Debug)]
pub(super) enum Typed {
    /// A key was pressed.
    Key(Key),
    /// It has another size.
    Resized,
    /// It says nothing any more.
    Gone(io::Error),
}

/// Hears the terminal from now on, in a thread of its own: it waits for keys until the program ends.
pub(super) fn listen() -> io::Result<mpsc::Receiver<Typed>> {
    // Who types faster than that waits.
    let (tell, typed) = mpsc::channel(64);
    let hear = move || {
        loop {
            let said = match event::read() {
                Ok(said) => typed_by(&said),
                Err(error) => vec![Typed::Gone(error)],
            };
            for said in said {
                let is_over = matches!(said, Typed::Gone(_));
                if tell.blocking_send(said).is_err() || is_over {
                    return;
                }
            }
        }
    };
    thread::Builder::new().name("keys".to_owned()).spawn(hear)?;
    Ok(typed)
}

fn typed_by(said: &Event) -> Vec<Typed> {
    match said {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            // Terminals say it so where somebody types another key right after Escape, and else we have no use for it.
            let escape = key.modifiers.contains(KeyModifiers::ALT).then_some(Key::Escape);
            escape.into_iter().chain(of(key)).map(Typed::Key).collect()
        }
        Event::Resize(..) => vec![Typed::Resized],
        _ => Vec::new(),
    }
}

fn of(key: &KeyEvent) -> Option<Key> {
    Some(match key.code {
        KeyCode::Char(c) if key.modifiers.contains(KeyModifiers::CONTROL) => {
            Key::Control(c.to_ascii_lowercase())
        }
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::First,
        KeyCode::End => Key::Last,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Tab | KeyCode::Right => Key::Next,
        KeyCode::BackTab | KeyCode::Left => Key::Previous,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_what_they_do() {
        let (none, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        for (code, with, key) in [
            (KeyCode::Char('q'), none, Some(Key::Char('q'))),
            (KeyCode::Char('G'), KeyModifiers::SHIFT, Some(Key::Char('G'))),
            (KeyCode::Char('C'), control, Some(Key::Control('c'))),
            (KeyCode::Right, none, Some(Key::Next)),
            (KeyCode::F(1), none, None),
        ] {
            assert_eq!(of(&KeyEvent::new(code, with)), key, "{code:?}");
        }
        let mut released = KeyEvent::new(KeyCode::Enter, none);
        released.kind = KeyEventKind::Release;
        assert!(typed_by(&Event::Key(released)).is_empty());
        assert!(matches!(typed_by(&Event::Resize(1, 1))[..], [Typed::Resized]));
        let quick = typed_by(&Event::Key(KeyEvent::new(KeyCode::Char('3'), KeyModifiers::ALT)));
        assert!(matches!(quick[..], [Typed::Key(Key::Escape), Typed::Key(Key::Char('3'))]), "{quick:?}");
    }
}
