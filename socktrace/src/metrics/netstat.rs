//! Counters that the kernel keeps for a network namespace, in addition to what is tracked for each
//! listener: those of the host's namespace, and the sum over the others with listeners.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use socktrace_ebpf::ListenerState;

/// Names and numbers.
pub(super) type Numbers = Vec<(&'static str, u64)>;

/// Counters that are exported, from the lines that begin with [`GROUP`]: handshakes that found no
/// room in an accept queue or were dropped for any reason, queues of half-open connections that
/// were full, and SYN cookies.
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

/// The host's namespace is that of its first process; if that cannot be read, this process's is
/// used.
const FILES: [&str; 2] = ["/proc/1/net/netstat", "/proc/self/net/netstat"];

/// More than the size of the file.
const ROOM: usize = 64 * 1024;

/// Maximum number of namespaces read at a scrape. Each takes as long as some 20 system calls.
const NAMESPACES: usize = 256;

/// Counters of the host's namespace, and of others.
pub(crate) struct Netstat {
    /// Kept open, because it belongs to another process.
    host: File,
    /// Each namespace has its own files, whose inodes distinguish it from others. The links in
    /// `/proc/PID/ns` would do so, too, but not without the right to trace that process.
    host_inode: u64,
    others: Mutex<Sum>,
}

/// Sum over other namespaces. It never falls: the last counts of a namespace stay in.
#[derive(Default)]
struct Sum {
    total: BTreeMap<&'static str, u64>,
    /// Counts of each namespace at the last scrape, by the inode of its file.
    last: BTreeMap<u64, BTreeMap<&'static str, u64>>,
}

impl Sum {
    fn add(&mut self, namespaces: &BTreeMap<u64, Numbers>) -> Numbers {
        for (inode, numbers) in namespaces {
            let last = self.last.entry(*inode).or_default();
            for &(name, number) in numbers {
                let before = last.insert(name, number).unwrap_or_default();
                // A namespace with less is another one, with the same inode.
                let grown = if number < before { number } else { number - before };
                *self.total.entry(name).or_default() += grown;
            }
        }
        // Bounded, because the namespaces that were read are.
        self.last.retain(|inode, _| namespaces.contains_key(inode));
        self.total.iter().map(|(name, number)| (*name, *number)).collect()
    }
}

impl Netstat {
    /// Opens the host's file.
    ///
    /// # Errors
    /// When `/proc` has no such file.
    pub(crate) fn open() -> io::Result<Self> {
        let [host, own] = FILES;
        let host = File::open(host).or_else(|_| File::open(own))?;
        let host_inode = host.metadata()?.ino();
        Ok(Self { host, host_inode, others: Mutex::default() })
    }

    /// Reads the host's current counters.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(&self) -> anyhow::Result<Numbers> {
        read(&self.host).context("cannot read the host's netstat")
    }

    /// Sum over other namespaces, including the increase in the namespaces of these listeners, as
    /// seen by a process that listens there. A namespace that cannot be read any more adds nothing.
    pub(super) fn read_others(&self, listeners: &[ListenerState]) -> Numbers {
        let processes: BTreeMap<u32, u32> =
            listeners.iter().map(|listener| (listener.netns, listener.tgid)).collect();
        let read = processes.into_values().take(NAMESPACES).filter_map(|pid| {
            let file = File::open(format!("/proc/{pid}/net/netstat")).ok()?;
            let inode = file.metadata().ok()?.ino();
            (inode != self.host_inode).then(|| Some((inode, read(&file).ok()?)))?
        });
        self.others.lock().unwrap_or_else(PoisonError::into_inner).add(&read.collect())
    }
}

fn read(file: &File) -> io::Result<Numbers> {
    let mut text = vec![0; ROOM];
    // The kernel writes the file out whole for each read from its beginning.
    let length = file.read_at(&mut text, 0)?;
    text.truncate(length);
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// Parses the [`NAMES`] that a kernel has: a line of names, then one of numbers in the same
/// order.
fn parse(text: &str) -> Numbers {
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
    fn a_sum_of_namespaces_never_falls() {
        let mut sum = Sum::default();
        let of = |netns, sent| (netns, vec![("SyncookiesSent", sent)]);
        let mut total = |namespaces: &[(u64, Numbers)]| {
            let found = sum.add(&namespaces.iter().cloned().collect());
            found.first().map_or(0, |(_, number)| *number)
        };
        assert_eq!(total(&[]), 0);
        assert_eq!(total(&[of(7, 3), of(8, 4)]), 7);
        assert_eq!(total(&[of(7, 3), of(8, 6)]), 9);
        // One namespace has ended, and another one has its inode.
        assert_eq!(total(&[of(7, 4)]), 10);
        assert_eq!(total(&[of(7, 1)]), 11);
        assert_eq!(total(&[]), 11);
    }

    #[test]
    fn this_host_has_them_all() {
        let found = Netstat::open().expect("there").read().expect("readable");
        for name in NAMES {
            assert!(found.iter().any(|(known, _)| *known == name), "no {name} in {found:?}");
        }
    }
}
