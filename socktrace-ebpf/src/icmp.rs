//! Errnos that the kernel derives from ICMP errors: `icmp_err_convert` in `net/ipv4/icmp.c` and
//! `icmpv6_err_convert` in `net/ipv6/icmp.c`, and what `tcp_v4_err` and `tcp_v6_err` add. The same
//! in 5.10 to 7.2.

use socktrace_ebpf::Family;

use crate::errno::{
    EACCES, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, EMSGSIZE, ENETUNREACH, ENONET, ENOPROTOOPT,
    EOPNOTSUPP, EPROTO,
};
use crate::verifier::is_same;

/// Whether an errno stands for an ICMP error: 1 or 0, without a branch.
#[inline(always)]
pub(crate) fn is_its_errno(errno: u16) -> u64 {
    const ABOVE_64: u64 = 1 << (ENONET - 64)
        | 1 << (EPROTO - 64)
        | 1 << (EMSGSIZE - 64)
        | 1 << (ENOPROTOOPT - 64)
        | 1 << (EOPNOTSUPP - 64)
        | 1 << (ENETUNREACH - 64)
        | 1 << (ECONNREFUSED - 64)
        | 1 << (EHOSTDOWN - 64)
        | 1 << (EHOSTUNREACH - 64);
    let is_above = is_same(u64::from(errno) / 64, 1);
    is_same(errno.into(), EACCES.into()) | is_above & (ABOVE_64 >> (errno % 64))
}

/// Errno for a message of this type and code; `None` if it is no error to TCP.
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
        // `icmp_unreach` does not pass on fragments that were not reassembled in time (code 1).
        (Family::Ipv4, 11, _) => Some(EHOSTUNREACH),
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
