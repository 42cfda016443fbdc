//! Ends of a received segment, where no socket holds them.

use socktrace_ebpf::{Address, Family};

use crate::{
    load::Probe,
    offsets::{self, Fact},
    subject::Subject,
};

/// Fixed offsets in the IPv4 and IPv6 headers.
const IPV4_SOURCE: usize = 12;
const IPV4_DESTINATION: usize = 16;
const IPV6_SOURCE: usize = 8;
const IPV6_DESTINATION: usize = 24;

/// A `struct sk_buff` with both headers.
pub(crate) struct Packet;

impl Packet {
    /// Records the ends of the connection that a TCP segment would belong to; nothing under
    /// lockdown=confidentiality, where packets cannot be read.
    #[inline(always)]
    pub(crate) fn locate(skb: *const u8, family: Family, subject: &mut Subject) {
        if offsets::READ_KERNEL.get() != 1 {
            return;
        }
        let head: *const u8 = Probe::read_member(skb, &offsets::SKB_HEAD);
        let header =
            |fact: &Fact| head.wrapping_add(usize::from(Probe::read_member::<u16>(skb, fact)));
        let (network, transport) =
            (header(&offsets::SKB_NETWORK_HEADER), header(&offsets::SKB_TRANSPORT_HEADER));
        match family {
            Family::Ipv4 => {
                subject.remote = Address::ipv4(Probe::read(network, IPV4_SOURCE));
                subject.local = Address::ipv4(Probe::read(network, IPV4_DESTINATION));
            }
            Family::Ipv6 => {
                Probe::read_to(&mut subject.remote.octets, network, IPV6_SOURCE);
                Probe::read_to(&mut subject.local.octets, network, IPV6_DESTINATION);
            }
        }
        let [source, destination]: [u16; 2] = Probe::read(transport, 0);
        (subject.remote_port, subject.local_port) =
            (u16::from_be(source), u16::from_be(destination));
        let device: *const u8 = Probe::read_member(skb, &offsets::SKB_DEV);
        let net: *const u8 = Probe::read_member(device, &offsets::NET_DEVICE_NET);
        subject.netns = Probe::read_member(net, &offsets::NET_INUM);
    }
}
