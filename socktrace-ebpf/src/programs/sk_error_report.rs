//! Traces `sk_error_report` (`net/core/sock.c`): an errno was stored in a socket of any family, and
//! its waiters are about to be woken.
//!
//! Prototype: `void (struct sock *)`, since 5.14. Before, most sockets call `sock_def_error_report`
//! through a pointer, and that is hooked instead. Both are also called without an errno, for
//! timestamps and zero-copy datagrams: those calls leave at the first test. TCP sockets leave at
//! the second: see [`super::inet_sk_error_report`].

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::Protocol;

use super::{datagram_error, other_error_report};
use crate::{arguments::Arguments, sock::Sock};

/// Entry of `sk_error_report`, or of `sock_def_error_report`.
#[fentry(function = "sk_error_report")]
fn sk_error_report(ctx: FEntryContext) -> i32 {
    reports(&ctx)
}

/// Entry of `sk_error_report`, or of `sock_def_error_report`, by kprobe.
#[kprobe(function = "sk_error_report")]
fn sk_error_report_kprobe(ctx: ProbeContext) -> i32 {
    reports(&ctx)
}

#[inline(always)]
fn reports<A: Arguments>(ctx: &A) -> i32 {
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    let errno = sock.err();
    if errno == 0 {
        return 0;
    }
    let kind = sock.kind();
    match kind.protocol {
        Protocol::Tcp | Protocol::Mptcp => 0,
        Protocol::Udp => datagram_error::reported(sock, kind, errno),
        _ => other_error_report::reported(sock, kind, errno),
    }
}
