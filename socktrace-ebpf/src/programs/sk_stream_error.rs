//! Traces the return of `sk_stream_error` (`net/core/stream.c`): a failing write of any kind, by
//! `write`, `send`, `sendfile`, `splice` or `io_uring`.
//!
//! Prototype: `int (sk, int flags, int err)` in every kernel from 5.10 to 7.2. The return value is
//! the exact errno of the call, and SIGPIPE has been sent if it was due. Every non-blocking write
//! to a full buffer ends here too: EAGAIN leaves after a look at the call's flags.
//!
//! Produces an event: the delivery of a failure that was counted when it happened, or a failure of
//! its own when the program writes on after that or after its own shutdown, or has waited for as
//! long as it allows (`SO_SNDTIMEO`). A partial write does not get here.
//!
//! A write on a kTLS or sockmap socket gets here twice: see [`layer`].

use aya_ebpf::{
    macros::{fexit, kprobe},
    programs::{FExitContext, ProbeContext},
};
use socktrace_ebpf::{EventKind, Family, Flags, Origin, Signature, Sigpipe, TcpState};

use super::{caller_of, emit_call, failed_call, locate_call, send_timeout};
use crate::{
    arguments::Arguments,
    emit::emit,
    errno::{EAGAIN, EALREADY, EINPROGRESS, EINTR, EISCONN, EOPNOTSUPP, EPIPE, returned},
    failure, layer,
    load::{Load, Probe},
    offsets, owner, sigpipe,
    sock::Sock,
    subject::Subject,
    task,
    verifier::{FlagBit as _, is_same},
};

/// Return of `sk_stream_error`.
#[fexit(function = "sk_stream_error")]
fn sk_stream_error_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.argument(3)))
}

/// Entry of `sk_stream_error` by kprobe, where the outcome is already known: for EPIPE the kernel
/// prefers the errno stored in the socket, whose lock the writer holds.
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

/// `MSG_DONTWAIT`, `MSG_MORE`, `MSG_SENDPAGE_NOTLAST` (up to 6.4) and `MSG_SPLICE_PAGES` (since
/// 6.5), also from there.
const MSG_DONTWAIT: i32 = 0x40;
const MSG_MORE: i32 = 0x8000;
const MSG_SENDPAGE_NOTLAST: i32 = 0x2_0000;
const MSG_SPLICE_PAGES: i32 = 0x800_0000;

/// Handles a write that would have to wait: for room or, with EINPROGRESS, for the connection that
/// it was to make.
///
/// The kernel adds `MSG_DONTWAIT` to the flags of a call on a non-blocking file, and of a call that
/// `io_uring` tries (`sock_write_iter`, `__sys_sendto`, `io_send`; 5.10 to 7.3). Without the flag
/// the call has waited, and its time has run out.
///
/// `sendfile` and `splice` send in parts, and return how much was taken if a later part fails: both
/// are ignored. Up to 6.4 all parts but the last one are marked, with a flag that programs use too
/// (`MSG_MORE`).
#[inline(always)]
fn would_wait<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    let flags = ctx.int(1);
    if flags & (MSG_DONTWAIT | MSG_SPLICE_PAGES) != 0 {
        return 0;
    }
    if !offsets::SENDPAGE.is_absent() && flags & (MSG_MORE | MSG_SENDPAGE_NOTLAST) != 0 {
        return 0;
    }
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    // A layer above TCP also calls this when it returns how much was taken.
    if sock.stream_family().is_none() || layer::lies_below(sock) || task::current_is_kernel_thread()
    {
        return 0;
    }
    if errno == EINPROGRESS {
        return send_timeout::ended(EventKind::Connect, sock, errno, Flags::FAST_OPEN);
    }
    send_timeout::ended(EventKind::Write, sock, errno, Flags::empty())
}

/// Reports a write that was to connect and is not allowed to. If the return of
/// `tcp_sendmsg_fastopen` is hooked, that hook has reported more. An `AF_UNSPEC` address, which is
/// not seen here, gets the same errno.
#[inline(always)]
fn no_fast_open<L: Load>(sock: Sock<L>, family: Family) -> i32 {
    if offsets::FAST_OPEN_RETURNS.get() == 1 || sock.may_fast_open() {
        return 0;
    }
    emit_call(EventKind::Connect, sock, family, EOPNOTSUPP, Flags::FAST_OPEN, |_| {}, |_| {})
}

#[inline(always)]
fn failed<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    if matches!(errno, EAGAIN | EINPROGRESS) {
        return would_wait(ctx, errno);
    }
    // The last two also come from a call that was to connect, if another has begun or completed the
    // connect.
    if matches!(errno, 0 | EINTR | EALREADY | EISCONN) {
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
        // The connection survived that error, and its sending side was ended later.
        known.clear();
    }
    if !known.is_some() && errno != EPIPE && sock.state() == TcpState::Close as u8 {
        // Without a connection, and without one that failed, a write returns EPIPE: this is a
        // connect by MSG_FASTOPEN, which the return of `__inet_stream_connect` has reported.
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
    // Calls of kTLS and sockmaps leave the errno in the socket, and the next call returns it too:
    // TCP's own calls return no errno but EPIPE twice.
    if known.is_some() && (known.delivered == 0 || errno != EPIPE) {
        // What the program did itself was not a failure yet.
        if known.errno == errno && known.origin != Origin::Dissolved as u8 {
            // The delivery of the same failure is reported with the same state and flags.
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
            // A failed connect clears the destination.
            subject.remote_port = known.remote_port;
        }
    };
    emit(&signature, caller_of(sock), locate, |event| {
        sock.describe(event);
        if known.is_some() {
            event.first_errno = known.errno;
            event.since_first_ns = event.boot_ns.wrapping_sub(known.boot_ns);
        }
    });
    0
}
