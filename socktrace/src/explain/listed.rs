//! Compares the explained errnos with `errnos.txt`, which lists those that the kernel's source
//! returns from socket calls.

use std::collections::BTreeMap;

use super::{Language, numbers, texts::Text};

const LIST: &str = include_str!("errnos.txt");

/// Directories of the list, and other code that socket calls run.
const SOURCES: [&str; 13] = [
    "net/socket.c:",
    "net/core/",
    "net/ipv4/",
    "net/ipv6/",
    "net/unix/",
    "net/mptcp/",
    "net/tls/",
    "net/netlink/",
    "net/packet/",
    "net/vmw_vsock/",
    "security/",
    "include/net/sock.h:",
    "fs/",
];

/// A driver outside those directories. Its errnos reach a send on a datagram socket through them.
const DRIVER: &str = "drivers/net/wireguard/";

/// A row about an errno.
#[derive(Debug, PartialEq, Eq)]
enum Row {
    /// Socket calls return it, in these places.
    Returned(Vec<&'static str>),
    /// No socket call returns it, and it is not explained.
    Not,
    /// No socket call returns it, but it is explained anyway.
    Explained,
}

fn rows() -> BTreeMap<&'static str, Row> {
    let mut rows = BTreeMap::new();
    let mut last = "";
    for line in LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, rest) = line.split_once(' ').expect(line);
        let row = match rest.split_once(' ') {
            Some(("-", reason)) if !reason.is_empty() => Row::Not,
            Some(("+", reason)) if !reason.is_empty() => Row::Explained,
            _ => Row::Returned(rest.split(' ').collect()),
        };
        assert!(last < name, "{name} is out of order, or there twice");
        last = name;
        rows.insert(name, row);
    }
    rows
}

#[test]
fn every_errno_of_a_call_on_a_socket_is_explained_in_both_languages() {
    for (name, row) in rows() {
        let Row::Returned(_) = row else { continue };
        // Some names are kernel-internal aliases.
        let errno = numbers::by_name(name).unwrap_or_else(|| panic!("{name} is not explained"));
        for language in [Language::En, Language::Zh] {
            let text = Text::of(errno.name, language);
            assert!(text.blocks().next().is_some(), "{name}: no text, {language:?}");
        }
    }
}

#[test]
fn every_explained_errno_is_listed() {
    let rows = rows();
    for errno in numbers::ERRNOS {
        let row = rows.get(errno.name).unwrap_or_else(|| panic!("{} is not listed", errno.name));
        assert_ne!(*row, Row::Not, "{} is explained", errno.name);
    }
}

#[test]
fn places_are_functions_of_the_directories() {
    for (name, row) in rows() {
        let Row::Returned(places) = row else { continue };
        for place in places {
            let (file, function) = place.split_once(':').expect(place);
            assert!(
                SOURCES.iter().any(|source| place.starts_with(source)) || place.starts_with(DRIVER),
                "{name}: {file}"
            );
            assert!(
                function.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()),
                "{name}: {function}"
            );
        }
    }
}
