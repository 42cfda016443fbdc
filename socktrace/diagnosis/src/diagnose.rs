//! Diagnosis of signatures: one pure function, the heart of socktrace.

use nix::libc;
use socktrace_ebpf::{EventKind, Flags, Origin, Protocol, SentReset, Signature, Sigpipe, TcpState};

use crate::{Call, Cause, Diagnosis, Errno, Finding, Severity, unix};

const EAGAIN: u16 = errno(libc::EAGAIN);
const EALREADY: u16 = errno(libc::EALREADY);
const EINPROGRESS: u16 = errno(libc::EINPROGRESS);
const EINTR: u16 = errno(libc::EINTR);
const ENOMEM: u16 = errno(libc::ENOMEM);
const EFAULT: u16 = errno(libc::EFAULT);
const EPERM: u16 = errno(libc::EPERM);
const EINVAL: u16 = errno(libc::EINVAL);
const ENFILE: u16 = errno(libc::ENFILE);
const EMFILE: u16 = errno(libc::EMFILE);
const EPIPE: u16 = errno(libc::EPIPE);
const ENETDOWN: u16 = errno(libc::ENETDOWN);
const ENETUNREACH: u16 = errno(libc::ENETUNREACH);
const ECONNABORTED: u16 = errno(libc::ECONNABORTED);
const ENOBUFS: u16 = errno(libc::ENOBUFS);
const ECONNRESET: u16 = errno(libc::ECONNRESET);
const ETIMEDOUT: u16 = errno(libc::ETIMEDOUT);
const ECANCELED: u16 = errno(libc::ECANCELED);
const ECONNREFUSED: u16 = errno(libc::ECONNREFUSED);
const EHOSTUNREACH: u16 = errno(libc::EHOSTUNREACH);

const CLOSE: u8 = TcpState::Close as u8;

const fn errno(number: i32) -> u16 {
    Errno::of(number).number()
}

/// Diagnoses a signature. The function is total: unknown failures are [`Cause::Other`], with errno,
/// state and kind of event still in the signature.
#[must_use]
pub fn diagnose(signature: Signature) -> Finding {
    let flags = Flags(signature.flags);
    match EventKind::try_from(signature.kind) {
        Ok(EventKind::Retransmission) => Finding::Retransmission,
        Ok(EventKind::ResetSent) => {
            Finding::ResetSent(SentReset::try_from(signature.origin).unwrap_or(SentReset::Other))
        }
        Ok(EventKind::Accept) if flags.has(Flags::DELIVERY) => {
            Finding::Delivery(diagnosis(accepted(signature), signature))
        }
        Ok(EventKind::Write) if flags.has(Flags::DELIVERY) => {
            let found = diagnosis(close(signature), signature);
            Finding::Delivery(Diagnosis { call: Call::Write, ..found })
        }
        Ok(EventKind::ClosedUnread) => {
            let found = diagnosis(cause(EventKind::ClosedUnread, signature), signature);
            Finding::Undelivered(Diagnosis { call: Call::None, ..found })
        }
        Ok(kind) => Finding::Failure(diagnosis(cause(kind, signature), signature)),
        Err(_) => Finding::Failure(diagnosis(Cause::Other, signature)),
    }
}

