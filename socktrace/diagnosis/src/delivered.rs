//! Delivery of errnos: a pending error in a socket differs from an errno that a call has returned.

use nix::libc;
use socktrace_ebpf::{EventKind, Flags, Signature};

use crate::Errno;

/// Whether a call has returned the errno. `Some(true)` if a call was seen to return it.
/// `Some(false)` if no program holds the socket, or it was closed with the error still pending.
/// `None` if the error is pending for a read, a write, a connect or `SO_ERROR`, or if there is
/// none.
#[must_use]
pub fn delivered(signature: Signature) -> Option<bool> {
    const ECANCELED: u16 = Errno::of(libc::ECANCELED).number();

    let flags = Flags(signature.flags);
    if flags.has(Flags::ORPHAN) {
        return Some(false);
    }
    match EventKind::try_from(signature.kind).ok()? {
        EventKind::ClosedUnread => Some(false),
        EventKind::ConnectionEnded if flags.has(Flags::SUBFLOW) => Some(false),
        // The program has given up, and no errno is left to deliver. Any other errno was read with
        // `SO_ERROR` before.
        EventKind::CloseWhileConnecting if signature.errno == ECANCELED => Some(false),
        // Accept succeeded and did not take the error.
        EventKind::Accept if flags.has(Flags::DELIVERY) => None,
        EventKind::ConnectionEnded
        | EventKind::ErrorReported
        | EventKind::CloseWhileConnecting
        | EventKind::PeerClosed
        | EventKind::HandshakesDropped
        | EventKind::ReceiveQueueFull
        | EventKind::Retransmission
        | EventKind::ResetSent => None,
        EventKind::Accept
        | EventKind::AcceptCall
        | EventKind::Write
        | EventKind::DatagramSend
        | EventKind::Connect
        | EventKind::Bind
        | EventKind::Listen
        | EventKind::Setsockopt
        | EventKind::Getsockopt
        | EventKind::Socket => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: EventKind, errno: i32, flags: Flags) -> Option<bool> {
        let errno = u16::try_from(errno).expect("small");
        delivered(Signature { kind: kind as u8, errno, flags: flags.0, ..Signature::default() })
    }

    #[test]
    fn an_errno_is_with_a_call_or_in_the_socket_or_gone() {
        let none = Flags::empty();
        for (kind, errno, flags, expected) in [
            (EventKind::ConnectionEnded, libc::ECONNRESET, none, None),
            (EventKind::ConnectionEnded, libc::ECONNRESET, Flags::UNACCEPTED, None),
            (EventKind::ConnectionEnded, libc::ECONNRESET, Flags::ORPHAN, Some(false)),
            (EventKind::ConnectionEnded, libc::ECONNRESET, Flags::SUBFLOW, Some(false)),
            (EventKind::ErrorReported, libc::EHOSTUNREACH, none, None),
            (EventKind::ClosedUnread, libc::ECONNRESET, none, Some(false)),
            (EventKind::ClosedUnread, libc::EHOSTUNREACH, Flags::STAYED_OPEN, Some(false)),
            (EventKind::CloseWhileConnecting, libc::ECANCELED, none, Some(false)),
            (EventKind::CloseWhileConnecting, libc::EHOSTUNREACH, none, None),
            (EventKind::Accept, libc::ECONNRESET, Flags::UNACCEPTED.with(Flags::DELIVERY), None),
            (EventKind::Accept, libc::EINVAL, none, Some(true)),
            (EventKind::Write, libc::ECONNRESET, Flags::DELIVERY, Some(true)),
            (EventKind::Write, libc::EPIPE, Flags::REPORTED, Some(true)),
            (EventKind::Connect, libc::ENETUNREACH, none, Some(true)),
            (EventKind::PeerClosed, 0, none, None),
        ] {
            assert_eq!(of(kind, errno, flags), expected, "{kind:?} {errno} {flags:?}");
        }
    }
}
