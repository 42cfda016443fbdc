//! Names of socket options: the level and option arguments of `setsockopt` and `getsockopt`.

use std::borrow::Cow;

use nix::libc;

/// Names by number. If a number has two names, the first one is shown.
type Names = &'static [(i32, &'static str)];

/// Names defined in the libc crate, with its numbers for this architecture.
macro_rules! names {
    ($($name:ident)+) => { &[$((libc::$name, stringify!($name))),+] };
}

/// `SOL_MPTCP` and its options are in no released libc crate. Taken from `<linux/socket.h>` and
/// `<linux/mptcp.h>`; the same on every architecture.
const SOL_MPTCP: i32 = 284;

const LEVELS: Names = &[
    (libc::SOL_SOCKET, "SOL_SOCKET"),
    (libc::IPPROTO_IP, "IPPROTO_IP"),
    (libc::IPPROTO_TCP, "IPPROTO_TCP"),
    (libc::IPPROTO_IPV6, "IPPROTO_IPV6"),
    (libc::SOL_UDP, "SOL_UDP"),
    (libc::SOL_RAW, "SOL_RAW"),
    (libc::SOL_ICMPV6, "SOL_ICMPV6"),
    (libc::SOL_NETLINK, "SOL_NETLINK"),
    (libc::SOL_PACKET, "SOL_PACKET"),
    (libc::SOL_TIPC, "SOL_TIPC"),
    (libc::SOL_ALG, "SOL_ALG"),
    (libc::SOL_TLS, "SOL_TLS"),
    (libc::SOL_XDP, "SOL_XDP"),
    (SOL_MPTCP, "SOL_MPTCP"),
    // Not a level in the kernel, but a mistake worth recognizing.
    (libc::IPPROTO_MPTCP, "IPPROTO_MPTCP"),
    (libc::IPPROTO_SCTP, "IPPROTO_SCTP"),
    (libc::IPPROTO_DCCP, "IPPROTO_DCCP"),
];

const SOCKET: Names = names![
    SO_DEBUG SO_REUSEADDR SO_TYPE SO_ERROR SO_DONTROUTE SO_BROADCAST SO_SNDBUF SO_RCVBUF
    SO_KEEPALIVE SO_OOBINLINE SO_NO_CHECK SO_PRIORITY SO_LINGER SO_BSDCOMPAT SO_REUSEPORT
    SO_PASSCRED SO_PEERCRED SO_RCVLOWAT SO_SNDLOWAT SO_RCVTIMEO SO_SNDTIMEO SO_BINDTODEVICE
    SO_ATTACH_FILTER SO_DETACH_FILTER SO_PEERNAME SO_TIMESTAMP SO_ACCEPTCONN SO_PEERSEC
    SO_SNDBUFFORCE SO_RCVBUFFORCE SO_PASSSEC SO_TIMESTAMPNS SO_MARK SO_TIMESTAMPING SO_PROTOCOL
    SO_DOMAIN SO_RXQ_OVFL SO_WIFI_STATUS SO_PEEK_OFF SO_NOFCS SO_LOCK_FILTER
    SO_SELECT_ERR_QUEUE SO_BUSY_POLL SO_MAX_PACING_RATE SO_BPF_EXTENSIONS SO_INCOMING_CPU
    SO_ATTACH_BPF SO_ATTACH_REUSEPORT_CBPF SO_ATTACH_REUSEPORT_EBPF SO_CNX_ADVICE SO_MEMINFO
    SO_INCOMING_NAPI_ID SO_COOKIE SO_PEERGROUPS SO_ZEROCOPY SO_TXTIME SO_BINDTOIFINDEX
    SO_TIMESTAMP_NEW SO_TIMESTAMPNS_NEW SO_TIMESTAMPING_NEW SO_DETACH_REUSEPORT_BPF
    SO_PREFER_BUSY_POLL SO_BUSY_POLL_BUDGET SO_NETNS_COOKIE SO_BUF_LOCK SO_RESERVE_MEM
    SO_TXREHASH SO_RCVMARK SO_PASSPIDFD SO_PEERPIDFD
];

