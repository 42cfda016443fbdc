//! Text input.

use crate::Key;

/// Maximum length of a filter: longer ones belong on a command line.
const LONGEST: usize = 1_000;

/// The text, with the cursor at its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    /// Why the last input was refused.
    pub(crate) problem: Option<String>,
}

/// Effect of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    More,
    Done(String),
    Cancelled,
}

impl Prompt {
    /// A prompt with text to extend.
    pub(crate) fn new(text: &str) -> Self {
        let space = if text.is_empty() { "" } else { " " };
        Self { text: format!("{text}{space}"), problem: None }
    }

    pub(crate) fn press(&mut self, key: Key) -> Typed {
        match key {
            Key::Enter => return Typed::Done(self.text.clone()),
            Key::Esc | Key::Control('c' | 'g') => return Typed::Cancelled,
            Key::Backspace | Key::Control('h') => {
                self.text.pop();
            }
            Key::Control('u') => self.text.clear(),
            Key::Control('w') => {
                let kept = self.text.trim_end().rfind(' ').map_or(0, |at| at + 1);
                self.text.truncate(kept);
            }
            Key::Char(c) if !c.is_control() && self.text.len() < LONGEST => self.text.push(c),
            _ => return Typed::More,
        }
        self.problem = None;
        Typed::More
    }
}
