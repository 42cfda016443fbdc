//! Traces the return of the whole bind call (`net/socket.c`), which sees what security modules, BPF
//! programs of cgroups and the protocol refuse.
//!
//! Since 6.11 by `__sys_bind_socket`, which system calls and `io_uring` share: `int (struct socket *,
//! struct __kernel_sockaddr_storage *, int addrlen)`. Before, by `__sys_bind`: `int (int fd, struct
//! sockaddr __user *, int addrlen)`, whose socket is found by the descriptor; `io_uring` has no bind
//! there. Each produces an event when it fails.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{EventKind, Flags};

use super::emit_call;
use crate::{
    arguments::Arguments as _,
    descriptor,
    errno::{EBADF, EFAULT, ENOTSOCK, returned},
    load::{Direct, Load, User},
    policy, retry,
    sock::{Sock, Socket},
    sockaddr::SockAddr,
    subject::Subject,
};

/// Return of `__sys_bind_socket`.
#[fexit(function = "__sys_bind_socket")]
fn sys_bind_socket_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(3));
    if errno == 0 {
        return 0;
    }
    let sock = Socket::<Direct>::new(ctx.pointer(0)).sock();
    failed(sock, SockAddr::<Direct>::whole(ctx.pointer(1)), errno, Flags::empty())
}

/// Return of `__sys_bind`.
#[fexit(function = "__sys_bind")]
fn sys_bind_return(ctx: FExitContext) -> i32 {
    // What fails before there is a socket or an address, the newer function does not see either.
    let errno = returned(ctx.argument(3));
    if matches!(errno, 0 | EBADF | ENOTSOCK | EFAULT) {
        return 0;
    }
    let wanted = SockAddr::<User>::whole(ctx.pointer(1));
    descriptor::sock(ctx.int(0)).map_or(0, |sock| failed(sock, wanted, errno, Flags::empty()))
}

/// A bind to this address has failed. These flags are known, others follow.
#[inline(always)]
pub(super) fn failed<L: Load, A: Load>(
    sock: Sock<L>,
    wanted: SockAddr<A>,
    errno: u16,
    flags: Flags,
) -> i32 {
    let Some(family) = sock.stream_family() else {
        return 0;
    };
    // The address that was asked for, which the socket did not get.
    let (family, ip) = wanted.ip(family);
    let port = wanted.port();
    if retry::repeats(EventKind::Bind, sock.stream_protocol(), family as u8, port, errno) {
        return 0;
    }
    let flags = flags.with(policy::forbids_bind(errno, sock, port));
    let locate = |subject: &mut Subject| {
        subject.local = ip;
        subject.local_port = port;
    };
    emit_call(EventKind::Bind, sock, family, errno, flags, locate, |_| {})
}
