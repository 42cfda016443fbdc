//! What a person asks by a key.

/// A key, whatever a terminal sends for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// A character with the control key.
    Control(char),
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// Folds.
    Left,
    /// Unfolds.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first line.
    Home,
    /// To the last line.
    End,
    /// Unfolds, or shows everything.
    Enter,
    /// Back.
    Esc,
    /// The next view.
    Tab,
    /// The view before.
    BackTab,
    /// Removes a character.
    Backspace,
}

/// Requests of a key to the screen's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To end.
    Quit,
    /// To show only what passes this filter, see [`App::filtered`](crate::App::filtered).
    Filter(String),
    /// To copy this text.
    Copy(String),
    /// To show another moment: so many steps later.
    Step(i32),
    /// To redraw the screen, as another program may have written to the terminal.
    Redraw,
}

/// A motion among lines.
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

    /// Where it leads from a line of so many, by pages of this height.
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
