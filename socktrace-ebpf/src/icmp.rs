//! The errno that the kernel makes of an ICMP error: `icmp_err_convert` in `net/ipv4/icmp.c` and
//! `icmpv6_err_convert` in `net/ipv6/icmp.c`, with what `tcp_v4_err` and `tcp_v6_err` add. The
//! same in 5.10 to 7.2.

use socktrace_ebpf::Family;

use crate::errno::{
    EACCES, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH, ENONET, ENOPROTOOPT, EOPNOTSUPP,
    EPROTO,
};

/// The errno for a message of this type and code; `None` for those that are no error to TCP.
#[expect(clippy::match_same_arms, reason = "one line a message of each protocol, as in the kernel")]
#[inline(always)]
pub(crate) fn errno(family: Family, kind: u8, code: u8) -> Option<u16> {
    match (family, kind, code) {
        (Family::Ipv4, 3, 0 | 6 | 9 | 11) => Some(ENETUNREACH),
        (Family::Ipv4, 3, 1 | 10 | 12..=15) => Some(EHOSTUNREACH),
        (Family::Ipv4, 3, 2) => Some(ENOPROTOOPT),
        (Family::Ipv4, 3, 3) => Some(ECONNREFUSED),
        (Family::Ipv4, 3, 5) => Some(EOPNOTSUPP),
        (Family::Ipv4, 3, 7) => Some(EHOSTDOWN),
        (Family::Ipv4, 3, 8) => Some(ENONET),
        (Family::Ipv4, 11, 0) => Some(EHOSTUNREACH),
        (Family::Ipv4, 12, _) => Some(EPROTO),
        (Family::Ipv6, 1, 0) => Some(ENETUNREACH),
        (Family::Ipv6, 1, 1 | 5 | 6) => Some(EACCES),
        (Family::Ipv6, 1, 2 | 3) => Some(EHOSTUNREACH),
        (Family::Ipv6, 1, 4) => Some(ECONNREFUSED),
        (Family::Ipv6, 1 | 4, _) => Some(EPROTO),
        (Family::Ipv6, 3, _) => Some(EHOSTUNREACH),
        _ => None,
    }
}
