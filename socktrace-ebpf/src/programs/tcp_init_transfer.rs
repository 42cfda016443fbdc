//! Traces the remaining hops of the segments that begin and reset a connection, on request: at
//! `tcp_init_transfer` and `tcp_reset`, or up to 5.10 at `tcp_validate_incoming`
//! (`net/ipv4/tcp_input.c`).
//!
//! Prototypes: `void (struct sock *, int bpf_op, struct sk_buff *)` in 5.10 to 7.3, once for each
//! end of a connection; `void (struct sock *, struct sk_buff *)` since 5.11; `bool (struct sock *,
//! struct sk_buff *, const struct tcphdr *, int)` in 5.10, for each segment that the fast path does
//! not take, and right before `tcp_reset`. None produces an event: `tcp_done` reports what they
//! have seen.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::{arguments::Arguments, hops, load::number, tcp_sock::Segment};

/// Entry of `tcp_init_transfer`.
#[fentry(function = "tcp_init_transfer")]
fn tcp_init_transfer(ctx: FEntryContext) -> i32 {
    established(&ctx)
}

/// Entry of `tcp_init_transfer` by kprobe.
#[kprobe(function = "tcp_init_transfer")]
fn tcp_init_transfer_kprobe(ctx: ProbeContext) -> i32 {
    established(&ctx)
}

/// Entry of `tcp_reset`.
#[fentry(function = "tcp_reset")]
fn tcp_reset_hops(ctx: FEntryContext) -> i32 {
    arrived(&ctx)
}

/// Entry of `tcp_reset` by kprobe.
#[kprobe(function = "tcp_reset")]
fn tcp_reset_hops_kprobe(ctx: ProbeContext) -> i32 {
    arrived(&ctx)
}

/// Entry of `tcp_validate_incoming`.
#[fentry(function = "tcp_validate_incoming")]
fn tcp_validate_incoming(ctx: FEntryContext) -> i32 {
    arrived(&ctx)
}

/// Entry of `tcp_validate_incoming` by kprobe.
#[kprobe(function = "tcp_validate_incoming")]
fn tcp_validate_incoming_kprobe(ctx: ProbeContext) -> i32 {
    arrived(&ctx)
}

#[inline(always)]
fn established<A: Arguments>(ctx: &A) -> i32 {
    hops::handshake(number(ctx.pointer(0)), ctx.pointer(2));
    0
}

/// Handles a segment with or without RST: `tcp_reset` is also called for data that arrives after
/// reading was shut down.
#[inline(always)]
fn arrived<A: Arguments>(ctx: &A) -> i32 {
    if Segment::<A::Load>::of(ctx.pointer(1)).is_some_and(Segment::has_rst) {
        hops::reset(number(ctx.pointer(0)), ctx.pointer(1));
    }
    0
}
