//! The terminal: switched to the screen, and restored in every case.

use std::io::{self, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        style::force_color_output,
    },
};
use socktrace_top::{App, Key};

use crate::service::log;

/// A terminal in use by the screen. Restored when dropped, even by a panic.
pub(super) struct Terminal(DefaultTerminal);

impl Terminal {
    pub(super) fn take(is_colored: bool) -> io::Result<Self> {
        force_color_output(is_colored);
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        log::hold();
        Ok(Self(terminal))
    }

    pub(super) fn draw(&mut self, app: &mut App) -> io::Result<()> {
        self.0.draw(|frame| app.draw(frame.area(), frame.buffer_mut())).map(drop)
    }

    /// Redraws everything with the next frame.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }

    /// Copies a text to the terminal's clipboard with OSC 52, which not every terminal supports.
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        let out = self.0.backend_mut();
        write!(out, "\x1b]52;c;{}\x07", STANDARD.encode(text))?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
        log::release();
    }
}

/// The key of a key event.
pub(super) fn key(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent {
        code,
        modifiers,
        kind: KeyEventKind::Press | KeyEventKind::Repeat,
        ..
    }) = event
    else {
        return None;
    };
    Some(match code {
        KeyCode::Char(c) if modifiers.contains(KeyModifiers::CONTROL) => Key::Control(*c),
        KeyCode::Char(c) => Key::Char(*c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}
