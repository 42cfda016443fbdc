//! Tests of the diagnosis: each row of the documented table, and totality.

use proptest::prelude::*;
use socktrace_ebpf::{Family, Protocol};

use super::*;
use crate::{Timer, delivered};

fn done(origin: Origin, state: TcpState, errno: u16, flags: &[Flags]) -> Signature {
    Signature {
        kind: EventKind::ConnectionEnded as u8,
        origin: origin as u8,
        state: state as u8,
        family: Family::Ipv4 as u8,
        protocol: Protocol::Tcp as u8,
        errno,
        flags: flags.iter().fold(Flags::empty(), |all, flag| all.with(*flag)).0,
        ..Signature::default()
    }
}

fn failure(signature: Signature) -> Diagnosis {
    match diagnose(signature) {
        Finding::Failure(diagnosis) => diagnosis,
        other => panic!("{signature:?} is {other:?}"),
    }
}

/// An event on a UDP socket.
fn datagram(kind: EventKind, errno: u16) -> Signature {
    let state = TcpState::Close as u8;
    let (kind, protocol) = (kind as u8, Protocol::Udp as u8);
    Signature { kind, errno, state, protocol, family: Family::Ipv4 as u8, ..Signature::default() }
}

#[test]
fn datagrams_have_causes_of_their_own() {
    let diagnosed = |kind, errno| {
        let found = failure(datagram(kind, errno));
        (found.cause, found.call, found.severity)
    };
    let reported = |errno| diagnosed(EventKind::ErrorReported, errno);
    let next = Call::ReadOrWrite;
    assert_eq!(reported(ECONNREFUSED), (Cause::PortUnreachable, next, Severity::Failure));
    assert_eq!(reported(EHOSTUNREACH), (Cause::UnreachableReported, next, Severity::Failure));
    assert_eq!(reported(ECONNABORTED), (Cause::AbortedLocally, next, Severity::Failure));
    // A TCP socket would not stay open.
    let tcp = Signature {
        protocol: Protocol::Tcp as u8,
        ..datagram(EventKind::ErrorReported, ECONNREFUSED)
    };
    assert_eq!(failure(tcp).cause, Cause::UnreachableReported);
    let dropped = (Cause::ReceiveQueueFull, Call::None, Severity::Notable);
    assert_eq!(diagnosed(EventKind::ReceiveQueueFull, 0), dropped);
    let refused = (Cause::SendRefused, Call::Write, Severity::Failure);
    assert_eq!(diagnosed(EventKind::DatagramSend, EPERM), refused);
}

#[test]
fn unix_sends_are_diagnosed_by_errno_and_presence_of_the_peer() {
    const ENOENT: u16 = errno(libc::ENOENT);
    const ENOTCONN: u16 = errno(libc::ENOTCONN);

    let of = |kind: EventKind, errno, flags: Flags, origin: Origin| {
        let signature = Signature {
            flags: flags.0,
            origin: origin as u8,
            protocol: Protocol::Unix as u8,
            ..datagram(kind, errno)
        };
        let found = failure(signature);
        assert_eq!(found.call, Call::Write);
        found.cause
    };
    let none = Flags::empty();
    let sent = |errno, flags| of(EventKind::DatagramSend, errno, flags, Origin::Other);
    assert_eq!(sent(EAGAIN, none), Cause::PeerQueueFull);
    assert_eq!(of(EventKind::DatagramSend, EAGAIN, none, Origin::SendTimeout), Cause::SendTimeout);
    assert_eq!(sent(ECONNREFUSED, none), Cause::ConnectRefused);
    assert_eq!(sent(ECONNREFUSED, Flags::PEER_CLOSED), Cause::WriteAfterPeerClose);
    assert_eq!(sent(ENOENT, none), Cause::NoSuchSocket);
    assert_eq!(sent(EPERM, none), Cause::SendRefused);
    assert_eq!(sent(EPIPE, Flags::SEND_SHUTDOWN), Cause::WriteAfterShutdown);
    let written = |errno, flags| of(EventKind::Write, errno, flags, Origin::Other);
    assert_eq!(written(EAGAIN, none), Cause::SendTimeout);
    assert_eq!(written(EPIPE, Flags::PEER_CLOSED), Cause::WriteAfterPeerClose);
    assert_eq!(written(EPIPE, Flags::SEND_SHUTDOWN), Cause::WriteAfterShutdown);
    for kind in [EventKind::Write, EventKind::DatagramSend] {
        assert_eq!(of(kind, ENOTCONN, none, Origin::Other), Cause::WriteUnconnected);
    }
}