const TCP: Names = names![
    TCP_NODELAY TCP_MAXSEG TCP_CORK TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT TCP_SYNCNT
    TCP_LINGER2 TCP_DEFER_ACCEPT TCP_WINDOW_CLAMP TCP_INFO TCP_QUICKACK TCP_CONGESTION
    TCP_MD5SIG TCP_COOKIE_TRANSACTIONS TCP_THIN_LINEAR_TIMEOUTS TCP_THIN_DUPACK
    TCP_USER_TIMEOUT TCP_REPAIR TCP_REPAIR_QUEUE TCP_QUEUE_SEQ TCP_REPAIR_OPTIONS TCP_FASTOPEN
    TCP_TIMESTAMP TCP_NOTSENT_LOWAT TCP_CC_INFO TCP_SAVE_SYN TCP_SAVED_SYN TCP_REPAIR_WINDOW
    TCP_FASTOPEN_CONNECT TCP_ULP TCP_MD5SIG_EXT TCP_FASTOPEN_KEY TCP_FASTOPEN_NO_COOKIE
    TCP_ZEROCOPY_RECEIVE TCP_INQ
];

const IP: Names = names![
    IP_TOS IP_TTL IP_HDRINCL IP_OPTIONS IP_ROUTER_ALERT IP_RECVOPTS IP_RETOPTS IP_PKTINFO
    IP_PKTOPTIONS IP_MTU_DISCOVER IP_RECVERR IP_RECVTTL IP_RECVTOS IP_MTU IP_FREEBIND
    IP_IPSEC_POLICY IP_XFRM_POLICY IP_PASSSEC IP_TRANSPARENT IP_ORIGDSTADDR IP_MINTTL
    IP_NODEFRAG IP_CHECKSUM IP_BIND_ADDRESS_NO_PORT IP_RECVFRAGSIZE IP_MULTICAST_IF
    IP_MULTICAST_TTL IP_MULTICAST_LOOP IP_ADD_MEMBERSHIP IP_DROP_MEMBERSHIP IP_UNBLOCK_SOURCE
    IP_BLOCK_SOURCE IP_ADD_SOURCE_MEMBERSHIP IP_DROP_SOURCE_MEMBERSHIP IP_MSFILTER
    MCAST_JOIN_GROUP MCAST_BLOCK_SOURCE MCAST_UNBLOCK_SOURCE MCAST_LEAVE_GROUP
    MCAST_JOIN_SOURCE_GROUP MCAST_LEAVE_SOURCE_GROUP MCAST_MSFILTER IP_MULTICAST_ALL
    IP_UNICAST_IF SO_ORIGINAL_DST
];

const IPV6: Names = names![
    IPV6_ADDRFORM IPV6_2292PKTINFO IPV6_2292HOPOPTS IPV6_2292DSTOPTS IPV6_2292RTHDR
    IPV6_2292PKTOPTIONS IPV6_CHECKSUM IPV6_2292HOPLIMIT IPV6_NEXTHOP IPV6_AUTHHDR
    IPV6_FLOWINFO IPV6_UNICAST_HOPS IPV6_MULTICAST_IF IPV6_MULTICAST_HOPS IPV6_MULTICAST_LOOP
    IPV6_ADD_MEMBERSHIP IPV6_DROP_MEMBERSHIP IPV6_ROUTER_ALERT IPV6_MTU_DISCOVER IPV6_MTU
    IPV6_RECVERR IPV6_V6ONLY IPV6_JOIN_ANYCAST IPV6_LEAVE_ANYCAST IPV6_MULTICAST_ALL
    IPV6_ROUTER_ALERT_ISOLATE IPV6_FLOWLABEL_MGR IPV6_FLOWINFO_SEND IPV6_IPSEC_POLICY
    IPV6_XFRM_POLICY IPV6_HDRINCL IPV6_RECVPKTINFO IPV6_PKTINFO IPV6_RECVHOPLIMIT
    IPV6_HOPLIMIT IPV6_RECVHOPOPTS IPV6_HOPOPTS IPV6_RTHDRDSTOPTS IPV6_RECVRTHDR IPV6_RTHDR
    IPV6_RECVDSTOPTS IPV6_DSTOPTS IPV6_RECVPATHMTU IPV6_PATHMTU IPV6_DONTFRAG IPV6_RECVTCLASS
    IPV6_TCLASS IPV6_AUTOFLOWLABEL IPV6_ADDR_PREFERENCES IPV6_MINHOPCOUNT IPV6_ORIGDSTADDR
    IPV6_TRANSPARENT IPV6_UNICAST_IF IPV6_RECVFRAGSIZE IPV6_FREEBIND IP6T_SO_ORIGINAL_DST
    MCAST_JOIN_GROUP MCAST_BLOCK_SOURCE MCAST_UNBLOCK_SOURCE MCAST_LEAVE_GROUP
    MCAST_JOIN_SOURCE_GROUP MCAST_LEAVE_SOURCE_GROUP MCAST_MSFILTER
];

