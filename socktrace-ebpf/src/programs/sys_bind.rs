//! Traces the return of the whole bind call, which shows what security modules, BPF programs of
//! cgroups and the protocol refuse.
//!
//! By system call, at `__sys_bind` (`net/socket.c`): `int (int fd, struct sockaddr __user *, int
//! addrlen)` in every kernel from 5.10 to 7.3. By `io_uring`, at `__sys_bind_socket`: `int (struct
//! socket *, struct __kernel_sockaddr_storage *, int addrlen)` since 6.11. The system call goes
//! there too, unless the compiler has inlined a copy into `__sys_bind`, as in Debian's 6.12. Each
//! produces an event when it fails.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::Flags;

use super::{bind, unix_bind};
use crate::{
    arguments::Arguments as _,
    descriptor,
    errno::{EBADF, EFAULT, ENOTSOCK, returned},
    load::{Direct, User, number},
    offsets,
    sock::Sock,
    sockaddr::SockAddr,
    socket::Socket,
    task,
};

/// Return of `__sys_bind`.
#[fexit(function = "__sys_bind")]
fn sys_bind_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(3));
    if errno == 0 {
        if offsets::UNIX_SENDS.get() == 1
            && let Some(sock) = descriptor::any_sock(ctx.int(0))
        {
            unix_bind::succeeded(sock);
        }
        return 0;
    }
    // Without a socket or an address there is nothing to report.
    if matches!(errno, EBADF | ENOTSOCK | EFAULT) {
        return 0;
    }
    let wanted = SockAddr::<User>::new(ctx.pointer(1), ctx.int(2));
    descriptor::any_sock(ctx.int(0))
        .map_or(0, |sock| bind::failed(sock, wanted, errno, Flags::empty()))
}

/// Return of `__sys_bind_socket`, for `io_uring` only: the system call has the address on its stack
/// (`__sys_bind`), an `io_uring` operation in memory of its own (`io_bind`).
#[fexit(function = "__sys_bind_socket")]
fn sys_bind_socket_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(3));
    if task::is_on_current_stack(number(ctx.pointer(1))) {
        return 0;
    }
    let sock = Socket::<Direct>::new(ctx.pointer(0)).sock();
    if errno == 0 {
        unix_bind::succeeded(Sock::new(sock.key() as *const u8));
        return 0;
    }
    bind::failed(sock, SockAddr::<Direct>::new(ctx.pointer(1), ctx.int(2)), errno, Flags::empty())
}
