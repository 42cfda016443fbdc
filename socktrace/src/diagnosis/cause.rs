//! The causes: stable names, used as metric label, JSON value and topic.

use std::fmt;

/// Declares the causes with their id, what happened, and what to look at.
macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $summary:literal, $advice:literal;)+) => {
        /// Why a socket failed. The ids are a public interface: they are only ever added to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Cause {
            $($(#[$doc])* $variant,)+
        }

        impl Cause {
            /// Every cause, in the order of the documentation.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable name.
            pub(crate) const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// What happened, in a few words.
            pub(crate) const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)+ }
            }

            /// What to look at first.
            pub(crate) const fn advice(self) -> &'static str {
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
    /// The SYN was never answered.
    ConnectTimeout = "connect_timeout",
        "the SYN was never answered",
        "is the host up; does a firewall drop silently; is the server's accept queue full (ss -lnt)";
    /// RST after the handshake and before accept.
    ResetBeforeAccept = "reset_before_accept",
        "the client reset the connection before it was accepted",
        "accept still succeeds and the next read or write fails; is the server slow to accept, or do health checks connect and reset";
    /// RST on an established connection.
    ResetByPeer = "reset_by_peer",
        "the peer sent RST on a live connection",
        "did the peer crash, close with unread data or SO_LINGER 0, or did a middlebox cut the flow";
    /// RST after this side had closed.
    ResetWhileClosing = "reset_while_closing",
        "the peer sent RST after this side had closed",
        "usually harmless: the peer closed without reading the rest";
    /// Data after this side shut down reading.
    DataAfterShutdown = "data_after_shutdown",
        "the peer kept sending after this side stopped reading; this kernel reset the connection",
        "drain the socket before closing it, or make the peer stop first";
    /// Written on after the peer's FIN.
    ResetAfterPeerClose = "reset_after_peer_close",
        "the peer had closed, this side wrote on, and the peer answered RST",
        "a read returning 0 means the peer has closed: stop writing; mind SIGPIPE on the next write";
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
    /// Not told apart yet, or unknown.
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
