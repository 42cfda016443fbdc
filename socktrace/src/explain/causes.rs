//! The causes as topics: their group and the errnos they give.

use Errnos::{Any, None, Of};
use Group::{Accept, Call, Connect, Reset, Timeout, Write};

/// What a cause has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Connect,
    Accept,
    Reset,
    Write,
    Timeout,
    Call,
}

impl Group {
    /// Every group, in the order in which they are listed.
    pub(super) const ALL: [Self; 6] = [Connect, Accept, Reset, Write, Timeout, Call];
}

/// The errnos that a cause can give.
#[derive(Clone, Copy, Debug)]
pub(super) enum Errnos {
    /// Any at all.
    Any,
    /// None: the program sees an end of file.
    None,
    /// These.
    Of(&'static [&'static str]),
}

impl Errnos {
    /// Whether an errno is named here.
    pub(super) fn contain(self, errno: &str) -> bool {
        matches!(self, Of(names) if names.contains(&errno))
    }
}

/// A cause.
#[derive(Debug)]
pub(crate) struct Cause {
    pub(super) id: &'static str,
    pub(super) group: Group,
    pub(super) errnos: Errnos,
}

/// What ICMP and neighbour discovery can turn into.
const UNREACHABLE: &[&str] = &[
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ECONNREFUSED",
    "EACCES",
    "ENOPROTOOPT",
    "EHOSTDOWN",
    "ENONET",
    "EOPNOTSUPP",
    "EPROTO",
    "EMSGSIZE",
];

/// The same for a connection attempt, where a refused port is a cause of its own.
const UNREACHABLE_CONNECTING: &[&str] = &[
    "EHOSTUNREACH",
    "ENETUNREACH",
    "EACCES",
    "ENOPROTOOPT",
    "EHOSTDOWN",
    "ENONET",
    "EOPNOTSUPP",
    "EPROTO",
    "EMSGSIZE",
];

/// Every cause, in the order of the list.
pub(super) const CAUSES: &[Cause] = &[
    cause("connect_refused", Connect, Of(&["ECONNREFUSED"])),
    cause("connect_refused_icmp", Connect, Of(&["ECONNREFUSED"])),
    cause("connect_timeout", Connect, Of(&["ETIMEDOUT"])),
    cause("connect_unreachable", Connect, Of(UNREACHABLE_CONNECTING)),
    cause("connect_no_route", Connect, Of(&["ENETUNREACH", "EHOSTUNREACH", "EINVAL"])),
    cause(
        "connect_local",
        Connect,
        Of(&["EADDRNOTAVAIL", "EACCES", "EPERM", "ENOBUFS", "ENOMEM", "EAFNOSUPPORT"]),
    ),
    cause("connect_cancelled", Connect, Of(&["ECANCELED"])),
    cause("connect_retried_after_failure", Connect, Of(&["ECONNABORTED"])),
    cause("reset_before_accept", Accept, Of(&["ECONNRESET", "EPIPE"])),
    cause("listener_closed", Accept, Of(&["EINVAL"])),
    cause("accept_resources", Accept, Of(&["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])),
    cause("reset_by_peer", Reset, Of(&["ECONNRESET"])),
    cause("reset_after_retransmit", Reset, Of(&["ECONNRESET"])),
    cause("reset_after_idle", Reset, Of(&["ECONNRESET"])),
    cause("reset_while_closing", Reset, Of(&["ECONNRESET"])),
    cause("data_after_shutdown", Reset, Of(&["ECONNRESET"])),
    cause("subflow_failed", Reset, Any),
    cause("aborted_locally", Reset, Of(&["ECONNABORTED"])),
    cause("premature_eof", Reset, None),
    cause("reset_after_peer_close", Write, Of(&["EPIPE"])),
    cause("write_after_reset", Write, Of(&["EPIPE"])),
    cause("write_after_timeout", Write, Of(&["EPIPE"])),
    cause("write_after_shutdown", Write, Of(&["EPIPE"])),
    cause("write_unconnected", Write, Of(&["EPIPE"])),
    cause("retransmit_timeout", Timeout, Of(&["ETIMEDOUT"])),
    cause("user_timeout", Timeout, Of(&["ETIMEDOUT"])),
    cause("keepalive_timeout", Timeout, Of(&["ETIMEDOUT"])),
    cause("zero_window_timeout", Timeout, Of(&["ETIMEDOUT"])),
    cause("unreachable_timeout", Timeout, Of(UNREACHABLE)),
    cause("unreachable_reported", Timeout, Of(UNREACHABLE)),
    cause(
        "sockopt_rejected",
        Call,
        Of(&[
            "ENOPROTOOPT",
            "EINVAL",
            "EPERM",
            "EACCES",
            "EBADF",
            "ENOTSOCK",
            "EFAULT",
            "EDOM",
            "ENOTCONN",
            "EISCONN",
            "ENOENT",
            "ENODEV",
            "EADDRNOTAVAIL",
            "EOPNOTSUPP",
            "EPROTO",
            "ENOBUFS",
            "ENOMEM",
        ]),
    ),
    cause(
        "bind_failed",
        Call,
        Of(&["EADDRINUSE", "EACCES", "EADDRNOTAVAIL", "EINVAL", "EPERM", "EAFNOSUPPORT", "ENODEV"]),
    ),
    cause("listen_failed", Call, Of(&["EADDRINUSE", "EINVAL"])),
    cause("interrupted", Call, Of(&["EINTR"])),
    cause("other", Call, Any),
];

const fn cause(id: &'static str, group: Group, errnos: Errnos) -> Cause {
    Cause { id, group, errnos }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::numbers;

    #[test]
    fn every_cause_of_the_diagnosis_is_a_topic() {
        for cause in socktrace_diagnosis::Cause::ALL {
            assert!(CAUSES.iter().any(|topic| topic.id == cause.id()), "{cause}");
        }
    }

    #[test]
    fn the_errnos_are_topics() {
        for cause in CAUSES {
            if let Of(names) = cause.errnos {
                assert!(!names.is_empty(), "{}", cause.id);
                for name in names {
                    assert!(numbers::by_name(name).is_some(), "{}: {name}", cause.id);
                }
            }
        }
    }
}
