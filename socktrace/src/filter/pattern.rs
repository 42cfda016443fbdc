//! Shell wildcards.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

/// Characters that `\` escapes; the last one only at the start of a value.
const SPECIAL: [char; 6] = ['*', '?', '[', ']', '\\', '!'];

/// Length of the longest pattern, in bytes: that of the longest path in the kernel.
const LONGEST: usize = 4_096;

/// Characters with a meaning to the matcher outside `[..]`.
const OF_MATCHER: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

/// Text with the wildcards `*`, `?` and `[..]`. `\` escapes a special character; before any other
/// character it is literal, as in unit names.
#[derive(Clone)]
pub(crate) struct Pattern {
    text: String,
    meaning: Meaning,
}

#[derive(Clone)]
enum Meaning {
    /// Exactly this text.
    Exact(String),
    /// A matcher, and the length of its shortest match in bytes.
    Wild(GlobMatcher, usize),
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// With a description of the problem.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        let (mut exact, mut glob) = (String::new(), String::new());
        let (mut is_wild, mut shortest) = (false, 0);
        let mut rest = text.chars();
        while let Some(mut c) = rest.next() {
            let is_escaped = c == '\\' && rest.clone().next().is_some_and(|c| SPECIAL.contains(&c));
            if is_escaped {
                c = rest.next().unwrap_or(c);
            } else if matches!(c, '*' | '?' | '[') {
                is_wild = true;
                shortest += usize::from(c != '*');
                glob.push(c);
                if c == '[' {
                    copy_class(&mut rest, &mut glob);
                }
                continue;
            }
            exact.push(c);
            shortest += c.len_utf8();
            if OF_MATCHER.contains(&c) {
                glob.push('\\');
            }
            glob.push(c);
        }
        let meaning = if is_wild {
            let glob = GlobBuilder::new(&glob).backslash_escape(true).build();
            let glob = glob.map_err(|error| error.kind().to_string())?;
            Meaning::Wild(glob.compile_matcher(), shortest)
        } else {
            Meaning::Exact(exact)
        };
        Ok(Self { text: text.to_owned(), meaning })
    }

    /// The only text that matches, if there is just one.
    pub(super) fn exact(&self) -> Option<&str> {
        match &self.meaning {
            Meaning::Exact(text) => Some(text),
            Meaning::Wild(..) => None,
        }
    }

    /// Length of the shortest matching text, in bytes.
    pub(super) fn shortest(&self) -> usize {
        match &self.meaning {
            Meaning::Exact(text) => text.len(),
            Meaning::Wild(_, shortest) => *shortest,
        }
    }

    /// Whether the pattern matches a text.
    pub(super) fn is_of(&self, text: &str) -> bool {
        match &self.meaning {
            Meaning::Exact(exact) => exact == text,
            Meaning::Wild(glob, _) => glob.is_match(text),
        }
    }
}

/// Copies the rest of a class after `[`. `\` is literal, as is `]` in first position.
fn copy_class(rest: &mut std::str::Chars<'_>, glob: &mut String) {
    let (mut may_negate, mut may_end) = (true, false);
    for c in rest.by_ref() {
        glob.push(c);
        if c == ']' && may_end {
            return;
        }
        // A negation mark does not count as the first character.
        may_end = !(may_negate && matches!(c, '!' | '^'));
        may_negate = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_stand_for_others() {
        for (pattern, text, is_of) in [
            ("nginx", "nginx", true),
            ("nginx", "nginx2", false),
            ("ng*", "nginx", true),
            ("ng*", "ng", true),
            ("n?inx", "nginx", true),
            ("n?nx", "nginx", false),
            ("n[a-g]inx", "nginx", true),
            ("n[!a-f]inx", "nginx", true),
            ("n[!a-g]inx", "nginx", false),
            ("[]x]", "]", true),
            ("[!]x]", "]", false),
            (r"[\]", r"\", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"\[a\]", "[a]", true),
            (r"\!a", "!a", true),
            // Unit names contain backslashes.
            (r"dev-a\x2db.device", r"dev-a\x2db.device", true),
            (r"dev-*\x2d*", r"dev-a\x2db.device", true),
            (r"a\\b", r"a\b", true),
            ("{a,b}", "{a,b}", true),
            ("{a,b}*", "{a,b}c", true),
            ("{a,b}*", "ac", false),
            ("/run/*", "/run/a/b", true),
        ] {
            let read = Pattern::new(pattern).expect("sound");
            assert_eq!(read.is_of(text), is_of, "{pattern} {text}");
        }
        for pattern in ["[", "a[b", "[]", "[!]", "[z-a]"] {
            assert!(!Pattern::new(pattern).expect_err(pattern).is_empty());
        }
        for piece in ["?", "[a-z]", "*", "é", "[é-ü]"] {
            assert!(Pattern::new(&piece.repeat(LONGEST / piece.len())).is_ok(), "{piece}");
            assert!(Pattern::new(&piece.repeat(LONGEST)).is_err() || piece.len() == 1, "{piece}");
        }
        assert!(Pattern::new(&"?".repeat(LONGEST + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in ".{0,20}", other in ".{0,20}") {
            if let Ok(pattern) = Pattern::new(&text) {
                let is_long_enough = other.len() >= pattern.shortest();
                prop_assert!(!pattern.is_of(&other) || is_long_enough);
            }
        }
    }
}
