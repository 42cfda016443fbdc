//! Traces the return of `inet_listen` (`net/ipv4/af_inet.c`).
//!
//! Prototype: `int (struct socket *, int backlog)` in every kernel from 5.10 to 7.2. Produces an
//! event when it fails, and records the listener otherwise. Used where [`super::sys_listen`] cannot
//! be.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::Flags;

use super::listen;
use crate::{
    arguments::Arguments,
    calls::{self, Function},
    errno::returned,
    socket::Socket,
};

/// Return of `inet_listen`.
#[fexit(function = "inet_listen")]
fn inet_listen_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.argument(2)), Flags::empty())
}

/// Entry of `inet_listen` by kprobe.
#[kprobe(function = "inet_listen")]
fn inet_listen_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::InetListen, &ctx);
    0
}

/// Return of `inet_listen` by kprobe.
#[kretprobe(function = "inet_listen")]
fn inet_listen_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::InetListen)
        .map_or(0, |call| failed(&call, returned(ctx.ret()), Flags::empty()))
}

/// Handles the return of a function whose first argument is the socket. `errno` is 0 for success.
#[inline(always)]
pub(super) fn failed<A: Arguments>(ctx: &A, errno: u16, flags: Flags) -> i32 {
    let sock = Socket::<A::Load>::new(ctx.pointer(0)).sock();
    if errno == 0 { listen::succeeded(sock) } else { listen::failed(sock, errno, flags) }
}