#[test]
fn a_connect_that_asks_for_a_way_is_expected_to_fail() {
    const EADDRNOTAVAIL: u16 = errno(libc::EADDRNOTAVAIL);
    const EACCES: u16 = errno(libc::EACCES);

    let diagnosed = |errno| {
        let found = failure(datagram(EventKind::Connect, errno));
        assert_eq!(found.call, Call::Connect);
        (found.cause, found.severity)
    };
    for number in [ENETUNREACH, EHOSTUNREACH] {
        assert_eq!(diagnosed(number), (Cause::ConnectNoRoute, Severity::Expected));
    }
    assert_eq!(diagnosed(EADDRNOTAVAIL), (Cause::ConnectLocal, Severity::Expected));
    for number in [EACCES, EINVAL, EPERM] {
        assert_eq!(diagnosed(number), (Cause::ConnectLocal, Severity::Failure));
    }
    // With TCP, the program wants a connection.
    let tcp =
        Signature { protocol: Protocol::Tcp as u8, ..datagram(EventKind::Connect, ENETUNREACH) };
    assert_eq!(failure(tcp).severity, Severity::Failure);
}

#[test]
fn every_documented_row() {
    use Flags as F;
    use Origin::{Abort, Other, Reset, RetransmitTimer as Rto};
    use TcpState::{
        CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, SynRecv, SynSent,
    };

    #[rustfmt::skip]
    let rows = [
        // origin, state, errno, flags => cause, call
        (Reset, SynSent, ECONNREFUSED, vec![], Cause::ConnectRefused, Call::Connect),
        (Reset, Established, ECONNRESET, vec![], Cause::ResetByPeer, Call::ReadOrWrite),
        (Reset, Established, ECONNRESET, vec![F::UNACCEPTED], Cause::ResetBeforeAccept, Call::ReadOrWrite),
        (Reset, CloseWait, EPIPE, vec![F::UNACCEPTED], Cause::ResetBeforeAccept, Call::Write),
        (Reset, CloseWait, EPIPE, vec![], Cause::ResetAfterPeerClose, Call::Write),
        // The RST does not answer data: everything was acknowledged.
        (Reset, CloseWait, EPIPE, vec![F::ACKED], Cause::ResetByPeer, Call::Write),
        (Reset, FinWait1, ECONNRESET, vec![], Cause::ResetWhileClosing, Call::ReadOrWrite),
        (Reset, FinWait1, ECONNRESET, vec![F::RECEIVING, F::RETRANSMITTED], Cause::ResetAfterRetransmit, Call::ReadOrWrite),
        (Reset, FinWait2, ECONNRESET, vec![F::RECEIVING], Cause::ResetByPeer, Call::ReadOrWrite),
        (Reset, FinWait2, ECONNRESET, vec![F::RECEIVING, F::IDLE], Cause::ResetAfterIdle, Call::ReadOrWrite),
        (Reset, FinWait2, ECONNRESET, vec![F::ORPHAN], Cause::ResetWhileClosing, Call::None),
        (Reset, Closing, ECONNRESET, vec![F::ORPHAN], Cause::ResetWhileClosing, Call::None),
        (Reset, LastAck, ECONNRESET, vec![F::ORPHAN], Cause::ResetWhileClosing, Call::None),
        (Reset, FinWait2, ECONNRESET, vec![F::NO_RST], Cause::DataAfterShutdown, Call::ReadOrWrite),
        (Rto, SynSent, ETIMEDOUT, vec![F::RETRANSMITTED], Cause::ConnectTimeout, Call::Connect),
        (Rto, SynSent, ETIMEDOUT, vec![F::RETRANSMITTED, F::USER_TIMEOUT], Cause::ConnectTimeout, Call::Connect),
        (Rto, Established, ETIMEDOUT, vec![F::RETRANSMITTED], Cause::RetransmitTimeout, Call::ReadOrWrite),
        (Rto, CloseWait, ETIMEDOUT, vec![F::RETRANSMITTED], Cause::RetransmitTimeout, Call::ReadOrWrite),
        (Rto, FinWait1, ETIMEDOUT, vec![F::RETRANSMITTED, F::ORPHAN], Cause::RetransmitTimeout, Call::None),
        (Rto, Established, ETIMEDOUT, vec![F::RETRANSMITTED, F::USER_TIMEOUT], Cause::UserTimeout, Call::ReadOrWrite),
        (Rto, Established, ETIMEDOUT, vec![F::ZERO_WINDOW], Cause::ZeroWindowTimeout, Call::ReadOrWrite),
        (Rto, Established, EHOSTUNREACH, vec![F::RETRANSMITTED, F::SOFT_ERROR], Cause::UnreachableTimeout, Call::ReadOrWrite),
        (Other, Established, ETIMEDOUT, vec![F::KEEPALIVE, F::PROBED], Cause::KeepaliveTimeout, Call::ReadOrWrite),
        (Other, Established, ETIMEDOUT, vec![F::KEEPALIVE, F::PROBED, F::USER_TIMEOUT], Cause::KeepaliveTimeout, Call::ReadOrWrite),
        (Other, Established, ETIMEDOUT, vec![F::UNSENT, F::ZERO_WINDOW, F::PROBED, F::PROBES_EXHAUSTED], Cause::ZeroWindowTimeout, Call::ReadOrWrite),
        // The persist timer sends what fits into an open window; that would be in flight.
        (Other, Established, ETIMEDOUT, vec![F::UNSENT, F::PROBED, F::PROBES_EXHAUSTED], Cause::SendFailedLocally, Call::ReadOrWrite),
        (Other, Established, ETIMEDOUT, vec![F::UNSENT, F::PROBED, F::USER_TIMEOUT], Cause::SendFailedLocally, Call::ReadOrWrite),
        (Other, Established, ETIMEDOUT, vec![F::UNSENT, F::PROBED, F::PROBES_EXHAUSTED, F::SEND_FAILED], Cause::SendFailedLocally, Call::ReadOrWrite),
        (Other, Established, ENETUNREACH, vec![F::UNSENT, F::PROBED, F::SOFT_ERROR, F::SEND_FAILED], Cause::SendFailedLocally, Call::ReadOrWrite),
        // A probe of a closed window that does not leave this host.
        (Other, Established, ETIMEDOUT, vec![F::UNSENT, F::ZERO_WINDOW, F::PROBED, F::SEND_FAILED], Cause::SendFailedLocally, Call::ReadOrWrite),
        (Other, Established, ETIMEDOUT, vec![F::KEEPALIVE, F::PROBED, F::SEND_FAILED], Cause::SendFailedLocally, Call::ReadOrWrite),
        (Rto, Established, ETIMEDOUT, vec![F::RETRANSMITTED, F::SEND_FAILED], Cause::SendFailedLocally, Call::ReadOrWrite),
        (Rto, Established, ETIMEDOUT, vec![F::RETRANSMITTED, F::USER_TIMEOUT, F::SEND_FAILED], Cause::SendFailedLocally, Call::ReadOrWrite),
        (Rto, LastAck, ENETUNREACH, vec![F::RETRANSMITTED, F::SOFT_ERROR, F::SEND_FAILED, F::ORPHAN], Cause::SendFailedLocally, Call::None),
        (Rto, SynSent, ETIMEDOUT, vec![F::RETRANSMITTED, F::SEND_FAILED], Cause::ConnectSendFailed, Call::Connect),
        (Rto, SynSent, ENETUNREACH, vec![F::RETRANSMITTED, F::SOFT_ERROR, F::SEND_FAILED], Cause::ConnectSendFailed, Call::Connect),
        // The retry was answered by ICMP nevertheless: a firewall of this host rejects.
        (Other, SynSent, ECONNREFUSED, vec![F::RETRANSMITTED, F::SEND_FAILED], Cause::ConnectRefusedIcmp, Call::Connect),
        // A message from another host; everything sent left this host.
        (Other, Established, EHOSTUNREACH, vec![F::KEEPALIVE, F::PROBED, F::SOFT_ERROR], Cause::UnreachableTimeout, Call::ReadOrWrite),
        (Other, Established, ETIMEDOUT, vec![F::UNSENT, F::ZERO_WINDOW, F::KEEPALIVE, F::PROBED, F::PROBES_EXHAUSTED], Cause::ZeroWindowTimeout, Call::ReadOrWrite),
        (Other, Established, ETIMEDOUT, vec![F::UNSENT, F::ZERO_WINDOW, F::USER_TIMEOUT], Cause::UserTimeout, Call::ReadOrWrite),
        // Without the timer's hook, the socket's fields still show it.
        (Other, Established, ETIMEDOUT, vec![F::RETRANSMITTED], Cause::RetransmitTimeout, Call::ReadOrWrite),
        (Reset, Established, ECONNRESET, vec![F::RETRANSMITTED], Cause::ResetAfterRetransmit, Call::ReadOrWrite),
        (Reset, Established, ECONNRESET, vec![F::RETRANSMITTED, F::UNANSWERED], Cause::ResetWithoutAnswer, Call::ReadOrWrite),
        // The first data may have crossed an unrelated RST.
        (Reset, Established, ECONNRESET, vec![F::UNANSWERED], Cause::ResetByPeer, Call::ReadOrWrite),
        (Reset, SynSent, ECONNREFUSED, vec![F::FAST_OPEN], Cause::ConnectRefused, Call::Write),
        (Reset, Established, ECONNRESET, vec![F::IDLE], Cause::ResetAfterIdle, Call::ReadOrWrite),
        // A child of Fast Open, accepted or not, and a simultaneous open.
        (Reset, SynRecv, ECONNRESET, vec![], Cause::ResetByPeer, Call::ReadOrWrite),
        (Reset, SynRecv, ECONNRESET, vec![F::UNACCEPTED], Cause::ResetBeforeAccept, Call::ReadOrWrite),
        (Reset, SynRecv, ECONNRESET, vec![F::CONNECTING], Cause::ResetByPeer, Call::Connect),
        (Other, SynRecv, EHOSTUNREACH, vec![F::UNACCEPTED], Cause::UnreachableBeforeAccept, Call::ReadOrWrite),
        (Other, SynRecv, EHOSTUNREACH, vec![F::CONNECTING], Cause::ConnectUnreachable, Call::Connect),
        (Other, SynRecv, ECONNREFUSED, vec![F::CONNECTING], Cause::ConnectRefusedIcmp, Call::Connect),
        (Rto, SynRecv, ETIMEDOUT, vec![F::RETRANSMITTED], Cause::RetransmitTimeout, Call::ReadOrWrite),
        (Rto, SynRecv, ETIMEDOUT, vec![F::RETRANSMITTED, F::CONNECTING], Cause::ConnectTimeout, Call::Connect),
        (Rto, SynRecv, EHOSTUNREACH, vec![F::RETRANSMITTED, F::SOFT_ERROR], Cause::UnreachableTimeout, Call::ReadOrWrite),
        (Rto, SynRecv, EHOSTUNREACH, vec![F::RETRANSMITTED, F::SOFT_ERROR, F::UNACCEPTED], Cause::UnreachableBeforeAccept, Call::ReadOrWrite),
        (Other, SynSent, EHOSTUNREACH, vec![], Cause::ConnectUnreachable, Call::Connect),
        (Other, SynSent, ECONNREFUSED, vec![], Cause::ConnectRefusedIcmp, Call::Connect),
        (Rto, SynSent, EHOSTUNREACH, vec![F::SOFT_ERROR, F::RETRANSMITTED], Cause::ConnectUnreachable, Call::Connect),
        (Other, Established, ECONNABORTED, vec![], Cause::AbortedLocally, Call::ReadOrWrite),
        (Abort, Established, ECONNABORTED, vec![], Cause::AbortedLocally, Call::ReadOrWrite),
        (Other, Established, errno(libc::EBADMSG), vec![], Cause::Other, Call::ReadOrWrite),
    ];
    for (origin, state, errno, flags, cause, call) in rows {
        let signature = done(origin, state, errno, &flags);
        let found = failure(signature);
        assert_eq!((found.cause, found.call), (cause, call), "{signature:?}");
        assert_eq!(found.errno, Errno(errno), "{signature:?}");
    }
}

