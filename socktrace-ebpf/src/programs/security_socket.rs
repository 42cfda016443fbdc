//! Traces the return of `security_socket_connect`, `security_socket_bind` and
//! `security_socket_listen` (`security/security.c`): a security module such as `SELinux`, `AppArmor`
//! or Landlock forbids the call before the protocol sees it.
//!
//! Prototypes: `int (struct socket *, struct sockaddr *, int)` for the first two, and `int (struct
//! socket *, int backlog)`, in every kernel from 5.10 to 7.2, with `CONFIG_SECURITY_NETWORK`. They
//! run once per call, by system call or `io_uring`. Each produces an event for a TCP socket. The
//! hooks of bind and listen are used where [`super::sys_bind`] and [`super::sys_listen`] cannot be.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::Flags;

use super::{connect, inet_bind, inet_listen};
use crate::{
    arguments::Arguments,
    calls::{self, Function},
    errno::returned,
    sockaddr::SockAddr,
    socket::Socket,
};

/// Return of `security_socket_connect`.
#[fexit(function = "security_socket_connect")]
fn security_socket_connect_return(ctx: FExitContext) -> i32 {
    forbidden(&ctx, returned(ctx.argument(3)))
}

/// Return of `security_socket_bind`.
#[fexit(function = "security_socket_bind")]
fn security_socket_bind_return(ctx: FExitContext) -> i32 {
    inet_bind::failed(&ctx, returned(ctx.argument(3)), Flags::POLICY)
}

/// Return of `security_socket_listen`.
#[fexit(function = "security_socket_listen")]
fn security_socket_listen_return(ctx: FExitContext) -> i32 {
    inet_listen::failed(&ctx, returned(ctx.argument(2)), Flags::POLICY)
}

/// Entry of `security_socket_connect` by kprobe.
#[kprobe(function = "security_socket_connect")]
fn security_socket_connect_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::SecuritySocketConnect, &ctx);
    0
}

/// Return of `security_socket_connect` by kprobe.
#[kretprobe(function = "security_socket_connect")]
fn security_socket_connect_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::SecuritySocketConnect)
        .map_or(0, |call| forbidden(&call, returned(ctx.ret())))
}

/// Entry of `security_socket_bind` by kprobe.
#[kprobe(function = "security_socket_bind")]
fn security_socket_bind_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::SecuritySocketBind, &ctx);
    0
}

/// Return of `security_socket_bind` by kprobe.
#[kretprobe(function = "security_socket_bind")]
fn security_socket_bind_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::SecuritySocketBind)
        .map_or(0, |call| inet_bind::failed(&call, returned(ctx.ret()), Flags::POLICY))
}

/// Entry of `security_socket_listen` by kprobe.
#[kprobe(function = "security_socket_listen")]
fn security_socket_listen_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::SecuritySocketListen, &ctx);
    0
}

/// Return of `security_socket_listen` by kprobe.
#[kretprobe(function = "security_socket_listen")]
fn security_socket_listen_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::SecuritySocketListen)
        .map_or(0, |call| inet_listen::failed(&call, returned(ctx.ret()), Flags::POLICY))
}

#[inline(always)]
fn forbidden<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    if errno == 0 {
        return 0;
    }
    let sock = Socket::<A::Load>::new(ctx.pointer(0)).sock();
    if sock.stream_family().is_none() {
        return 0;
    }
    let target = SockAddr::<A::Load>::new(ctx.pointer(1), ctx.int(2));
    connect::failed(sock, errno, target, Flags::POLICY)
}
