//! The ICMP error that a CPU is delivering to the datagram socket it concerns.
//!
//! `udp_err`, and the handlers that `icmpv6_notify` calls, find the socket, store the errno and
//! report it, all in one softirq. Their arguments therefore belong to the next matching report on
//! the same CPU. A report without one is nothing new: `sock_queue_err_skb` and
//! `sock_dequeue_err_skb` report whatever errno is left in the socket for each timestamp, each
//! zero-copy datagram, and each message that the program takes from the socket's error queue.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use socktrace_ebpf::{Address, Detail, Event, Family};

use crate::{
    errno::EMSGSIZE, icmp, icmp_packet::IcmpPacket, load::Load, offsets, sock::Sock,
    subject::Subject, tuple::Tuple, uapi::IPPROTO_UDP,
};

/// ICMP error for a datagram.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct DatagramIcmp {
    /// Sender of the error. It, the rest of the message and the ends are unknown where memory
    /// cannot be read.
    router: Address,
    /// Ends of the datagram.
    tuple: Tuple,
    /// Whether its report is still to come: 1 or 0.
    is_new: u32,
    /// Errno that the kernel derives from the message; 0 if unknown.
    errno: u16,
    kind: u8,
    code: u8,
}

/// Last error on each CPU.
#[btf_map]
static DATAGRAM_ICMP: PerCpuArray<DatagramIcmp, 1> = PerCpuArray::new();

#[inline(always)]
fn slot() -> Option<&'static mut DatagramIcmp> {
    let slot = DATAGRAM_ICMP.get_ptr_mut(0)?;
    // SAFETY: this CPU's value, which only softirqs use, one at a time.
    Some(unsafe { &mut *slot })
}

/// Errno that the kernel derives from an ICMP message for a datagram (`udp_err`, `udpv6_err`, with
/// `icmp_err_convert` and `icmpv6_err_convert`; the same in 5.10 to 7.3). A packet too big yields
/// one unless the socket lets routers fragment.
#[inline(always)]
fn errno(family: Family, kind: u8, code: u8) -> Option<u16> {
    match (family, kind, code) {
        (Family::Ipv4, 3, 4) | (Family::Ipv6, 2, _) => Some(EMSGSIZE),
        _ => icmp::errno(family, kind, code),
    }
}

/// Records an `ICMPv4` message that has arrived for a UDP datagram.
#[inline(always)]
pub(crate) fn arrives4(skb: *const u8) {
    let Some(slot) = slot() else {
        return;
    };
    if offsets::READ_KERNEL.get() != 1 {
        slot.begin(Family::Ipv4, 0);
        return;
    }
    let packet = IcmpPacket::new(skb);
    let (kind, code) = packet.message4();
    slot.fill(&packet, Family::Ipv4, kind, code, packet.offset4());
}

/// Records an `ICMPv6` message that has arrived for a packet.
#[inline(always)]
pub(crate) fn arrives6(skb: *const u8, kind: u8, code: u8) {
    let Some(slot) = slot() else {
        return;
    };
    if offsets::READ_KERNEL.get() != 1 {
        slot.begin(Family::Ipv6, errno(Family::Ipv6, kind, code).unwrap_or(0));
        return;
    }
    let packet = IcmpPacket::new(skb);
    let (protocol, offset) = packet.transport6();
    if protocol == IPPROTO_UDP {
        slot.fill(&packet, Family::Ipv6, kind, code, offset);
    }
}

/// Takes the ICMP error that this CPU is delivering to a socket that reports this errno, if there is one.
#[inline(always)]
pub(crate) fn take<L: Load>(sock: Sock<L>, errno: u16) -> Option<&'static DatagramIcmp> {
    let slot = slot()?;
    let is_known = offsets::READ_KERNEL.get() == 1;
    // With IP_RECVERR the message is queued first, which reports what was left in the socket before.
    if slot.is_new == 0
        || (is_known && (slot.errno != errno || slot.tuple.local_port != sock.bound_port()))
    {
        return None;
    }
    slot.is_new = 0;
    Some(slot)
}

impl DatagramIcmp {
    /// Records the arrival of a message from which the kernel derives this errno.
    #[inline(always)]
    fn begin(&mut self, family: Family, errno: u16) {
        self.tuple.family = family as u32;
        (self.is_new, self.errno) = (1, errno);
    }

    /// Records a message whose packet can be read: the embedded datagram's header begins at `offset`.
    #[inline(always)]
    fn fill(&mut self, packet: &IcmpPacket, family: Family, kind: u8, code: u8, offset: usize) {
        let Some(errno) = errno(family, kind, code) else {
            self.is_new = 0;
            return;
        };
        (self.router, self.tuple) = packet.ends(family, offset);
        (self.kind, self.code) = (kind, code);
        self.begin(family, errno);
    }

    /// Family of the datagram: an IPv6 socket can send IPv4 datagrams.
    #[inline(always)]
    pub(crate) fn family(&self) -> Family {
        if self.tuple.family == Family::Ipv4 as u32 { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// Records source and destination of the datagram, which an unconnected socket does not hold.
    #[inline(always)]
    pub(crate) fn locate(&self, subject: &mut Subject) {
        if offsets::READ_KERNEL.get() == 1 {
            let Tuple { local, remote, local_port, remote_port, .. } = self.tuple;
            (subject.local, subject.local_port) = (local, local_port);
            (subject.remote, subject.remote_port) = (remote, remote_port);
        }
    }

    /// Adds the message to an event.
    #[inline(always)]
    pub(crate) fn describe(&self, event: &mut Event) {
        if offsets::READ_KERNEL.get() == 1 {
            let Self { router, kind, code, .. } = *self;
            event.set_detail(Detail::Icmp { router, kind, code });
        }
    }
}