/// The cause of a failure, by the kind of event.
fn cause(kind: EventKind, signature: Signature) -> Cause {
    let flags = Flags(signature.flags);
    match (kind, signature.errno) {
        (EventKind::ClosedUnread, _) if flags.has(Flags::STAYED_OPEN) => {
            cause(EventKind::ErrorReported, signature)
        }
        (EventKind::ConnectionEnded, _) if flags.has(Flags::SUBFLOW) => Cause::SubflowFailed,
        (EventKind::ClosedUnread | EventKind::ConnectionEnded, _) => close(signature),
        (EventKind::ErrorReported, _) if flags.has(Flags::MPTCP) => close(signature),

        (EventKind::Connect, errno) if unix::is_unix(signature) => unix::connect(errno),
        (EventKind::Write, errno) if unix::is_unix(signature) => unix::write(errno, flags),
        (EventKind::DatagramSend, _) if unix::is_unix(signature) => unix::send(signature),
        // Reported only for calls that have waited; otherwise neither errno is a failure. Once a
        // connect is in progress, further calls do not check the address.
        (EventKind::Connect, EINPROGRESS | EALREADY) => Cause::ConnectSendTimeout,
        (EventKind::Write, EAGAIN) => Cause::SendTimeout,

        // The argument is not a valid address, so there cannot be a route to it.
        (EventKind::Connect, _) if flags.has(Flags::POLICY) || flags.has(Flags::MALFORMED) => {
            Cause::ConnectLocal
        }
        (EventKind::Connect | EventKind::Accept | EventKind::AcceptCall, EINTR) => {
            Cause::Interrupted
        }
        (EventKind::Connect, ECONNABORTED) => Cause::ConnectRetriedAfterFailure,
        // For UDP, this is usually an address that cannot be connected to.
        (EventKind::Connect, EINVAL) if is_udp(signature) => Cause::ConnectLocal,
        (EventKind::Connect, ENETUNREACH | EHOSTUNREACH | EINVAL) => Cause::ConnectNoRoute,
        // The connection did not fail: `shutdown` makes a waiting connect return ECONNRESET.
        (EventKind::Connect, ECONNRESET) | (EventKind::CloseWhileConnecting, ECANCELED) => {
            Cause::ConnectCancelled
        }
        (EventKind::Connect, _) => Cause::ConnectLocal,
        // The program read the ICMP error through SO_ERROR.
        (EventKind::CloseWhileConnecting, errno) => connecting(errno, flags),

        // The listener has not been closed, so an argument is wrong.
        (EventKind::AcceptCall, EINVAL) if signature.state == TcpState::Listen as u8 => {
            Cause::AcceptFailed
        }
        (EventKind::Accept | EventKind::AcceptCall, EINVAL) if flags.has(Flags::NEVER_LISTENED) => {
            Cause::AcceptFailed
        }
        (EventKind::Accept | EventKind::AcceptCall, EINVAL) => Cause::ListenerClosed,
        (EventKind::Accept | EventKind::AcceptCall, EMFILE | ENFILE | ENOBUFS | ENOMEM) => {
            Cause::AcceptResources
        }

        (EventKind::Write, EPIPE) => write_after(signature, flags),
        // The program has dissolved the connection, and the socket is no longer connected.
        (EventKind::Write, _) if signature.origin == Origin::Dissolved as u8 => {
            Cause::WriteUnconnected
        }
        // With IP_RECVERR, if no hook saw the error being stored.
        (EventKind::Write, errno) if is_only_icmp(errno) => Cause::UnreachableReported,
        // The connection is intact: `tcp_sendmsg_locked` accepted no data.
        (EventKind::Write, EFAULT | EINVAL | EPERM | ENOBUFS | ENOMEM) => Cause::WriteFailed,
        (EventKind::PeerClosed, _) => Cause::PrematureEof,
        (EventKind::HandshakesDropped, _) => Cause::AcceptQueueOverflow,
        (EventKind::ReceiveQueueFull, _) => Cause::ReceiveQueueFull,
        (EventKind::DatagramSend, _) => Cause::SendRefused,
        (EventKind::ErrorReported, errno) => match Protocol::try_from(signature.protocol) {
            Ok(Protocol::Udp) if errno == ECONNREFUSED => Cause::PortUnreachable,
            // `udp_abort`. A killed TCP connection does not stay open.
            Ok(Protocol::Udp) if errno == ECONNABORTED => Cause::AbortedLocally,
            Ok(Protocol::Netlink) if errno == ENOBUFS => Cause::NetlinkOverrun,
            // A packet or XDP socket.
            Ok(Protocol::Packet | Protocol::Other) if errno == ENETDOWN => Cause::DeviceDown,
            Ok(Protocol::Vsock) => vsock(errno, flags),
            _ => reported(errno),
        },

        (EventKind::AcceptCall, _) => Cause::AcceptFailed,

        (EventKind::Socket, _) => Cause::SocketFailed,
        (EventKind::Bind, _) => Cause::BindFailed,
        (EventKind::Listen, _) => Cause::ListenFailed,
        (EventKind::Setsockopt | EventKind::Getsockopt, _) => Cause::SockoptRejected,

        (
            EventKind::Accept | EventKind::Write | EventKind::Retransmission | EventKind::ResetSent,
            _,
        ) => Cause::Other,
    }
}

