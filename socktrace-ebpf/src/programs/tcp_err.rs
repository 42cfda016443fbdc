//! Traces `tcp_v4_err` (`net/ipv4/tcp_ipv4.c`) and `tcp_v6_err` (`net/ipv6/tcp_ipv6.c`): an ICMP
//! error arrived for a TCP segment.
//!
//! Prototypes: `int (skb, u32 info)` and `int (skb, opt, u8 type, u8 code, int offset, __be32
//! info)` in every kernel from 5.10 to 7.3. The socket is looked up inside, and only then does the
//! kernel check whether a message is about a segment that was sent. The error is therefore stored
//! under the connection that the embedded headers name, with the sequence number, by which the
//! event of that connection's failure validates it. Messages that are no error to TCP are ignored.
//! Produces no event, and decides nothing: packets are read by `bpf_probe_read_kernel`, and under
//! lockdown=confidentiality only the detail is missing.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::Family;

use crate::{
    arguments::Arguments,
    icmp,
    icmp_packet::IcmpPacket,
    offsets,
    tuple::{Icmp, record_icmp},
};

/// Offset of the sequence number in the TCP header.
const TCP_SEQUENCE: usize = 4;

/// Entry of `tcp_v4_err`.
#[fentry(function = "tcp_v4_err")]
fn tcp_v4_err(ctx: FEntryContext) -> i32 {
    icmp4(&ctx)
}

/// Entry of `tcp_v4_err` by kprobe.
#[kprobe(function = "tcp_v4_err")]
fn tcp_v4_err_kprobe(ctx: ProbeContext) -> i32 {
    icmp4(&ctx)
}

/// Entry of `tcp_v6_err`.
#[fentry(function = "tcp_v6_err")]
fn tcp_v6_err(ctx: FEntryContext) -> i32 {
    icmp6(&ctx)
}

/// Entry of `tcp_v6_err` by kprobe.
#[kprobe(function = "tcp_v6_err")]
fn tcp_v6_err_kprobe(ctx: ProbeContext) -> i32 {
    icmp6(&ctx)
}

#[inline(always)]
fn icmp4<A: Arguments>(ctx: &A) -> i32 {
    if offsets::READ_KERNEL.get() != 1 {
        return 0;
    }
    let packet = IcmpPacket::new(ctx.pointer(0));
    let (kind, code) = packet.message4();
    record(&packet, Family::Ipv4, kind, code, packet.offset4());
    0
}

#[inline(always)]
fn icmp6<A: Arguments>(ctx: &A) -> i32 {
    if offsets::READ_KERNEL.get() != 1 {
        return 0;
    }
    let packet = IcmpPacket::new(ctx.pointer(0));
    let (kind, code) = (ctx.argument(2) as u8, ctx.argument(3) as u8);
    record(&packet, Family::Ipv6, kind, code, IcmpPacket::offset6(ctx.int(4)));
    0
}

/// Stores the message if it is an error to TCP. The embedded TCP header begins at `offset`.
#[inline(always)]
fn record(packet: &IcmpPacket, family: Family, kind: u8, code: u8, offset: usize) {
    let Some(errno) = icmp::errno(family, kind, code) else {
        return;
    };
    let sequence = u32::from_be(packet.read(offset + TCP_SEQUENCE));
    let (router, tuple) = packet.ends(family, offset);
    record_icmp(&tuple, &Icmp { router, sequence, errno, kind, code });
}
