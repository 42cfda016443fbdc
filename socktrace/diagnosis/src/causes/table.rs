//! The table of causes, with one row each.
//!
//! `docs/causes.md` is generated from it, `explain` lists it, and tests check diagnosis, alert
//! rules and documents against it. `severity` applies to sockets held by a program; without one,
//! every failure is expected noise.

use super::{
    Errnos::{Any, None, Of},
    Group::{Accept, Call, Connect, Datagram, Reset, Timeout, Write},
    Row, causes, errnos,
};
use crate::{
    Direction::{LocalKernel, LocalProgram, Network, Peer, Unknown},
    Errno,
    Severity::{Expected, Failure, Notable},
};

/// Errnos that ICMP and neighbour discovery can cause.
const UNREACHABLE: &[Errno] = errnos![
    EHOSTUNREACH,
    ENETUNREACH,
    ECONNREFUSED,
    EACCES,
    ENOPROTOOPT,
    EHOSTDOWN,
    ENONET,
    EOPNOTSUPP,
    EPROTO,
    EMSGSIZE,
];

/// Such errnos for connection attempts, where a refused port is a separate cause.
const UNREACHABLE_CONNECTING: &[Errno] = errnos![
    EHOSTUNREACH,
    ENETUNREACH,
    EACCES,
    ENOPROTOOPT,
    EHOSTDOWN,
    ENONET,
    EOPNOTSUPP,
    EPROTO,
    EMSGSIZE,
];

/// Errnos of calls that send a datagram which this host refuses.
const NOT_TAKEN: &[Errno] = errnos![
    EPERM,
    ENOBUFS,
    ENOMEM,
    ENETUNREACH,
    EHOSTUNREACH,
    EMSGSIZE,
    EACCES,
    EINVAL,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EDESTADDRREQ,
    ENETDOWN,
    EPIPE,
    EFAULT,
];

/// Errnos stored by a timer that gave up because this host did not send the segments: ETIMEDOUT, or
/// the one left by its route look-up or, through ICMP, by its own firewall (`tcp_write_err`).
const NOT_SENT: &[Errno] = errnos![
    ETIMEDOUT,
    EHOSTUNREACH,
    ENETUNREACH,
    EACCES,
    EINVAL,
    ECONNREFUSED,
    ENOPROTOOPT,
    EHOSTDOWN,
    ENONET,
    EOPNOTSUPP,
    EPROTO,
    EMSGSIZE,
];

