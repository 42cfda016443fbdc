//! Traces `__inet_stream_connect` (`net/ipv4/af_inet.c`): connect, by system call, `io_uring` or a
//! send call with `MSG_FASTOPEN`.
//!
//! Prototype: `(struct socket *, struct sockaddr *, int addr_len, int flags, int is_sendmsg)` in
//! 5.10 to 6.18. Records the connecting process. Produces an event when connect fails for a reason
//! that is no failure of an existing connection: no route, no port, an interrupting signal, a limit
//! of the program's own (`SO_SNDTIMEO`). `tcp_done` has counted what the network answered, and
//! connect only delivers it.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::{EventKind, Flags, TcpState};

use super::{connect, send_timeout};
use crate::{
    arguments::Arguments,
    calls::{self, Function},
    errno::{EAGAIN, EALREADY, ECONNABORTED, EINPROGRESS, EISCONN, returned},
    failure,
    load::{Direct, Probe},
    owner::{self, Role},
    sockaddr::SockAddr,
    socket::Socket,
};

/// Entry of `__inet_stream_connect`.
#[fentry(function = "__inet_stream_connect")]
fn inet_stream_connect(ctx: FEntryContext) -> i32 {
    begun(&ctx);
    0
}

/// Return of `__inet_stream_connect`.
#[fexit(function = "__inet_stream_connect")]
fn inet_stream_connect_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(5));
    ended(&ctx, errno);
    let is_sendmsg = ctx.int(4) != 0;
    // A send call ends in `sk_stream_error`, which shows whether its time has run out.
    if is_sendmsg || !connect::says_time_is_over(errno, ctx.int(3)) {
        return 0;
    }
    let sock = Socket::<Direct>::new(ctx.pointer(0)).sock();
    send_timeout::ended(EventKind::Connect, sock, errno, Flags::empty())
}

/// Entry of `__inet_stream_connect` by kprobe. A probe on its return would be lost when many
/// callers wait for their peers. The outcome of an attempt that has already failed is known here;
/// immediate failures are reported at the returns below.
#[kprobe(function = "__inet_stream_connect")]
fn inet_stream_connect_kprobe(ctx: ProbeContext) -> i32 {
    begun(&ctx);
    calls::forget(Function::InetStreamConnect);
    let socket = Socket::<Probe>::new(ctx.pointer(0));
    let sock = socket.sock();
    if sock.state() != TcpState::Close as u8 || target(&ctx).is_unspecified() {
        return 0;
    }
    if socket.is_unconnected() {
        calls::enter(Function::InetStreamConnect, &ctx);
    } else if socket.is_connecting() == 1 {
        // The caller holds the socket lock: this is what will be returned.
        let errno = match sock.err() {
            0 => ECONNABORTED,
            stored => stored,
        };
        ended(&ctx, errno);
    }
    0
}

/// Return of `tcp_v4_connect(sk, uaddr, addr_len)`, which does not block.
#[kretprobe(function = "tcp_v4_connect")]
fn tcp_v4_connect_kretprobe(ctx: RetProbeContext) -> i32 {
    started(&ctx)
}

/// Return of `tcp_v6_connect(sk, uaddr, addr_len)`. For an IPv4-mapped address it has called
/// `tcp_v4_connect`, whose return has reported the failure.
#[kretprobe(function = "tcp_v6_connect")]
fn tcp_v6_connect_kretprobe(ctx: RetProbeContext) -> i32 {
    started(&ctx)
}

#[inline(always)]
fn started(ctx: &RetProbeContext) -> i32 {
    calls::leave(Function::InetStreamConnect).map_or(0, |call| ended(&call, returned(ctx.ret())))
}

#[inline(always)]
fn begun<A: Arguments>(ctx: &A) {
    let socket = Socket::<A::Load>::new(ctx.pointer(0));
    let sock = socket.sock();
    // Later calls on the same attempt query its outcome.
    if !socket.is_unconnected() {
        if target(ctx).is_unspecified() && sock.is_live() && sock.stream_family().is_some() {
            failure::dissolve(sock);
        }
        return;
    }
    if sock.stream_family().is_some() {
        owner::record(sock, Role::Client);
        failure::forget(sock);
    }
}

#[inline(always)]
fn ended<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    if matches!(errno, EAGAIN | EALREADY | EISCONN) {
        return 0;
    }
    let is_sendmsg = ctx.int(4) != 0;
    let sock = Socket::<A::Load>::new(ctx.pointer(0)).sock();
    if sock.stream_family().is_none() {
        return 0;
    }
    if matches!(errno, 0 | EINPROGRESS) {
        // The hook on the entry may not have run, see `security_sock_graft`; or another process
        // queries the outcome of the attempt.
        owner::ensure(sock, Role::Client);
        return 0;
    }
    if target(ctx).is_unspecified() {
        // EBUSY: the connection is not dissolved.
        failure::forget(sock);
    }
    let known = failure::find_connecting(sock);
    if known.is_some() && known.delivered == 0 && known.errno == errno {
        if !is_sendmsg {
            failure::deliver(sock);
        }
        // A send call ends in `sk_stream_error`, which reports the delivery.
        return 0;
    }
    let flags = Flags::empty()
        .with_if(Flags::REPORTED, known.is_some())
        .with_if(Flags::FAST_OPEN, is_sendmsg);
    debug!(ctx, "__inet_stream_connect: failed with errno {}", errno);
    connect::failed(sock, errno, target(ctx), flags)
}

/// Destination of the socket; NULL for a deferred connect.
#[inline(always)]
fn target<A: Arguments>(ctx: &A) -> SockAddr<A::Load> {
    SockAddr::new(ctx.pointer(1), ctx.int(2))
}