/// Cause of an accepted connection that had already failed, as far as recorded. If its record was
/// lost, the socket is closed and has the errno.
fn accepted(signature: Signature) -> Cause {
    match (signature.state, signature.errno) {
        (CLOSE, ECONNRESET | EPIPE) => Cause::ResetBeforeAccept,
        (CLOSE, ECONNABORTED) => Cause::AbortedLocally,
        (CLOSE, errno) if is_icmp(errno) => Cause::UnreachableBeforeAccept,
        (CLOSE, _) => Cause::Other,
        _ => close(signature),
    }
}

/// Cause of an error on a vsock socket, whose peer is a virtual machine or this machine's host.
const fn vsock(errno: u16, flags: Flags) -> Cause {
    match errno {
        ECONNRESET if flags.has(Flags::CONNECTING) => Cause::ConnectRefused,
        // The other machine has stopped or has been migrated.
        ECONNRESET => Cause::ResetByPeer,
        ETIMEDOUT => Cause::ConnectTimeout,
        _ => Cause::Other,
    }
}

/// An error of a connection that stays open.
const fn reported(errno: u16) -> Cause {
    if is_icmp(errno) { Cause::UnreachableReported } else { Cause::Other }
}

/// Cause of a close by `tcp_done`, by the function that called it.
fn close(signature: Signature) -> Cause {
    let flags = Flags(signature.flags);
    let errno = signature.errno;
    let Ok(state) = TcpState::try_from(signature.state) else {
        return Cause::Other;
    };
    match Origin::try_from(signature.origin) {
        Ok(Origin::Reset) => reset(state, errno, flags),
        Ok(Origin::RetransmitTimer) => retransmit_give_up(state, errno, flags),
        Ok(Origin::Abort) => Cause::AbortedLocally,
        // Kernels where tcp_abort is not hooked: nothing else stores this errno.
        Ok(Origin::Other) if errno == ECONNABORTED => Cause::AbortedLocally,
        Ok(Origin::Other) if is_connecting(state, flags) => connecting(errno, flags),
        // `tcp_v4_err` and `tcp_v6_err` close a child of Fast Open before it is accepted.
        Ok(Origin::Other) if state == TcpState::SynRecv && is_icmp(errno) => {
            Cause::UnreachableBeforeAccept
        }
        Ok(Origin::Other) => timer_give_up(state, errno, flags),
        Ok(Origin::Report) => reported(errno),
        // These never reach a hook that closes connections.
        Ok(Origin::Dissolved | Origin::SendTimeout | Origin::SpareService) | Err(_) => Cause::Other,
        Ok(Origin::ClientClose) => Cause::ResetByPeer,
    }
}

/// Cause of a close by `tcp_reset`.
fn reset(state: TcpState, errno: u16, flags: Flags) -> Cause {
    if flags.has(Flags::UNACCEPTED) && state != TcpState::SynSent {
        return Cause::ResetBeforeAccept;
    }
    if flags.has(Flags::NO_RST) {
        return Cause::DataAfterShutdown;
    }
    match state {
        TcpState::SynSent if errno == ECONNREFUSED => Cause::ConnectRefused,
        TcpState::Established => reset_alive(flags),
        // A child of Fast Open during its handshake, or a simultaneous open.
        TcpState::SynRecv => Cause::ResetByPeer,
        // The program is waiting for an answer.
        TcpState::FinWait1 | TcpState::FinWait2 if flags.has(Flags::RECEIVING) => {
            reset_alive(flags)
        }
        // The RST does not answer data: the peer had only shut down sending, and now aborts.
        TcpState::CloseWait if flags.has(Flags::ACKED) => Cause::ResetByPeer,
        TcpState::CloseWait => Cause::ResetAfterPeerClose,
        TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck => {
            Cause::ResetWhileClosing
        }
        TcpState::SynSent
        | TcpState::TimeWait
        | TcpState::Close
        | TcpState::Listen
        | TcpState::NewSynRecv => Cause::Other,
    }
}