causes! {
    ConnectRefused {
        id: "connect_refused",
        direction: Peer, severity: Failure, group: Connect,
        errnos: Of(errnos![ECONNREFUSED, ECONNRESET]),
        summary: "the SYN was answered by RST",
        advice: "is the service running and bound to this address and port; does a firewall reject with tcp-reset",
    }
    BacklogFull {
        id: "backlog_full",
        direction: Peer, severity: Failure, group: Connect,
        errnos: Of(errnos![EAGAIN]),
        summary: "the Unix listener's queue is full: its program accepts too slowly",
        advice: "does the server have enough workers, and does it hang (ss -xlp: Recv-Q above Send-Q); raise its backlog and net.core.somaxconn",
    }
    NoSuchSocket {
        id: "no_such_socket",
        direction: Peer, severity: Notable, group: Connect,
        errnos: Of(errnos![ENOENT]),
        summary: "there is no socket at this path",
        advice: "is the service installed and running, and is this the path that it listens at (ss -xlp); is the directory mounted here",
    }
    ConnectRefusedIcmp {
        id: "connect_refused_icmp",
        direction: Network, severity: Failure, group: Connect,
        errnos: Of(errnos![ECONNREFUSED]),
        summary: "the SYN was answered by ICMP port unreachable",
        advice: "a firewall rejects this port: look at its rules on the host that sent the ICMP message",
    }
    ConnectTimeout {
        id: "connect_timeout",
        direction: Network, severity: Failure, group: Connect,
        errnos: Of(errnos![ETIMEDOUT]),
        summary: "the SYN was never answered",
        advice: "is the host up; does a firewall drop silently; is the server's accept queue full (ss -lnt there)",
    }
    ConnectSendTimeout {
        id: "connect_send_timeout",
        direction: LocalProgram, severity: Failure, group: Connect,
        errnos: Of(errnos![EINPROGRESS, EALREADY]),
        summary: "the program's own limit (SO_SNDTIMEO) ended its connect; the attempt goes on",
        advice: "the limit is the program's own: is the host up, does a firewall drop silently, is the server's accept queue full (ss -lnt there)",
    }
    ConnectSendFailed {
        id: "connect_send_failed",
        direction: LocalKernel, severity: Failure, group: Connect,
        errnos: Of(NOT_SENT),
        summary: "no SYN retry left this host",
        advice: "does this host's own firewall, a BPF program of the cgroup or a full conntrack table drop them (nft list ruleset, bpftool cgroup tree, dmesg); is the route still there (ip route get ADDRESS)",
    }
    ConnectUnreachable {
        id: "connect_unreachable",
        direction: Network, severity: Failure, group: Connect,
        errnos: Of(UNREACHABLE_CONNECTING),
        summary: "the network answered the SYN: unreachable",
        advice: "check route, neighbour and firewall at the host that sent the ICMP message",
    }
    ConnectNoRoute {
        id: "connect_no_route",
        direction: LocalKernel, severity: Failure, group: Connect,
        errnos: Of(errnos![ENETUNREACH, EHOSTUNREACH, EINVAL]),
        summary: "this host has no route to the address",
        advice: "ip route get ADDRESS; is the interface up",
    }
    ConnectLocal {
        id: "connect_local",
        direction: LocalKernel, severity: Failure, group: Connect,
        errnos: Of(errnos![EADDRNOTAVAIL, EACCES, EPERM, ENOBUFS, ENOMEM, EAFNOSUPPORT, EINVAL, EOPNOTSUPP, EPROTOTYPE, ENOTDIR]),
        summary: "this host's kernel refused to connect",
        advice: "are ephemeral ports used up (ss -s); does a route, a security module or a BPF program of the cgroup forbid it; is the address complete",
    }
    ConnectCancelled {
        id: "connect_cancelled",
        direction: LocalProgram, severity: Expected, group: Connect,
        errnos: Of(errnos![ECANCELED, ECONNRESET]),
        summary: "the program closed the socket while it was still connecting",
        advice: "the program's own dial timeout, shorter than the kernel's; is the server slow or silent",
    }
    ResetBeforeAccept {
        id: "reset_before_accept",
        direction: Peer, severity: Failure, group: Accept,
        errnos: Of(errnos![ECONNRESET, EPIPE]),
        summary: "the client reset the connection before it was accepted",
        advice: "accept still succeeds and the next read or write fails; is the server slow to accept, or do health checks connect and reset",
    }
    UnreachableBeforeAccept {
        id: "unreachable_before_accept",
        direction: Network, severity: Failure, group: Accept,
        errnos: Of(UNREACHABLE),
        summary: "the network reported the client unreachable before its connection was accepted",
        advice: "accept still succeeds and the next read or write fails; is the way back to the client open (ip route get, firewalls)",
    }
    ResetByPeer {
        id: "reset_by_peer",
        direction: Peer, severity: Failure, group: Reset,
        errnos: Of(errnos![ECONNRESET, EPIPE]),
        summary: "the peer sent RST on a live connection",
        advice: "did the peer crash, close with unread data or SO_LINGER 0, or did a middlebox cut the flow",
    }
    ResetAfterRetransmit {
        id: "reset_after_retransmit",
        direction: Peer, severity: Failure, group: Reset,
        errnos: Of(errnos![ECONNRESET]),
        summary: "the peer answered retransmissions with RST",
        advice: "the peer's host rebooted, or a NAT or load balancer forgot the flow",
    }
    ResetWithoutAnswer {
        id: "reset_without_answer",
        direction: Peer, severity: Failure, group: Reset,
        errnos: Of(errnos![ECONNRESET]),
        summary: "the peer acknowledged nothing after its SYN-ACK, and answered retransmissions with RST",
        advice: "its accept queue is probably full (ss -lnt there: Recv-Q above Send-Q); else what answered the SYN passes nothing on",
    }
    ResetAfterIdle {
        id: "reset_after_idle",
        direction: Peer, severity: Failure, group: Reset,
        errnos: Of(errnos![ECONNRESET]),
        summary: "the peer answered the first data after a long silence with RST",
        advice: "an idle connection was dropped on the way: use heartbeats or SO_KEEPALIVE, or close idle ones earlier",
    }
    ResetWhileClosing {
        id: "reset_while_closing",
        direction: Peer, severity: Notable, group: Reset,
        errnos: Of(errnos![ECONNRESET]),
        summary: "the connection was reset after this side had closed",
        advice: "usually harmless: the peer closed without reading the rest",
    }
    DataAfterShutdown {
        id: "data_after_shutdown",
        direction: LocalKernel, severity: Notable, group: Reset,
        errnos: Of(errnos![ECONNRESET]),
        summary: "the peer kept sending after this side stopped reading; this kernel reset the connection",
        advice: "drain the socket before closing it, or make the peer stop first",
    }
    ResetAfterPeerClose {
        id: "reset_after_peer_close",
        direction: Peer, severity: Failure, group: Write,
        errnos: Of(errnos![EPIPE]),
        summary: "the peer had closed, more came from this side, and the peer answered RST",
        advice: "a read returning 0 means the peer has closed: stop writing; mind SIGPIPE on the next write",
    }
    WriteAfterPeerClose {
        id: "write_after_peer_close",
        direction: Peer, severity: Failure, group: Write,
        errnos: Of(errnos![EPIPE, ECONNREFUSED]),
        summary: "the program wrote to a Unix socket whose peer had closed",
        advice: "a read returning 0 means the peer has closed: stop writing; did the peer crash or restart (its log)",
    }
    WriteAfterReset {
        id: "write_after_reset",
        direction: LocalProgram, severity: Failure, group: Write,
        errnos: Of(errnos![EPIPE]),
        summary: "the program wrote on after the reset had been reported",
        advice: "check what write returns, and close the socket at the first error",
    }
    WriteAfterTimeout {
        id: "write_after_timeout",
        direction: LocalProgram, severity: Failure, group: Write,
        errnos: Of(errnos![EPIPE]),
        summary: "the program wrote on after the timeout had been reported",
        advice: "check what write returns, and close the socket at the first error",
    }
    WriteAfterUnreachable {
        id: "write_after_unreachable",
        direction: LocalProgram, severity: Failure, group: Write,
        errnos: Of(errnos![EPIPE]),
        summary: "the program wrote on after the peer had been reported unreachable",
        advice: "check what connect and write return, and close the socket at the first error",
    }
    WriteAfterShutdown {
        id: "write_after_shutdown",
        direction: LocalProgram, severity: Failure, group: Write,
        errnos: Of(errnos![EPIPE]),
        summary: "the program wrote after its own shutdown of the sending side",
        advice: "a bug of the program: shutdown(SHUT_WR) ends its right to write",
    }
    WriteUnconnected {
        id: "write_unconnected",
        direction: LocalProgram, severity: Failure, group: Write,
        errnos: Of(errnos![EPIPE, ECONNRESET, ENOTCONN]),
        summary: "the program wrote to a socket that is not connected",
        advice: "a bug of the program: a wrong descriptor, or a connect whose failure it did not notice",
    }
    WriteFailed {
        id: "write_failed",
        direction: LocalKernel, severity: Failure, group: Write,
        errnos: Of(errnos![EFAULT, EINVAL, EPERM, ENOBUFS, ENOMEM]),
        summary: "the write was refused, for a wrong argument or for lack of memory",
        advice: "are buffer and control messages right (strace shows them); is the limit of zero-copy sends reached (net.core.optmem_max, ulimit -l)",
    }
    SendTimeout {
        id: "send_timeout",
        direction: LocalProgram, severity: Failure, group: Timeout,
        errnos: Of(errnos![EAGAIN]),
        summary: "the program's own limit (SO_SNDTIMEO) ended its write; the connection goes on",
        advice: "the limit is the program's own: does the peer's program read (Recv-Q of ss -tnp there), does its host answer, is the path slow",
    }
    RetransmitTimeout {
        id: "retransmit_timeout",
        direction: Network, severity: Failure, group: Timeout,
        errnos: Of(errnos![ETIMEDOUT]),
        summary: "data was never acknowledged and the retries ran out",
        advice: "did the peer's host crash or lose its link; does a firewall drop the flow",
    }
    UserTimeout {
        id: "user_timeout",
        direction: Network, severity: Failure, group: Timeout,
        errnos: Of(errnos![ETIMEDOUT]),
        summary: "data was not acknowledged within TCP_USER_TIMEOUT",
        advice: "as for a lost peer; the program itself set this limit",
    }
    KeepaliveTimeout {
        id: "keepalive_timeout",
        direction: Network, severity: Failure, group: Timeout,
        errnos: Of(errnos![ETIMEDOUT]),
        summary: "the peer stopped answering keepalive probes while idle",
        advice: "did the peer's host go away, or did a NAT or firewall forget the idle flow",
    }
    ZeroWindowTimeout {
        id: "zero_window_timeout",
        direction: Peer, severity: Failure, group: Timeout,
        errnos: Of(errnos![ETIMEDOUT]),
        summary: "the peer's receive window stayed closed",
        advice: "does the peer's program still read; is its host still there",
    }
    UnreachableTimeout {
        id: "unreachable_timeout",
        direction: Network, severity: Failure, group: Timeout,
        errnos: Of(UNREACHABLE),
        summary: "data was never acknowledged, and the network had reported the peer unreachable",
        advice: "check routes and firewalls on the way (ip route get, traceroute)",
    }
    SendFailedLocally {
        id: "send_failed_locally",
        direction: LocalKernel, severity: Failure, group: Timeout,
        errnos: Of(NOT_SENT),
        summary: "what was to be sent never left this host, and the retries ran out",
        advice: "is the route, the address or the link gone (ip route get ADDRESS, ip -br addr); does this host's own firewall, a BPF program of the cgroup or a full conntrack table drop it (nft list ruleset, bpftool cgroup tree, dmesg)",
    }
    UnreachableReported {
        id: "unreachable_reported",
        direction: Network, severity: Failure, group: Timeout,
        errnos: Of(UNREACHABLE),
        summary: "the network reported the peer unreachable; the connection stays open",
        advice: "check routes and firewalls on the way; IP_RECVERR made the kernel report at once",
    }
    PortUnreachable {
        id: "port_unreachable",
        direction: Peer, severity: Failure, group: Datagram,
        errnos: Of(errnos![ECONNREFUSED]),
        summary: "a datagram was answered by ICMP port unreachable: nobody listens there",
        advice: "is the service running, and bound to that address and port (ss -ulnp there); else a firewall rejects the port",
    }
    // No call fails, because a socket cannot report its loss: hence not a failure.
    ReceiveQueueFull {
        id: "receive_queue_full",
        direction: LocalProgram, severity: Notable, group: Datagram,
        errnos: None,
        summary: "a datagram was dropped because the receive buffer was full; no call fails",
        advice: "does the program read fast enough; for bursts a larger SO_RCVBUF, up to net.core.rmem_max (ss -uanm shows buffers, and drops as d)",
    }
    SendRefused {
        id: "send_refused",
        direction: LocalKernel, severity: Failure, group: Datagram,
        errnos: Of(NOT_TAKEN),
        summary: "this host did not take the datagram",
        advice: "does this host's own firewall or a BPF program of the cgroup forbid it (nft list ruleset, bpftool cgroup tree); is there a route (ip route get ADDRESS); is the datagram too large",
    }
    PeerQueueFull {
        id: "peer_queue_full",
        direction: Peer, severity: Notable, group: Datagram,
        errnos: Of(errnos![EAGAIN]),
        summary: "a datagram was not sent: its receiver, a Unix socket of this host, reads too slowly",
        advice: "does the receiver hang, or is it given more than it can take (ss -xap: Recv-Q above Send-Q); net.unix.max_dgram_qlen at its start is the length of its queue",
    }
    SubflowFailed {
        id: "subflow_failed",
        direction: Network, severity: Expected, group: Reset,
        errnos: Any,
        summary: "a subflow of an MPTCP connection ended; the connection lives on or is reported by itself",
        advice: "one path of the connection is gone: if it lives on, ss -Mi and ip mptcp show what is left",
    }
    AbortedLocally {
        id: "aborted_locally",
        direction: LocalProgram, severity: Failure, group: Reset,
        errnos: Of(errnos![ECONNABORTED]),
        summary: "the socket was killed on this host from outside its program",
        advice: "who ran ss -K, or which BPF program destroys sockets",
    }
    ConnectRetriedAfterFailure {
        id: "connect_retried_after_failure",
        direction: LocalProgram, severity: Failure, group: Connect,
        errnos: Of(errnos![ECONNABORTED]),
        summary: "the program called connect again after it had read the failure",
        advice: "close the socket after a failed connect and use a new one",
    }
    ListenerClosed {
        id: "listener_closed",
        direction: LocalProgram, severity: Notable, group: Accept,
        errnos: Of(errnos![EINVAL]),
        summary: "the listener was shut down while accept waited",
        advice: "usually the program's own stop; else who closed the listener",
    }
    AcceptResources {
        id: "accept_resources",
        direction: LocalKernel, severity: Failure, group: Accept,
        errnos: Of(errnos![EMFILE, ENFILE, ENOBUFS, ENOMEM]),
        summary: "accept found no free descriptor or memory; connections pile up in the queue",
        advice: "raise LimitNOFILE, or close what leaks (ls /proc/PID/fd | wc -l)",
    }
    AcceptFailed {
        id: "accept_failed",
        direction: LocalKernel, severity: Failure, group: Accept,
        errnos: Of(errnos![EACCES, EPERM, EFAULT, EINVAL, ECONNABORTED]),
        summary: "accept was refused: by policy, for a wrong argument, or on a socket that never listened",
        advice: "which security module says no (its log); is the buffer for the peer's address right; was listen called",
    }
    AcceptQueueOverflow {
        id: "accept_queue_overflow",
        direction: LocalProgram, severity: Failure, group: Accept,
        errnos: None,
        summary: "the accept queue was full: handshake packets were dropped",
        advice: "does the program accept too slowly, or hang; is its backlog too small (ss -lnt: Recv-Q above Send-Q; net.core.somaxconn)",
    }
    PrematureEof {
        id: "premature_eof",
        direction: Peer, severity: Notable, group: Reset,
        errnos: None,
        summary: "the peer closed before it had answered; a read returns 0",
        advice: "did the server end, crash or hit a limit before it answered; see its log",
    }
    SockoptRejected {
        id: "sockopt_rejected",
        direction: LocalKernel, severity: Notable, group: Call,
        errnos: Of(errnos![ENOPROTOOPT, EINVAL, EPERM, EACCES, EBADF, ENOTSOCK, EFAULT, EDOM, ENOTCONN, EISCONN, ENOENT, ENODEV, EADDRNOTAVAIL, EOPNOTSUPP, EPROTO, ENOBUFS, ENOMEM]),
        summary: "the kernel rejected a socket option",
        advice: "is the option known to this kernel, the value in range, the length right",
    }
    SocketFailed {
        id: "socket_failed",
        direction: LocalKernel, severity: Failure, group: Call,
        errnos: Of(errnos![EMFILE, ENFILE, EACCES, EPERM, EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, ENOPROTOOPT, EINVAL, ENOBUFS, ENOMEM]),
        summary: "no socket could be made",
        advice: "do descriptors leak (ls /proc/PID/fd | wc -l, LimitNOFILE); does it need a capability; has the kernel that family and protocol",
    }
    BindFailed {
        id: "bind_failed",
        direction: LocalKernel, severity: Failure, group: Call,
        errnos: Of(errnos![EADDRINUSE, EACCES, EADDRNOTAVAIL, EINVAL, EPERM, EAFNOSUPPORT, ENODEV, ENOENT]),
        summary: "the address could not be bound",
        advice: "who holds the port (ss -antp); is the address local; is the port privileged",
    }
    ListenFailed {
        id: "listen_failed",
        direction: LocalKernel, severity: Failure, group: Call,
        errnos: Of(errnos![EADDRINUSE, EINVAL, EOPNOTSUPP]),
        summary: "the socket could not listen",
        advice: "who listens there already (ss -lntp)",
    }
    NetlinkOverrun {
        id: "netlink_overrun",
        direction: LocalProgram, severity: Failure, group: Call,
        errnos: Of(errnos![ENOBUFS]),
        summary: "messages of the kernel were dropped: the program reads its netlink socket too slowly",
        advice: "raise SO_RCVBUF (net.core.rmem_max), read sooner, and ask for the whole state again: what was dropped does not come again (drops in /proc/net/netlink)",
    }
    DeviceDown {
        id: "device_down",
        direction: LocalKernel, severity: Notable, group: Call,
        errnos: Of(errnos![ENETDOWN]),
        summary: "the device that a packet socket is bound to went down",
        advice: "who took it down or away (ip -br link, ip monitor link); if it only went down, the socket goes on when it is up again",
    }
    Interrupted {
        id: "interrupted",
        direction: LocalProgram, severity: Notable, group: Call,
        errnos: Of(errnos![EINTR]),
        summary: "a signal ended the call",
        advice: "retry the call on EINTR, or install handlers with SA_RESTART",
    }
    Other {
        id: "other",
        direction: Unknown, severity: Failure, group: Call,
        errnos: Any,
        summary: "a socket error of another kind",
        advice: "the raw errno, TCP state and hook are given",
    }
}
