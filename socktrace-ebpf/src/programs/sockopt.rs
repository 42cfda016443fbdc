//! Traces failing `setsockopt` and `getsockopt` (`net/socket.c`).
//!
//! Since 6.7, by the return of `do_sock_setsockopt(struct socket *, bool compat, int level, int
//! optname, sockptr_t optval, int optlen)` and `do_sock_getsockopt(.., sockptr_t optval, sockptr_t
//! optlen)`, which `io_uring` calls too; a `sockptr_t` takes two argument registers. Before, by the
//! return of `__sys_setsockopt(int fd, int level, int optname, char *, int)` and
//! `__sys_getsockopt(.., int *)`, where the socket is found by its descriptor. The daemon loads the
//! programs that match the prototypes in the kernel's BTF. Each produces an event for a TCP, MPTCP
//! or UDP socket.
//!
//! A descriptor that leads to no socket is reported at the return of `__sys_setsockopt` and
//! `__sys_getsockopt` in every kernel, for TCP options: nothing else shows what it should have
//! been.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::{Detail, Event, EventKind, Flags, Signature};

use super::emit_call_of;
use crate::{
    arguments::Arguments,
    calls::{self, Function},
    descriptor,
    emit::emit,
    errno::{EBADF, ENOTSOCK, returned},
    load::Load,
    measure,
    recipient::Question,
    sock::Sock,
    socket::Socket,
    uapi::IPPROTO_TCP,
};

/// Return of `do_sock_setsockopt`.
#[fexit(function = "do_sock_setsockopt")]
fn do_sock_setsockopt_return(ctx: FExitContext) -> i32 {
    by_socket(&ctx, EventKind::Setsockopt, returned(ctx.argument(7)))
}

/// Return of `do_sock_getsockopt`.
#[fexit(function = "do_sock_getsockopt")]
fn do_sock_getsockopt_return(ctx: FExitContext) -> i32 {
    by_socket(&ctx, EventKind::Getsockopt, returned(ctx.argument(8)))
}

/// Return of `__sys_setsockopt`.
#[fexit(function = "__sys_setsockopt")]
fn sys_setsockopt_return(ctx: FExitContext) -> i32 {
    by_descriptor(&ctx, EventKind::Setsockopt, returned(ctx.argument(5)))
}

/// Return of `__sys_setsockopt`, beside `do_sock_setsockopt`.
#[fexit(function = "__sys_setsockopt")]
fn sys_setsockopt_no_socket_return(ctx: FExitContext) -> i32 {
    no_socket(&ctx, EventKind::Setsockopt, returned(ctx.argument(5)))
}

/// Return of `__sys_getsockopt`.
#[fexit(function = "__sys_getsockopt")]
fn sys_getsockopt_return(ctx: FExitContext) -> i32 {
    by_descriptor(&ctx, EventKind::Getsockopt, returned(ctx.argument(5)))
}

/// Return of `__sys_getsockopt`, beside `do_sock_getsockopt`.
#[fexit(function = "__sys_getsockopt")]
fn sys_getsockopt_no_socket_return(ctx: FExitContext) -> i32 {
    no_socket(&ctx, EventKind::Getsockopt, returned(ctx.argument(5)))
}

/// Entry of `do_sock_setsockopt` by kprobe.
#[kprobe(function = "do_sock_setsockopt")]
fn do_sock_setsockopt_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::Setsockopt, &ctx);
    0
}

/// Return of `do_sock_setsockopt` by kprobe.
#[kretprobe(function = "do_sock_setsockopt")]
fn do_sock_setsockopt_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::Setsockopt)
        .map_or(0, |call| by_socket(&call, EventKind::Setsockopt, returned(ctx.ret())))
}

/// Entry of `__sys_setsockopt` by kprobe.
#[kprobe(function = "__sys_setsockopt")]
fn sys_setsockopt_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::SysSetsockopt, &ctx);
    0
}

/// Return of `__sys_setsockopt` by kprobe.
#[kretprobe(function = "__sys_setsockopt")]
fn sys_setsockopt_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::SysSetsockopt)
        .map_or(0, |call| by_descriptor(&call, EventKind::Setsockopt, returned(ctx.ret())))
}

/// Return of `__sys_setsockopt` by kprobe, beside `do_sock_setsockopt`.
#[kretprobe(function = "__sys_setsockopt")]
fn sys_setsockopt_no_socket_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::SysSetsockopt)
        .map_or(0, |call| no_socket(&call, EventKind::Setsockopt, returned(ctx.ret())))
}

