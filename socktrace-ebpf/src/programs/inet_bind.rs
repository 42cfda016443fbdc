//! Traces the return of `inet_bind` (`net/ipv4/af_inet.c`) and `inet6_bind`
//! (`net/ipv6/af_inet6.c`), by system call or by `io_uring`.
//!
//! Prototype: `int (struct socket *, struct sockaddr *, int addr_len)` in 5.10 to 6.18. Produces
//! an event when it fails.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{Flags, Hook};

use super::{describe_call, failed_call};
use crate::{emit::emit, errno::returned, sock::Socket, sockaddr::SockAddr};

/// Return of `inet_bind`.
#[fexit(function = "inet_bind")]
fn inet_bind_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.arg(3)), Flags::empty())
}

/// Return of `inet6_bind`.
#[fexit(function = "inet6_bind")]
fn inet6_bind_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.arg(3)), Flags::empty())
}

/// A function whose first arguments are the socket and the address has returned this.
#[inline(always)]
pub(super) fn failed(ctx: &FExitContext, errno: u16, flags: Flags) -> i32 {
    if errno == 0 {
        return 0;
    }
    let sock = Socket::new(ctx.arg(0)).sock();
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    // The address that was asked for, which the socket did not get.
    let wanted = SockAddr::new(ctx.arg(1));
    let (family, ip) = wanted.ip(family);
    let signature = failed_call(Hook::InetBind, tcp, family, errno, flags);
    emit(&signature, |event| {
        describe_call(event, tcp, family);
        event.local = ip;
        event.local_port = wanted.port();
    });
    0
}
