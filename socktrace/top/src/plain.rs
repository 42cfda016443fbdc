//! Text chosen by others, without characters that move the cursor or deceive.

use std::{fmt, rc::Rc};

use unicode_width::UnicodeWidthChar as _;

/// Replacement for unsafe characters.
const INSTEAD: char = '?';

/// Text with the same width on every terminal, and each character in its place.
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Plain(Rc<str>);

impl Plain {
    /// Replaces unsafe characters: control characters and escape sequences, zero-width and
    /// right-to-left characters, and those whose width differs between terminals.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Self(text.into());
        }
        Self(text.chars().map(|c| if is_plain(c) { c } else { INSTEAD }).collect::<String>().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Plain {
    fn default() -> Self {
        Self("".into())
    }
}

impl From<&str> for Plain {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Whether a character has a predictable width and stays in place.
fn is_plain(c: char) -> bool {
    match c.width() {
        // Latin, Greek, Cyrillic and punctuation. Terminals may disagree on others.
        Some(1) => c < '\u{530}' && c != '\u{ad}',
        Some(2) => is_east_asian(c),
        _ => false,
    }
}

/// Ideographs, kana, hangul and their punctuation, which are two columns wide everywhere.
const fn is_east_asian(c: char) -> bool {
    matches!(
        c,
        '\u{3001}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7a3}' | '\u{ff01}'..='\u{ff5e}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    #[test]
    fn what_could_move_the_cursor_is_replaced() {
        for (text, expected) in [
            ("nginx: worker", "nginx: worker"),
            ("a\u{1b}[2Jb", "a?[2Jb"),
            ("\r\n\t\u{7f}\u{9b}", "?????"),
            ("e\u{301}", "e?"),
            ("\u{202e}gnp.exe", "?gnp.exe"),
            ("שלום", "????"),
            ("سلام", "????"),
            ("数据库.sock", "数据库.sock"),
            ("👩‍👩‍👧", "?????"),
            ("é", "é"),
            ("\u{200b}\u{feff}\u{ad}", "???"),
        ] {
            assert_eq!(Plain::new(text).as_str(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_character_has_its_columns(text in ".*") {
            let plain = Plain::new(&text);
            let each: usize = plain.as_str().chars().map(|c| c.width().unwrap_or(9)).sum();
            prop_assert_eq!(plain.as_str().width(), each);
            prop_assert!(plain.as_str().chars().all(|c| c.width().is_some_and(|width| width > 0)));
            prop_assert_eq!(plain.as_str().chars().count(), text.chars().count());
        }
    }
}
