//! Numbers that the kernel keeps of the host's network namespace, beside what is known of each listener.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use anyhow::Context as _;

/// Those that are shown, of the lines that begin with [`GROUP`]: handshakes that found no room in an
/// accept queue or were dropped for whatever reason, queues of half-open connections that were full, and
/// SYN cookies.
pub(super) const NAMES: [&str; 7] = [
    "ListenOverflows",
    "ListenDrops",
    "TCPReqQFullDoCookies",
    "TCPReqQFullDrop",
    "SyncookiesSent",
    "SyncookiesRecv",
    "SyncookiesFailed",
];

const GROUP: &str = "TcpExt:";

/// The host's namespace is that of its first process; else this process has to do.
const FILES: [&str; 2] = ["/proc/1/net/netstat", "/proc/self/net/netstat"];

/// More than the file has.
const ROOM: usize = 64 * 1024;

/// The file, which stays open: it is that of another process.
pub(crate) struct Netstat(File);

impl Netstat {
    /// Opens it.
    ///
    /// # Errors
    /// When `/proc` has none.
    pub(crate) fn open() -> io::Result<Self> {
        let [host, own] = FILES;
        File::open(host).or_else(|_| File::open(own)).map(Self)
    }

    /// The numbers as they are now.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn read(&self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        let mut text = vec![0; ROOM];
        // A file that the kernel writes out whole for each read from its beginning.
        let length = self.0.read_at(&mut text, 0).context("cannot read the host's netstat")?;
        text.truncate(length);
        Ok(parse(&String::from_utf8_lossy(&text)))
    }
}

/// The numbers that a kernel has of [`NAMES`]: a line of names, and one of numbers in their order.
fn parse(text: &str) -> Vec<(&'static str, u64)> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(GROUP));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else { return Vec::new() };
    let pairs = names.split_whitespace().zip(numbers.split_whitespace());
    pairs
        .filter_map(|(name, number)| {
            let known = NAMES.into_iter().find(|known| *known == name)?;
            Some((known, number.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent Other ListenDrops\nTcpExt: 3 9 18446744073709551615\n\
                    IpExt: InNoRoutes\nIpExt: 1\n";
        assert_eq!(parse(text), [("SyncookiesSent", 3), ("ListenDrops", u64::MAX)]);
        assert_eq!(parse(""), []);
        assert_eq!(parse("TcpExt: ListenDrops\n"), []);
    }

    #[test]
    fn this_host_has_them_all() {
        let found = Netstat::open().expect("there").read().expect("readable");
        for name in NAMES {
            assert!(found.iter().any(|(known, _)| *known == name), "no {name} in {found:?}");
        }
    }
}
