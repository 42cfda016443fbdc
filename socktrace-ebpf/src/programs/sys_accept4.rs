//! Traces the return of `__sys_accept4` (`net/socket.c`): accept fails outside the protocol.
//!
//! Prototype: `int (int fd, upeer_sockaddr, upeer_addrlen, int flags)` in every kernel from 5.10 to
//! 7.3. A descriptor is reserved before the accept queue is checked, security modules run after
//! that, and the peer's address is written once the connection has been taken out of the queue:
//! `inet_csk_accept` never sees EMFILE, EACCES or EFAULT. Produces an event for these and similar
//! errnos.
//!
//! The errnos of `inet_csk_accept` are left to its own hook: EINTR, EAGAIN, and EINVAL for a socket
//! that does not listen.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{Detail, EventKind, TcpState};

use super::{emit_call, inet_csk_accept::no_listener};
use crate::{
    arguments::Arguments as _,
    descriptor,
    errno::{EAGAIN, EBADF, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOTSOCK, returned},
    load::Probe,
    measure, policy,
    sock::Sock,
};

/// `SOCK_CLOEXEC` and `SOCK_NONBLOCK` in `include/linux/net.h`, which are `O_CLOEXEC` and
/// `O_NONBLOCK`: the flags that accept supports.
const KNOWN_FLAGS: i32 = 0o2_000_000 | 0o4_000;

/// Return of `__sys_accept4`.
#[fexit(function = "__sys_accept4")]
fn sys_accept4_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.argument(4)), false)
}

/// Return of `__sys_accept4`, where the hook on `inet_csk_accept` cannot report that function's errnos.
#[fexit(function = "__sys_accept4")]
fn sys_accept4_errors_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.argument(4)), true)
}

/// Reports the errnos that `inet_csk_accept` returns, or all others.
#[inline(always)]
fn failed(ctx: &FExitContext, errno: u16, by_protocol: bool) -> i32 {
    if matches!(errno, 0 | EAGAIN | EBADF | ENOTSOCK) {
        return 0;
    }
    let fd = ctx.int(0);
    let Some(sock) = descriptor::sock(fd) else {
        return 0;
    };
    let Some(family) = sock.stream_family() else {
        return 0;
    };
    if is_of_protocol(errno, ctx.int(3), sock) != by_protocol {
        return 0;
    }
    if matches!(errno, EMFILE | ENFILE | ENOBUFS | ENOMEM) {
        measure::accept_failed(sock);
    }
    let mut flags = policy::forbids(errno);
    if by_protocol {
        flags = no_listener(sock, family, errno);
    }
    emit_call(
        EventKind::AcceptCall,
        sock,
        family,
        errno,
        flags,
        |_| {},
        |event| event.set_detail(Detail::Call { fd, level: 0, option: 0 }),
    )
}

/// Whether `inet_csk_accept` has returned this errno. It returns EINVAL for a socket that does not
/// listen; invalid flags and address lengths get it too.
#[inline(always)]
fn is_of_protocol(errno: u16, flags: i32, sock: Sock<Probe>) -> bool {
    match errno {
        EINTR => true,
        EINVAL => flags & !KNOWN_FLAGS == 0 && sock.state() != TcpState::Listen as u8,
        _ => false,
    }
}
