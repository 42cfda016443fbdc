//! Traces the return of the whole listen call, which shows what security modules and the protocol refuse.
//!
//! By system call, at `__sys_listen` (`net/socket.c`): `int (int fd, int backlog)` in every kernel
//! from 5.10 to 7.3. By `io_uring`, at `io_listen` (`io_uring/net.c`): `int (struct io_kiocb *,
//! unsigned int issue_flags)` since 6.11. Each produces an event when it fails, and records the
//! listener otherwise.

use aya_ebpf::{macros::fexit, programs::FExitContext};

use super::unix_bind;
use crate::{
    arguments::Arguments as _,
    descriptor,
    errno::{EBADF, ENOTSOCK, returned},
    io_uring::Operation,
};

/// Return of `__sys_listen`.
#[fexit(function = "__sys_listen")]
fn sys_listen_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(2));
    if matches!(errno, EBADF | ENOTSOCK) {
        return 0;
    }
    descriptor::any_sock(ctx.int(0)).map_or(0, |sock| unix_bind::listen_returned(sock, errno))
}

/// Return of `io_listen`.
#[fexit(function = "io_listen")]
fn io_listen_return(ctx: FExitContext) -> i32 {
    let operation = Operation::new(ctx.pointer(0));
    let errno = operation.errno(ctx.argument(2));
    operation.sock().map_or(0, |sock| unix_bind::listen_returned(sock, errno))
}