#[test]
fn every_call_that_fails_by_itself() {
    use Flags as F;
    use TcpState::{Close, FinWait2, Listen, SynSent};

    #[rustfmt::skip]
    let rows = [
        (EventKind::Connect, Close, ENETUNREACH, vec![], Cause::ConnectNoRoute, Call::Connect),
        (EventKind::Connect, Close, EINVAL, vec![], Cause::ConnectNoRoute, Call::Connect),
        (EventKind::Connect, Close, errno(libc::EADDRNOTAVAIL), vec![], Cause::ConnectLocal, Call::Connect),
        (EventKind::Connect, Close, errno(libc::EACCES), vec![], Cause::ConnectLocal, Call::Connect),
        (EventKind::Connect, Close, errno(libc::EPERM), vec![F::POLICY], Cause::ConnectLocal, Call::Connect),
        (EventKind::Connect, Close, EINVAL, vec![F::POLICY], Cause::ConnectLocal, Call::Connect),
        (EventKind::Connect, Close, ENETUNREACH, vec![F::FAST_OPEN], Cause::ConnectNoRoute, Call::Write),
        (EventKind::Connect, Close, EINVAL, vec![F::MALFORMED], Cause::ConnectLocal, Call::Connect),
        (EventKind::Connect, Close, errno(libc::EOPNOTSUPP), vec![F::FAST_OPEN], Cause::ConnectLocal, Call::Write),
        (EventKind::Connect, Close, ECONNRESET, vec![], Cause::ConnectCancelled, Call::Connect),
        (EventKind::Connect, SynSent, EINTR, vec![], Cause::Interrupted, Call::Connect),
        (EventKind::Connect, SynSent, EINPROGRESS, vec![], Cause::ConnectSendTimeout, Call::Connect),
        (EventKind::Connect, SynSent, EALREADY, vec![F::MALFORMED], Cause::ConnectSendTimeout, Call::Connect),
        (EventKind::Connect, SynSent, EINPROGRESS, vec![F::FAST_OPEN], Cause::ConnectSendTimeout, Call::Write),
        (EventKind::Write, TcpState::Established, EAGAIN, vec![F::ZERO_WINDOW], Cause::SendTimeout, Call::Write),
        (EventKind::Write, SynSent, EAGAIN, vec![], Cause::SendTimeout, Call::Write),
        (EventKind::Connect, Close, ECONNABORTED, vec![F::REPORTED], Cause::ConnectRetriedAfterFailure, Call::Connect),
        (EventKind::CloseWhileConnecting, SynSent, errno(libc::ECANCELED), vec![], Cause::ConnectCancelled, Call::None),
        (EventKind::CloseWhileConnecting, SynSent, ECONNREFUSED, vec![], Cause::ConnectRefusedIcmp, Call::Connect),
        (EventKind::CloseWhileConnecting, SynSent, EHOSTUNREACH, vec![], Cause::ConnectUnreachable, Call::Connect),
        (EventKind::Accept, Close, EINVAL, vec![], Cause::ListenerClosed, Call::Accept),
        (EventKind::Accept, Close, EINVAL, vec![F::NEVER_LISTENED], Cause::AcceptFailed, Call::Accept),
        (EventKind::AcceptCall, TcpState::Established, EINVAL, vec![F::NEVER_LISTENED], Cause::AcceptFailed, Call::Accept),
        (EventKind::Accept, Listen, EINTR, vec![], Cause::Interrupted, Call::Accept),
        (EventKind::AcceptCall, Listen, EMFILE, vec![], Cause::AcceptResources, Call::Accept),
        (EventKind::Write, FinWait2, EPIPE, vec![F::SEND_SHUTDOWN], Cause::WriteAfterShutdown, Call::Write),
        // A failure before the start of socktrace may have ended the connection.
        (EventKind::Write, Close, EPIPE, vec![F::SEND_SHUTDOWN], Cause::Other, Call::Write),
        (EventKind::Write, Close, EPIPE, vec![F::SEND_SHUTDOWN, F::PEER_CLOSED], Cause::WriteAfterShutdown, Call::Write),
        (EventKind::Write, Close, EPIPE, vec![F::SEND_SHUTDOWN, F::REPORTED], Cause::WriteAfterTimeout, Call::Write),
        (EventKind::Write, Close, EPIPE, vec![F::SEND_SHUTDOWN, F::REPORTED, F::UNREACHABLE], Cause::WriteAfterUnreachable, Call::Write),
        (EventKind::Write, TcpState::Established, EHOSTUNREACH, vec![], Cause::UnreachableReported, Call::Write),
        (EventKind::Write, Close, EPIPE, vec![], Cause::WriteUnconnected, Call::Write),
        (EventKind::Write, Listen, EPIPE, vec![], Cause::WriteUnconnected, Call::Write),
        (EventKind::PeerClosed, TcpState::Established, 0, vec![], Cause::PrematureEof, Call::Read),
        (EventKind::ErrorReported, TcpState::Established, EHOSTUNREACH, vec![], Cause::UnreachableReported, Call::ReadOrWrite),
        (EventKind::ConnectionEnded, TcpState::Established, ECONNRESET, vec![F::SUBFLOW], Cause::SubflowFailed, Call::None),
        (EventKind::ErrorReported, SynSent, EHOSTUNREACH, vec![F::MPTCP], Cause::ConnectUnreachable, Call::Connect),
        (EventKind::ErrorReported, TcpState::Established, errno(libc::ECONNABORTED), vec![F::MPTCP], Cause::AbortedLocally, Call::ReadOrWrite),
        (EventKind::Bind, Close, errno(libc::EADDRINUSE), vec![], Cause::BindFailed, Call::Bind),
        (EventKind::Bind, Close, errno(libc::EACCES), vec![F::POLICY], Cause::BindFailed, Call::Bind),
        (EventKind::Listen, Close, errno(libc::EADDRINUSE), vec![], Cause::ListenFailed, Call::Listen),
        (EventKind::Setsockopt, Close, EINVAL, vec![], Cause::SockoptRejected, Call::Setsockopt),
        (EventKind::Getsockopt, Close, errno(libc::ENOPROTOOPT), vec![], Cause::SockoptRejected, Call::Getsockopt),
    ];
    for (kind, state, errno, flags, cause, call) in rows {
        let signature = Signature { kind: kind as u8, ..done(Origin::Other, state, errno, &flags) };
        let found = failure(signature);
        assert_eq!((found.cause, found.call), (cause, call), "{signature:?}");
    }
}

