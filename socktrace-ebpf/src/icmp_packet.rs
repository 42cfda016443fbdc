//! ICMP errors as passed to the functions that deliver them to protocols (`icmp_unreach`,
//! `icmpv6_notify`).

use socktrace_ebpf::{Address, Family};

use crate::{
    load::Probe,
    offsets::{self, Fact},
    tuple::Tuple,
};

/// Fixed offsets in the IPv4 and IPv6 headers.
const IPV4_SOURCE: usize = 12;
const IPV4_DESTINATION: usize = 16;
const IPV6_SOURCE: usize = 8;
const IPV6_DESTINATION: usize = 24;
const IPV6_NEXT_HEADER: usize = 6;
const IPV6_HEADER_BYTES: usize = 40;
/// Number of the fragment header, and its length.
const FRAGMENT: u8 = 44;
const FRAGMENT_HEADER_BYTES: usize = 8;

/// Pointers to the headers of an ICMP packet. Only for use where memory can be read.
pub(crate) struct IcmpPacket {
    /// Network header of the packet itself: from the router.
    network: *const u8,
    /// ICMP header of the packet.
    transport: *const u8,
    /// Network header of the packet that the error is about.
    embedded: *const u8,
    /// Inode of the network namespace where it arrived; 0 in a kernel without namespaces.
    netns: u32,
}

impl IcmpPacket {
    #[inline(always)]
    pub(crate) fn new(skb: *const u8) -> Self {
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

    /// Type and code of an `ICMPv4` message; IPv6 functions get theirs as arguments.
    #[inline(always)]
    pub(crate) fn message4(&self) -> (u8, u8) {
        (byte(self.transport, 0), byte(self.transport, 1))
    }

    /// Offset of the transport header in the embedded IPv4 packet.
    #[inline(always)]
    pub(crate) fn offset4(&self) -> usize {
        // The header length is in words, in the low half of the first byte.
        usize::from(byte(self.embedded, 0) & 0xf) * 4
    }

    /// Offset of the transport header in the embedded IPv6 packet, as given by the kernel.
    #[inline(always)]
    pub(crate) fn offset6(offset: i32) -> usize {
        if offset > 0 { offset as usize } else { IPV6_HEADER_BYTES }
    }

    /// Protocol and offset of the transport header in the embedded IPv6 packet, where the kernel
    /// has not parsed it yet. Of extension headers, only a fragment header is skipped.
    #[inline(always)]
    pub(crate) fn transport6(&self) -> (u8, usize) {
        match byte(self.embedded, IPV6_NEXT_HEADER) {
            FRAGMENT => {
                (byte(self.embedded, IPV6_HEADER_BYTES), IPV6_HEADER_BYTES + FRAGMENT_HEADER_BYTES)
            }
            protocol => (protocol, IPV6_HEADER_BYTES),
        }
    }

    /// Reads from the embedded transport header, which begins at `offset`.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(&self, offset: usize) -> T {
        Probe::read(self.embedded.wrapping_add(offset), 0)
    }

    /// Sender of the message, and the ends of the embedded packet, whose transport header begins at
    /// `offset` with the ports.
    #[inline(always)]
    pub(crate) fn ends(&self, family: Family, offset: usize) -> (Address, Tuple) {
        let [source, destination]: [u16; 2] = self.read(offset);
        let mut tuple = Tuple {
            local: Address::default(),
            remote: Address::default(),
            local_port: u16::from_be(source),
            remote_port: u16::from_be(destination),
            family: family as u32,
            netns: self.netns,
        };
        let mut router = Address::default();
        match family {
            Family::Ipv4 => {
                router = v4(self.network, IPV4_SOURCE);
                tuple.local = v4(self.embedded, IPV4_SOURCE);
                tuple.remote = v4(self.embedded, IPV4_DESTINATION);
            }
            Family::Ipv6 => {
                Probe::read_to(&mut router.octets, self.network, IPV6_SOURCE);
                Probe::read_to(&mut tuple.local.octets, self.embedded, IPV6_SOURCE);
                Probe::read_to(&mut tuple.remote.octets, self.embedded, IPV6_DESTINATION);
            }
        }
        (router, tuple)
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
