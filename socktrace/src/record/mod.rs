//! An event with its finding, decoded: what filters and sinks work on.

mod decoder;
mod flood;
mod flow;
mod full_listener;
mod line;
pub(crate) mod names;
mod path;
mod recent;
#[cfg_attr(not(feature = "resolve"), path = "no_remote_names.rs")]
mod remote_names;

use std::{net::SocketAddr, sync::Arc};

use jiff::Timestamp;
use socktrace_diagnosis::{Cause, Errno, Finding, advice::Icmp};
use socktrace_ebpf::{
    AcceptQueue, Detail, Event, EventKind, Family, Given, Protocol, Role, SocketCall, TcpState,
};

#[cfg(test)]
pub(crate) use self::{decoder::tests, flood::FloodProcess};
pub(crate) use self::{
    decoder::{Decoder, command_name},
    flood::{Flood, Peers},
    flow::Flow,
    line::{Line, Path, Setter, harmless, without_deception},
    remote_names::RemoteNames,
};
use crate::owner::Service;

/// The process that was operating on the socket, else the one that waits for it, else the one that
/// opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Process id.
    pub(crate) pid: u32,
    /// Thread id.
    pub(crate) tid: u32,
    /// Its real user.
    pub(crate) uid: u32,
    /// Command name of the thread.
    pub(crate) comm: String,
    /// Command name of the process, that of its first thread, where it was read.
    pub(crate) leader_comm: Option<String>,
    /// Path of its executable; only the last part of it where the process has gone, or may not be
    /// asked.
    pub(crate) exe: Option<Arc<str>>,
    /// How it is known: `caller`, `waiter`, `holder` or `opener`.
    pub(crate) source: &'static str,
}

/// Arguments of a call that failed; most calls do not have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The descriptor, where the socket itself is not known.
    pub(crate) fd: Option<i32>,
    /// Level of a socket option, as in `setsockopt`.
    pub(crate) level: i32,
    /// The option.
    pub(crate) option: i32,
}

/// The process of this host that sent the RST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) pid: u32,
    pub(crate) comm: Arc<str>,
    /// The kernel's name of why, in lower case; `None` where it has none (before 6.10).
    pub(crate) reason: Option<Arc<str>>,
    /// Whether it closed a listener, in whose queue the connection still was.
    pub(crate) by_listener: bool,
}

/// The process of this host whose queue was full: that of a listener, or of a receiver of datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Its id and command name, where they are known.
    pub(crate) process: Option<(u32, Arc<str>)>,
    /// Connections that waited there.
    pub(crate) waiting: u32,
    /// Beyond how many another one is refused.
    pub(crate) limit: u32,
}

/// The process that had the kernel kill a socket, its own or another's.
#[derive(Clone, Debug)]
pub(crate) struct Killer {
    pub(crate) pid: u32,
    pub(crate) comm: Arc<str>,
}

/// Numbers of the RST that ended a connection, as they are in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rst {
    /// Its sequence number.
    pub(crate) seq: u32,
    /// The number that it acknowledges, 0 where it acknowledges none.
    pub(crate) ack: u32,
}

/// The TTL, or hop limit, that segments from the peer had left when they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hops {
    pub(crate) rst: u8,
    /// TTL or hop limit left in the segment that completed the handshake.
    pub(crate) handshake: u8,
}

/// One event, as sinks need it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) time: Timestamp,
    pub(crate) finding: Finding,
    /// That of its addresses, where there is a socket that has them.
    pub(crate) family: Option<Family>,
    pub(crate) state: Option<TcpState>,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// The remote address's name, where it was asked for and came in time.
    pub(crate) remote_name: Option<Arc<str>>,
    /// The connection, named the same at both ends, where that is known.
    pub(crate) flow: Option<Flow>,
    /// The RST that ended it, where one did and is known.
    pub(crate) rst: Option<Rst>,
    /// How far it had come, where that was asked for and is known.
    pub(crate) hops: Option<Hops>,
    /// This host's role in the connection, where it is known.
    pub(crate) role: Option<Role>,
    pub(crate) process: Option<Arc<Process>>,
    /// The service that the process belongs to, or why none is known.
    pub(crate) service: Arc<Service>,
    pub(crate) icmp: Option<Icmp>,
    pub(crate) sender: Option<Sender>,
    /// The kernel's name of why this end sent an RST, where it did and the kernel has one (since 6.10).
    pub(crate) sent_reason: Option<Arc<str>>,
    pub(crate) killer: Option<Killer>,
    pub(crate) listener: Option<Listener>,
    /// The path of a Unix socket, or its abstract name after `@`.
    pub(crate) path: Option<String>,
    /// The service of the program at its other end: of the sender, or of the listener.
    pub(crate) peer_service: Option<Arc<Service>>,
    pub(crate) arguments: Arguments,
    /// Retransmission timeout in force, in milliseconds.
    pub(crate) rto_ms: u64,
    /// Time since the peer's last acknowledgement, in milliseconds.
    pub(crate) silent_ms: u64,
    /// `SO_SNDTIMEO` in milliseconds, where it has ended the call.
    pub(crate) send_timeout_ms: Option<u64>,
    pub(crate) event: Event,
}

