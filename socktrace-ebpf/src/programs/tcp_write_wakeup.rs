//! Traces the return of `tcp_write_wakeup` (`net/ipv4/tcp_output.c`): a probe of the window or of
//! an idle peer was sent, or was not. New data whose first transmission fails passes here too:
//! while nothing is in flight, the persist timer sends it (`tcp_check_probe_timer`).
//!
//! Prototype: `int (struct sock *, int mib)` in every kernel from 5.10 to 7.3. Its results are the
//! same as for [`super::tcp_retransmit_skb`], and it produces no event either.

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

/// Return of `tcp_write_wakeup`.
#[fexit(function = "tcp_write_wakeup")]
fn tcp_write_wakeup_return(ctx: FExitContext) -> i32 {
    tried(&ctx, ctx.int(2))
}

/// Entry of `tcp_write_wakeup` by kprobe.
#[kprobe(function = "tcp_write_wakeup")]
fn tcp_write_wakeup_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::TcpWriteWakeup, &ctx);
    0
}

/// Return of `tcp_write_wakeup` by kprobe.
#[kretprobe(function = "tcp_write_wakeup")]
fn tcp_write_wakeup_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::TcpWriteWakeup).map_or(0, |call| tried(&call, ctx.ret::<u64>() as i32))
}

#[inline(always)]
fn tried<A: Arguments>(ctx: &A, result: i32) -> i32 {
    sending::tried(Sock::<A::Load>::new(ctx.pointer(0)), Segment::New, result)
}
