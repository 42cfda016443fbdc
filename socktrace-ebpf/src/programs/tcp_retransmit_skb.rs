//! Traces the return of `tcp_retransmit_skb` (`net/ipv4/tcp_output.c`): a segment, which may be a
//! SYN, was retransmitted, or was not.
//!
//! Prototype: `int (struct sock *, struct sk_buff *, int segs)` in every kernel from 5.10 to 7.3. A
//! negative result is a failure on this host, except `-EBUSY` and `-EAGAIN`; 1 is a drop by a queue
//! of this host; after 0 the network may have lost the segment. Produces no event: `tcp_done`
//! reports how the last attempts ended.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};

use crate::{
    arguments::Arguments,
    calls::{self, Function},
    sending::{self, Segment},
    sock::Sock,
};

/// Return of `tcp_retransmit_skb`.
#[fexit(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb_return(ctx: FExitContext) -> i32 {
    tried(&ctx, ctx.int(3))
}

/// Entry of `tcp_retransmit_skb` by kprobe.
#[kprobe(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::TcpRetransmitSkb, &ctx);
    0
}

/// Return of `tcp_retransmit_skb` by kprobe.
#[kretprobe(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::TcpRetransmitSkb).map_or(0, |call| tried(&call, ctx.ret::<u64>() as i32))
}

#[inline(always)]
fn tried<A: Arguments>(ctx: &A, result: i32) -> i32 {
    sending::tried(Sock::<A::Load>::new(ctx.pointer(0)), Segment::Old, result)
}
