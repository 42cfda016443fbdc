//! Traces the return of `tcp_retransmit_skb` (`net/ipv4/tcp_output.c`): a segment was sent
//! again, a SYN too, or was not.
//!
//! Prototype: `int (struct sock *, struct sk_buff *, int segs)` in every kernel from 5.10 to 7.3. Below
//! 0 it failed on this host, but for `-EBUSY` and `-EAGAIN`; 1 is a drop by a queue of this host; 0 is what
//! the network may have lost.
//! Produces no event: `tcp_done` says what the last tries came to.

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

/// Entry by kprobe.
#[kprobe(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::TcpRetransmitSkb, &ctx);
    0
}

/// Return by kprobe.
#[kretprobe(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::TcpRetransmitSkb).map_or(0, |call| tried(&call, ctx.ret::<u64>() as i32))
}

#[inline(always)]
fn tried<A: Arguments>(ctx: &A, result: i32) -> i32 {
    sending::tried(Sock::<A::Load>::new(ctx.pointer(0)), Segment::Old, result)
}
