//! Keys, and the actions they request.

/// A key, independent of the terminal's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// A character with the control key.
    Control(char),
    /// Moves one line up.
    Up,
    /// Moves one line down.
    Down,
    /// Folds a row.
    Left,
    /// Unfolds a row.
    Right,
    /// Moves one page up.
    PageUp,
    /// Moves one page down.
    PageDown,
    /// Moves to the first line.
    Home,
    /// Moves to the last line.
    End,
    /// Unfolds a row, or shows all details.
    Enter,
    /// Goes back.
    Esc,
    /// Switches to the next view.
    Tab,
    /// Switches to the previous view.
    BackTab,
    /// Deletes a character.
    Backspace,
}

/// Action that a key requests from the owner of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Quits.
    Quit,
    /// Shows only what passes this filter, see [`App::filtered`](crate::App::filtered).
    Filter(String),
    /// Copies this text.
    Copy(String),
    /// Shows another moment, this many steps later.
    Step(i32),
    /// Redraws the screen, because another program may have written to the terminal.
    Redraw,
}

/// A motion in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

impl Motion {
    pub(crate) const fn of(key: Key) -> Option<Self> {
        Some(match key {
            Key::Char('k') | Key::Up | Key::Control('p') => Self::Up,
            Key::Char('j') | Key::Down | Key::Control('n') => Self::Down,
            Key::PageUp | Key::Control('b' | 'u') => Self::PageUp,
            Key::PageDown | Key::Control('f' | 'd') => Self::PageDown,
            Key::Char('g') | Key::Home => Self::First,
            Key::Char('G') | Key::End => Self::Last,
            _ => return None,
        })
    }

    /// Target of the motion from a line, with this number of lines and this page height.
    pub(crate) fn apply(self, at: usize, count: usize, page: usize) -> usize {
        let last = count.saturating_sub(1);
        let at = match self {
            Self::Up => at.saturating_sub(1),
            Self::Down => at + 1,
            Self::PageUp => at.saturating_sub(page.max(1)),
            Self::PageDown => at + page.max(1),
            Self::First => 0,
            Self::Last => last,
        };
        at.min(last)
    }
}
