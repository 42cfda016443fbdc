//! Descriptions of the reasons for which this host sends RSTs.

use socktrace_ebpf::SentReset;

/// Description of an RST sent by this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WhySent {
    /// Its stable name.
    pub id: &'static str,
    /// The kind of socket whose answer to a segment it was, `none` for no socket; `None` if a
    /// socket sent it unprompted.
    pub answered_by: Option<&'static str>,
    /// Summary of the event, in a few words.
    pub summary: &'static str,
}

/// Describes a sent RST. The ids are a public interface: new ones may be added, but none changed.
#[must_use]
pub const fn why_sent(reset: SentReset) -> WhySent {
    let (id, answered_by, summary) = match reset {
        SentReset::Other => ("other", None, "for a reason that is not known"),
        SentReset::UnreadData => {
            ("unread_data", None, "the program closed the connection before it had read all data")
        }
        SentReset::LingerZero => {
            ("linger_zero", None, "the program closed the connection with SO_LINGER 0")
        }
        SentReset::ListenerClosed => (
            "listener_closed",
            None,
            "its listener was closed before a program had accepted the connection",
        ),
        SentReset::Dissolved => {
            ("dissolved", None, "the program dissolved the connection by connect with AF_UNSPEC")
        }
        SentReset::Keepalive => ("keepalive", None, "the peer did not answer keepalive probes"),
        SentReset::Aborted => {
            ("aborted", None, "the socket was killed from outside, by ss -K or a BPF program")
        }
        SentReset::OrphanTimeout => (
            "orphan_timeout",
            None,
            "the program had closed the connection and the peer did not in time \
             (net.ipv4.tcp_fin_timeout, TCP_LINGER2)",
        ),
        SentReset::OutOfMemory => (
            "out_of_memory",
            None,
            "closed with data to send, beyond net.ipv4.tcp_max_orphans or TCP's memory (tcp_mem)",
        ),
        SentReset::Mptcp => {
            ("mptcp", None, "the MPTCP connection that it carries was reset or has ended")
        }
        SentReset::NoSocket => {
            ("no_socket", Some("none"), "a segment came to a port without a socket")
        }
        SentReset::Listener => (
            "listener",
            Some("listener"),
            "a segment came to a listener and belongs to none of its connections",
        ),
        SentReset::Request => (
            "request",
            Some("request"),
            "a segment came that is no answer in a handshake, or the accept queue is full \
             (net.ipv4.tcp_abort_on_overflow)",
        ),
        SentReset::TimeWait => (
            "time_wait",
            Some("time_wait"),
            "a segment came to a connection that this host has closed already",
        ),
        SentReset::DataAfterClose => (
            "data_after_close",
            Some("full"),
            "data came that no program can read: closed, or shut down for reading",
        ),
        SentReset::UnacceptableAck => {
            ("unacceptable_ack", Some("full"), "a segment came that acknowledges data never sent")
        }
    };
    WhySent { id, answered_by, summary }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use socktrace_ebpf::{EventKind, Signature};

    use super::*;
    use crate::{Finding, diagnose};

    #[test]
    fn each_reason_has_a_name_of_its_own() {
        let ids: BTreeSet<_> = SentReset::ALL.iter().map(|reset| why_sent(*reset).id).collect();
        assert_eq!(ids.len(), SentReset::ALL.len());
    }

    #[test]
    fn an_rst_that_was_sent_is_no_failure() {
        let sent = |origin| {
            let kind = EventKind::ResetSent as u8;
            diagnose(Signature { kind, origin, ..Signature::default() })
        };
        for reset in SentReset::ALL {
            let finding = sent(*reset as u8);
            assert_eq!(finding, Finding::ResetSent(*reset));
            assert_eq!(finding.diagnosis(), None);
        }
        // As from programs of another build.
        assert_eq!(sent(255), Finding::ResetSent(SentReset::Other));
    }
}
