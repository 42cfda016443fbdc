//! Validation and sanitizing of text from outside.

/// Maximum length of a name. All names of Docker, Podman, Kubernetes and LXC are shorter.
const NAME_LIMIT: usize = 253;

/// A name as allowed by container runtimes and Kubernetes: letters, digits, `_`, `.` and `-`,
/// starting with a letter or digit.
pub(super) fn name(text: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let good = text.len() <= NAME_LIMIT
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(allowed);
    good.then_some(text)
}

/// Whether a character can move the cursor, reverse the text around it, or be invisible: control
/// characters, line separators and zero-width Unicode characters.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Replaces every character that could move the cursor or hide in a line, and truncates the text to
/// `limit` bytes.
pub(super) fn printable(text: &str, limit: usize) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().map(plain).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_containers_and_pods() {
        for good in ["web", "101", "shop_cart.1", "etcd-node-7", &"a".repeat(253)] {
            assert_eq!(name(good), Some(good));
        }
        for bad in ["", ".", "..", "-x", "a b", "a/b", "a\u{1b}[2J", "ü", &"a".repeat(254)] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_hostile_text_cannot_move_the_cursor() {
        assert_eq!(printable("/a\u{1b}[2J\u{202e}\u{85}\n b", 20), "/a?[2J??? b");
        assert_eq!(printable("/abcdef", 3), "/ab");
    }
}
