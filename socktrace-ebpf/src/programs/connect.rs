//! Handling of sockets when a call that connects returns, whatever the call.

use socktrace_ebpf::{EventKind, Flags, TcpState};

use super::emit_call;
use crate::{
    errno::{EAGAIN, EALREADY, ECONNABORTED, ECONNRESET, EINPROGRESS, EISCONN, EPERM},
    failure,
    load::Load,
    owner::{self, Role},
    sock::Sock,
    sockaddr::SockAddr,
    socket::O_NONBLOCK,
    subject::Subject,
};

/// The call that connects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// `connect`.
    Connect,
    /// A send call: it ends in `sk_stream_error` when the connection fails.
    Send,
}

/// Whether an errno shows that a connect, called with these file flags, has waited for as long as
/// it may: EALREADY if the attempt was in progress before.
#[inline(always)]
pub(super) fn says_time_is_over(errno: u16, flags: i32) -> bool {
    matches!(errno, EINPROGRESS | EALREADY) && flags & O_NONBLOCK == 0
}

/// Handles the return of a call that was to connect a socket to `target`.
#[inline(always)]
pub(super) fn returned<L: Load, T: Load>(
    sock: Sock<L>,
    errno: u16,
    target: SockAddr<T>,
    call: Call,
) -> i32 {
    if matches!(errno, EAGAIN | EALREADY | EISCONN) {
        return 0;
    }
    if matches!(errno, 0 | EINPROGRESS) {
        if call == Call::Connect && target.is_unspecified() {
            // The association is dissolved, and its failures are forgotten. Dissolving a live
            // connection leaves this errno (`tcp_disconnect`).
            if sock.err() == ECONNRESET && failure::find_connecting(sock).errno != ECONNRESET {
                failure::dissolve(sock);
            } else {
                failure::forget(sock);
            }
        } else {
            owner::record(sock, Role::Client);
        }
        return 0;
    }
    let known = failure::find_connecting(sock);
    let is_delivery = known.is_some() && known.delivered == 0 && known.errno == errno;
    if is_delivery {
        if call == Call::Connect {
            failure::deliver(sock);
        }
        return 0;
    }
    // Only a call that queries the outcome of an attempt, after it was read, is about the old failure.
    let reported = known.is_some() && errno == ECONNABORTED;
    failure::forget(sock);
    let flags = Flags::empty()
        .with_if(Flags::REPORTED, reported)
        // The protocol never returns it. EACCES may also come from a route.
        .with_if(Flags::POLICY, errno == EPERM && call == Call::Connect)
        .with_if(Flags::FAST_OPEN, call == Call::Send);
    debug!((), "connect: failed with errno {}", errno);
    failed(sock, errno, target, flags)
}

/// Reports that a call failed to connect a socket to `target`. `flags` are the known ones; others
/// are added.
#[inline(always)]
pub(super) fn failed<L: Load, T: Load>(
    sock: Sock<L>,
    errno: u16,
    target: SockAddr<T>,
    flags: Flags,
) -> i32 {
    let own = sock.own_family();
    let flags = flags.with(target.flags(own));
    let to = target.end(sock);
    // Without a target it is the socket's own, because the connect was deferred.
    let family = if target.is_null() { sock.family().unwrap_or(own) } else { to.family };
    let locate = |subject: &mut Subject| {
        // The socket's destination may be from an earlier attempt.
        if !target.is_null() {
            (subject.remote, subject.remote_port) = (to.ip, to.port);
        }
    };
    emit_call(EventKind::Connect, sock, family, errno, flags, locate, |event| {
        target.describe(sock, event);
        if sock.state() == TcpState::Close as u8 {
            // Left over from an earlier attempt.
            (event.elapsed_ms, event.silent_jiffies, event.retransmits) = (0, 0, 0);
        }
    })
}