#[test]
fn a_write_delivers_what_was_found_before_and_then_fails_by_itself() {
    let write = |origin, state, errno, flags: &[Flags], sigpipe: Sigpipe| Signature {
        kind: EventKind::Write as u8,
        sigpipe: sigpipe as u8,
        ..done(origin, state, errno, flags)
    };
    let first = write(
        Origin::Reset,
        TcpState::Established,
        ECONNRESET,
        &[Flags::DELIVERY],
        Sigpipe::NotRaised,
    );
    let Finding::Delivery(found) = diagnose(first) else { panic!("no delivery") };
    assert_eq!((found.cause, found.call), (Cause::ResetByPeer, Call::Write));

    let second = write(Origin::Reset, TcpState::Close, EPIPE, &[Flags::REPORTED], Sigpipe::Kills);
    let found = failure(second);
    assert_eq!(found.cause, Cause::WriteAfterReset);
    assert_eq!(found.sigpipe, Sigpipe::Kills);
}

#[test]
fn what_the_program_dissolved_is_not_blamed_on_others() {
    for errno in [ECONNRESET, EPIPE] {
        let signature = Signature {
            kind: EventKind::Write as u8,
            ..done(Origin::Dissolved, TcpState::Close, errno, &[Flags::REPORTED])
        };
        let found = failure(signature);
        assert_eq!((found.cause, found.call), (Cause::WriteUnconnected, Call::Write));
    }
}

