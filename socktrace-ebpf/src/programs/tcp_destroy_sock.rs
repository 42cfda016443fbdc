//! Traces the tracepoint `tcp:tcp_destroy_sock` (`tcp_v4_destroy_sock`, `net/ipv4/tcp_ipv4.c`): the
//! end of a TCP socket, including one that enters `TIME_WAIT`.
//!
//! Arguments: `(struct sock *)` in every kernel from 5.10 to 7.3; once per socket, also of IPv6.
//! Forgets the socket's owner.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{arguments::Arguments as _, load::Direct, record, sock::Sock};

/// The tracepoint. Finds nothing for an MPTCP subflow: the socket that programs hold has another address.
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    record::forget(Sock::<Direct>::new(ctx.pointer(0)).key());
    0
}
