//! Traces the return of the whole listen call (`net/socket.c`), which sees what security modules and
//! the protocol refuse.
//!
//! Since 6.11 by `__sys_listen_socket`, which system calls and `io_uring` share: `int (struct socket *,
//! int backlog)`. Before, by `__sys_listen`: `int (int fd, int backlog)`, whose socket is found by the
//! descriptor. Each produces an event when it fails.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{EventKind, Flags};

use super::emit_call;
use crate::{
    arguments::Arguments as _,
    descriptor,
    errno::{EBADF, ENOTSOCK, returned},
    load::{Direct, Load},
    policy, retry,
    sock::{Sock, Socket},
    subject::Subject,
};

/// Return of `__sys_listen_socket`.
#[fexit(function = "__sys_listen_socket")]
fn sys_listen_socket_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(2));
    if errno == 0 {
        return 0;
    }
    failed(Socket::<Direct>::new(ctx.pointer(0)).sock(), errno, Flags::empty())
}

/// Return of `__sys_listen`.
#[fexit(function = "__sys_listen")]
fn sys_listen_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(2));
    if matches!(errno, 0 | EBADF | ENOTSOCK) {
        return 0;
    }
    descriptor::sock(ctx.int(0)).map_or(0, |sock| failed(sock, errno, Flags::empty()))
}

/// A listen has failed. These flags are known, others follow.
#[inline(always)]
pub(super) fn failed<L: Load>(sock: Sock<L>, errno: u16, flags: Flags) -> i32 {
    let Some(family) = sock.stream_family() else {
        return 0;
    };
    let (protocol, port) = (sock.stream_protocol(), sock.bound_port());
    if retry::repeats(EventKind::Listen, protocol, family as u8, port, errno) {
        return 0;
    }
    let flags = flags.with(policy::forbids(errno));
    let locate = |subject: &mut Subject| subject.local_port = port;
    emit_call(EventKind::Listen, sock, family, errno, flags, locate, |_| {})
}
