//! Traces the return of `inet_listen` (`net/ipv4/af_inet.c`).
//!
//! Prototype: `int (struct socket *, int backlog)` in every kernel from 5.10 to 7.2. Produces an
//! event when it fails.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{Flags, Hook};

use super::{describe_call, failed_call};
use crate::{emit::emit, errno::returned, sock::Socket};

/// Return of `inet_listen`.
#[fexit(function = "inet_listen")]
fn inet_listen_return(ctx: FExitContext) -> i32 {
    failed(&ctx, returned(ctx.arg(2)), Flags::empty())
}

/// A function whose first argument is the socket has returned this.
#[inline(always)]
pub(super) fn failed(ctx: &FExitContext, errno: u16, flags: Flags) -> i32 {
    if errno == 0 {
        return 0;
    }
    let sock = Socket::new(ctx.arg(0)).sock();
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    let signature = failed_call(Hook::InetListen, tcp, family, errno, flags);
    emit(&signature, |event| {
        describe_call(event, tcp, family);
        event.local_port = sock.bound_port();
    });
    0
}
