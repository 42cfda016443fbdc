//! Arguments of a `socket` call that has made no socket.

use crate::{Domain, Family, Protocol};

/// From `include/linux/socket.h`.
const AF_UNIX: i32 = 1;
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;
/// Offset of the kernel's families on the wire, see [`Domain`].
const DOMAIN: i32 = 128;

/// From `include/linux/net.h`; the first two are swapped only on MIPS.
const SOCK_STREAM: i32 = 1;
const SOCK_DGRAM: i32 = 2;
const SOCK_RAW: i32 = 3;
const SOCK_TYPE_MASK: i32 = 0xf;

/// From `include/uapi/linux/in.h`.
const IPPROTO_ICMP: i32 = 1;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;
const IPPROTO_ICMPV6: i32 = 58;
const IPPROTO_SCTP: i32 = 132;
const IPPROTO_MPTCP: i32 = 262;

/// The arguments of `socket`, as programs write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketCall {
    /// The address family, `AF_*`.
    pub family: i32,
    /// The type, `SOCK_*`, possibly with flags.
    pub socket_type: i32,
    /// The protocol; 0 for the default of family and type.
    pub protocol: i32,
}

impl SocketCall {
    /// Value of [`crate::Signature::family`]: a [`Family`] or a [`Domain`].
    #[must_use]
    #[inline]
    pub const fn family(self) -> u8 {
        const UNIX: i32 = Domain::Unix as i32 - DOMAIN;
        const NETLINK: i32 = Domain::Netlink as i32 - DOMAIN;
        const PACKET: i32 = Domain::Packet as i32 - DOMAIN;
        const CAN: i32 = Domain::Can as i32 - DOMAIN;
        const BLUETOOTH: i32 = Domain::Bluetooth as i32 - DOMAIN;
        const ALG: i32 = Domain::Alg as i32 - DOMAIN;
        const VSOCK: i32 = Domain::Vsock as i32 - DOMAIN;
        const SMC: i32 = Domain::Smc as i32 - DOMAIN;
        const XDP: i32 = Domain::Xdp as i32 - DOMAIN;

        match self.family {
            AF_INET => Family::Ipv4 as u8,
            AF_INET6 => Family::Ipv6 as u8,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a Domain")]
            family @ (UNIX | NETLINK | PACKET | CAN | BLUETOOTH | ALG | VSOCK | SMC | XDP) => {
                (family + DOMAIN) as u8
            }
            _ => Domain::Other as u8,
        }
    }

    /// The protocol that the socket would have had.
    #[must_use]
    #[inline]
    pub const fn protocol(self) -> Protocol {
        const NETLINK: i32 = Domain::Netlink as i32 - DOMAIN;
        const PACKET: i32 = Domain::Packet as i32 - DOMAIN;
        const VSOCK: i32 = Domain::Vsock as i32 - DOMAIN;

        match (self.family, self.plain_type(), self.protocol) {
            (AF_INET | AF_INET6, SOCK_RAW, _) => Protocol::Raw,
            (AF_INET | AF_INET6, SOCK_STREAM, 0 | IPPROTO_TCP) => Protocol::Tcp,
            (AF_INET | AF_INET6, SOCK_STREAM, IPPROTO_MPTCP) => Protocol::Mptcp,
            (AF_INET | AF_INET6, SOCK_DGRAM, 0 | IPPROTO_UDP) => Protocol::Udp,
            (AF_INET | AF_INET6, SOCK_DGRAM, IPPROTO_ICMP | IPPROTO_ICMPV6) => Protocol::Icmp,
            (AF_INET | AF_INET6, _, IPPROTO_SCTP) => Protocol::Sctp,
            (AF_UNIX, ..) => Protocol::Unix,
            (NETLINK, ..) => Protocol::Netlink,
            (PACKET, ..) => Protocol::Packet,
            (VSOCK, ..) => Protocol::Vsock,
            _ => Protocol::Other,
        }
    }

    /// The type without flags.
    pub(crate) const fn plain_type(self) -> i32 {
        self.socket_type & SOCK_TYPE_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCK_CLOEXEC: i32 = 0o2_000_000;

    fn call(family: i32, socket_type: i32, protocol: i32) -> SocketCall {
        SocketCall { family, socket_type, protocol }
    }

    #[test]
    fn families_have_their_numbers() {
        assert_eq!(call(AF_INET, 0, 0).family(), Family::Ipv4 as u8);
        assert_eq!(call(AF_INET6, 0, 0).family(), Family::Ipv6 as u8);
        for &domain in Domain::ALL {
            let number = i32::from(domain as u8) - DOMAIN;
            assert_eq!(call(number, 0, 0).family(), domain as u8, "{domain:?}");
        }
        for unknown in [-1, 0, 45, 300, i32::MIN, i32::MAX] {
            assert_eq!(call(unknown, 0, 0).family(), Domain::Other as u8, "{unknown}");
        }
    }

    #[test]
    fn the_protocol_is_that_of_family_and_type() {
        let is = |family, socket_type, protocol, known| {
            assert_eq!(call(family, socket_type, protocol).protocol(), known);
        };
        for family in [AF_INET, AF_INET6] {
            is(family, SOCK_STREAM | SOCK_CLOEXEC, 0, Protocol::Tcp);
            is(family, SOCK_STREAM, IPPROTO_MPTCP, Protocol::Mptcp);
            is(family, SOCK_DGRAM, 0, Protocol::Udp);
            is(family, SOCK_RAW, IPPROTO_TCP, Protocol::Raw);
            is(family, SOCK_STREAM, IPPROTO_UDP, Protocol::Other);
        }
        is(AF_INET, SOCK_DGRAM, IPPROTO_ICMP, Protocol::Icmp);
        is(AF_UNIX, SOCK_DGRAM, 0, Protocol::Unix);
        is(-7, SOCK_STREAM, 0, Protocol::Other);
    }
}
