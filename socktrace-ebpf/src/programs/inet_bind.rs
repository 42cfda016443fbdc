//! Traces the return of `inet_bind` (`net/ipv4/af_inet.c`) and `inet6_bind`
//! (`net/ipv6/af_inet6.c`), called by system calls or `io_uring`.
//!
//! Prototype: `int (struct socket *, struct sockaddr *, int addr_len)` in 5.10 to 6.18, with a
//! `struct sockaddr_unsized *` in 7.3. Produces an event when it fails. Used where
//! [`super::sys_bind`] cannot be: by kprobe, and under lockdown=confidentiality.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::Flags;

use super::bind;
use crate::{
    arguments::Arguments,
    calls::{self, Function},
    errno::returned,
    sockaddr::SockAddr,
    socket::Socket,
};

/// Return of `inet_bind`.
#[fexit(function = "inet_bind")]
fn inet_bind_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.argument(3)), Flags::empty())
}

/// Return of `inet6_bind`.
#[fexit(function = "inet6_bind")]
fn inet6_bind_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.argument(3)), Flags::empty())
}

/// Entry of `inet_bind` by kprobe.
#[kprobe(function = "inet_bind")]
fn inet_bind_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::InetBind, &ctx);
    0
}

/// Return of `inet_bind` by kprobe.
#[kretprobe(function = "inet_bind")]
fn inet_bind_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::InetBind)
        .map_or(0, |call| failed(&call, returned(ctx.ret()), Flags::empty()))
}

/// Entry of `inet6_bind` by kprobe.
#[kprobe(function = "inet6_bind")]
fn inet6_bind_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::Inet6Bind, &ctx);
    0
}

/// Return of `inet6_bind` by kprobe.
#[kretprobe(function = "inet6_bind")]
fn inet6_bind_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::Inet6Bind)
        .map_or(0, |call| failed(&call, returned(ctx.ret()), Flags::empty()))
}

/// Reports the failure of a function whose first arguments are the socket and the address.
#[inline(always)]
pub(super) fn failed<A: Arguments>(ctx: &A, errno: u16, flags: Flags) -> i32 {
    if errno == 0 {
        return 0;
    }
    let sock = Socket::<A::Load>::new(ctx.pointer(0)).sock();
    bind::failed(sock, SockAddr::<A::Load>::new(ctx.pointer(1), ctx.int(2)), errno, flags)
}
