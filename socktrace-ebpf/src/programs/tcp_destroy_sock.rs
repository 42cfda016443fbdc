//! Traces the tracepoint `tcp:tcp_destroy_sock` (`tcp_v4_destroy_sock`, `net/ipv4/tcp_ipv4.c`): a
//! socket of TCP ends, also one that turns to `TIME_WAIT`.
//!
//! Arguments: `(struct sock *)` in every kernel from 5.10 to 7.3; once a socket, of IPv6 too.
//! Forgets whose it was.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{arguments::Arguments as _, load::Direct, record, sock::Sock};

/// The tracepoint. For a subflow of MPTCP it finds nothing: what programs hold has another address.
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    record::forget(Sock::<Direct>::new(ctx.pointer(0)).key());
    0
}
