//! Traces the return of `inet_csk_accept` (`net/ipv4/inet_connection_sock.c`): a program takes a
//! connection out of the accept queue.
//!
//! Prototype: `(sk, flags, err, kern)` up to 6.9, `(sk, arg)` since 6.10. An exit program finds
//! the return value after the last argument (`bpf_get_func_ret` needs 5.17), so there are twin
//! programs, and the daemon loads the one that fits the prototype in the kernel's BTF.
//!
//! Produces an event when the connection is already closed: on Linux accept succeeds all the
//! same, and the program's next read or write fails. `tcp_done` has counted the failure when it
//! happened; this event tells which process got it.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use aya_log_ebpf::debug;
use socktrace_ebpf::{Flags, Hook, Origin, Signature, TcpState};

use crate::{emit::emit, sock::Sock};

/// Return of `inet_csk_accept(sk, flags, err, kern)`.
#[fexit(function = "inet_csk_accept")]
fn inet_csk_accept_four_args(ctx: FExitContext) -> i32 {
    accepted(&ctx, Sock::new(ctx.arg(4)))
}

/// Return of `inet_csk_accept(sk, arg)`.
#[fexit(function = "inet_csk_accept")]
fn inet_csk_accept_two_args(ctx: FExitContext) -> i32 {
    accepted(&ctx, Sock::new(ctx.arg(2)))
}

#[inline(always)]
fn accepted(ctx: &FExitContext, sock: Sock) -> i32 {
    if sock.is_null() {
        return 0;
    }
    let state = sock.state();
    let errno = sock.err();
    if state != TcpState::Close as u8 && errno == 0 {
        return 0;
    }
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    let signature = Signature {
        hook: Hook::InetCskAccept as u8,
        origin: Origin::Other as u8,
        state,
        family: family as u8,
        errno,
        flags: Flags::UNACCEPTED.0,
    };
    debug!(ctx, "inet_csk_accept: already closed, errno {}", errno);
    // The accepting task calls this function itself, so it is always the current one.
    emit(&signature, family, tcp, true);
    0
}
