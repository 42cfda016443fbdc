//! Subjects of events: connections. Filters test them, and their owners.

use socktrace_ebpf::{Address, Event, Family};

use crate::{load::Load, sock::Sock};

/// A connection, or an attempt at one.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) local: Address,
    pub(crate) remote: Address,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) netns: u32,
}

impl Subject {
    pub(crate) const NOTHING: Self = Self {
        local: Address { octets: [0; 16] },
        remote: Address { octets: [0; 16] },
        local_port: 0,
        remote_port: 0,
        netns: 0,
    };

    /// Records the ends and the network namespace of a socket's connection.
    #[inline(always)]
    pub(crate) fn locate<L: Load>(&mut self, sock: Sock<L>, family: Family) {
        self.locate_in(sock, family, sock.netns());
    }

    /// Like [`Self::locate`], in a network namespace that has already been read.
    #[inline(always)]
    pub(crate) fn locate_in<L: Load>(&mut self, sock: Sock<L>, family: Family, netns: u32) {
        self.local = sock.local(family);
        self.remote = sock.remote(family);
        self.local_port = sock.local_port();
        self.remote_port = sock.remote_port();
        self.netns = netns;
    }

    /// Copies it to an event.
    #[inline(always)]
    pub(crate) fn describe(&self, event: &mut Event) {
        (event.local, event.remote) = (self.local, self.remote);
        (event.local_port, event.remote_port) = (self.local_port, self.remote_port);
        event.netns = self.netns;
    }
}
