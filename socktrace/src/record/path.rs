//! Names of Unix sockets as text.

use std::fmt::Write as _;

use socktrace_ebpf::Path;

use crate::owner::is_deceptive;

/// Prefix of an abstract name in place of its NUL, as in `ss` and systemd.
const ABSTRACT: char = '@';

/// The name as text: a path, or an abstract name after `@`. Characters that are not printable, or
/// could deceive on a terminal, are escaped, and so is the backslash.
pub(super) fn text(path: &Path) -> Option<String> {
    let name = path.name()?;
    let (mark, rest) = match name {
        [0, rest @ ..] => (Some(ABSTRACT), rest),
        name => (None, name),
    };
    let mut text = String::with_capacity(1 + rest.len());
    text.extend(mark);
    for chunk in rest.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                char if char.is_ascii_control() => add_byte(&mut text, char as u8),
                char if is_deceptive(char) => text.extend(char.escape_unicode()),
                char => text.push(char),
            }
        }
        chunk.invalid().iter().for_each(|byte| add_byte(&mut text, *byte));
    }
    Some(text)
}

fn add_byte(text: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &[u8]) -> Option<String> {
        let mut path =
            Path { length: u32::try_from(name.len()).expect("short"), ..Path::default() };
        path.bytes[..name.len()].copy_from_slice(name);
        text(&path)
    }

    #[test]
    fn names_are_written_as_ss_writes_them() {
        assert_eq!(of(b"/run/php/php-fpm.sock\0").as_deref(), Some("/run/php/php-fpm.sock"));
        assert_eq!(of(b"\0/tmp/.X11-unix/X0").as_deref(), Some("@/tmp/.X11-unix/X0"));
        assert_eq!(of("/run/café".as_bytes()).as_deref(), Some("/run/café"));
        assert_eq!(of(b""), None);
    }

    #[test]
    fn a_hostile_name_is_escaped() {
        assert_eq!(of(b"\0a\0b").as_deref(), Some("@a\\x00b"));
        assert_eq!(of(b"/a\x1b[2J\\\xff").as_deref(), Some("/a\\x1b[2J\\\\\\xff"));
        assert_eq!(of("/a\u{202e}b".as_bytes()).as_deref(), Some("/a\\u{202e}b"));
    }
}
