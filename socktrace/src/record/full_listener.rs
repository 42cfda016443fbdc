//! The listener on this host whose full accept queue a client has met.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use socktrace_ebpf::{Family, ListenerState};

use super::{Listener, decoder::address};
use crate::kernel::listeners::ListenerTable;

/// Time that a look at the listeners stays valid: many clients may give up at once.
const FRESH: Duration = Duration::from_secs(1);

/// Finds listeners with a full accept queue.
#[derive(Default)]
pub(super) struct FullListeners {
    /// `None` if listeners cannot be read.
    table: Option<Arc<ListenerTable>>,
    last: Option<(Instant, Vec<ListenerState>)>,
}

impl FullListeners {
    pub(super) fn of(table: Option<Arc<ListenerTable>>) -> Self {
        Self { table, last: None }
    }

    /// Current state of the listener that a client on this host has tried to connect to.
    pub(super) fn find(
        &mut self,
        netns: u32,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<Listener> {
        if !is_here(local.ip(), remote.ip()) {
            return None;
        }
        let found = met(self.look()?, netns, remote)?;
        // If there is no such file, the process has gone.
        let comm = fs::read_to_string(format!("/proc/{}/comm", found.tgid)).ok();
        let process = comm.map(|comm| (found.tgid, comm.trim_end().into()));
        Some(Listener { process, waiting: found.waiting, limit: found.limit })
    }

    fn look(&mut self) -> Option<&[ListenerState]> {
        let table = self.table.as_ref()?;
        if self.last.as_ref().is_none_or(|(when, _)| when.elapsed() >= FRESH) {
            // Without a free descriptor there are none.
            self.last = table.look().ok().map(|listeners| (Instant::now(), listeners));
        }
        self.last.as_ref().map(|(_, listeners)| listeners.as_slice())
    }
}

/// Whether a connection stays within one network namespace: its ends have the same address, which
/// the kernel chooses for the client too, or loopback addresses.
fn is_here(local: IpAddr, remote: IpAddr) -> bool {
    let (local, remote) = (local.to_canonical(), remote.to_canonical());
    remote.is_loopback() || local == remote
}

/// Listener with a full queue that accepts connections to this address.
fn met(listeners: &[ListenerState], netns: u32, to: SocketAddr) -> Option<ListenerState> {
    let takes = |listener: &&ListenerState| {
        let bound = address(listener.local, Family::try_from(listener.family).ok()).to_canonical();
        let wanted = to.ip().to_canonical();
        // An IPv6 listener accepts IPv4 connections, too.
        let is_for_all = bound.is_unspecified() && (bound.is_ipv6() || wanted.is_ipv4());
        listener.netns == netns
            && listener.port == to.port()
            && listener.is_full()
            && (bound == wanted || is_for_all)
    };
    listeners.iter().find(takes).copied()
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::Address;

    use super::*;

    const FULL: ListenerState = ListenerState {
        key: 1,
        cgroup_id: 2,
        local: Address::ipv4([127, 0, 0, 1]),
        waiting: 2,
        limit: 1,
        drops: 5,
        netns: 7,
        tgid: 9,
        port: 80,
        family: Family::Ipv4 as u8,
        listens: 1,
    };

    fn finds(listener: ListenerState, to: &str) -> bool {
        met(&[listener], 7, to.parse().expect("an address")) == Some(listener)
    }

    #[test]
    fn the_listener_is_the_one_of_that_address_and_namespace() {
        assert!(finds(FULL, "127.0.0.1:80"));
        assert!(finds(FULL, "[::ffff:127.0.0.1]:80"));
        assert!(!finds(FULL, "127.0.0.1:81"));
        assert!(!finds(FULL, "127.0.0.2:80"));
        assert!(!finds(ListenerState { netns: 8, ..FULL }, "127.0.0.1:80"));
        assert!(!finds(ListenerState { waiting: 1, ..FULL }, "127.0.0.1:80"), "there is room");
    }

    #[test]
    fn a_listener_of_any_address_takes_those_of_its_family_and_ipv4() {
        let any = ListenerState { local: Address::default(), ..FULL };
        assert!(finds(any, "192.0.2.1:80"));
        assert!(!finds(any, "[::1]:80"));
        let any_of_both = ListenerState { family: Family::Ipv6 as u8, ..any };
        assert!(finds(any_of_both, "192.0.2.1:80"));
        assert!(finds(any_of_both, "[::1]:80"));
    }

    #[test]
    fn only_a_client_of_this_host_meets_it() {
        let is = |local: &str, remote: &str| {
            is_here(local.parse().expect("an address"), remote.parse().expect("an address"))
        };
        assert!(is("127.0.0.1", "127.0.0.1"));
        assert!(is("192.0.2.1", "192.0.2.1"));
        assert!(!is("192.0.2.1", "192.0.2.2"));
    }
}