/// Cause of the reset of a connection that could still be read.
fn reset_alive(flags: Flags) -> Cause {
    if flags.has(Flags::RETRANSMITTED.with(Flags::UNANSWERED)) {
        Cause::ResetWithoutAnswer
    } else if flags.has(Flags::RETRANSMITTED) {
        Cause::ResetAfterRetransmit
    } else if flags.has(Flags::IDLE) {
        Cause::ResetAfterIdle
    } else {
        Cause::ResetByPeer
    }
}

/// Cause of a close by the retransmission timer (`tcp_write_timeout`).
fn retransmit_give_up(state: TcpState, errno: u16, flags: Flags) -> Cause {
    match state {
        // The errno may come from a removed route, and then looks like that of an ICMP message.
        TcpState::SynSent if flags.has(Flags::SEND_FAILED) => Cause::ConnectSendFailed,
        // SYN retries are limited by number, and by TCP_USER_TIMEOUT if set. Either way, nobody
        // answered, unless an ICMP error arrived while the program held the socket.
        state if is_connecting(state, flags) => match errno {
            ETIMEDOUT => Cause::ConnectTimeout,
            errno => connecting(errno, flags),
        },
        TcpState::Listen | TcpState::NewSynRecv => Cause::Other,
        _ if is_local(errno, flags) => Cause::SendFailedLocally,
        TcpState::SynRecv if errno != ETIMEDOUT && flags.has(Flags::UNACCEPTED) => {
            Cause::UnreachableBeforeAccept
        }
        _ if errno != ETIMEDOUT && flags.has(Flags::SOFT_ERROR) => Cause::UnreachableTimeout,
        _ if errno != ETIMEDOUT => Cause::Other,
        // With TCP_USER_TIMEOUT only the elapsed time counts, not the retries.
        _ if flags.has(Flags::USER_TIMEOUT) => Cause::UserTimeout,
        // `tcp_rtx_probe0_timed_out`: retransmission into a closed window.
        _ if flags.has(Flags::ZERO_WINDOW) => Cause::ZeroWindowTimeout,
        _ => Cause::RetransmitTimeout,
    }
}

/// Whether a timer gave up because this host did not send the segments. The errno is ETIMEDOUT, or
/// the one left by a route look-up (`tcp_write_err`).
const fn is_local(errno: u16, flags: Flags) -> bool {
    flags.has(Flags::SEND_FAILED) && (errno == ETIMEDOUT || flags.has(Flags::SOFT_ERROR))
}

/// Whether the handshake of the program's own connect is still in progress.
const fn is_connecting(state: TcpState, flags: Flags) -> bool {
    matches!(state, TcpState::SynSent)
        || matches!(state, TcpState::SynRecv) && flags.has(Flags::CONNECTING)
}

/// Cause of the close of a connecting socket without RST or timeout: an ICMP error.
fn connecting(errno: u16, flags: Flags) -> Cause {
    match errno {
        ECONNREFUSED => Cause::ConnectRefusedIcmp,
        // Kernels where the timer is not hooked.
        ETIMEDOUT if flags.has(Flags::SEND_FAILED) => Cause::ConnectSendFailed,
        ETIMEDOUT if flags.has(Flags::RETRANSMITTED) => Cause::ConnectTimeout,
        errno if is_icmp(errno) => Cause::ConnectUnreachable,
        _ => Cause::Other,
    }
}

