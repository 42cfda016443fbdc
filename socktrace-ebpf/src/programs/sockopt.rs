//! Traces failing `setsockopt` and `getsockopt` (`net/socket.c`).
//!
//! Since 6.7 by the return of `do_sock_setsockopt(struct socket *, bool compat, int level, int
//! optname, sockptr_t optval, int optlen)` and `do_sock_getsockopt(.., sockptr_t optval,
//! sockptr_t optlen)`, which `io_uring` calls too; a `sockptr_t` takes two argument registers.
//! Before, by the return of `__sys_setsockopt(int fd, int level, int optname, char *, int)` and
//! `__sys_getsockopt(.., int *)`, where the socket is found by its descriptor. The daemon loads
//! those that fit the prototypes in the kernel's BTF. Each produces an event for a TCP socket.
//!
//! A descriptor that leads to no socket is told by the return of `__sys_setsockopt` and
//! `__sys_getsockopt` in every kernel, for options of TCP: nothing else says what it should be.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{Flags, Hook, Signature};

use super::{describe_call, failed_call};
use crate::{
    descriptor,
    emit::emit,
    errno::{EBADF, ENOTSOCK, returned},
    owner,
    sock::{Sock, Socket},
};

/// The level of TCP's own options, `IPPROTO_TCP`.
const IPPROTO_TCP: i32 = 6;

/// Return of `do_sock_setsockopt`.
#[fexit(function = "do_sock_setsockopt")]
fn do_sock_setsockopt_return(ctx: FExitContext) -> i32 {
    by_socket(&ctx, Hook::Setsockopt, returned(ctx.arg(7)))
}

/// Return of `do_sock_getsockopt`.
#[fexit(function = "do_sock_getsockopt")]
fn do_sock_getsockopt_return(ctx: FExitContext) -> i32 {
    by_socket(&ctx, Hook::Getsockopt, returned(ctx.arg(8)))
}

/// Return of `__sys_setsockopt`.
#[fexit(function = "__sys_setsockopt")]
fn sys_setsockopt_return(ctx: FExitContext) -> i32 {
    by_descriptor(&ctx, Hook::Setsockopt, returned(ctx.arg(5)))
}

/// Return of `__sys_getsockopt`.
#[fexit(function = "__sys_getsockopt")]
fn sys_getsockopt_return(ctx: FExitContext) -> i32 {
    by_descriptor(&ctx, Hook::Getsockopt, returned(ctx.arg(5)))
}

/// Return of `__sys_setsockopt`, beside `do_sock_setsockopt`.
#[fexit(function = "__sys_setsockopt")]
fn sys_setsockopt_no_socket_return(ctx: FExitContext) -> i32 {
    no_socket(&ctx, Hook::Setsockopt, returned(ctx.arg(5)))
}

/// Return of `__sys_getsockopt`, beside `do_sock_getsockopt`.
#[fexit(function = "__sys_getsockopt")]
fn sys_getsockopt_no_socket_return(ctx: FExitContext) -> i32 {
    no_socket(&ctx, Hook::Getsockopt, returned(ctx.arg(5)))
}

#[inline(always)]
fn by_socket(ctx: &FExitContext, hook: Hook, errno: u16) -> i32 {
    if errno == 0 {
        return 0;
    }
    let sock = Socket::new(ctx.arg(0)).sock();
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    let signature = failed_call(hook, tcp, family, errno, Flags::empty());
    emit(&signature, |event| {
        describe_call(event, tcp, family);
        event.level = ctx.arg(2);
        event.option = ctx.arg(3);
    });
    0
}

#[inline(always)]
fn by_descriptor(ctx: &FExitContext, hook: Hook, errno: u16) -> i32 {
    if errno == 0 {
        return 0;
    }
    let fd: i32 = ctx.arg(0);
    let Some(sock) = descriptor::tcp_sock(fd) else {
        return no_socket(ctx, hook, errno);
    };
    let signature = Signature {
        errno,
        hook: hook as u8,
        state: sock.state(),
        family: sock.family as u8,
        ..Signature::default()
    };
    emit(&signature, |event| {
        sock.describe(event);
        owner::name(event, Sock::new(core::ptr::null()), Flags::empty(), true);
        event.level = ctx.arg(1);
        event.option = ctx.arg(2);
        event.fd = fd;
    });
    0
}

/// The descriptor of a call with the arguments of `__sys_setsockopt` leads to no socket.
#[inline(always)]
fn no_socket(ctx: &FExitContext, hook: Hook, errno: u16) -> i32 {
    let (fd, level): (i32, i32) = (ctx.arg(0), ctx.arg(1));
    if !matches!(errno, EBADF | ENOTSOCK) || level != IPPROTO_TCP {
        return 0;
    }
    let signature = Signature { errno, hook: hook as u8, ..Signature::default() };
    emit(&signature, |event| {
        owner::name(event, Sock::new(core::ptr::null()), Flags::empty(), true);
        event.level = level;
        event.option = ctx.arg(2);
        event.fd = fd;
    });
    0
}
