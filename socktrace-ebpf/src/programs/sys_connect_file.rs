//! Traces the return of `__sys_connect_file` (`net/socket.c`): connect, by system call or
//! `io_uring`, whether the protocol, a security module or a BPF program of the cgroup refuses it.
//!
//! Prototype: `int (struct file *, struct sockaddr_storage *, int addrlen, int file_flags)` in 5.10
//! to 7.3. Records the connecting process. Produces an event when connect fails for a reason that
//! is no failure of an existing connection: no route, no port, forbidden, an interrupting signal, a
//! limit of the program's own (`SO_SNDTIMEO`). `tcp_done` has counted what the network answered,
//! and connect only delivers it.
//!
//! While connect waits there is no record of the socket: the process is found because it waits.

use aya_ebpf::{macros::fexit, programs::FExitContext};

use socktrace_ebpf::{EventKind, Flags};

use super::{connect, send_timeout, unix_connect};
use crate::{
    arguments::Arguments as _,
    errno::{EAGAIN, ENOTSOCK, returned},
    load::Direct,
    sockaddr::SockAddr,
    socket::{O_NONBLOCK, Socket},
};

/// Return of `__sys_connect_file`. For kernels with `bpf_sock_from_file`: since 5.11.
#[fexit(function = "__sys_connect_file")]
fn sys_connect_file_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(4));
    if errno == ENOTSOCK {
        return 0;
    }
    let Some(socket) = Socket::of_file(ctx.pointer(0)) else {
        return 0;
    };
    let sock = socket.sock();
    let target = SockAddr::<Direct>::new(ctx.pointer(1), ctx.int(2));
    // `io_uring` does not wait on a blocking file either (`io_connect`).
    let flags = ctx.int(3);
    let tries = || flags & O_NONBLOCK != 0 && !Socket::is_nonblocking(ctx.pointer(0));
    let may_wait = || flags & O_NONBLOCK == 0 && !Socket::is_nonblocking(ctx.pointer(0));
    if sock.stream_family().is_none() {
        // The program does not get the errno of a full queue yet: `io_uring` waits for room.
        if errno == EAGAIN && tries() {
            return 0;
        }
        return unix_connect::call_returned(sock, errno, target, may_wait());
    }
    connect::returned(sock, errno, target, connect::Call::Connect);
    if !connect::says_time_is_over(errno, flags) || !may_wait() {
        return 0;
    }
    send_timeout::ended(EventKind::Connect, sock, errno, Flags::empty())
}