/// Entry of `do_sock_getsockopt` by kprobe.
#[kprobe(function = "do_sock_getsockopt")]
fn do_sock_getsockopt_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::Getsockopt, &ctx);
    0
}

/// Return of `do_sock_getsockopt` by kprobe.
#[kretprobe(function = "do_sock_getsockopt")]
fn do_sock_getsockopt_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::Getsockopt)
        .map_or(0, |call| by_socket(&call, EventKind::Getsockopt, returned(ctx.ret())))
}

/// Entry of `__sys_getsockopt` by kprobe.
#[kprobe(function = "__sys_getsockopt")]
fn sys_getsockopt_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::SysGetsockopt, &ctx);
    0
}

/// Return of `__sys_getsockopt` by kprobe.
#[kretprobe(function = "__sys_getsockopt")]
fn sys_getsockopt_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::SysGetsockopt)
        .map_or(0, |call| by_descriptor(&call, EventKind::Getsockopt, returned(ctx.ret())))
}

/// Return of `__sys_getsockopt` by kprobe, beside `do_sock_getsockopt`.
#[kretprobe(function = "__sys_getsockopt")]
fn sys_getsockopt_no_socket_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::SysGetsockopt)
        .map_or(0, |call| no_socket(&call, EventKind::Getsockopt, returned(ctx.ret())))
}

/// Handles a function with the arguments `(struct socket *, bool compat, int level, int optname, ..)`.
#[inline(always)]
fn by_socket<A: Arguments>(ctx: &A, kind: EventKind, errno: u16) -> i32 {
    if errno == 0 {
        return 0;
    }
    let refused = Refused { fd: -1, level: ctx.int(2), option: ctx.int(3) };
    rejected(Socket::<A::Load>::new(ctx.pointer(0)).sock(), kind, errno, refused)
}

/// Handles a function with the arguments `(int fd, int level, int optname, ..)`.
#[inline(always)]
fn by_descriptor<A: Arguments>(ctx: &A, kind: EventKind, errno: u16) -> i32 {
    if errno == 0 {
        return 0;
    }
    let Some(sock) = descriptor::sock(ctx.int(0)) else {
        return no_socket(ctx, kind, errno);
    };
    rejected(sock, kind, errno, Refused::of_call(ctx))
}

#[inline(always)]
fn rejected<L: Load>(sock: Sock<L>, kind: EventKind, errno: u16, refused: Refused) -> i32 {
    let known = sock.kind();
    let Some(family) = sock.shown_family() else {
        return 0;
    };
    if !known.reports_calls() {
        return 0;
    }
    let (protocol, flags) = (known.protocol as u8, Flags::empty());
    refused.count(kind, protocol, errno);
    emit_call_of(
        protocol,
        kind,
        sock,
        family,
        errno,
        flags,
        |_| {},
        |event| refused.describe(event),
    )
}

/// Reports a descriptor, in `(int fd, int level, int optname, ..)`, that leads to no socket.
#[inline(always)]
fn no_socket<A: Arguments>(ctx: &A, kind: EventKind, errno: u16) -> i32 {
    if !matches!(errno, EBADF | ENOTSOCK) || ctx.int(1) != i32::from(IPPROTO_TCP) {
        return 0;
    }
    let refused = Refused::of_call(ctx);
    refused.count(kind, 0, errno);
    let signature = Signature { errno, kind: kind as u8, ..Signature::default() };
    emit(&signature, Question::caller(), |_| {}, |event| refused.describe(event));
    0
}

/// A refused option.
#[derive(Clone, Copy)]
struct Refused {
    /// The descriptor if it is known, else -1.
    fd: i32,
    level: i32,
    option: i32,
}

impl Refused {
    /// Reads the arguments `(int fd, int level, int optname, ..)`.
    #[inline(always)]
    fn of_call<A: Arguments>(ctx: &A) -> Self {
        Self { fd: ctx.int(0), level: ctx.int(1), option: ctx.int(2) }
    }

    #[inline(always)]
    fn count(self, kind: EventKind, protocol: u8, errno: u16) {
        measure::refused_option(kind, protocol, self.level, self.option, errno);
    }

    #[inline(always)]
    fn describe(self, event: &mut Event) {
        let Self { fd, level, option } = self;
        event.set_detail(Detail::Call { fd, level, option });
    }
}
