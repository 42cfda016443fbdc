//! Traces `__tcp_close` (`net/ipv4/tcp.c`) and `__mptcp_close` (`net/mptcp/protocol.c`): a program
//! closes a socket.
//!
//! Prototypes: `(sk, long timeout)`, both with the socket lock held, in 5.11 to 7.3 and in late
//! 5.10; else `tcp_close(sk, long timeout)`, which then takes the lock. Runs once per socket, and
//! leaves at the first test unless the socket is still connecting or has a pending errno. In these
//! cases it produces an event:
//! - the program has given up connecting, for example by a timeout of its own, and no errno is ever
//!   delivered; or `SO_ERROR` has given it an ICMP error that was not fatal to the socket;
//! - the socket had failed, and no call has taken the errno (`sock_error`): none read, wrote or
//!   queried `SO_ERROR`. The errno is read before `tcp_disconnect`, which a close with `SO_LINGER`
//!   0 or unread data calls, stores one of its own.
//!
//! A listener's drops are read for the last time, and the listener is forgotten.
//!
//! A connection that was never accepted does not pass here, and an MPTCP subflow is not the program's.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{EventKind, Flags, Signature, TcpState};

use super::{emit_call, locate_call};
use crate::{
    arguments::Arguments,
    emit::emit,
    errno::ECANCELED,
    failure, listeners,
    load::{Direct, Load, Probe},
    recipient::Question,
    sock::Sock,
    subject::Subject,
    task,
    tcp_sock::TcpSock,
    tuple::{Tuple, describe_icmp, icmp_errno},
    verifier::{FlagBit as _, is_same},
};

/// Entry of `__tcp_close`, or of `tcp_close`.
#[fentry(function = "tcp_close")]
fn tcp_close(ctx: FEntryContext) -> i32 {
    closing(&ctx)
}

/// Entry of `__tcp_close`, or of `tcp_close`, by kprobe.
#[kprobe(function = "tcp_close")]
fn tcp_close_kprobe(ctx: ProbeContext) -> i32 {
    closing(&ctx)
}

/// Entry of `__mptcp_close`.
#[fentry(function = "__mptcp_close")]
fn mptcp_close(ctx: FEntryContext) -> i32 {
    closing_mptcp(Sock::<Direct>::new(ctx.pointer(0)))
}

/// Entry of `__mptcp_close` by kprobe.
#[kprobe(function = "__mptcp_close")]
fn mptcp_close_kprobe(ctx: ProbeContext) -> i32 {
    closing_mptcp(Sock::<Probe>::new(ctx.pointer(0)))
}

#[inline(always)]
fn closing<A: Arguments>(ctx: &A) -> i32 {
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    let state = sock.state();
    if state == TcpState::Listen as u8 {
        listeners::closes(sock);
        return 0;
    }
    let is_connecting = state == TcpState::SynSent as u8;
    if !is_connecting && sock.err() == 0 {
        return 0;
    }
    let Some(tcp) = sock.tcp() else {
        return 0;
    };
    if is_connecting { cancelled(sock, tcp) } else { unread(sock, tcp.mptcp_key().is_some()) }
}

/// Handles the close of an MPTCP socket. One that was never accepted passes here when its listener
/// is closed.
#[inline(always)]
fn closing_mptcp<L: Load>(sock: Sock<L>) -> i32 {
    if sock.err() == 0 || sock.holder_flags().has(Flags::UNACCEPTED) {
        return 0;
    }
    unread(sock, false)
}

/// Reports that the program closes a socket with a pending errno.
#[inline(always)]
fn unread<L: Load>(sock: Sock<L>, is_subflow: bool) -> i32 {
    let known = failure::find(sock);
    // kTLS and sockmaps leave in the socket the errno that they have returned; and kTLS has errors
    // of its own, which are not failures of the connection.
    if is_subflow || known.reported == 0 || known.delivered == 1 || known.errno != sock.err() {
        return 0;
    }
    let Some(family) = sock.stream_family() else {
        return 0;
    };
    let stayed_open = is_same(known.kind.into(), EventKind::ErrorReported as u64);
    let signature = Signature {
        flags: Flags(known.flags).with_flag(Flags::STAYED_OPEN, stayed_open).0,
        errno: known.errno,
        kind: EventKind::ClosedUnread as u8,
        origin: known.origin,
        state: known.state,
        family: family as u8,
        protocol: sock.stream_protocol(),
        ..Signature::default()
    };
    // Kernel threads close sockets that were passed in a message nobody received.
    let in_process = !task::current_is_kernel_thread();
    let question = Question::presume(sock.held_identity(), Flags::empty(), in_process);
    let locate = |subject: &mut Subject| {
        locate_call(subject, sock, family);
        // A failed connect clears the destination.
        subject.remote_port = known.remote_port;
    };
    emit(&signature, question, locate, |event| {
        sock.describe(event);
        event.first_errno = known.errno;
        event.since_first_ns = event.boot_ns.wrapping_sub(known.boot_ns);
    });
    0
}

/// Reports that the program closes a socket that is still connecting.
#[inline(always)]
fn cancelled<L: Load>(sock: Sock<L>, tcp: TcpSock<L>) -> i32 {
    let Some(family) = sock.family() else {
        return 0;
    };
    let errno = errno_read(tcp, &Tuple::of(sock, family)).unwrap_or(ECANCELED);
    let flags = Flags::empty();
    emit_call(
        EventKind::CloseWhileConnecting,
        sock,
        family,
        errno,
        flags,
        |_| {},
        |event| describe_icmp(tcp, event),
    )
}

/// Errno of an ICMP error that the program has read, if any.
///
/// An ICMP error that arrives while connect still holds the socket, for example from a container on
/// the same host, ends nothing: it is left in `sk_err_soft`, and on IPv4 the program is woken
/// anyway. While a socket is connecting, only `SO_ERROR` takes the errno from there and returns it
/// to the program.
#[inline(always)]
fn errno_read<L: Load>(tcp: TcpSock<L>, connection: &Tuple) -> Option<u16> {
    if tcp.sock().soft_err() == 0 { icmp_errno(tcp, connection) } else { None }
}