/// Cause of a close by none of the hooked functions: the persist or keepalive timer gave up.
fn timer_give_up(state: TcpState, errno: u16, flags: Flags) -> Cause {
    if matches!(state, TcpState::SynRecv | TcpState::Listen) {
        return Cause::Other;
    }
    if is_local(errno, flags) {
        return Cause::SendFailedLocally;
    }
    if errno != ETIMEDOUT {
        return if flags.has(Flags::SOFT_ERROR) { Cause::UnreachableTimeout } else { Cause::Other };
    }
    if flags.has(Flags::UNSENT) && !flags.has(Flags::RETRANSMITTED) {
        // Unsent data and none in flight: only the persist timer runs (`tcp_probe_timer`). It sends
        // what fits into the window (`tcp_write_wakeup`). Had that left this host, it would be in
        // flight.
        if !flags.has(Flags::ZERO_WINDOW) {
            return Cause::SendFailedLocally;
        }
        // The timer gives up by count, or earlier by TCP_USER_TIMEOUT.
        return if flags.has(Flags::USER_TIMEOUT) && !flags.has(Flags::PROBES_EXHAUSTED) {
            Cause::UserTimeout
        } else {
            Cause::ZeroWindowTimeout
        };
    }
    if flags.has(Flags::RETRANSMITTED) {
        // The timer hook was missed or is absent, but the socket's fields still show the timeout.
        return retransmit_give_up(state, errno, flags);
    }
    if flags.has(Flags::KEEPALIVE) && flags.has(Flags::PROBED) {
        return Cause::KeepaliveTimeout;
    }
    Cause::Other
}

/// Cause of an EPIPE that reports no new failure: the earlier event that prevents writing.
fn write_after(signature: Signature, flags: Flags) -> Cause {
    const FIN_WAIT1: u8 = TcpState::FinWait1 as u8;
    const FIN_WAIT2: u8 = TcpState::FinWait2 as u8;
    const CLOSING: u8 = TcpState::Closing as u8;
    const LAST_ACK: u8 = TcpState::LastAck as u8;
    const LISTEN: u8 = TcpState::Listen as u8;

    match (flags.has(Flags::REPORTED), Origin::try_from(signature.origin), signature.state) {
        (true, Ok(Origin::Reset | Origin::Abort), _) => Cause::WriteAfterReset,
        (true, Ok(Origin::Dissolved), _) => Cause::WriteUnconnected,
        (true, ..) if flags.has(Flags::UNREACHABLE) => Cause::WriteAfterUnreachable,
        (true, ..) => Cause::WriteAfterTimeout,
        // Sending is shut down while the connection still exists: the program did that.
        (false, _, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK)
            if flags.has(Flags::SEND_SHUTDOWN) =>
        {
            Cause::WriteAfterShutdown
        }
        // Both ends closed in order: otherwise a failure would be known, or no FIN would have
        // arrived.
        (false, _, CLOSE) if flags.has(Flags::SEND_SHUTDOWN.with(Flags::PEER_CLOSED)) => {
            Cause::WriteAfterShutdown
        }
        (false, _, CLOSE | LISTEN) if !flags.has(Flags::SEND_SHUTDOWN) => Cause::WriteUnconnected,
        (false, ..) => Cause::Other,
    }
}

/// Whether ICMP errors of either family are mapped to this errno (`icmp_err_convert`,
/// `icmpv6_err_convert`), except ECONNREFUSED.
const fn is_icmp(number: u16) -> bool {
    matches!(
        number as i32,
        libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EMSGSIZE
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EACCES
            | libc::EPROTO
            | libc::ECONNREFUSED
    )
}

/// Whether a write on a connection returns this errno only because of ICMP.
const fn is_only_icmp(number: u16) -> bool {
    matches!(
        number as i32,
        libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EPROTO
            | libc::ECONNREFUSED
    )
}

