//! Traces the tracepoint `sock:inet_sk_error_report`: an error was stored in a socket.
//!
//! Arguments: `(const struct sock *)`; since 5.14, absent in 5.10. Used for what does not end in
//! `tcp_done`: a socket with `IP_RECVERR` is told of ICMP errors at once and stays open. Every
//! other report is left alone:
//! - closed sockets were seen by `tcp_done`; connecting ones will be (5.14 to 6.10 report before
//!   they call it), likewise those whose timer gives up (ETIMEDOUT) or with a note in the stash;
//! - `tcp_disconnect` reports with no peer, `sock_queue_err_skb` without an error.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use socktrace_ebpf::{Hook, TcpState};

use super::failed_call;
use crate::{
    arguments::Arguments as _,
    emit::emit,
    errno::ETIMEDOUT,
    failure,
    load::Direct,
    owner,
    sock::Sock,
    stash,
    tuple::{Tuple, describe_icmp},
};

/// The tracepoint.
#[btf_tracepoint(function = "inet_sk_error_report")]
fn inet_sk_error_report(ctx: BtfTracePointContext) -> i32 {
    let sock = Sock::<Direct>::new(ctx.pointer(0));
    let errno = sock.err();
    if matches!(errno, 0 | ETIMEDOUT) || sock.remote_port() == 0 {
        return 0;
    }
    let state = sock.state();
    if state == TcpState::Close as u8 || state == TcpState::SynSent as u8 || stash::has(sock) {
        return 0;
    }
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    let flags = sock.holder_flags();
    let signature = failed_call(Hook::InetSkErrorReport, tcp, family, errno, flags);
    failure::record(tcp, &signature);
    emit(&signature, |event| {
        tcp.describe(family, event);
        owner::name(event, sock, flags, sock.is_owned());
        describe_icmp(&Tuple::of(tcp, family), event);
    });
    0
}