#[test]
fn what_was_never_delivered_has_the_cause_of_its_failure() {
    let unread = |signature: Signature, more: Flags| Signature {
        kind: EventKind::ClosedUnread as u8,
        flags: signature.flags | more.0,
        ..signature
    };
    let reported = Signature {
        kind: EventKind::ErrorReported as u8,
        ..done(Origin::Other, TcpState::Established, EHOSTUNREACH, &[])
    };
    let mptcp = Signature {
        kind: EventKind::ErrorReported as u8,
        ..done(Origin::Reset, TcpState::Established, ECONNRESET, &[Flags::MPTCP])
    };
    for (signature, more) in [
        (done(Origin::Reset, TcpState::Established, ECONNRESET, &[Flags::IDLE]), Flags::empty()),
        (done(Origin::Reset, TcpState::SynSent, ECONNREFUSED, &[]), Flags::empty()),
        (done(Origin::Reset, TcpState::CloseWait, EPIPE, &[Flags::ACKED]), Flags::empty()),
        (reported, Flags::STAYED_OPEN),
        (mptcp, Flags::STAYED_OPEN),
    ] {
        let diagnosed = failure(signature);
        let expected = Finding::Undelivered(Diagnosis { call: Call::None, ..diagnosed });
        assert_eq!(diagnose(unread(signature, more)), expected, "{signature:?}");
    }
}

