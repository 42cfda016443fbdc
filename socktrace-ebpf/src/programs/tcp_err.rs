//! Traces `tcp_v4_err` (`net/ipv4/tcp_ipv4.c`) and `tcp_v6_err` (`net/ipv6/tcp_ipv6.c`): an ICMP
//! error came for a TCP segment.
//!
//! Prototypes: `int (skb, u32 info)` and `int (skb, opt, u8 type, u8 code, int offset, __be32
//! info)` in every kernel from 5.10 to 7.3. The socket is looked up inside, and only then does the
//! kernel look whether a message is about a segment that was sent. So the error is remembered by the
//! connection that the embedded headers name, with the sequence number, for the event of that
//! connection's failure, which believes it by that. Messages that are no error to TCP are left out.
//! Produces no event, and decides nothing: packets are read by `bpf_probe_read_kernel`, and under
//! lockdown=confidentiality only the detail is missing.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{Address, Family};

use crate::{
    arguments::Arguments,
    icmp,
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
/// Of the sequence number in the TCP header.
const TCP_SEQUENCE: usize = 4;

/// Entry of `tcp_v4_err`.
#[fentry(function = "tcp_v4_err")]
fn tcp_v4_err(ctx: FEntryContext) -> i32 {
    icmp4(&ctx)
}

/// The same by kprobe.
#[kprobe(function = "tcp_v4_err")]
fn tcp_v4_err_kprobe(ctx: ProbeContext) -> i32 {
    icmp4(&ctx)
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
fn icmp4<A: Arguments>(ctx: &A) -> i32 {
    if offsets::READ_KERNEL.get() != 1 {
        return 0;
    }
    let packet = Packet::new(ctx.pointer(0));
    let (kind, code) = (byte(packet.transport, 0), byte(packet.transport, 1));
    // The header length is in words, in the low half of the first byte.
    let length = usize::from(byte(packet.embedded, 0) & 0xf) * 4;
    packet.record(Family::Ipv4, kind, code, length);
    0
}

#[inline(always)]
fn icmp6<A: Arguments>(ctx: &A) -> i32 {
    if offsets::READ_KERNEL.get() != 1 {
        return 0;
    }
    let packet = Packet::new(ctx.pointer(0));
    let (kind, code) = (ctx.argument(2) as u8, ctx.argument(3) as u8);
    let offset = ctx.int(4);
    let offset = if offset > 0 { offset as usize } else { IPV6_HEADER_BYTES };
    packet.record(Family::Ipv6, kind, code, offset);
    0
}

/// Where the headers of an ICMP packet lie.
struct Packet {
    /// The packet's own network header: from the router.
    network: *const u8,
    /// Its ICMP header.
    transport: *const u8,
    /// The network header of the packet that it complains of.
    embedded: *const u8,
    /// Inode of the network namespace that it came to, 0 in a kernel without namespaces.
    netns: u32,
}

impl Packet {
    #[inline(always)]
    fn new(skb: *const u8) -> Self {
        let pointer = |fact: &Fact| Probe::read_member::<*const u8>(skb, fact);
        let offset = |fact: &Fact| usize::from(Probe::read_member::<u16>(skb, fact));
        let head = pointer(&offsets::SKB_HEAD);
        let device = pointer(&offsets::SKB_DEV);
        let net: *const u8 = Probe::read_member(device, &offsets::NET_DEVICE_NET);
        Self {
            network: head.wrapping_add(offset(&offsets::SKB_NETWORK_HEADER)),
            transport: head.wrapping_add(offset(&offsets::SKB_TRANSPORT_HEADER)),
            embedded: pointer(&offsets::SKB_DATA),
            netns: Probe::read_member(net, &offsets::NET_INUM),
        }
    }

    /// Remembers the message, if it is an error to TCP. The embedded TCP header lies at the offset.
    #[inline(always)]
    fn record(&self, family: Family, kind: u8, code: u8, offset: usize) {
        let Some(errno) = icmp::errno(family, kind, code) else {
            return;
        };
        let tcp = self.embedded.wrapping_add(offset);
        // It begins with its ports.
        let [source, destination]: [u16; 2] = Probe::read(tcp, 0);
        let mut tuple = Tuple {
            local: Address::default(),
            remote: Address::default(),
            local_port: u16::from_be(source),
            remote_port: u16::from_be(destination),
            family: family as u32,
            netns: self.netns,
        };
        let sequence = u32::from_be(Probe::read(tcp, TCP_SEQUENCE));
        let mut icmp = Icmp { router: Address::default(), sequence, errno, kind, code };
        match family {
            Family::Ipv4 => {
                icmp.router = v4(self.network, IPV4_SOURCE);
                tuple.local = v4(self.embedded, IPV4_SOURCE);
                tuple.remote = v4(self.embedded, IPV4_DESTINATION);
            }
            Family::Ipv6 => {
                Probe::read_to(&mut icmp.router.octets, self.network, IPV6_SOURCE);
                Probe::read_to(&mut tuple.local.octets, self.embedded, IPV6_SOURCE);
                Probe::read_to(&mut tuple.remote.octets, self.embedded, IPV6_DESTINATION);
            }
        }
        record_icmp(&tuple, &icmp);
    }
}

#[inline(always)]
fn byte(base: *const u8, offset: usize) -> u8 {
    Probe::read(base, offset)
}

#[inline(always)]
fn v4(header: *const u8, offset: usize) -> Address {
    Address::ipv4(Probe::read(header, offset))
}
