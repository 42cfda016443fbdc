//! Traces `udp_err` (`net/ipv4/udp.c`) and `icmpv6_notify` (`net/ipv6/icmp.c`): an ICMP error
//! arrived for a UDP datagram, or for any IPv6 packet.
//!
//! Prototypes: `int (skb, u32 info)` and `(skb, u8 type, u8 code, __be32 info)` in every kernel
//! from 5.10 to 7.3. Not `udpv6_err`, which is inline and so cannot be traced up to 6.18, nor
//! `__udp6_lib_err`, which has seven arguments, too many for the trampolines of 5.10 and 6.1.
//! Produces no event: it stores the error for the report that follows if a socket gets the error,
//! see [`crate::datagram_icmp`].

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::{arguments::Arguments, datagram_icmp};

/// Entry of `udp_err`.
#[fentry(function = "udp_err")]
fn udp_err(ctx: FEntryContext) -> i32 {
    icmp4(&ctx)
}

/// Entry of `udp_err` by kprobe.
#[kprobe(function = "udp_err")]
fn udp_err_kprobe(ctx: ProbeContext) -> i32 {
    icmp4(&ctx)
}

/// Entry of `icmpv6_notify`.
#[fentry(function = "icmpv6_notify")]
fn icmpv6_notify(ctx: FEntryContext) -> i32 {
    icmp6(&ctx)
}

/// Entry of `icmpv6_notify` by kprobe.
#[kprobe(function = "icmpv6_notify")]
fn icmpv6_notify_kprobe(ctx: ProbeContext) -> i32 {
    icmp6(&ctx)
}

#[inline(always)]
fn icmp4<A: Arguments>(ctx: &A) -> i32 {
    datagram_icmp::arrives4(ctx.pointer(0));
    0
}

#[inline(always)]
fn icmp6<A: Arguments>(ctx: &A) -> i32 {
    datagram_icmp::arrives6(ctx.pointer(0), ctx.argument(1) as u8, ctx.argument(2) as u8);
    0
}
