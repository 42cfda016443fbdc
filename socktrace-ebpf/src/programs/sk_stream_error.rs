//! Traces the return of `sk_stream_error` (`net/core/stream.c`): a write of any kind fails, by
//! `write`, `send`, `sendfile`, `splice` or `io_uring`.
//!
//! Prototype: `int (sk, int flags, int err)` in every kernel from 5.10 to 7.2; the return value is
//! the exact errno of the call, and SIGPIPE has been sent if it was to be. It also ends every
//! non-blocking write to a full buffer: EAGAIN leaves at the first test.
//!
//! Produces an event: the delivery of a failure that was counted when it happened, or a failure
//! of its own when the program writes on after that, or after its own shutdown.
//!
//! A write on a socket of kTLS or a sockmap gets here twice: see [`layer`].

use aya_ebpf::{
    macros::{fexit, kprobe},
    programs::{FExitContext, ProbeContext},
};
use socktrace_ebpf::{EventKind, Family, Flags, Origin, Signature, Sigpipe, TcpState};

use super::{caller_of, emit_call, failed_call, locate_call};
use crate::{
    arguments::Arguments,
    emit::emit,
    errno::{EAGAIN, EALREADY, EINPROGRESS, EINTR, EISCONN, EOPNOTSUPP, EPIPE, returned},
    failure, layer,
    load::{Load, Probe},
    offsets, owner, sigpipe,
    sock::Sock,
    subject::Subject,
    verifier::{FlagBit as _, is_same},
};

/// Return of `sk_stream_error`.
#[fexit(function = "sk_stream_error")]
fn sk_stream_error_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.argument(3)))
}

/// Entry by kprobe, where the outcome is known already: for EPIPE the kernel prefers the errno that
/// is stored in the socket, whose lock the writer holds.
#[kprobe(function = "sk_stream_error")]
fn sk_stream_error_kprobe(ctx: ProbeContext) -> i32 {
    let errno = match returned(ctx.argument(2)) {
        EPIPE => match Sock::<Probe>::new(ctx.pointer(0)).err() {
            0 => EPIPE,
            stored => stored,
        },
        errno => errno,
    };
    failed(&ctx, errno)
}

/// `MSG_FASTOPEN` in `include/linux/socket.h`.
const MSG_FASTOPEN: i32 = 0x2000_0000;

/// A write was to connect and is not allowed to. Where the return of `tcp_sendmsg_fastopen` is hooked, that
/// has told more. The errno is also that of an address of `AF_UNSPEC`, which is not seen here.
#[inline(always)]
fn no_fast_open<L: Load>(sock: Sock<L>, family: Family) -> i32 {
    if offsets::FAST_OPEN_RETURNS.get() == 1 || sock.may_fast_open() {
        return 0;
    }
    emit_call(EventKind::Connect, sock, family, EOPNOTSUPP, Flags::FAST_OPEN, |_| {}, |_| {})
}

#[inline(always)]
fn failed<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    // The last two of a call that was to connect, too, which another has begun or done.
    if matches!(errno, 0 | EAGAIN | EINTR | EINPROGRESS | EALREADY | EISCONN) {
        return 0;
    }
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    let Some(family) = sock.stream_family() else {
        return 0;
    };
    if layer::is_inner_call(sock, ctx.int(1)) {
        return 0;
    }
    if errno == EOPNOTSUPP && ctx.int(1) & MSG_FASTOPEN != 0 {
        return no_fast_open(sock, family);
    }
    let mut known = failure::find(sock);
    if errno == EPIPE && known.errno != EPIPE && known.origin == Origin::Report as u8 {
        // The connection has survived that one, and what ended the right to write came later.
        known.clear();
    }
    if !known.is_some() && errno != EPIPE && sock.state() == TcpState::Close as u8 {
        // Without a connection, and with none that failed, a write gives EPIPE: this is a
        // connect by MSG_FASTOPEN, which the return of `__inet_stream_connect` has told.
        return 0;
    }
    let verdict =
        if errno == EPIPE { sigpipe::verdict(ctx.int(1)) } else { Sigpipe::NotRaised as u8 };
    let is_closed = is_same(sock.state().into(), TcpState::Close as u64);
    let own = Flags::empty()
        .with_if(Flags::REPORTED, known.is_some())
        .with_flag(Flags::UNREACHABLE, known.is_by_icmp())
        .with_if(Flags::SEND_SHUTDOWN, sock.has_send_shutdown())
        .with_flag(Flags::PEER_CLOSED, is_closed & sock.is_done());
    let mut signature = Signature {
        sigpipe: verdict,
        origin: known.origin,
        ..failed_call(EventKind::Write, sock, sock.stream_protocol(), family, errno, own)
    };
    // Calls of kTLS and sockmaps leave the errno in the socket, and the next one returns it too: no call
    // of TCP's own returns any other than EPIPE twice.
    if known.is_some() && (known.delivered == 0 || errno != EPIPE) {
        // What the program did itself was no failure yet.
        if known.errno == errno && known.origin != Origin::Dissolved as u8 {
            // The same story as the failure's: it is told by the same state and flags.
            signature.state = known.state;
            signature.flags = Flags(known.flags).with(Flags::DELIVERY).0;
        }
        // Delivered now, or taken by a read or SO_ERROR before.
        failure::deliver(sock);
    }
    debug!(
        ctx,
        "sk_stream_error: errno {} flags {} sigpipe {}", errno, signature.flags, signature.sigpipe
    );
    owner::refresh(sock);
    let locate = |subject: &mut Subject| {
        locate_call(subject, sock, family);
        if known.is_some() {
            // A failed connect forgets where it was to go.
            subject.remote_port = known.remote_port;
        }
    };
    emit(&signature, caller_of(sock), locate, |event| {
        sock.describe_timers(event);
        if known.is_some() {
            event.first_errno = known.errno;
            event.since_first_ns = event.boot_ns.wrapping_sub(known.boot_ns);
        }
    });
    0
}