#[test]
fn what_nobody_waits_for_is_expected() {
    let orphan = done(Origin::Reset, TcpState::LastAck, ECONNRESET, &[Flags::ORPHAN]);
    assert_eq!(failure(orphan).severity, Severity::Expected);
    let held = done(Origin::Reset, TcpState::FinWait2, ECONNRESET, &[]);
    assert_eq!(failure(held).severity, Severity::Notable);
    let live = done(Origin::Reset, TcpState::Established, ECONNRESET, &[]);
    assert_eq!(failure(live).severity, Severity::Failure);
    let waits = done(Origin::Reset, TcpState::FinWait2, ECONNRESET, &[Flags::RECEIVING]);
    assert_eq!(failure(waits).severity, Severity::Failure);
}

#[test]
fn what_may_be_a_farewell_is_expected() {
    let closed = |flags: &[Flags]| Signature {
        kind: EventKind::PeerClosed as u8,
        ..done(Origin::Other, TcpState::Established, 0, flags)
    };
    let found = failure(closed(&[Flags::ACKED]));
    assert_eq!((found.cause, found.severity), (Cause::PrematureEof, Severity::Notable));
    let found = failure(closed(&[Flags::ACKED, Flags::FAREWELL]));
    assert_eq!((found.cause, found.severity), (Cause::PrematureEof, Severity::Expected));
}