const UDP: Names = names![UDP_CORK UDP_ENCAP UDP_NO_CHECK6_TX UDP_NO_CHECK6_RX UDP_SEGMENT UDP_GRO];

const TLS: Names = names![TLS_TX TLS_RX TLS_TX_ZEROCOPY_RO TLS_RX_EXPECT_NO_PAD];

const MPTCP: Names =
    &[(1, "MPTCP_INFO"), (2, "MPTCP_TCPINFO"), (3, "MPTCP_SUBFLOW_ADDRS"), (4, "MPTCP_FULL_INFO")];

/// Name of a level; `level_N` if it has no name.
pub fn level_name(level: i32) -> Cow<'static, str> {
    find(LEVELS, level).map_or_else(|| format!("level_{level}").into(), Into::into)
}

/// Name of an option of a level; `option_N` if it has no name.
pub fn option_name(level: i32, option: i32) -> Cow<'static, str> {
    let names = match level {
        libc::SOL_SOCKET => SOCKET,
        libc::IPPROTO_TCP => TCP,
        libc::IPPROTO_IP => IP,
        libc::IPPROTO_IPV6 => IPV6,
        libc::SOL_UDP => UDP,
        libc::SOL_TLS => TLS,
        SOL_MPTCP => MPTCP,
        _ => &[],
    };
    find(names, option).map_or_else(|| format!("option_{option}").into(), Into::into)
}

fn find(names: Names, number: i32) -> Option<&'static str> {
    names.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn options_are_named_by_level() {
        let name = |level, option| format!("{} {}", level_name(level), option_name(level, option));
        assert_eq!(name(libc::SOL_SOCKET, libc::SO_KEEPALIVE), "SOL_SOCKET SO_KEEPALIVE");
        assert_eq!(name(libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT), "IPPROTO_TCP TCP_USER_TIMEOUT");
        assert_eq!(name(libc::IPPROTO_IP, libc::IP_RECVERR), "IPPROTO_IP IP_RECVERR");
        assert_eq!(name(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY), "IPPROTO_IPV6 IPV6_V6ONLY");
        assert_eq!(name(libc::SOL_UDP, libc::UDP_SEGMENT), "SOL_UDP UDP_SEGMENT");
        assert_eq!(name(libc::SOL_TLS, libc::TLS_RX), "SOL_TLS TLS_RX");
        assert_eq!(name(284, 1), "SOL_MPTCP MPTCP_INFO");
        assert_eq!(level_name(libc::SOL_RAW), "SOL_RAW");
    }

    #[test]
    fn the_same_number_means_another_option_at_another_level() {
        assert_eq!(option_name(libc::IPPROTO_TCP, 1), "TCP_NODELAY");
        assert_eq!(option_name(libc::IPPROTO_IP, 1), "IP_TOS");
    }

    #[test]
    fn what_has_no_name_keeps_its_number() {
        assert_eq!(level_name(999), "level_999");
        assert_eq!(option_name(libc::SOL_SOCKET, 7_777), "option_7777");
        assert_eq!(option_name(999, 77), "option_77");
        assert_eq!(level_name(-1), "level_-1");
        assert_eq!(option_name(libc::SOL_SOCKET, i32::MIN), "option_-2147483648");
    }

    #[test]
    fn no_number_is_listed_twice() {
        for names in [LEVELS, SOCKET, TCP, IP, IPV6, UDP, TLS, MPTCP] {
            let mut seen = HashSet::new();
            for (number, name) in names {
                assert!(seen.insert(number), "{name}");
            }
        }
    }
}
