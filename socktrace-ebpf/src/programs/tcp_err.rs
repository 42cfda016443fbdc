//! Traces `tcp_v4_err` (`net/ipv4/tcp_ipv4.c`) and `tcp_v6_err` (`net/ipv6/tcp_ipv6.c`): an ICMP
//! error came for a TCP segment.
//!
//! Prototypes: `int (skb, u32 info)` and `int (skb, opt, u8 type, u8 code, int offset, __be32
//! info)` in every kernel from 5.10 to 7.2. The socket is looked up inside, so the error is
//! remembered by the connection that the embedded headers name, for the event of that
//! connection's failure. Produces no event, and decides nothing: packets are read by
//! `bpf_probe_read_kernel`, and under lockdown=confidentiality only the detail is missing.

use aya_ebpf::{
    helpers::generated::bpf_ktime_get_ns,
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{Address, Family};

use crate::{
    arguments::Arguments,
    load::Probe,
    offsets::{self, Fact},
    tuple::{Icmp, Tuple, record_icmp},
};

/// Offsets in the IPv4, IPv6 and ICMP headers, which are fixed.
const IPV4_SOURCE: usize = 12;
const IPV4_DESTINATION: usize = 16;
const IPV6_SOURCE: usize = 8;
const IPV6_DESTINATION: usize = 24;
const IPV6_HEADER_BYTES: usize = 40;

/// Entry of `tcp_v4_err`.
#[fentry(function = "tcp_v4_err")]
fn tcp_v4_err(ctx: FEntryContext) -> i32 {
    icmp(&ctx)
}

/// The same by kprobe.
#[kprobe(function = "tcp_v4_err")]
fn tcp_v4_err_kprobe(ctx: ProbeContext) -> i32 {
    icmp(&ctx)
}

/// Entry of `tcp_v6_err`.
#[fentry(function = "tcp_v6_err")]
fn tcp_v6_err(ctx: FEntryContext) -> i32 {
    icmp6(&ctx)
}

/// The same by kprobe.
#[kprobe(function = "tcp_v6_err")]
fn tcp_v6_err_kprobe(ctx: ProbeContext) -> i32 {
    icmp6(&ctx)
}

#[inline(always)]
fn icmp<A: Arguments>(ctx: &A) -> i32 {
    if offsets::READ_KERNEL.get() != 1 {
        return 0;
    }
    let packet = Packet::new(ctx.pointer(0));
    // The header length is in words, in the low half of the first byte.
    let length = usize::from(byte(packet.embedded, 0) & 0xf) * 4;
    let (icmp_type, code) = (byte(packet.transport, 0), byte(packet.transport, 1));
    let error = error(v4(packet.network, IPV4_SOURCE), icmp_type, code);
    let local = v4(packet.embedded, IPV4_SOURCE);
    let remote = v4(packet.embedded, IPV4_DESTINATION);
    record(Family::Ipv4, local, remote, packet.embedded.wrapping_add(length), &error);
    0
}

#[inline(always)]
fn icmp6<A: Arguments>(ctx: &A) -> i32 {
    if offsets::READ_KERNEL.get() != 1 {
        return 0;
    }
    let packet = Packet::new(ctx.pointer(0));
    let (icmp_type, code) = (ctx.argument(2) as u8, ctx.argument(3) as u8);
    let error = error(v6(packet.network, IPV6_SOURCE), icmp_type, code);
    let local = v6(packet.embedded, IPV6_SOURCE);
    let remote = v6(packet.embedded, IPV6_DESTINATION);
    let offset = ctx.int(4);
    let offset = if offset > 0 { offset as usize } else { IPV6_HEADER_BYTES };
    record(Family::Ipv6, local, remote, packet.embedded.wrapping_add(offset), &error);
    0
}

#[inline(always)]
fn error(router: Address, kind: u8, code: u8) -> Icmp {
    // SAFETY: the helper takes nothing and cannot fail.
    let mono_ns = unsafe { bpf_ktime_get_ns() };
    Icmp { mono_ns, router, kind, code, reserved: [0; 6] }
}

/// Where the headers of an ICMP packet lie.
struct Packet {
    /// The packet's own network header: from the router.
    network: *const u8,
    /// Its ICMP header.
    transport: *const u8,
    /// The network header of the packet that it complains of.
    embedded: *const u8,
}

impl Packet {
    #[inline(always)]
    fn new(skb: *const u8) -> Self {
        let pointer = |fact: &Fact| Probe::read_member::<*const u8>(skb, fact);
        let offset = |fact: &Fact| usize::from(Probe::read_member::<u16>(skb, fact));
        let head = pointer(&offsets::SKB_HEAD);
        Self {
            network: head.wrapping_add(offset(&offsets::SKB_NETWORK_HEADER)),
            transport: head.wrapping_add(offset(&offsets::SKB_TRANSPORT_HEADER)),
            embedded: pointer(&offsets::SKB_DATA),
        }
    }
}

#[inline(always)]
fn record(family: Family, local: Address, remote: Address, tcp: *const u8, icmp: &Icmp) {
    // The embedded TCP header begins with its ports.
    let [source, destination]: [u16; 2] = Probe::read(tcp, 0);
    let tuple = Tuple {
        local,
        remote,
        local_port: u16::from_be(source),
        remote_port: u16::from_be(destination),
        family: family as u32,
    };
    record_icmp(&tuple, icmp);
}

#[inline(always)]
fn byte(base: *const u8, offset: usize) -> u8 {
    Probe::read(base, offset)
}

#[inline(always)]
fn v4(header: *const u8, offset: usize) -> Address {
    Address::ipv4(Probe::read(header, offset))
}

#[inline(always)]
fn v6(header: *const u8, offset: usize) -> Address {
    Address { octets: Probe::read(header, offset) }
}