#[test]
fn a_timeout_that_lives_on_is_no_failure() {
    let signature = Signature {
        kind: EventKind::Retransmission as u8,
        ..done(Origin::RetransmitTimer, TcpState::Established, 0, &[])
    };
    assert_eq!(diagnose(signature), Finding::Retransmission);
}

#[test]
fn accepting_a_connection_that_has_failed_is_a_delivery_of_that_failure() {
    use Origin::{Other, Report, Reset};
    use TcpState::{Close, Established, SynRecv};

    #[rustfmt::skip]
    let rows = [
        (Reset, Established, ECONNRESET, Flags::empty(), Cause::ResetBeforeAccept),
        (Reset, SynRecv, ECONNRESET, Flags::empty(), Cause::ResetBeforeAccept),
        (Other, SynRecv, EHOSTUNREACH, Flags::empty(), Cause::UnreachableBeforeAccept),
        (Other, Established, ETIMEDOUT, Flags::KEEPALIVE.with(Flags::PROBED), Cause::KeepaliveTimeout),
        (Other, Established, EHOSTUNREACH, Flags::SOFT_ERROR, Cause::UnreachableTimeout),
        (Report, Established, EHOSTUNREACH, Flags::empty(), Cause::UnreachableReported),
        // Nothing is recorded about its end.
        (Other, Close, ECONNRESET, Flags::empty(), Cause::ResetBeforeAccept),
        (Other, Close, EPIPE, Flags::empty(), Cause::ResetBeforeAccept),
        (Other, Close, EHOSTUNREACH, Flags::empty(), Cause::UnreachableBeforeAccept),
        (Other, Close, ECONNABORTED, Flags::empty(), Cause::AbortedLocally),
        (Other, Close, ETIMEDOUT, Flags::empty(), Cause::Other),
    ];
    for (origin, state, errno, flags, cause) in rows {
        let flags = [Flags::UNACCEPTED, Flags::DELIVERY, flags];
        let kind = EventKind::Accept as u8;
        let signature = Signature { kind, ..done(origin, state, errno, &flags) };
        let Finding::Delivery(found) = diagnose(signature) else { panic!("no delivery") };
        let call = if errno == EPIPE { Call::Write } else { Call::ReadOrWrite };
        assert_eq!((found.cause, found.call), (cause, call), "{signature:?}");
    }
}

