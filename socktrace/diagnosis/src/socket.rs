//! Names of the arguments of `socket`, as in program source.

use std::borrow::Cow;

use nix::libc;

/// Names by number.
type Names = &'static [(i32, &'static str)];

/// Names defined in the libc crate, with its numbers for this architecture.
macro_rules! names {
    ($($name:ident)+) => { &[$((libc::$name, stringify!($name))),+] };
}

const FAMILIES: Names = names![
    AF_UNSPEC AF_UNIX AF_INET AF_AX25 AF_IPX AF_APPLETALK AF_NETROM AF_BRIDGE AF_ATMPVC AF_X25
    AF_INET6 AF_ROSE AF_NETBEUI AF_SECURITY AF_KEY AF_NETLINK AF_PACKET AF_ASH AF_ECONET
    AF_ATMSVC AF_RDS AF_SNA AF_IRDA AF_PPPOX AF_WANPIPE AF_LLC AF_IB AF_MPLS AF_CAN AF_TIPC
    AF_BLUETOOTH AF_IUCV AF_RXRPC AF_ISDN AF_PHONET AF_IEEE802154 AF_CAIF AF_ALG AF_NFC AF_VSOCK
    AF_XDP
];

/// Defined in `include/linux/socket.h`, but in no released libc crate.
const NEWER_FAMILIES: Names =
    &[(41, "AF_KCM"), (42, "AF_QIPCRTR"), (43, "AF_SMC"), (45, "AF_MCTP")];

const TYPES: Names = names![SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_DCCP];

const IP_PROTOCOLS: Names = names![
    IPPROTO_ICMP IPPROTO_IGMP IPPROTO_IPIP IPPROTO_TCP IPPROTO_EGP IPPROTO_PUP IPPROTO_UDP
    IPPROTO_IDP IPPROTO_TP IPPROTO_DCCP IPPROTO_IPV6 IPPROTO_RSVP IPPROTO_GRE IPPROTO_ESP
    IPPROTO_AH IPPROTO_ICMPV6 IPPROTO_MTP IPPROTO_BEETPH IPPROTO_ENCAP IPPROTO_PIM IPPROTO_COMP
    IPPROTO_SCTP IPPROTO_UDPLITE IPPROTO_MPLS IPPROTO_RAW IPPROTO_MPTCP
];

const NETLINK_PROTOCOLS: Names = names![
    NETLINK_ROUTE NETLINK_USERSOCK NETLINK_SOCK_DIAG NETLINK_NFLOG NETLINK_XFRM NETLINK_SELINUX
    NETLINK_ISCSI NETLINK_AUDIT NETLINK_FIB_LOOKUP NETLINK_CONNECTOR NETLINK_NETFILTER
    NETLINK_IP6_FW NETLINK_DNRTMSG NETLINK_KOBJECT_UEVENT NETLINK_GENERIC NETLINK_SCSITRANSPORT
    NETLINK_ECRYPTFS NETLINK_RDMA NETLINK_CRYPTO
];

/// Name of an address family; its number if it has no name.
#[must_use]
pub fn domain_name(family: i32) -> Cow<'static, str> {
    find(FAMILIES, family)
        .or_else(|| find(NEWER_FAMILIES, family))
        .map_or_else(number(family), Into::into)
}

/// Name of a socket type without flags; its number if it has no name.
#[must_use]
pub fn type_name(socket_type: i32) -> Cow<'static, str> {
    find(TYPES, socket_type).map_or_else(number(socket_type), Into::into)
}

/// Name of a family's protocol; its number if it has no name. Outside netlink, 0 is also shown as a
/// number, because it stands for the default protocol.
#[must_use]
pub fn socket_protocol_name(family: i32, protocol: i32) -> Cow<'static, str> {
    let names = match family {
        libc::AF_INET | libc::AF_INET6 => IP_PROTOCOLS,
        libc::AF_NETLINK => NETLINK_PROTOCOLS,
        _ => &[],
    };
    find(names, protocol).map_or_else(number(protocol), Into::into)
}

fn number(number: i32) -> impl FnOnce() -> Cow<'static, str> {
    move || number.to_string().into()
}

fn find(names: Names, number: i32) -> Option<&'static str> {
    names.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_the_names_of_headers() {
        assert_eq!(domain_name(libc::AF_INET6), "AF_INET6");
        assert_eq!(domain_name(43), "AF_SMC");
        assert_eq!(type_name(libc::SOCK_SEQPACKET), "SOCK_SEQPACKET");
        assert_eq!(socket_protocol_name(libc::AF_INET, libc::IPPROTO_ICMP), "IPPROTO_ICMP");
        assert_eq!(socket_protocol_name(libc::AF_NETLINK, 0), "NETLINK_ROUTE");
    }

    #[test]
    fn what_has_no_name_is_its_number() {
        assert_eq!(domain_name(-7), "-7");
        assert_eq!(domain_name(77), "77");
        assert_eq!(type_name(0), "0");
        assert_eq!(socket_protocol_name(libc::AF_INET, 0), "0");
        // Outside the Internet families, 6 is not TCP.
        assert_eq!(socket_protocol_name(libc::AF_UNIX, 6), "6");
    }

    #[test]
    fn numbers_are_named_once() {
        for names in [FAMILIES, TYPES, IP_PROTOCOLS, NETLINK_PROTOCOLS] {
            let mut numbers: Vec<_> = names.iter().map(|(number, _)| number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), names.len(), "{names:?}");
        }
    }
}
