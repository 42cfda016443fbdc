//! Topics, and suggestions for unknown names.

use std::cmp::Reverse;

use socktrace_diagnosis::Cause;
use socktrace_similar::{distance, is_near};

use super::{
    numbers::{self, ALIASES, ERRNOS, Errno},
    winsock::{FIRST_CODE, WINSOCK, Winsock},
};

/// The only signal with a page.
pub(super) const SIGPIPE: &str = "SIGPIPE";

/// Events that are not failures: an errno that no call has returned, and an RST sent by this host.
pub(super) const EVENTS: [&str; 2] = ["undelivered", "reset_sent"];

/// Maximum number of suggestions for an unknown topic.
const OFFERED: usize = 6;

/// A topic with an explanation.
#[derive(Debug)]
pub(crate) enum Topic {
    /// A cause, by its id.
    Cause(Cause),
    /// An errno.
    Errno(&'static Errno),
    /// A Winsock error.
    Winsock(&'static Winsock),
    /// The signal of a broken pipe.
    Sigpipe,
    /// An event that is not a failure.
    Event(&'static str),
}

/// A word that is not a topic.
#[derive(Debug)]
pub(crate) struct Unknown {
    /// The word as given.
    pub(crate) word: String,
    /// Topics with a similar name or number, nearest first.
    pub(crate) near: Vec<String>,
}

impl Topic {
    /// Finds the topic for a name or number. Case is ignored, as is the minus sign that the kernel
    /// puts before errnos.
    ///
    /// # Errors
    /// When there is no such topic.
    pub(crate) fn find(word: &str) -> Result<Self, Unknown> {
        let trimmed = word.trim();
        let found = match trimmed.strip_prefix('-').unwrap_or(trimmed).parse::<i32>() {
            Ok(number) => by_number(number),
            Err(_) => by_name(trimmed),
        };
        found.ok_or_else(|| Unknown { word: word.to_owned(), near: near(trimmed) })
    }
}

fn by_number(number: i32) -> Option<Topic> {
    if number >= FIRST_CODE {
        WINSOCK.iter().find(|winsock| winsock.code == number).map(Topic::Winsock)
    } else {
        numbers::by_number(number).map(Topic::Errno)
    }
}

fn by_name(name: &str) -> Option<Topic> {
    let capitals = name.to_ascii_uppercase();
    if capitals == SIGPIPE {
        return Some(Topic::Sigpipe);
    }
    if let Some(event) = EVENTS.into_iter().find(|event| event.eq_ignore_ascii_case(name)) {
        return Some(Topic::Event(event));
    }
    let cause = Cause::ALL.iter().find(|cause| cause.id().eq_ignore_ascii_case(name));
    let winsock = || WINSOCK.iter().find(|winsock| winsock.name == capitals);
    cause
        .copied()
        .map(Topic::Cause)
        .or_else(|| numbers::by_name(&capitals).map(Topic::Errno))
        .or_else(|| winsock().map(Topic::Winsock))
}

/// Topics whose names resemble a word most.
fn near(word: &str) -> Vec<String> {
    if let Ok(number) = word.parse::<i32>() {
        return near_number(number);
    }
    let lower = word.to_ascii_lowercase();
    let names = Cause::by_group()
        .map(Cause::id)
        .chain(ERRNOS.iter().map(|errno| errno.name))
        .chain(ALIASES.iter().map(|(alias, ..)| *alias))
        .chain(WINSOCK.iter().map(|winsock| winsock.name))
        .chain([SIGPIPE])
        .chain(EVENTS);
    let mut near: Vec<_> = names
        .filter_map(|name| likeness(&lower, &name.to_ascii_lowercase()).map(|key| (key, name)))
        .collect();
    near.sort_by_key(|(key, _)| *key);
    near.into_iter().take(OFFERED).map(|(_, name)| name.to_owned()).collect()
}

/// Sort key of a name by its likeness to a word; `None` if they are not alike.
fn likeness(word: &str, name: &str) -> Option<(Reverse<bool>, usize)> {
    let distance = distance(word, name);
    // A name that contains the word also qualifies, but sorts last: "timeout" is in many names.
    let part = word.len() >= 3 && name.contains(word);
    let alike = is_near(word, distance);
    (part || alike).then_some((Reverse(alike), distance))
}

/// Winsock codes that differ in one digit, or the errnos of other architectures.
fn near_number(number: i32) -> Vec<String> {
    if number < FIRST_CODE {
        return numbers::elsewhere(number)
            .map(|(errno, families)| format!("{} ({})", errno.name, families.join(", ")))
            .collect();
    }
    let digits = number.to_string();
    WINSOCK
        .iter()
        .map(|winsock| winsock.code.to_string())
        .filter(|code| distance(&digits, code) == 1)
        .take(OFFERED)
        .collect()
}

#[cfg(test)]
mod tests {
    use nix::libc;
    use proptest::prelude::*;

    use super::*;

    fn name(word: &str) -> &'static str {
        match Topic::find(word).expect(word) {
            Topic::Cause(cause) => cause.id(),
            Topic::Errno(errno) => errno.name,
            Topic::Winsock(winsock) => winsock.name,
            Topic::Sigpipe => SIGPIPE,
            Topic::Event(event) => event,
        }
    }

    fn near(word: &str) -> Vec<String> {
        Topic::find(word).expect_err(word).near
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(name("ECONNRESET"), "ECONNRESET");
        assert_eq!(name("econnreset"), "ECONNRESET");
        assert_eq!(name("reset_by_peer"), "reset_by_peer");
        assert_eq!(name("Reset_By_Peer"), "reset_by_peer");
        assert_eq!(name("wsaEconnReset"), "WSAECONNRESET");
        assert_eq!(name("sigpipe"), "SIGPIPE");
        assert_eq!(name("Undelivered"), "undelivered");
        assert_eq!(name("reset_sent"), "reset_sent");
        assert_eq!(name("EWOULDBLOCK"), "EAGAIN");
    }

    #[test]
    fn numbers_are_those_of_this_machine() {
        assert_eq!(name(&libc::ECONNRESET.to_string()), "ECONNRESET");
        assert_eq!(name(&format!("-{}", libc::ETIMEDOUT)), "ETIMEDOUT");
        assert_eq!(name("512"), "EINTR");
    }

    #[test]
    fn large_numbers_are_those_of_winsock() {
        assert_eq!(name("10054"), "WSAECONNRESET");
        // Errnos end far below this number on every architecture.
        assert!(Topic::find("10000").is_err());
    }

    #[test]
    fn a_slip_of_the_pen_is_recognized() {
        assert_eq!(near("ECONRESET").first().map(String::as_str), Some("ECONNRESET"));
        assert_eq!(near("reset_by_pear").first().map(String::as_str), Some("reset_by_peer"));
        assert_eq!(near("EPIEP").first().map(String::as_str), Some("EPIPE"));
        assert!(near("timeout").contains(&"user_timeout".to_owned()));
        assert!(near("10154").contains(&"10054".to_owned()));
    }

    #[test]
    fn a_number_of_another_architecture_is_recognized() {
        assert_eq!(near("54"), ["ECONNRESET (alpha, sparc)"]);
    }

    #[test]
    fn what_resembles_nothing_gets_no_offer() {
        assert!(near("zebra").is_empty());
        assert!(near("").is_empty());
        assert!(near("4000").is_empty());
    }

    proptest! {
        #[test]
        fn any_word_gets_an_answer(word in ".*") {
            if let Err(unknown) = Topic::find(&word) {
                prop_assert!(unknown.near.len() <= OFFERED);
            }
        }
    }
}