#[test]
fn a_write_can_deliver_the_error_of_a_connection_that_stays_open() {
    let kind = EventKind::Write as u8;
    let flags = [Flags::DELIVERY];
    let write = done(Origin::Report, TcpState::Established, EHOSTUNREACH, &flags);
    let Finding::Delivery(found) = diagnose(Signature { kind, ..write }) else {
        panic!("no delivery")
    };
    assert_eq!((found.cause, found.call), (Cause::UnreachableReported, Call::Write));
}

proptest! {
    /// Any bytes have a diagnosis, the errno is preserved, and a socket that nobody holds delivers
    /// to no call.
    #[test]
    fn every_signature_has_exactly_one_finding(
        kind: u8, origin: u8, state: u8, family: u8, errno: u16, flags: u32, sigpipe: u8, protocol: u8,
    ) {
        let signature =
            Signature { kind, origin, state, family, errno, flags, sigpipe, protocol };
        let finding = diagnose(signature);
        prop_assert_eq!(finding, diagnose(signature));
        if let Some(found) = finding.diagnosis() {
            prop_assert_eq!(found.errno, Errno(errno));
            if Flags(flags).has(Flags::ORPHAN) {
                prop_assert_eq!(found.severity, Severity::Expected);
            }
        }
    }

    /// Every reset that the kernel side can send, in a state that TCP resets, has a cause other
    /// than `other`.
    #[test]
    fn resets_of_open_states_are_always_named(
        state in prop::sample::select(vec![
            TcpState::Established, TcpState::CloseWait, TcpState::FinWait1, TcpState::FinWait2,
            TcpState::Closing, TcpState::LastAck,
        ]),
        errno: u16,
        flags: u32,
    ) {
        let signature = Signature { flags, ..done(Origin::Reset, state, errno, &[]) };
        prop_assert_ne!(failure(signature).cause, Cause::Other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50_000))]

    /// The parts of a signature that counts omit have no meaning: neither for the diagnosis nor for
    /// the timers in metrics.
    #[test]
    fn a_signature_means_the_same_as_it_is_counted(
        kind in 0..=16_u8, origin in 0..=6_u8, state in 0..=13_u8, flags in 0..1_u32 << 31,
        errno in prop::sample::select(vec![0, EPIPE, ETIMEDOUT, ECONNRESET, ECONNABORTED, EINVAL, EHOSTUNREACH]),
        sigpipe in 0..=6_u8,
    ) {
        let signature = Signature { kind, origin, state, family: 4, errno, flags, sigpipe, protocol: 1 };
        let counted = signature.counted();
        prop_assert_eq!(diagnose(signature), diagnose(counted));
        prop_assert_eq!(delivered(signature), delivered(counted));
        prop_assert_eq!(counted.counted(), counted);
        let timer = Timer::of(signature);
        prop_assert_eq!(timer, Timer::of(counted));
        prop_assert!(timer.is_none() || state == counted.state);
    }
}

#[test]
fn what_arrives_at_sockets_of_other_protocols() {
    for (protocol, errno, flags, cause, call) in [
        (Protocol::Raw, EHOSTUNREACH, vec![], Cause::UnreachableReported, Call::ReadOrWrite),
        (Protocol::Icmp, ECONNREFUSED, vec![], Cause::UnreachableReported, Call::ReadOrWrite),
        (Protocol::Netlink, ENOBUFS, vec![], Cause::NetlinkOverrun, Call::ReadOrWrite),
        (Protocol::Packet, ENETDOWN, vec![], Cause::DeviceDown, Call::ReadOrWrite),
        (Protocol::Other, ENETDOWN, vec![], Cause::DeviceDown, Call::ReadOrWrite),
        (
            Protocol::Vsock,
            ECONNRESET,
            vec![Flags::CONNECTING],
            Cause::ConnectRefused,
            Call::Connect,
        ),
        (Protocol::Vsock, ECONNRESET, vec![], Cause::ResetByPeer, Call::ReadOrWrite),
        (Protocol::Vsock, ETIMEDOUT, vec![], Cause::ConnectTimeout, Call::Connect),
        (Protocol::Vsock, ENOMEM, vec![], Cause::Other, Call::ReadOrWrite),
    ] {
        let signature = Signature {
            kind: EventKind::ErrorReported as u8,
            protocol: protocol as u8,
            ..done(Origin::Report, TcpState::Close, errno, &flags)
        };
        let found = failure(signature);
        assert_eq!((found.cause, found.call), (cause, call), "{signature:?}");
    }
}
