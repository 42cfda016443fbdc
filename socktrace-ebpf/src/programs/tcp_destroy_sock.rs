//! Traces the tracepoint `tcp:tcp_destroy_sock` (`tcp_v4_destroy_sock`, `net/ipv4/tcp_ipv4.c`): a
//! socket of TCP ends, also one that turns to `TIME_WAIT`.
//!
//! Arguments: `(struct sock *)` in every kernel from 5.10 to 7.3; once a socket, of IPv6 too.
//! Forgets whose it was.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{arguments::Arguments as _, record};

/// The tracepoint. For a subflow of MPTCP it finds nothing: what programs hold has another address.
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    record::forget(ctx.argument(0));
    0
}