/// Whether the errno shows that this kernel lacks a feature. Programs open sockets they can do
/// without to find out: C libraries and runtimes for IPv6, which may be disabled; Go for MPTCP
/// (ENOPROTOOPT if `net.mptcp.enabled` is 0); tools for families whose modules may be missing.
const fn is_probe(cause: Cause, errno: u16) -> bool {
    matches!(cause, Cause::SocketFailed)
        && matches!(
            errno as i32,
            libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT | libc::ENOPROTOOPT
        )
}

const fn is_udp(signature: Signature) -> bool {
    signature.protocol == Protocol::Udp as u8
}

/// Whether a program may have asked only whether an address is reachable. C libraries connect a UDP
/// socket to each address of a name, which sends nothing, and sort reachable ones first
/// (`getaddrinfo`). EADDRNOTAVAIL: the host has no IPv6 address to send from.
const fn is_address_probe(signature: Signature) -> bool {
    is_udp(signature)
        && signature.kind == EventKind::Connect as u8
        && matches!(
            signature.errno as i32,
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL
        )
}

fn diagnosis(cause: Cause, signature: Signature) -> Diagnosis {
    let flags = Flags(signature.flags);
    let held = !flags.has(Flags::ORPHAN);
    let farewell = cause == Cause::PrematureEof && flags.has(Flags::FAREWELL);
    Diagnosis {
        cause,
        errno: Errno(signature.errno),
        direction: cause.row().direction,
        call: if held { call(cause, signature) } else { Call::None },
        // A failure of a socket that no program holds affects nobody.
        severity: if held
            && !farewell
            && !is_probe(cause, signature.errno)
            && !unix::is_probe(signature)
            && !unix::has_client_gone(signature)
            && !is_address_probe(signature)
        {
            cause.row().severity
        } else {
            Severity::Expected
        },
        sigpipe: Sigpipe::try_from(signature.sigpipe).unwrap_or(Sigpipe::NotRaised),
    }
}

/// `sk_err` is delivered once, by the first call; EPIPE never by a read.
fn call(cause: Cause, signature: Signature) -> Call {
    match (EventKind::try_from(signature.kind), cause) {
        (Ok(EventKind::CloseWhileConnecting), Cause::ConnectCancelled)
        | (Ok(EventKind::ReceiveQueueFull), _)
        | (_, Cause::SubflowFailed | Cause::AcceptQueueOverflow) => Call::None,
        (Ok(EventKind::Connect), _) if Flags(signature.flags).has(Flags::FAST_OPEN) => Call::Write,
        (Ok(EventKind::Connect | EventKind::CloseWhileConnecting), _) => Call::Connect,
        (Ok(EventKind::Accept), _) if Flags(signature.flags).has(Flags::DELIVERY) => {
            pending(signature)
        }
        (Ok(EventKind::Accept | EventKind::AcceptCall), _) => Call::Accept,
        (Ok(EventKind::Write | EventKind::DatagramSend), _) => Call::Write,
        (Ok(EventKind::Socket), _) => Call::Socket,
        (Ok(EventKind::Bind), _) => Call::Bind,
        (Ok(EventKind::Listen), _) => Call::Listen,
        (Ok(EventKind::Setsockopt), _) => Call::Setsockopt,
        (Ok(EventKind::Getsockopt), _) => Call::Getsockopt,
        (_, Cause::PrematureEof) => Call::Read,
        (Ok(EventKind::ErrorReported), Cause::ConnectRefused | Cause::ConnectTimeout)
            if signature.protocol == Protocol::Vsock as u8 =>
        {
            Call::Connect
        }
        _ => pending(signature),
    }
}

/// The call that will return a pending error.
fn pending(signature: Signature) -> Call {
    let flags = Flags(signature.flags);
    let state = TcpState::try_from(signature.state);
    if flags.has(Flags::FAST_OPEN) {
        Call::Write
    } else if state.is_ok_and(|state| is_connecting(state, flags)) {
        Call::Connect
    } else if signature.errno == EPIPE {
        Call::Write
    } else {
        Call::ReadOrWrite
    }
}

#[cfg(test)]
#[path = "diagnose_tests.rs"]
mod tests;