impl Record {
    /// Whether its socket is one of this protocol.
    pub(crate) fn is_of(&self, protocol: Protocol) -> bool {
        self.event.signature.protocol == protocol as u8
    }

    /// Arguments of `socket`, where it made no socket.
    pub(crate) fn socket_call(&self) -> Option<SocketCall> {
        match self.event.detail() {
            Some(Detail::Socket(call)) => Some(call),
            _ => None,
        }
    }

    /// Why the last transmission failed on this host, where it did and the kernel says.
    pub(crate) fn send_errno(&self) -> Option<Errno> {
        Some(Errno(self.event.send_errno)).filter(|errno| *errno != Errno::NONE)
    }

    /// The address argument of connect or bind, where the call failed.
    pub(crate) fn given(&self) -> Option<Given> {
        match self.event.detail() {
            Some(Detail::Given(given)) => Some(given),
            _ => None,
        }
    }

    /// A listener's queue, where that was full.
    pub(crate) fn accept_queue(&self) -> Option<AcceptQueue> {
        match self.event.detail() {
            Some(Detail::AcceptQueue(queue)) => Some(queue),
            _ => None,
        }
    }

    /// Whether it follows from a failure of the same socket that was reported before.
    pub(crate) fn is_continuation(&self) -> bool {
        match self.finding {
            Finding::Delivery(_) | Finding::Undelivered(_) => true,
            Finding::Failure(found) => {
                matches!(
                    found.cause,
                    Cause::WriteAfterReset
                        | Cause::WriteAfterTimeout
                        | Cause::WriteAfterUnreachable
                )
            }
            Finding::Retransmission | Finding::ResetSent(_) => false,
        }
    }

    /// The process of this host at the other end, where one is to be named: its id and command name.
    pub(crate) fn peer(&self) -> Option<(u32, &str)> {
        let sender = self.sender.as_ref().map(|sender| (sender.pid, &*sender.comm));
        let listener = || self.listener.as_ref()?.process.as_ref();
        sender.or_else(|| listener().map(|(pid, comm)| (*pid, &**comm)))
    }

    /// How many connections wait in a listener's queue, and beyond how many another one finds no room.
    pub(crate) fn queue(&self) -> Option<(u32, u32)> {
        let accepting = self.accept_queue().map(|queue| (queue.waiting, queue.limit));
        accepting.or_else(|| self.far_queue().filter(|_| !self.is_datagram()))
    }

    /// How many datagrams wait for their receiver, and beyond how many another one finds no room.
    pub(crate) fn receive_queue(&self) -> Option<(u32, u32)> {
        self.far_queue().filter(|_| self.is_datagram())
    }

    fn far_queue(&self) -> Option<(u32, u32)> {
        self.listener.as_ref().map(|queue| (queue.waiting, queue.limit))
    }

    /// Whether it is about a datagram that was not sent.
    pub(crate) fn is_datagram(&self) -> bool {
        self.event.signature.kind == EventKind::DatagramSend as u8
    }

    /// Whether it is about a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        self.is_of(Protocol::Unix)
    }

    /// Where its connection runs: the network namespace, and both ends.
    pub(crate) fn connection(&self) -> (u32, SocketAddr, SocketAddr) {
        (self.event.netns, self.local, self.remote)
    }

    /// The port of the service that the connection is about: the listening side's.
    pub(crate) fn service_port(&self) -> Option<u16> {
        let port = match self.role? {
            Role::Client => self.remote.port(),
            Role::Server => self.local.port(),
        };
        (port != 0).then_some(port)
    }
}
