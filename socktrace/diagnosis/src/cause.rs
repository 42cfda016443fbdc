//! The causes: stable names, used as metric label, JSON value and topic.

use std::fmt;

/// Declares the causes with their id, what happened, and what to look at.
macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $summary:literal, $advice:literal;)+) => {
        /// Why a socket failed. The ids are a public interface: they are only ever added to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Cause {
            $($(#[$doc])* $variant,)+
        }

        impl Cause {
            /// Every cause, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable name.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// What happened, in a few words.
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)+ }
            }

            /// What to look at first.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)+ }
            }
        }
    };
}

causes! {
    /// The SYN was answered by RST.
    ConnectRefused = "connect_refused",
        "the SYN was answered by RST",
        "is the service running and bound to this address and port; does a firewall reject with tcp-reset";
    /// The SYN was answered by ICMP port unreachable.
    ConnectRefusedIcmp = "connect_refused_icmp",
        "the SYN was answered by ICMP port unreachable",
        "a firewall rejects this port: look at its rules on the host that sent the ICMP message";
    /// The SYN was never answered.
    ConnectTimeout = "connect_timeout",
        "the SYN was never answered",
        "is the host up; does a firewall drop silently; is the server's accept queue full (ss -lnt)";
    /// ICMP, or the neighbour look-up, said that there is no way.
    ConnectUnreachable = "connect_unreachable",
        "the network answered the SYN: unreachable",
        "check route, neighbour and firewall at the host that sent the ICMP message";
    /// No local route.
    ConnectNoRoute = "connect_no_route",
        "this host has no route to the address",
        "ip route get ADDRESS; is the interface up";
    /// Refused by this host's kernel.
    ConnectLocal = "connect_local",
        "this host's kernel refused to connect",
        "are ephemeral ports used up (ss -s); does a security module, firewall or cgroup forbid it";
    /// The program gave up itself.
    ConnectCancelled = "connect_cancelled",
        "the program closed the socket while it was still connecting",
        "the program's own dial timeout, shorter than the kernel's; is the server slow or silent";
    /// RST after the handshake and before accept.
    ResetBeforeAccept = "reset_before_accept",
        "the client reset the connection before it was accepted",
        "accept still succeeds and the next read or write fails; is the server slow to accept, or do health checks connect and reset";
    /// RST on an established connection.
    ResetByPeer = "reset_by_peer",
        "the peer sent RST on a live connection",
        "did the peer crash, close with unread data or SO_LINGER 0, or did a middlebox cut the flow";
    /// RST in answer to a retransmission.
    ResetAfterRetransmit = "reset_after_retransmit",
        "the peer answered retransmissions with RST",
        "the peer's host rebooted, or a NAT or load balancer forgot the flow";
    /// RST in answer to the first data after a silence.
    ResetAfterIdle = "reset_after_idle",
        "the peer answered the first data after a long silence with RST",
        "an idle connection was dropped on the way: use heartbeats or SO_KEEPALIVE, or close idle ones earlier";
    /// RST after this side had closed.
    ResetWhileClosing = "reset_while_closing",
        "the connection was reset after this side had closed",
        "usually harmless: the peer closed without reading the rest";
    /// Data after this side shut down reading.
    DataAfterShutdown = "data_after_shutdown",
        "the peer kept sending after this side stopped reading; this kernel reset the connection",
        "drain the socket before closing it, or make the peer stop first";
    /// Written on after the peer's FIN.
    ResetAfterPeerClose = "reset_after_peer_close",
        "the peer had closed, this side wrote on, and the peer answered RST",
        "a read returning 0 means the peer has closed: stop writing; mind SIGPIPE on the next write";
    /// Written on after a reset was reported.
    WriteAfterReset = "write_after_reset",
        "the program wrote on after the reset had been reported",
        "check what write returns, and close the socket at the first error";
    /// Written on after a timeout was reported.
    WriteAfterTimeout = "write_after_timeout",
        "the program wrote on after the timeout had been reported",
        "check what write returns, and close the socket at the first error";
    /// Written on after the program's own shutdown.
    WriteAfterShutdown = "write_after_shutdown",
        "the program wrote after its own shutdown of the sending side",
        "a bug of the program: shutdown(SHUT_WR) ends its right to write";
    /// It wrote without ever having connected.
    WriteUnconnected = "write_unconnected",
        "the program wrote to a socket that it never connected",
        "a bug of the program: a wrong descriptor, or a connect whose failure it did not notice";
    /// Data was never acknowledged.
    RetransmitTimeout = "retransmit_timeout",
        "data was never acknowledged and the retries ran out",
        "did the peer's host crash or lose its link; does a firewall drop the flow (ss -ti shows retries)";
    /// `TCP_USER_TIMEOUT` passed.
    UserTimeout = "user_timeout",
        "data was not acknowledged within TCP_USER_TIMEOUT",
        "as for a lost peer; the program itself set this limit";
    /// Keepalive probes went unanswered.
    KeepaliveTimeout = "keepalive_timeout",
        "the peer stopped answering keepalive probes while idle",
        "did the peer's host go away, or did a NAT or firewall forget the idle flow";
    /// The peer's window stayed closed.
    ZeroWindowTimeout = "zero_window_timeout",
        "the peer's receive window stayed closed",
        "does the peer's program still read; is its host still there";
    /// Given up after an ICMP error.
    UnreachableTimeout = "unreachable_timeout",
        "data was never acknowledged, and the network had reported the peer unreachable",
        "check routes and firewalls on the way (ip route get, traceroute)";
    /// An ICMP error on a socket that asked to be told (`IP_RECVERR`).
    UnreachableReported = "unreachable_reported",
        "the network reported the peer unreachable; the connection stays open",
        "check routes and firewalls on the way; IP_RECVERR made the kernel tell at once";
    /// Killed from outside the program.
    AbortedLocally = "aborted_locally",
        "the socket was killed on this host from outside its program",
        "who ran ss -K, or which BPF program destroys sockets";
    /// A subflow of an MPTCP connection ended.
    SubflowFailed = "subflow_failed",
        "a subflow of an MPTCP connection ended; the connection lives on or is told by itself",
        "one path of the connection is gone: ss -M and ip mptcp show what is left";
    /// Connected again after the failure was read.
    ConnectRetriedAfterFailure = "connect_retried_after_failure",
        "the program called connect again after it had read the failure",
        "close the socket after a failed connect and use a new one";
    /// The listener was shut down.
    ListenerClosed = "listener_closed",
        "the listener was shut down while accept waited",
        "usually the program's own stop; else who closed the listener";
    /// No descriptor or memory for a connection.
    AcceptResources = "accept_resources",
        "accept found no free descriptor or memory; connections pile up in the queue",
        "raise LimitNOFILE, or close what leaks (ls /proc/PID/fd | wc -l)";
    /// The peer closed and owed an answer.
    PrematureEof = "premature_eof",
        "the peer closed while a request was unanswered; a read returns 0",
        "did the server end, crash or hit a limit before it answered; see its log";
    /// A socket option call failed.
    SockoptRejected = "sockopt_rejected",
        "the kernel rejected a socket option",
        "is the option known to this kernel, the value in range, the length right";
    /// `bind` failed.
    BindFailed = "bind_failed",
        "the address could not be bound",
        "who holds the port (ss -lntp); is the address local; is the port privileged";
    /// `listen` failed.
    ListenFailed = "listen_failed",
        "the socket could not listen",
        "who listens there already (ss -lntp)";
    /// A signal ended the call.
    Interrupted = "interrupted",
        "a signal ended the call",
        "retry the call on EINTR, or install handlers with SA_RESTART";
    /// Not told apart, or unknown.
    Other = "other",
        "a socket error of another kind",
        "the raw errno, TCP state and hook are given";
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_distinct_and_fit_for_labels() {
        let ids: HashSet<_> = Cause::ALL.iter().map(|cause| cause.id()).collect();
        assert_eq!(ids.len(), Cause::ALL.len());
        for id in ids {
            assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{id}");
        }
    }
}
