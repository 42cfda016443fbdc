//! A decoded event with its finding, as used by filters and sinks.

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

/// The process that was operating on the socket; otherwise the one that waits for it, or else the
/// one that opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Process id.
    pub(crate) pid: u32,
    /// Thread id.
    pub(crate) tid: u32,
    /// Real user id.
    pub(crate) uid: u32,
    /// Command name of the thread.
    pub(crate) comm: String,
    /// Command name of the process, that is, of its first thread, if it was read.
    pub(crate) leader_comm: Option<String>,
    /// Path of its executable; only the last part if the process has gone, or may not be inspected.
    pub(crate) exe: Option<Arc<str>>,
    /// Source of the process: `caller`, `waiter`, `holder` or `opener`.
    pub(crate) source: &'static str,
}

/// Arguments of a call that failed; most calls do not have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The descriptor, if the socket itself is unknown.
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
    /// The kernel's name of the reason, in lower case; `None` if it has none (before 6.10).
    pub(crate) reason: Option<Arc<str>>,
    /// Whether it closed a listener that still had the connection in its queue.
    pub(crate) by_listener: bool,
}

/// The process on this host whose queue was full: a listener, or a receiver of datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Process id and command name, if known.
    pub(crate) process: Option<(u32, Arc<str>)>,
    /// Number of entries waiting in the queue.
    pub(crate) waiting: u32,
    /// Limit; another entry is refused when more than this wait.
    pub(crate) limit: u32,
}

/// The process that had the kernel kill a socket, its own or another's.
#[derive(Clone, Debug)]
pub(crate) struct Killer {
    pub(crate) pid: u32,
    pub(crate) comm: Arc<str>,
}

/// Header fields of the RST that ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rst {
    /// Sequence number.
    pub(crate) seq: u32,
    /// Acknowledgement number; 0 if it acknowledges nothing.
    pub(crate) ack: u32,
}

/// TTLs, or hop limits, that segments from the peer had left on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hops {
    pub(crate) rst: u8,
    /// TTL or hop limit left in the segment that completed the handshake.
    pub(crate) handshake: u8,
}

/// One event, as used by sinks.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) time: Timestamp,
    pub(crate) finding: Finding,
    /// Address family, if there is a socket with addresses.
    pub(crate) family: Option<Family>,
    pub(crate) state: Option<TcpState>,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Name of the remote address, if requested and found in time.
    pub(crate) remote_name: Option<Arc<str>>,
    /// Name of the connection, the same at both ends, if known.
    pub(crate) flow: Option<Flow>,
    /// The RST that ended the connection, if one did and is known.
    pub(crate) rst: Option<Rst>,
    /// Remaining TTLs, if requested and known.
    pub(crate) hops: Option<Hops>,
    /// This host's role in the connection, if known.
    pub(crate) role: Option<Role>,
    pub(crate) process: Option<Arc<Process>>,
    /// The service that the process belongs to, or why none is known.
    pub(crate) service: Arc<Service>,
    pub(crate) icmp: Option<Icmp>,
    pub(crate) sender: Option<Sender>,
    /// The kernel's reason why this end sent an RST, if it did and the kernel has one (since 6.10).
    pub(crate) sent_reason: Option<Arc<str>>,
    pub(crate) killer: Option<Killer>,
    pub(crate) listener: Option<Listener>,
    /// The path of a Unix socket, or its abstract name after `@`.
    pub(crate) path: Option<String>,
    /// Service of the program at the other end of the socket: the sender or the listener.
    pub(crate) peer_service: Option<Arc<Service>>,
    pub(crate) arguments: Arguments,
    /// Retransmission timeout in force, in milliseconds.
    pub(crate) rto_ms: u64,
    /// Time since the peer's last acknowledgement, in milliseconds.
    pub(crate) silent_ms: u64,
    /// `SO_SNDTIMEO` in milliseconds, if it ended the call.
    pub(crate) send_timeout_ms: Option<u64>,
    pub(crate) event: Event,
}

impl Record {
    /// Whether the socket has this protocol.
    pub(crate) fn is_of(&self, protocol: Protocol) -> bool {
        self.event.signature.protocol == protocol as u8
    }

    /// Arguments of a `socket` call that failed.
    pub(crate) fn socket_call(&self) -> Option<SocketCall> {
        match self.event.detail() {
            Some(Detail::Socket(call)) => Some(call),
            _ => None,
        }
    }

    /// Errno of the last transmission, if that failed on this host and the kernel reports it.
    pub(crate) fn send_errno(&self) -> Option<Errno> {
        Some(Errno(self.event.send_errno)).filter(|errno| *errno != Errno::NONE)
    }

    /// Address argument of a connect or bind that failed.
    pub(crate) fn given(&self) -> Option<Given> {
        match self.event.detail() {
            Some(Detail::Given(given)) => Some(given),
            _ => None,
        }
    }

    /// A listener's queue, if it was full.
    pub(crate) fn accept_queue(&self) -> Option<AcceptQueue> {
        match self.event.detail() {
            Some(Detail::AcceptQueue(queue)) => Some(queue),
            _ => None,
        }
    }

    /// Whether the event follows from a failure of the same socket that was reported before.
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

    /// Id and command name of the process on this host at the other end, if one is named.
    pub(crate) fn peer(&self) -> Option<(u32, &str)> {
        let sender = self.sender.as_ref().map(|sender| (sender.pid, &*sender.comm));
        let listener = || self.listener.as_ref()?.process.as_ref();
        sender.or_else(|| listener().map(|(pid, comm)| (*pid, &**comm)))
    }

    /// Number of connections waiting in a listener's queue, and the number beyond which another one
    /// finds no room.
    pub(crate) fn queue(&self) -> Option<(u32, u32)> {
        let accepting = self.accept_queue().map(|queue| (queue.waiting, queue.limit));
        accepting.or_else(|| self.far_queue().filter(|_| !self.is_datagram()))
    }

    /// Number of datagrams waiting for their receiver, and the number beyond which another one
    /// finds no room.
    pub(crate) fn receive_queue(&self) -> Option<(u32, u32)> {
        self.far_queue().filter(|_| self.is_datagram())
    }

    fn far_queue(&self) -> Option<(u32, u32)> {
        self.listener.as_ref().map(|queue| (queue.waiting, queue.limit))
    }

    /// Whether the event is about a datagram that was not sent.
    pub(crate) fn is_datagram(&self) -> bool {
        self.event.signature.kind == EventKind::DatagramSend as u8
    }

    /// Whether the event is about a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        self.is_of(Protocol::Unix)
    }

    /// The connection: network namespace and both ends.
    pub(crate) fn connection(&self) -> (u32, SocketAddr, SocketAddr) {
        (self.event.netns, self.local, self.remote)
    }

    /// Port of the service that the connection is about, on the listening side.
    pub(crate) fn service_port(&self) -> Option<u16> {
        let port = match self.role? {
            Role::Client => self.remote.port(),
            Role::Server => self.local.port(),
        };
        (port != 0).then_some(port)
    }
}
